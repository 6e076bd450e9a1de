"""What hooks ask of a recorded run: the same answers in every process that resumes it."""

import os
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest

from kaygraph import BatchGraph, Graph, MapReduceNode, Node, ParallelBatchNode
from kaygraph.journal import Journal
from kaygraph.nodes import WaitFor
from kaygraph.testing import kill_everywhere


def facts_of(node: Any) -> dict[str, Any]:
    """Return what a hook may ask for, as values that can be recorded."""
    return {
        "now": node.now(),
        "random": [node.random.random(), node.random.random()],
        "uuid": [node.uuid(), node.uuid()],
        "key": node.idempotency_key,
    }


class Asks(Node[Any, Any]):
    """Asks in each of its hooks; ``exec`` fails in the first process on request."""

    def prep(self, shared: Any) -> Any:
        shared.setdefault("prep", []).append(facts_of(self))

    async def exec(self, _: Any) -> Any:
        return facts_of(self)

    def post(self, shared: Any, _: Any, result: Any) -> None:
        shared.setdefault("exec", []).append(result)
        shared.setdefault("post", []).append(facts_of(self))


class DefAsks(Asks):
    def exec(self, _: Any) -> Any:
        return facts_of(self)


class Fails(Node[Any, Any]):
    """Notes what exec asks for, and fails a given number of times."""

    seen: list[dict[str, Any]]
    failures = 1

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.seen = []

    async def exec(self, _: Any) -> Any:
        self.seen.append(facts_of(self))
        if len(self.seen) <= self.failures:
            raise OSError("not yet")
        return len(self.seen)


def run(graph: Any, db: Path, run_id: str = "r") -> dict[str, Any]:
    shared: dict[str, Any] = {}
    graph.run(shared, journal=Journal(db, run=run_id))
    return shared


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.mark.parametrize(
    "kind",
    [Asks(), DefAsks(), DefAsks(run_in="thread"), DefAsks(max_retries=2), Asks(timeout=60)],
    ids=["async", "def", "thread", "def with attempts", "timed"],
)
def test_a_resumed_run_gets_the_same_answers(db: Path, kind: Any) -> None:
    """In prep and post, which are called again, wherever the skipped exec ran."""
    graph = Graph(kind >> WaitFor("end"))
    first, again = run(graph, db), run(graph, db)
    assert first == again
    Journal(db).answer("r", "end", 0)
    last = run(graph, db)
    assert {name: last[name] for name in first} == first


def test_facts_have_the_usual_types(db: Path) -> None:
    """An aware datetime in UTC, a Random, a UUID of version 4, a word."""

    class Types(Node[Any, Any]):
        def post(self, shared: Any, *_: Any) -> None:
            assert isinstance(self.random, Random)
            shared |= facts_of(self)

    before = datetime.now(UTC)
    facts = run(Types(), db)
    assert before <= facts["now"] <= datetime.now(UTC)
    assert facts["now"].tzinfo is UTC
    assert isinstance(facts["uuid"][0], UUID)
    assert facts["uuid"][0].version == 4
    assert len(set(facts["uuid"])) == len(set(facts["random"])) == 2
    assert len(bytes.fromhex(facts["key"])) == 16


def test_each_place_and_each_run_gets_different_answers(db: Path) -> None:
    """Visits of a loop, prep and exec, two nodes, two runs."""

    class Loop(Asks):
        def post(self, shared: Any, prep_res: Any, result: Any) -> str | None:  # type: ignore[override]
            super().post(shared, prep_res, result)
            return "again" if len(shared["exec"]) < 3 else None

    loop = Loop()
    loop - "again" >> loop
    loop >> Asks()
    stores = [run(Graph(loop), db, run_id) for run_id in ("a", "b")]
    for name in ("prep", "exec"):
        every = [asked for shared in stores for asked in shared[name]]
        assert len({asked["key"] for asked in every}) == 8
        assert len({asked["uuid"][0] for asked in every}) == 8
        assert len({asked["random"][0] for asked in every}) == 8
    drawn = [stores[0][name][0]["random"][0] for name in ("prep", "exec", "post")]
    assert len(set(drawn)) == 3


def test_attempts_have_one_key_and_one_uuid_but_not_the_same_chance(db: Path) -> None:
    """So that a service recognises an attempt, and a random choice may be a better one."""
    node = Fails(max_retries=3)
    node.failures = 2
    run(Graph(node), db)
    assert len({asked["key"] for asked in node.seen}) == 1
    assert len({asked["now"] for asked in node.seen}) == 1
    assert [asked["uuid"] for asked in node.seen] == [node.seen[0]["uuid"]] * 3
    assert len({asked["random"][0] for asked in node.seen}) == 3


def test_an_exec_that_is_called_again_gets_the_same_answers(db: Path) -> None:
    """In the process that resumes the run after it has failed."""
    node = Fails()
    with pytest.raises(OSError, match="not yet"):
        run(Graph(node), db)
    run(Graph(node), db)
    assert node.seen[0] == node.seen[1]


def test_equal_items_have_keys_of_their_own(db: Path) -> None:
    """Each the same again when the run is resumed, in any order of the items."""

    class Posts(ParallelBatchNode[int, Any]):
        fails = True
        items = (1, 2, 1)

        def prep(self, _: Any) -> Any:
            return self.items

        async def exec(self, item: int) -> Any:
            keys.append((item, self.idempotency_key))
            if self.fails:
                raise OSError
            return item

    keys: list[tuple[int, str]] = []
    node = Posts(on_error="raise", max_retries=1, max_workers=3)
    with pytest.raises((OSError, ExceptionGroup)):
        run(Graph(node), db)
    first, keys[:] = set(keys), []
    node.fails, node.items = False, (2, 1, 1)
    run(Graph(node), db)
    assert len(set(keys)) == 3
    assert first <= set(keys)


def test_rounds_and_phases_have_places_of_their_own(db: Path) -> None:
    """Of a BatchGraph, and of map and reduce."""

    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{"n": 1}, {"n": 2}]

    class Words(MapReduceNode):
        def prep(self, _: Any) -> Any:
            return ["a", "b"]

        async def map(self, item: Any) -> Any:
            return [(item, self.idempotency_key)]

        async def reduce(self, key: Any, values: Any) -> Any:
            return [*values, self.idempotency_key]

        def post(self, shared: Any, _: Any, result: Any) -> None:
            shared["words"] = result

    shared = run(Graph(Rounds(Asks()) >> Words(partitions=2)), db)
    keys = [asked["key"] for asked in shared["exec"]]
    for found in shared["words"].values():
        keys += found
    assert len(keys) == len(set(keys)) == 6


def test_stages_have_places_of_their_own(db: Path) -> None:
    """Even for the same item."""

    class Stage(ParallelBatchNode[Any, Any]):
        async def exec(self, item: Any) -> Any:
            keys.append(self.idempotency_key)
            return item

    class Source(Stage):
        def prep(self, _: Any) -> Any:
            return [7, 7]

    keys: list[str] = []
    run(Graph(Source() | Stage(name="second")), db)
    assert len(keys) == len(set(keys)) == 4


def test_replaying_says_what_was_done_before(db: Path) -> None:
    """In prep and post of recorded nodes; exec is not called there."""

    class Says(Node[Any, Any]):
        def prep(self, shared: Any) -> Any:
            shared.setdefault("hooks", []).append((self.name, "prep", self.replaying))

        async def exec(self, _: Any) -> Any:
            return self.replaying

        def post(self, shared: Any, _: Any, result: Any) -> None:
            assert result is False
            shared["hooks"].append((self.name, "post", self.replaying))

    graph = Graph(Says(name="a") >> WaitFor("w") >> Says(name="b"))
    assert run(graph, db)["hooks"] == [("a", "prep", False), ("a", "post", False)]
    Journal(db).answer("r", "w", 1)
    assert run(graph, db)["hooks"] == [
        ("a", "prep", True),
        ("a", "post", True),
        ("b", "prep", False),
        ("b", "post", False),
    ]


class InProcess(Node[Any, Any]):
    def exec(self, _: Any) -> Any:
        facts = facts_of(self)
        facts["pid"], facts["log"] = os.getpid(), dict(self.log._context)  # type: ignore[attr-defined]
        return facts

    def post(self, shared: Any, _: Any, result: Any) -> None:
        shared["facts"] = result


@pytest.mark.parametrize("executor", [False, True])
def test_a_worker_process_gets_what_a_thread_would(db: Path, executor: bool) -> None:
    """The key, random numbers and UUIDs; the clock is its own."""
    here = run(Graph(InProcess(name="x")), db)["facts"]
    if executor:
        with ProcessPoolExecutor(1, get_context("spawn")) as processes:
            node = InProcess(name="x", run_in=processes)
            there = _again(node, db)
    else:
        there = _again(InProcess(name="x", run_in="process"), db)
    assert there["pid"] != here["pid"]
    assert "here" not in there["log"]
    for name in ("random", "uuid", "key"):
        assert there[name] == here[name]


def _again(node: Any, db: Path) -> Any:
    shared: dict[str, Any] = {}
    Graph(node).run(shared, journal=Journal(db, run="r", redo=["x"]))
    return shared["facts"]


def test_facts_are_the_same_wherever_a_run_was_killed() -> None:
    """What hooks make of them is the same as in a run that is not killed."""

    class Items(ParallelBatchNode[int, Any]):
        def prep(self, _: Any) -> Any:
            return [1, 1, 2]

        async def exec(self, _: int) -> Any:
            return [self.idempotency_key, self.random.random(), self.uuid()]

        def post(self, shared: Any, _: Any, results: Any) -> None:
            shared["items"] = results

    class Keyless(Asks):
        """The kit replays a copy of the run, which has its own keys."""

        def post(self, shared: Any, _: Any, result: Any) -> None:
            super().post(shared, _, result)
            for asked in (*shared["prep"], *shared["post"]):
                asked.pop("key", None)

    assert kill_everywhere(Graph(Keyless() >> Keyless() >> Items()), {}, seeds=2) > 20


# --- without a journal ----------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"max_retries": 3}, {"max_retries": 3, "wait": 0.001}])
def test_without_a_journal_a_key_is_that_of_one_call(settings: dict[str, Any]) -> None:
    """The same each time it is asked for, in all attempts; different for the next visit."""
    keys: list[list[str]] = []

    class Posts(Node[Any, Any]):
        async def exec(self, _: Any) -> Any:
            keys.append([self.idempotency_key, self.idempotency_key])
            if len(keys) < 3 and settings:
                raise OSError

        def post(self, shared: Any, *_: Any) -> str | None:
            shared["visits"] = shared.get("visits", 0) + 1
            return "again" if shared["visits"] < 2 else None

    node = Posts(**settings)
    node - "again" >> node
    Graph(node).run({})
    flat = [key for pair in keys for key in pair]
    assert all(one == other for one, other in keys)
    assert len(set(flat)) == 2


@pytest.mark.parametrize("place", ["loop", "thread", "process", None])
def test_without_a_journal_each_item_has_a_key(place: Any) -> None:
    """Wherever exec runs; attempts share it."""
    from_where = Keys(run_in=place, max_retries=2, max_workers=3)
    shared: dict[str, Any] = {}
    Graph(from_where).run(shared)
    assert len(set(shared["keys"])) == 6


class Keys(ParallelBatchNode[int, str]):
    def prep(self, _: Any) -> Any:
        return [1, 1, 2, 3, 4, 5]

    def exec(self, _: int) -> str:
        assert self.idempotency_key == self.idempotency_key
        return self.idempotency_key

    def post(self, shared: Any, _: Any, keys: Any) -> None:
        shared["keys"] = keys


def test_without_a_journal_chance_is_that_of_the_module() -> None:
    """And the clock is the machine's."""
    import random

    class Draws(Node[Any, Any]):
        def post(self, shared: Any, *_: Any) -> None:
            random.seed(5)
            shared["drawn"] = self.random.random()
            assert self.uuid() != self.uuid()
            assert self.now().tzinfo is UTC
            assert self.replaying is False
            assert self.idempotency_key

    shared: dict[str, Any] = {}
    Draws().run(shared)
    assert shared["drawn"] == Random(5).random()
