"""Why a run waits: each kind of wait is named with its cause, its holder and its end."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kaygraph import (
    CircuitBreaker,
    Graph,
    Journal,
    Node,
    ParallelBatchNode,
    RateLimit,
)
from kaygraph.nodes import WaitFor
from kaygraph.snapshot import RunSnapshot, Waiting
from tests.inspection.staged import (
    Fails,
    Held,
    Late,
    Passes,
    Reads,
    Sleeps,
    running,
    settled,
)

pytestmark = pytest.mark.anyio


def wait_of(snapshot: RunSnapshot, kind: str) -> Waiting:
    found = [wait for wait in snapshot.waits if wait.kind == kind]
    assert found, snapshot.explain()
    return found[0]


async def test_permits_of_a_graph_are_held_by_other_nodes() -> None:
    """A node that waits for a permit of its graph learns who holds them, and how many wait."""
    start, parse, store, fetch = (
        Node[Any, Any](name="Start"),
        *(Held(name=name) for name in ("Parse", "Store", "Fetch")),
    )
    parse.count, store.count = 4, 2
    late = Late()
    start >> [parse, store, late]
    late >> fetch
    async with running(Graph(start, name="crawl", max_workers=6)) as run:
        snapshot = run.snapshot()
    wait = wait_of(snapshot, "permit")
    assert (wait.node, wait.on, wait.holders) == (
        "Fetch", "Graph 'crawl'", {"Parse": 4, "Store": 2},
    )  # fmt: skip
    assert wait.count == 3
    assert wait.text == (
        "'Fetch' waits: 6 of 6 permits of Graph 'crawl' are held by 'Parse' (4) and 'Store' (2); "
        "3 wait"
    )


async def test_permits_of_a_node_are_held_by_its_other_places() -> None:
    """Where a node runs in two places, its own permits are what the second waits for."""
    node = Held(name="Fetch", max_workers=2)
    first = Graph(node, name="first")
    second = Graph(node, name="second")
    start, late = Node[Any, Any](name="Start"), Late()
    start >> [first, late]
    late >> second
    async with running(Graph(start)) as run:
        wait = wait_of(run.snapshot(), "permit")
    assert wait.node == "second/Fetch"
    assert wait.holders == {"first/Fetch": 2}
    assert "2 of 2 permits of 'Fetch'" in wait.text


async def test_a_key_that_is_full_names_the_item_that_holds_it() -> None:
    """Items of one key wait for the one that is in progress."""
    node = Held(name="Fetch", limit_by=lambda item: item % 2)
    async with running(Graph(node)) as run:
        snapshot = run.snapshot()
    wait = wait_of(snapshot, "key")
    assert (wait.node, wait.count, wait.holders) == ("Fetch", 1, {"Fetch": 1})
    assert wait.text == (
        "'Fetch' waits: 1 of 1 permit of key 0 is held by item 0; 1 item of that key waits"
    )
    (row,) = snapshot.nodes
    assert (row.in_flight, row.waiting, row.total) == (2, 1, 3)


async def test_a_rate_says_when_the_next_call_may_begin() -> None:
    """A rate that is used up ends by itself."""
    node = Held(name="Fetch", rate=RateLimit(1, per=60))
    async with running(Graph(node)) as run:
        snapshot = run.snapshot()
    wait = wait_of(snapshot, "rate")
    assert (wait.node, wait.count, wait.on) == ("Fetch", 2, "RateLimit(1, per=60)")
    assert wait.seconds_left is not None
    assert 50 < wait.seconds_left <= 60
    assert "is used up; the next call may begin in" in wait.text
    (rate,) = snapshot.rates
    assert (rate.used, rate.waiting) == (1.0, 2)


async def test_items_of_a_free_key_are_behind_one_that_waits_for_a_rate() -> None:
    """Nobody holds the key: its first item waits for something else."""
    node = Held(name="Fetch", limit_by=lambda item: 0, rate=RateLimit(1, per=60))
    async with running(Graph(node)) as run:
        node.open.set()
        await settled()
        wait = wait_of(run.snapshot(), "key")
    assert wait.text == (
        "'Fetch' waits: 1 item of key 0 is behind item 1, which waits for RateLimit(1, per=60)"
    )


async def test_an_open_breaker_says_until_when_it_refuses_calls() -> None:
    """A breaker names what has opened it, and when it lets a call through."""

    breaker = CircuitBreaker(failures=1, reset_after=60, name="api")
    fails, held = Fails(name="Call", breaker=breaker), Held(name="Next")
    fails >> held
    async with running(Graph(fails)) as run:
        snapshot = run.snapshot()
    wait = wait_of(snapshot, "breaker")
    assert wait.node == "Call"
    assert wait.seconds_left is not None
    assert 50 < wait.seconds_left <= 60
    assert wait.text.startswith(
        "'Call': circuit breaker 'api' is open after a failure (ConnectionError), and refuses "
        "calls; the next one is admitted in "
    )
    assert snapshot.breakers[0].state == "open"


async def test_a_pause_between_attempts_names_the_error_and_its_end() -> None:
    """An item that waits for its next attempt holds no permit."""

    class Fails(Node[Any, Any]):
        async def exec(self, prep_res: Any, /) -> Any:
            raise TimeoutError("slow")

    async with running(Graph(Fails(name="Call", max_retries=3, wait=60))) as run:
        snapshot = run.snapshot()
    wait = wait_of(snapshot, "retry")
    assert (wait.node, wait.count) == ("Call", 1)
    assert wait.seconds_left is not None
    assert 50 < wait.seconds_left <= 60
    assert wait.text.endswith("after attempt 1 failed with TimeoutError")
    assert all(not cap.held for cap in snapshot.caps)


async def test_a_join_names_the_node_that_may_still_lead_to_it() -> None:
    """A join waits for the branch that is not there yet."""
    start, fast, slow, merge = (
        Node[Any, Any](name="Start"), Node[Any, Any](name="Fast"), Held(name="Slow"),
        Node[Any, Any](name="Merge"),
    )  # fmt: skip
    start >> [fast, slow] >> merge
    async with running(Graph(start)) as run:
        snapshot = run.snapshot()
    wait = wait_of(snapshot, "join")
    assert (wait.node, wait.holders) == ("Merge", {"Slow": 1})
    assert wait.text == "'Merge' waits for 'Slow', which may still lead to it"
    assert snapshot.joins[0].holders == ("Slow",)


async def test_a_full_buffer_names_the_slower_stage_behind_it() -> None:
    """A stage with no room behind it waits for the next one."""
    held = Held(name="Slow", max_workers=1)
    pipeline = Passes(name="Fast") | held
    pipeline.buffer = 8
    async with running(Graph(pipeline)) as run:
        snapshot = run.snapshot()
    (wait,) = [w for w in snapshot.waits if w.kind == "room" and w.on.endswith("'Pipeline/Slow'")]
    assert wait.node == "Pipeline/Fast"
    assert wait.text == (
        "'Pipeline/Fast' waits: the buffer behind 'Pipeline/Fast' is full (8 of 8 items), as "
        "'Pipeline/Slow' is slower"
    )
    assert [(b.before, b.after, b.items) for b in snapshot.buffers] == [
        (None, "Pipeline/Fast", 8),
        ("Pipeline/Fast", "Pipeline/Slow", 8),
    ]


async def test_a_source_stage_is_counted_while_it_is_read() -> None:
    """A stage without an exec reads as many items as there is room for."""

    class Source(Node[Any, Any]):
        def prep(self, shared: Any, /) -> Any:
            return range(1000)

    async with running(Graph(Source(name="Read") | Held(name="Slow", max_workers=1))) as run:
        row = run.snapshot().node("Pipeline/Read")
    assert row is not None
    assert 64 <= row.items <= 70


async def test_an_empty_buffer_names_the_stage_before_it() -> None:
    """A stage without items waits for the one before."""
    slow, fast = Held(name="Slow"), Passes(name="Fast")
    async with running(Graph(slow | fast)) as run:
        snapshot = run.snapshot()
    wait = wait_of(snapshot, "items")
    assert (wait.node, wait.holders) == ("Pipeline/Fast", {"Pipeline/Slow": 1})
    assert wait.text == (
        "'Pipeline/Fast' waits: its buffer is empty, as 'Pipeline/Slow' has no output yet: it "
        "works on 3 items"
    )


async def test_a_slow_source_is_shown_with_the_line_that_it_waits_at() -> None:
    """A source that gives nothing is named, as are how many items it has given."""

    async with running(Graph(Reads(name="Read"))) as run:
        snapshot = run.snapshot()
        wait = wait_of(snapshot, "source")
    (source,) = snapshot.sources
    assert (source.node, source.items) == ("Read", 1)
    assert source.place is not None
    assert source.place.endswith("in endless")
    assert wait.node == "Read"
    assert wait.text.startswith(
        "'Read' waits for its source, which has yielded no item after 1 item, at staged.py:"
    )
    assert wait.text.endswith("in endless")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


async def _entered(entered: threading.Event) -> None:
    await asyncio.to_thread(entered.wait)


async def test_calls_in_threads_are_shown_with_their_line(gate: threading.Event) -> None:
    """What an ``exec`` in a thread is at is seen from outside."""
    entered = threading.Event()

    class Blocks(Node[Any, Any]):
        run_in = "thread"

        def exec(self, prep_res: Any, /) -> Any:
            entered.set()
            gate.wait()

    async with running(Graph(Blocks(name="Parse"))) as run:
        await _entered(entered)
        snapshot = run.snapshot()
        gate.set()
    wait = wait_of(snapshot, "thread")
    assert wait.text.startswith("'Parse' runs: 1 call of exec in threads, at test_waits.py:")
    assert snapshot.executors[0].calls == {"Parse": 1}


async def test_a_full_executor_says_how_many_wait_there(gate: threading.Event) -> None:
    """An executor of the user's with one worker has a line of its own."""
    entered = threading.Event()

    class Blocks(ParallelBatchNode[Any, Any]):
        def prep(self, shared: Any, /) -> Any:
            return range(3)

        def exec(self, item: Any, /) -> Any:
            entered.set()
            gate.wait()

    with ThreadPoolExecutor(1) as executor:
        async with running(Graph(Blocks(name="Parse", run_in=executor))) as run:
            await _entered(entered)
            snapshot = run.snapshot()
            wait = wait_of(snapshot, "executor")
            gate.set()
    assert [(e.size, e.calls) for e in snapshot.executors] == [(1, {"Parse": 3})]
    assert wait.text == (
        "'Parse' runs: 3 calls of exec in ThreadPoolExecutor, which has 1 worker: 2 wait there"
    )


async def test_calls_in_processes_are_shown() -> None:
    """An ``exec`` in a worker process is known to be there."""
    async with running(Graph(Sleeps(name="Render"))) as run:
        wait = wait_of(run.snapshot(), "process")
    assert wait.text == "'Render' runs: 1 call of exec in worker processes"


async def test_a_person_who_is_asked_is_named(tmp_path: Path) -> None:
    """A wait for an answer says what was asked and how to answer it."""
    journal = Journal(tmp_path / "runs.db", run="letter-7", on_wait="stay")
    async with running(Graph(WaitFor("approval", schema=bool)), journal=journal) as run:
        while not any(w.kind == "answer" for w in run.snapshot().waits):  # noqa: ASYNC110
            await asyncio.sleep(0)
        wait = wait_of(run.snapshot(), "answer")
    assert wait.node == "approval"
    assert wait.text == (
        "'approval' waits for an answer to 'approval'; to give one: kaygraph runs answer --journal "
        f"{tmp_path / 'runs.db'} letter-7 approval JSON"
    )


async def test_a_hook_that_awaits_is_shown_with_its_line() -> None:
    """What the engine does not know of is a line in the user's own code."""
    async with running(Graph(Held(name="Fetch"))) as run:
        wait = wait_of(run.snapshot(), "hook")
    assert wait.count == 3
    assert wait.text.startswith("'Fetch' runs: 3 calls await at staged.py:")
    assert wait.text.endswith("in exec")


async def test_a_sleep_says_how_long_it_lasts() -> None:
    """An ``asyncio.sleep`` in a hook ends by itself."""

    class Sleepy(Node[Any, Any]):
        async def exec(self, prep_res: Any, /) -> Any:
            await asyncio.sleep(60)

    async with running(Graph(Sleepy(name="Nap"))) as run:
        wait = wait_of(run.snapshot(), "hook")
    assert wait.seconds_left is not None
    assert 50 < wait.seconds_left <= 60


async def test_keys_are_not_quoted_where_items_are_hidden() -> None:
    """``show_items=False`` holds for what is said about a wait."""
    node = Held(name="Fetch", limit_by=lambda item: "jane@example.org")
    async with running(Graph(node, show_items=False)) as run:
        snapshot = run.snapshot()
    assert "jane" not in str(snapshot.to_dict()) + snapshot.explain()
    assert "key a str" in wait_of(snapshot, "key").text
