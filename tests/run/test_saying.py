"""``self.say(value)``: from every hook, wherever it runs, to the observers of the run."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import structlog

from kaygraph import (
    AttemptTimeoutError,
    BatchFinished,
    Graph,
    ItemFailed,
    ItemFinished,
    Journal,
    Node,
    NodeFinished,
    ParallelBatchNode,
    RunFinished,
    RunLog,
    Said,
)
from kaygraph.testing import simulate
from tests.run.speaking import (
    AsyncDef,
    AsyncYields,
    Def,
    Endless,
    InItsThread,
    Maps,
    Outer,
    SaysOdd,
    Speaker,
    Unpicklable,
    Yields,
)

pytestmark = pytest.mark.anyio

ITEMS = [1, 2, -3, 4, 5]


class OfNodes(list[Any]):
    """An observer that wants no event of an item."""

    items = False

    def __call__(self, event: Any, /) -> None:
        self.append(event)


class OfItems(OfNodes):
    items = True


def events_of(
    node: Any, observer: OfNodes, items: Any = ITEMS, blocking: bool = False
) -> list[Any]:
    """Run a node and return what its observer got."""
    if blocking:
        Graph(node).run({"items": items}, observers=[observer])
    else:
        asyncio.run(Graph(node).run_async({"items": items}, observers=[observer]))
    return observer


def said(events: list[Any]) -> dict[Any, list[Any]]:
    """Return what was said, by item, in order."""
    by_item: dict[Any, list[Any]] = {}
    for event in events:
        if isinstance(event, Said):
            by_item.setdefault(event.item, []).append(event.value)
    return by_item


EXPECTED = {index: [(item, number) for number in range(3)] for index, item in enumerate(ITEMS)}


def check_order(events: list[Any]) -> None:
    """Everything said about an item arrives before its end and before its node's."""
    ended: set[Any] = set()
    for event in events:
        if isinstance(event, ItemFinished | ItemFailed):
            ended.add(event.item)
        elif isinstance(event, BatchFinished | NodeFinished | RunFinished):
            ended.update(range(len(ITEMS)))
        elif isinstance(event, Said):
            assert event.item not in ended


HERE: dict[str, Callable[[], Any]] = {
    "on the loop": AsyncDef,
    "in the calling thread": lambda: Def(max_workers=1),
    "in threads": lambda: Def(run_in="thread"),
    "on the loop's thread": lambda: Def(run_in="loop"),
    "in threads of its own": InItsThread,
    "a generator": Yields,
    "an async generator": AsyncYields,
    "mapping": Maps,
}


@pytest.mark.parametrize("observer", [OfNodes, OfItems])
@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("where", HERE)
def test_what_exec_says_comes_in_order_before_its_item_ends(
    where: str, blocking: bool, observer: type[OfNodes]
) -> None:
    """Wherever it runs, also where items are not observed and go to threads in chunks."""
    node = HERE[where]()
    node.on_error = "skip"
    events = events_of(node, observer(), blocking=blocking)
    assert said(events) == EXPECTED
    check_order(events)


@pytest.fixture
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.mark.proofs  # each starts a process
@pytest.mark.parametrize("observer", [OfNodes, OfItems])
@pytest.mark.parametrize("kind", [Def, AsyncDef, Yields, AsyncYields, InItsThread, Maps])
def test_it_comes_from_worker_processes(kind: Any, observer: type[OfNodes]) -> None:
    """Item by item, and in chunks."""
    node = kind(run_in="process", on_error="skip")
    node._set_all({"max_workers" if kind is not Maps else "map_workers": 2})
    events = events_of(node, observer())
    assert said(events) == EXPECTED
    check_order(events)


@pytest.mark.proofs
async def test_it_comes_from_a_generator_in_a_process_that_is_a_stage() -> None:
    """Its values are asked for in several calls; what it says in between is kept for the next."""
    observer = OfItems()
    stage = Yields(run_in="process", max_workers=1, on_error="skip", name="stage")
    await Graph(stage | Speaker(name="end")).run_async({"items": ITEMS}, observers=[observer])
    events = [event for event in observer if event.node.endswith("stage")]
    assert said(events) == EXPECTED
    check_order(events)


@pytest.mark.proofs
def test_it_comes_from_executors_of_the_users(pool: ProcessPoolExecutor) -> None:
    """Live from threads; from processes with the result, or the error, of the item."""
    with ThreadPoolExecutor(2) as threads:
        for executor in (threads, pool):
            events = events_of(Def(run_in=executor, on_error="skip"), OfItems())
            assert said(events) == EXPECTED
            check_order(events)


def test_it_comes_while_exec_runs() -> None:
    """And not with the result: from a thread that waits until it has arrived."""

    class Waits(Node[Any, Any]):
        def exec(self, _: Any) -> bool:
            self.say("ready?")
            return answer.wait(30)

        def post(self, shared: Any, prep_res: Any, exec_res: bool) -> None:
            assert exec_res

    answer = threading.Event()

    def observer(event: Any, /) -> None:
        if isinstance(event, Said):
            answer.set()

    asyncio.run(Graph(Waits(run_in="thread")).run_async(observers=[observer]))


async def test_every_hook_can_speak() -> None:
    """``exec`` and its fallback for an item, the others for none; a single node has no item."""

    class Speaks(ParallelBatchNode[Any, Any]):
        def prep(self, shared: Any) -> Any:
            self.say("prep")
            return ["a", "b"]

        async def exec(self, item: Any) -> Any:
            self.say(f"exec {self.attempt}")
            raise ValueError(item)

        def exec_fallback(self, item: Any, exc: Exception) -> Any:
            self.say("fallback")
            return item

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            self.say("post")

    class One(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            self.say("one")

    observer = OfNodes()
    node = Speaks(max_retries=2, max_workers=1, name="speaks")
    node >> One(name="one")
    await Graph(node).run_async(observers=[observer])
    found = [(event.node, event.item, event.value) for event in observer if isinstance(event, Said)]
    assert found == [
        ("speaks", None, "prep"),
        *[("speaks", item, what) for item in (0, 1) for what in ("exec 1", "exec 2", "fallback")],
        ("speaks", None, "post"),
        ("one", None, "one"),
    ]


@pytest.mark.parametrize("place", ["thread", None])
def test_a_run_within_a_hook_speaks_to_those_around(place: Any) -> None:
    """In the calling thread and in another, in order, with the names around."""
    observer = OfNodes()
    Graph(Outer(run_in=place)).run({}, observers=[observer])
    found = [(event.node, event.value) for event in observer if isinstance(event, Said)]
    assert found == [("Outer", "before"), ("Outer/inner/Inner", "inner"), ("Outer", "after")]


def test_nobody_hears_what_is_said_without_observers() -> None:
    """Nor outside of a run."""
    Def().exec(1)
    assert Graph(Def()).run({"items": [1]}) is None


def test_a_node_may_have_a_say_of_its_own() -> None:
    """The name is a common word."""

    class Own(Node[Any, Any]):
        def say(self, value: Any, /) -> None:
            raise LookupError(value)

        async def exec(self, _: Any) -> None:
            self.say("mine")

    with pytest.raises(LookupError, match="mine"):
        Graph(Own()).run()


@pytest.mark.proofs
def test_what_cannot_be_pickled_is_an_error_in_a_process(pool: ProcessPoolExecutor) -> None:
    """It says what say() takes; on the loop and in threads anything can be said."""
    for place in ("process", pool):
        with pytest.raises(TypeError, match=r"say\(\) in a process takes what can be pickled"):
            events_of(Unpicklable(run_in=place), OfNodes())
    assert len(said(events_of(Unpicklable(run_in="thread"), OfNodes()))[None]) == 1
    heard_by_none = Graph(Unpicklable(run_in="process")).run()
    assert heard_by_none is None


@pytest.mark.proofs
@pytest.mark.parametrize("observer", [OfNodes, OfItems])
def test_what_cannot_be_unpickled_is_an_error_of_its_item(observer: type[OfNodes]) -> None:
    """The others of its chunk are done."""
    found: dict[str, Any] = {}

    class Kept(SaysOdd):
        def post(self, shared: Any, prep_res: Any, exec_res: list[Any]) -> None:
            found["results"] = exec_res

    Kept.__qualname__ = Kept.__name__ = "SaysOdd"
    Kept.__module__ = SaysOdd.__module__
    events = events_of(Kept(run_in="process", on_error="collect"), observer(), [0, 1, 2])
    assert found["results"][::2] == [0, 2]
    error = found["results"][1].error
    assert "what exec said was unpickled" in error.__notes__[0]
    assert said(events) == {0: [0], 2: [2]}


@pytest.mark.proofs
def test_a_process_that_never_stops_speaking_is_stopped_in_time() -> None:
    """Its time limit holds."""
    with pytest.raises(AttemptTimeoutError):
        events_of(Endless(run_in="process", timeout=0.2), OfNodes())

    class Many(Endless, ParallelBatchNode[Any, Any]):
        def prep(self, shared: Any) -> Any:
            return [1, 2]

    Many.__qualname__ = Many.__name__ = "Endless"
    Many.__module__ = Endless.__module__
    with pytest.raises(AttemptTimeoutError):
        events_of(Many(run_in="process", timeout=0.2, max_workers=1, chunksize=2), OfNodes())


def test_in_a_simulation_it_is_received_as_well() -> None:
    """Where threads are steps of the loop."""
    simulation = simulate(Graph(Def(run_in="thread", on_error="skip")), {"items": ITEMS})
    assert said(simulation.events) == EXPECTED
    check_order(simulation.events)


async def test_a_resumed_run_says_nothing_of_what_it_replays(tmp_path: Path) -> None:
    """``exec`` is not called again for what is recorded."""
    answers = iter([False, True])

    class Answers(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            if not next(answers):
                raise ConnectionError

    def graph() -> Graph:
        speaks = AsyncDef()
        speaks >> Answers()
        return Graph(speaks)

    found = []
    for _ in range(2):
        observer, journal = OfNodes(), Journal(tmp_path / "runs.db", run="one")
        with suppress(ConnectionError):
            await graph().run_async({"items": [1, 2]}, observers=[observer], journal=journal)
        found.append(said(observer))
    assert found == [{0: EXPECTED[0], 1: EXPECTED[1]}, {}]


def test_the_log_has_it_for_debugging() -> None:
    """Without its secrets."""
    with structlog.testing.capture_logs() as lines:

        class Secret(Node[Any, Any]):
            async def exec(self, _: Any) -> None:
                self.say("token=abcd1234efgh")

        Graph(Secret()).run(observers=[RunLog()])
    (line,) = [line for line in lines if line["event"] == "said"]
    assert line["log_level"] == "debug"
    assert "abcd1234" not in line["value"]
