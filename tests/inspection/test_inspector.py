"""An observer that says at any time, from any thread, what a run is at."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kaygraph import Graph, Inspector, Node, ParallelBatchNode
from kaygraph.snapshot import RunSnapshot


class Gated(ParallelBatchNode[Any, Any]):
    """Its third item waits until the gate is open."""

    max_workers = 1

    def __init__(self, gate: threading.Event, **settings: Any) -> None:
        super().__init__(**settings)
        self.gate, self.entered = gate, threading.Event()

    def prep(self, shared: Any, /) -> Any:
        return range(5)

    async def exec(self, item: Any, /) -> Any:
        if item == 2:
            self.entered.set()
            while not self.gate.is_set():  # noqa: ASYNC110 - another thread sets it
                await asyncio.sleep(0)
        if item == 3:
            raise ValueError("three")
        return item


class First(Node[Any, Any]):
    async def exec(self, prep_res: Any, /) -> Any:
        return 1


def looked_at(graph: Any, entered: threading.Event, look: Callable[[], None]) -> None:
    """Run a graph in this thread, and look at it from another one when it has come so far."""
    failures: list[BaseException] = []

    def looking() -> None:
        entered.wait()
        try:
            look()
        except BaseException as error:
            failures.append(error)
            raise

    thread = threading.Thread(target=looking)
    thread.start()
    try:
        graph()
    finally:
        entered.set()
        thread.join()
    assert failures == []


def test_a_run_is_looked_at_from_another_thread() -> None:
    """The figures are those of the moment, with what has ended before."""
    gate, inspector, taken = threading.Event(), Inspector(), list[RunSnapshot]()
    first, batch = First(name="First"), Gated(gate, name="Batch", on_error="collect")
    first >> batch
    graph = Graph(first, name="work")

    def look() -> None:
        taken.append(inspector.snapshot())
        gate.set()

    looked_at(lambda: graph.run({}, observers=[inspector]), batch.entered, look)
    (during,), after = taken, inspector.snapshot()
    assert (during.name, during.state) == ("work", "running")
    assert during.seconds is not None
    assert during.seconds > 0
    first_row, batch_row = during.node("First"), during.node("Batch")
    assert first_row is not None
    assert (first_row.state, first_row.runs) == ("finished", 1)
    assert batch_row is not None
    assert (batch_row.state, batch_row.total) == ("running", 5)
    assert (batch_row.items, batch_row.ok, batch_row.in_flight) == (3, 2, 1)
    ended = after.node("Batch")
    assert after.state == "finished"
    assert ended is not None
    assert (ended.items, ended.ok, ended.failed, ended.in_flight) == (5, 4, 1, 0)
    assert after.explain() == "work: the run has ended."


def test_a_hook_that_holds_the_loop_is_named() -> None:
    """A look from another thread needs no turn of the loop."""
    gate, entered, inspector = threading.Event(), threading.Event(), Inspector()

    class Holds(Node[Any, Any]):
        async def exec(self, prep_res: Any, /) -> Any:
            entered.set()
            gate.wait()

    texts: list[str] = []

    def look() -> None:
        texts.append(inspector.explain())
        gate.set()

    graph = Graph(Holds(name="Parse"), name="work")
    looked_at(lambda: graph.run({}, observers=[inspector]), entered, look)
    first, node = texts[0].splitlines()
    assert node.startswith("'Parse' blocks the event loop at test_inspector.py:")
    assert first.startswith("the event loop is blocked by a hook, at test_inspector.py:")
    assert first.endswith("in exec: nothing else can run")


def test_a_run_that_has_failed_says_with_what() -> None:
    """Its error is there, without its secrets."""

    class Fails(Node[Any, Any]):
        async def exec(self, prep_res: Any, /) -> Any:
            raise RuntimeError("no answer from https://me:hidden@example.org")

    inspector = Inspector()
    with pytest.raises(RuntimeError):
        Graph(Fails(name="Call"), name="work").run({}, observers=[inspector])
    snapshot = inspector.snapshot()
    assert snapshot.state == "failed"
    assert snapshot.error == "RuntimeError: no answer from https://***@example.org"
    assert snapshot.explain() == f"work: the run has ended with {snapshot.error}."
    row = snapshot.node("Call")
    assert row is not None
    assert (row.state, row.failed_runs) == ("failed", 1)


def test_before_a_run_there_is_nothing_to_look_at() -> None:
    """The error says what to type."""
    with pytest.raises(ValueError, match=r"run\(shared, observers=\[inspector\]\)"):
        Inspector().snapshot()


def test_an_inspector_is_used_for_one_run_after_the_other() -> None:
    """The second run begins with nothing."""
    inspector = Inspector()
    for _ in range(2):
        Graph(First(name="First"), name="work").run({}, observers=[inspector])
    row = inspector.snapshot().node("First")
    assert row is not None
    assert row.runs == 1


async def _looked_at_without_answer(monkeypatch: pytest.MonkeyPatch) -> RunSnapshot:
    inspector, begun = Inspector(), asyncio.Event()

    class Waits(Node[Any, Any]):
        async def exec(self, prep_res: Any, /) -> Any:
            begun.set()
            await asyncio.Event().wait()

    run = Graph(Waits(name="Wait"), name="work").launch({}, observers=[inspector])
    await begun.wait()
    answers = list[RunSnapshot]()
    thread = threading.Thread(target=lambda: answers.append(inspector.snapshot()))

    def closed(*_: Any, **__: Any) -> None:
        raise RuntimeError("Event loop is closed")

    with monkeypatch.context() as patch:
        patch.setattr(asyncio.get_running_loop(), "call_soon_threadsafe", closed)
        thread.start()
        thread.join()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    return answers[0]


def test_a_run_whose_loop_is_closed_can_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers there: it is looked at from outside."""
    snapshot = asyncio.run(_looked_at_without_answer(monkeypatch))
    assert [node.name for node in snapshot.nodes] == ["Wait"]


def test_a_snapshot_is_plain_data() -> None:
    """It can be written as JSON."""
    inspector = Inspector()
    Graph(First(name="First") >> Gated(_open(), name="Batch", on_error="skip")).run(
        {}, observers=[inspector]
    )
    plain = inspector.snapshot().to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert [node["name"] for node in plain["nodes"]] == ["First", "Batch"]


def _open() -> threading.Event:
    gate = threading.Event()
    gate.set()
    return gate


def test_stages_that_were_cut_short_do_not_run_for_ever() -> None:
    """When a pipeline fails, its stages have ended with it."""
    inspector = Inspector()
    stages = Gated(_open(), name="Read") | Gated(_open(), name="Write")
    with pytest.raises(ValueError, match="three"):
        Graph(stages, name="work").run({}, observers=[inspector])
    assert {node.state for node in inspector.snapshot().nodes} == {"failed"}


def test_an_inner_run_is_part_of_the_outer_one() -> None:
    """What an inner run does is seen, and its end is not taken for that of the outer one."""
    gate, inspector, taken = threading.Event(), Inspector(), list[RunSnapshot]()
    inner = Gated(gate, name="Inner", on_error="collect")

    class Outer(Node[Any, Any]):
        async def exec(self, prep_res: Any, /) -> Any:
            await Graph(First(name="Once"), name="before").run_async({})
            await Graph(inner, name="within").run_async({})

    def look() -> None:
        taken.append(inspector.snapshot())
        gate.set()

    graph = Graph(Outer(name="Outer"), name="work")
    looked_at(lambda: graph.run({}, observers=[inspector]), inner.entered, look)
    (during,) = taken
    assert during.state == "running"
    row = during.node("Outer/within/Inner") or during.node("within/Inner")
    assert row is not None, [node.name for node in during.nodes]
    assert row.in_flight == 1


def test_items_run_as_without_it() -> None:
    """It asks for no event of an item."""
    assert Inspector.items is False


async def _snapshot_within(inspector: Inspector) -> RunSnapshot:
    return inspector.snapshot()


def test_a_hook_may_look_at_its_own_run() -> None:
    """The task that asks is in the middle of a step."""
    inspector, taken = Inspector(), list[RunSnapshot]()

    class Looks(ParallelBatchNode[Any, Any]):
        def prep(self, shared: Any, /) -> Any:
            return range(2)

        async def exec(self, item: Any, /) -> Any:
            taken.append(await _snapshot_within(inspector))

    Graph(Looks(name="Look")).run({}, observers=[inspector])
    row = taken[0].node("Look")
    assert row is not None
    assert (row.items, row.in_flight, row.ok) == (1, 1, 0)


@pytest.mark.anyio
async def test_a_run_that_has_not_begun_says_so() -> None:
    """``launch`` returns before the loop has had a turn."""
    run = Graph(First()).launch({})
    assert run.explain() == "the run has not started yet."
    await run
    assert run.explain() == "Graph: the run has ended."
