"""What exec returned is kept under the item and the code, and exec is not called for it again."""

import asyncio
import copy
import itertools
import os
import pickle
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kaygraph import (
    BatchGraph,
    BatchNode,
    Cache,
    CircuitBreaker,
    Drop,
    Graph,
    MapReduceNode,
    Node,
    ParallelBatchNode,
    RateLimit,
    RunReport,
)
from kaygraph.errors import (
    JournalFullError,
    JournalLockedError,
    JournalUnavailableError,
    NotRecordableError,
)
from kaygraph.events import Event, ItemFailed, ItemFinished
from kaygraph.journal import cache as cache_module
from kaygraph.journal import cached_in
from kaygraph.journal.journal import Journal
from kaygraph.journal.memory import MemoryStore
from kaygraph.nodes import ChatNode, ChatReply, HTTPNode, ReadText, node
from kaygraph.patterns import ParallelValidationNode
from kaygraph.testing import assert_accounted, cancel_everywhere, run_virtually, simulate
from tests.chat_server import ChatServer, Says
from tests.clock import VIRTUAL
from tests.databases import schema
from tests.servers import in_turn, reply, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


class Doubling(ParallelBatchNode[int, int]):
    """Doubles the numbers under "in"; ``calls`` lists those that exec was called for."""

    def __init__(self, calls: list[Any], **settings: Any) -> None:
        super().__init__(**settings)
        self.calls = calls

    def prep(self, shared: dict[str, Any]) -> list[int]:
        return list(shared["in"])

    async def exec(self, number: int) -> int:
        self.calls.append(number)
        await asyncio.sleep(1)
        return number * 2

    def post(self, shared: dict[str, Any], _: Any, results: list[int]) -> None:
        shared["out"] = results


class Quick(Doubling):
    async def exec(self, number: int) -> int:
        self.calls.append(number)
        return number * 2


async def doubled(*numbers: int, calls: list[Any], **settings: Any) -> list[Any]:
    """Run a batch of numbers and return its results."""
    shared: dict[str, Any] = {"in": numbers}
    await Doubling(calls, **settings).run_async(shared)
    return list(shared["out"])


# --- what is cached ---------------------------------------------------------------------------


class AsyncOne(Node):
    async def exec(self, item: Any) -> Any:
        self.calls.append(item)
        return (item, "kept")


class SyncOne(Node):
    def exec(self, item: Any) -> Any:
        self.calls.append(item)
        return (item, "kept")


class AsyncSome(BatchNode):
    async def exec(self, item: Any) -> Any:
        self.calls.append(item)
        return (item, "kept")


class SyncSome(ParallelBatchNode):
    def exec(self, item: Any) -> Any:
        self.calls.append(item)
        return (item, "kept")


@pytest.mark.parametrize("cls", [AsyncOne, SyncOne, AsyncSome, SyncSome])
@pytest.mark.parametrize("place", ["file", "memory"])
def test_an_equal_item_does_not_call_exec_again(cls: Any, place: str, tmp_path: Path) -> None:
    """What exec returned is restored as an equal value, in the next run and by the next object."""
    address = str(tmp_path / "cache.db") if place == "file" else ":memory:"
    cache = Cache(address)
    calls: list[Any] = []
    results: list[Any] = []

    class Fetch(cls):  # type: ignore[misc]
        def prep(self, shared: Any) -> Any:
            return shared

        def post(self, shared: Any, _: Any, result: Any) -> None:
            results.append(result)

    for _ in range(2):
        fetch = Fetch(cache=cache)
        fetch.calls = calls
        Graph(fetch).run(["a", "b", "a"])
        if place == "file":
            cache = Cache(address)  # like another process
    items = ["a", "b"] if issubclass(cls, BatchNode) else [["a", "b", "a"]]
    assert sorted(calls) == items
    assert results[0] == results[1]
    one = results[1][0] if issubclass(cls, BatchNode) else results[1]
    assert type(one) is tuple


async def test_stages_of_a_pipeline_keep_results_too() -> None:
    """An item of a stage is an item."""
    calls: list[Any] = []
    cache = Cache(":memory:")

    @node(cache=cache, max_retries=1)
    async def add(number: int) -> int:
        calls.append(number)
        return number + 1

    for _ in range(2):
        async with aclosing((_numbers() | add).stream()) as results:
            assert [result async for result in results] == [2, 3, 2]
    assert calls == [1, 2]


def _numbers() -> BatchNode[int, int]:
    class Numbers(BatchNode[int, int]):
        def prep(self, shared: Any) -> list[int]:
            return [1, 2, 1]

        async def exec(self, number: int) -> int:
            return number

    return Numbers()


@pytest.mark.parametrize("kind", ["generator", "async_generator"])
async def test_what_a_generator_yields_is_kept_in_its_order(kind: str) -> None:
    """In a pipeline the values move on one by one, from the cache as from exec."""
    calls: list[int] = []

    class Count(Node):
        cache = Cache(":memory:")

        if kind == "generator":

            def exec(self, number: int) -> Iterator[int]:
                calls.append(number)
                yield from range(number)
        else:

            async def exec(self, number: int) -> AsyncIterator[int]:
                calls.append(number)
                for one in range(number):
                    yield one

    for _ in range(2):
        async with aclosing((_numbers() | Count()).stream()) as results:
            assert [result async for result in results] == [0, 0, 1, 0]
    assert calls == [1, 2]


def test_another_process_has_the_results(tmp_path: Path) -> None:
    """A file holds them for everyone who names it."""
    (tmp_path / "fetch.py").write_text(
        """from kaygraph import Cache, Node

class Fetch(Node):
    cache = Cache("cache.db", ttl="1h")
    def prep(self, shared):
        return {"url": "a", "pages": (1, 2)}
    def exec(self, item):
        print("called")
        return {item["url"]: item["pages"]}
    def post(self, shared, item, result):
        print(result)

Fetch().run()
"""
    )
    printed = [
        subprocess.run(
            [sys.executable, "fetch.py"],
            cwd=tmp_path,
            env={"PYTHONPATH": ":".join(filter(None, sys.path)), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.split("\n")
        for seed in ("1", "2")
    ]
    assert printed == [["called", "{'a': (1, 2)}", ""], ["{'a': (1, 2)}", ""]]


async def test_a_result_is_another_object_each_time() -> None:
    """Changing one changes none of the others."""
    cache = Cache(":memory:")

    @node(cache=cache, writes="out")
    async def fetch() -> list[int]:
        return [1]

    for _ in range(3):
        shared: dict[str, Any] = {}
        await fetch.run_async(shared)
        assert shared["out"] == [1]
        shared["out"].append(2)


async def test_none_is_a_result() -> None:
    """exec that returns nothing is not called again either."""
    calls: list[int] = []

    @node(cache=Cache(":memory:"))
    async def note() -> None:
        calls.append(1)

    await note.run_async({})
    await note.run_async({})
    assert calls == [1]


# --- keys ---------------------------------------------------------------------------------------


async def test_other_code_is_another_result() -> None:
    """Two nodes that share a cache share results only if they do the same."""
    cache = Cache(":memory:")

    def made(factor: int) -> Node:
        class Multiply(Node):
            def __init__(self) -> None:
                super().__init__(cache=cache)
                self.factor = factor

            def prep(self, shared: Any) -> int:
                return 2

            async def exec(self, number: int) -> int:
                return number * self.factor

            def post(self, shared: Any, _: Any, result: int) -> None:
                shared["out"] = result

        return Multiply()

    results = []
    for factor in (2, 3, 2):
        shared: dict[str, Any] = {}
        await made(factor).run_async(shared)
        results.append(shared["out"])
    assert results == [4, 6, 4]


async def test_what_prep_puts_on_the_node_counts() -> None:
    """exec may read what prep has set: it is part of its input."""

    class Greet(Node):
        cache = Cache(":memory:")
        language = ""

        def prep(self, shared: Any) -> str:
            self.language = shared["language"]
            return "Ada"

        async def exec(self, name: str) -> str:
            return f"{self.language} {name}"

        def post(self, shared: Any, _: Any, result: str) -> None:
            shared["out"] = result

    greet, results = Greet(), []
    for language in ("Hello", "Moin"):
        shared = {"language": language}
        await greet.run_async(shared)
        results.append(shared["out"])
    assert results == ["Hello Ada", "Moin Ada"]


async def test_params_that_exec_reads_count() -> None:
    """In another round the same item may have another result."""
    results: list[Any] = []

    class Add(Node):
        cache = Cache(":memory:")

        def prep(self, shared: Any) -> int:
            return 1

        async def exec(self, number: int) -> int:
            return number + int(self.params["add"])

        def post(self, shared: Any, _: Any, result: int) -> None:
            results.append(result)

    class Rounds(BatchGraph):
        def prep(self, shared: Any) -> Any:
            return [{"add": 1}, {"add": 2}, {"add": 1}]

    await Rounds(Add()).run_async({})
    assert results == [2, 3, 2]


async def test_key_says_what_of_an_item_decides() -> None:
    """With key=, an item may be anything, and what its key leaves out does not count."""
    calls: list[Any] = []
    cache = Cache(":memory:", key=lambda item: item["id"])

    @node(cache=cache, reads="item")
    async def fetch(item: Any) -> str:
        calls.append(item["id"])
        return f"page {item['id']}"

    for number, key in enumerate(("a", "b", "a")):
        await fetch.run_async({"item": {"id": key, "client": object(), "number": number}})
    assert calls == ["a", "b"]


@dataclass
class Point:
    x: int


@dataclass
class Line:
    end: Point


async def test_items_and_results_must_be_recordable() -> None:
    """The error names the node, the item, and what to pass."""
    events: list[Event] = []

    class Ticket:
        """It does not declare what it consists of."""

    class Fetch(BatchNode):
        cache = Cache(":memory:")

        def prep(self, shared: Any) -> Any:
            return shared

        async def exec(self, item: Any) -> Any:
            return Line(Point(1))

    types = r"Cache\(\.\.\., types=\["
    with pytest.raises(NotRecordableError, match=rf"The item of 'Fetch' .*{types}Ticket\]") as item:
        await Fetch().run_async([Ticket()], observers=[events.append])
    assert item.value.__notes__[0].startswith("in node 'Fetch', item 0")
    failed = [event for event in events if isinstance(event, ItemFailed)]
    assert [(one.status, one.attempts) for one in failed] == [("failed", 0)]
    with pytest.raises(
        NotRecordableError, match=rf"What exec of 'Fetch' returned .*{types}Line\]"
    ) as result:
        await Fetch().run_async([1])
    assert result.value.__notes__ == ["in node 'Fetch', item 0"]


async def test_types_are_given_or_annotated() -> None:
    """Items and results of classes are restored as objects of them."""
    calls: list[Any] = []

    @node(cache=Cache(":memory:", types=[Point, Line]), reads="in", writes="out")
    async def given(item: Any) -> Any:
        calls.append(item)
        return Line(item)

    @node(cache=Cache(":memory:"), writes="made")
    async def made() -> Line:
        calls.append("made")
        return Line(Point(3))

    class Annotated(Node):
        cache = Cache(":memory:")

        async def exec(self, _: None) -> Line:
            calls.append(None)
            return Line(Point(2))

        def post(self, shared: Any, _: None, result: Line) -> None:
            shared["out"] = result

    for _ in range(2):
        shared: dict[str, Any] = {"in": Point(1)}
        await given.run_async(shared)
        assert shared["out"] == Line(Point(1))
        await Annotated().run_async(shared)
        assert shared["out"] == Line(Point(2))
        await made.run_async(shared)
        assert shared["made"] == Line(Point(3))
    assert calls == [Point(1), None, "made"]


# --- two at once ----------------------------------------------------------------------------------


async def test_of_two_equal_items_at_once_one_calls_exec() -> None:
    """The other waits for its result; so do those of another run on the same loop."""
    calls: list[int] = []
    cache = Cache(":memory:")
    one = doubled(1, 1, 2, 1, calls=calls, cache=cache)
    other = doubled(2, 1, calls=calls, cache=cache)
    assert await asyncio.gather(one, other) == [[2, 2, 4, 2], [4, 2]]
    assert sorted(calls) == [1, 2]


async def test_if_the_first_fails_the_other_calls_exec_itself() -> None:
    """A failure is not a result for others, and one at a time tries again."""
    calls: list[int] = []

    class Fetch(ParallelBatchNode[int, str]):
        cache = Cache(":memory:")

        def prep(self, shared: Any) -> list[int]:
            return [1, 1, 1]

        async def exec(self, item: int) -> str:
            calls.append(item)
            number = len(calls)
            await asyncio.sleep(1)
            if number == 1:
                raise ValueError("the first")
            return "kept"

        def post(self, shared: Any, _: Any, results: list[Any]) -> None:
            shared["out"] = results

    shared: dict[str, Any] = {}
    await Fetch(on_error="collect").run_async(shared)
    first, second, third = shared["out"]
    assert (first.status, second, third) == ("failed", "kept", "kept")
    assert len(calls) == 2


async def test_if_the_first_is_cancelled_the_other_calls_exec_itself() -> None:
    """Another run continues if one was cancelled during its call."""
    calls: list[int] = []
    cache = Cache(":memory:")
    first = asyncio.ensure_future(doubled(1, calls=calls, cache=cache))
    second = asyncio.ensure_future(doubled(1, calls=calls, cache=cache))
    await asyncio.sleep(0.5)
    first.cancel()
    assert await second == [2]
    assert first.cancelled()
    assert calls == [1, 1]


async def test_waiters_may_be_cancelled() -> None:
    """It does not end the call that it was waiting for."""
    calls: list[int] = []
    cache = Cache(":memory:")
    first = asyncio.ensure_future(doubled(1, calls=calls, cache=cache))
    second = asyncio.ensure_future(doubled(1, calls=calls, cache=cache))
    await asyncio.sleep(0.5)
    second.cancel()
    assert await first == [2]
    assert calls == [1]


async def test_who_waits_holds_no_permit() -> None:
    """What the call waits for can run, even if as many wait as there are permits."""
    begun = asyncio.Event()

    class Fetch(ParallelBatchNode[int, int]):
        cache = Cache(":memory:")

        def prep(self, shared: Any) -> list[int]:
            return [1, 1]

        async def exec(self, item: int) -> int:
            await begun.wait()
            return item

    class Begin(Node):
        async def exec(self, _: Any) -> None:
            begun.set()

    class Start(Node):
        def post(self, *_: Any) -> None: ...

    start = Start()
    start >> [Fetch(), Begin()]
    async with asyncio.timeout(60):
        await Graph(start, max_parallel_tasks=2).run_async({})


@pytest.mark.parametrize("as_stage", [False, True])
async def test_who_waits_holds_up_nobody(as_stage: bool) -> None:
    """Other items are processed meanwhile, even if more equal ones come first than may run."""
    loop, calls = asyncio.get_running_loop(), list[tuple[float, int]]()

    class Fetch(Doubling):
        async def exec(self, number: int) -> int:
            calls.append((loop.time() - began, number))
            await asyncio.sleep(1)
            return number * 2

    fetch = Fetch([], cache=Cache(":memory:"), max_workers=2)
    began = loop.time()
    shared: dict[str, Any] = {"in": [1, 1, 1, 1, 1, 2, 3]}
    if as_stage:
        async with aclosing((fetch | _unchanged).stream(shared)) as results:
            shared["out"] = [result async for result in results]
    else:
        await fetch.run_async(shared)
    assert shared["out"] == [2, 2, 2, 2, 2, 4, 6]
    assert calls == [(0.0, 1), (0.0, 2), (1.0, 3)]


@node
async def _unchanged(item: Any) -> Any:
    return item


async def test_a_call_within_itself_does_not_wait_for_itself() -> None:
    """A node whose exec runs the node for an equal item continues as it would without a cache."""
    depth = 0

    class Nested(Node):
        cache = Cache(":memory:")

        def prep(self, shared: Any) -> int:
            return 1

        async def exec(self, item: int) -> int:
            nonlocal depth
            depth += 1
            if depth < 3:
                await Nested().run_async({})
            return item

    await Nested().run_async({})
    assert depth == 3


def test_runs_in_several_threads_share_a_cache(tmp_path: Path) -> None:
    """Loops do not wait for each other: each has a correct result, and the file has one."""
    cache = Cache(tmp_path / "cache.db")
    results: list[Any] = []

    def work() -> None:
        results.append(run_virtually(doubled(1, 2, 3, calls=[], cache=cache)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[2, 4, 6]] * 4
    calls: list[int] = []
    assert run_virtually(doubled(1, 2, 3, calls=calls, cache=Cache(tmp_path / "cache.db")))
    assert calls == []


# --- what is not cached ---------------------------------------------------------------------------


async def test_failures_drops_and_substitutes_are_not_kept() -> None:
    """Each is tried again by the next run."""
    calls: list[str] = []

    class Fetch(ParallelBatchNode[str, str]):
        cache = Cache(":memory:")

        def prep(self, shared: Any) -> list[str]:
            return ["fails", "drops", "works"]

        async def exec(self, item: str) -> str:
            calls.append(item)
            if item == "fails":
                raise ValueError(item)
            if item == "drops":
                raise Drop
            return item

        def exec_fallback(self, item: str, error: Exception) -> str:
            return "a substitute"

        def post(self, shared: Any, _: Any, results: list[str]) -> None:
            shared["out"] = results

    for _ in range(2):
        shared: dict[str, Any] = {}
        await Fetch().run_async(shared)
        assert shared["out"] == ["a substitute", "works"]
    assert sorted(calls) == ["drops", "drops", "fails", "fails", "works"]


async def test_a_result_of_a_later_attempt_is_kept() -> None:
    """Retries belong to the call; its outcome is a result."""
    calls: list[int] = []

    class Fetch(Node):
        cache = Cache(":memory:")

        def prep(self, shared: Any) -> int:
            return 1

        async def exec(self, item: int) -> int:
            calls.append(self.attempt)
            if self.attempt == 1:
                raise ValueError("at first")
            return item

        def exec_fallback(self, item: int, error: Exception) -> int:
            return 0

    for _ in range(2):
        await Fetch(max_retries=2, wait=1).run_async({})
    assert calls == [1, 2]


async def test_a_result_is_good_for_ttl_seconds() -> None:
    """On a virtual clock, by that clock."""
    calls: list[int] = []
    cache = Cache(":memory:", ttl="10m")
    for wait_s, expected in ((0, 1), (590, 1), (20, 2)):
        await asyncio.sleep(wait_s)
        assert await doubled(1, calls=calls, cache=cache) == [2]
        assert len(calls) == expected


def test_on_the_clock_of_the_machine_ttl_outlives_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expired results in the file are computed again, and removed when a run ends."""
    now = 1_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    calls: list[int] = []

    def run(ttl: str | None = "1h") -> None:
        one = node(lambda: calls.append(1), cache=Cache(tmp_path / "cache.db", ttl=ttl))
        one.run({})

    run()
    now += 3599
    run()
    assert len(calls) == 1
    now += 2
    run()
    assert len(calls) == 2
    assert entries_in(tmp_path / "cache.db") == 1
    now += 3601
    node(lambda: 1, cache=Cache(tmp_path / "cache.db")).run({})  # it writes another
    assert entries_in(tmp_path / "cache.db") == 1
    run()
    assert len(calls) == 3


def entries_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM kaygraph_cache").fetchone()[0])


def test_answers_without_success_are_not_kept() -> None:
    """An answer that says "not found", or "slow down", is not a result for the next run."""
    seen: list[tuple[int, bool]] = []

    async def main() -> None:
        answers = in_turn(reply(status=404), reply(status=503), reply(b"1"), reply(b"2"))
        async with serving(answers) as site:
            ask = HTTPNode(site.url, writes="out", cache=Cache(":memory:"), max_retries=1)
            for _ in range(4):
                shared: dict[str, Any] = {}
                await ask.run_async(shared)
                seen.append((shared["out"]["status_code"], shared["out"]["success"]))
            assert len(site.asked) == 3

    asyncio.run(main())
    assert seen == [(404, False), (503, False), (200, True), (200, True)]


def test_the_answer_of_a_model_is_cached() -> None:
    """The reply is restored as a reply, and the model is not asked again."""
    replies: list[Any] = []

    class Ask(ChatNode):
        def post(self, shared: Any, _: Any, reply: Any, /) -> None:
            replies.append(reply)

    async def main() -> None:
        async with ChatServer(Says("Hello.")) as server:
            ask = Ask(server.url, model="small", reads="question", cache=Cache(":memory:"))
            for _ in range(2):
                await ask.run_async({"question": "Hi?"})
            assert len(server.bodies) == 1

    asyncio.run(main())
    assert replies[0] == replies[1]
    assert isinstance(replies[1], ChatReply)


# --- what a hit costs -----------------------------------------------------------------------------


async def test_a_hit_takes_no_rate_no_permit_and_no_attempt() -> None:
    """A hundred hits take no time when the rate allows one call an hour."""
    calls: list[int] = []
    cache = Cache(":memory:")
    settings: dict[str, Any] = {"cache": cache, "rate": RateLimit(1, per=3600)}
    loop = asyncio.get_running_loop()
    await doubled(1, calls=calls, **settings)
    before = loop.time()
    assert await doubled(*[1] * 100, calls=calls, **settings) == [2] * 100
    assert loop.time() == before
    assert calls == [1]


async def test_a_hit_is_had_while_the_circuit_is_open() -> None:
    """A service behind an open breaker is not needed for cached results."""
    cache = Cache(":memory:")
    breaker = CircuitBreaker(failures=1, reset_after=3600)
    broken = False

    class Ask(Node):
        def __init__(self) -> None:
            super().__init__(cache=cache, breaker=breaker)

        def prep(self, shared: Any) -> int:
            return int(shared["item"])

        async def exec(self, item: int) -> int:
            if broken:
                raise ConnectionError
            return item

        def post(self, shared: Any, _: Any, result: int) -> None:
            shared["out"] = result

    await Ask().run_async({"item": 1})
    broken = True
    with pytest.raises(ConnectionError):
        await Ask().run_async({"item": 2})
    shared: dict[str, Any] = {"item": 1}
    await Ask().run_async(shared)
    assert shared["out"] == 1


async def test_a_report_and_events_tell_hits() -> None:
    """A hit is an item that is ok after 0 attempts; exec was not called."""
    cache = Cache(":memory:")
    await doubled(1, calls=[], cache=cache)
    report, events = RunReport(), list[Event]()
    shared: dict[str, Any] = {"in": [1, 2, 1]}
    await Doubling([], cache=cache).run_async(shared, observers=[report, events.append])
    figures = report.nodes["Doubling"]
    assert (figures.cached, figures.items["ok"], figures.in_flight, figures.peak) == (2, 3, 0, 1)
    assert report.to_dict()["nodes"][0]["cached"] == 2
    assert "2 from the cache" in str(report)
    ended = [event for event in events if isinstance(event, ItemFinished)]
    assert sorted((one.attempts, one.usage.cached) for one in ended) == [
        (0, True),
        (0, True),
        (1, False),
    ]


async def test_outcomes_tell_hits_by_their_attempts() -> None:
    """An outcome of a stream that has 0 attempts and is ok came from the cache."""
    cache = Cache(":memory:")
    await doubled(1, calls=[], cache=cache)
    batch = Doubling([], cache=cache, max_workers=1)
    async with aclosing(batch.stream({"in": [2, 1]})) as outcomes:
        rows = [(one.item, one.value, one.attempts, one.seconds) async for one in outcomes]
    assert rows == [(2, 4, 1, 1.0), (1, 2, 0, 0.0)]


# --- where it is cached ---------------------------------------------------------------------------


@pytest.mark.skipif("KAYGRAPH_TEST_POSTGRES" not in os.environ, reason="needs a server")
def test_several_machines_can_share_it() -> None:
    """A PostgreSQL database shares results among all that know its url."""
    with schema() as url:
        calls: list[int] = []
        for _ in range(2):
            shared: dict[str, Any] = {"in": range(50)}
            Quick(calls, cache=Cache(url, ttl="1h")).run(shared)
            assert shared["out"] == [number * 2 for number in range(50)]
        assert sorted(calls) == [*range(50)]


def test_no_thread_and_no_file_stays_open(tmp_path: Path) -> None:
    """A run closes what it opened, even when it fails."""
    cache = Cache(tmp_path / "cache.db")

    def fail() -> None:
        raise ValueError("no result")

    node(lambda: 1, cache=cache).run({})
    with pytest.raises(ValueError, match="no result"):
        node(fail, cache=cache).run({})
    assert not [one for one in threading.enumerate() if one.name.startswith("kaygraph")]
    assert [path.name for path in tmp_path.iterdir()] == ["cache.db"]  # its log is gone


async def test_runs_within_a_run_share_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is opened once, and closed when the outermost run ends, however it ends."""
    opened: list[MemoryStore] = []
    closed: list[MemoryStore] = []

    class Store(MemoryStore):
        def close(self) -> None:
            closed.append(self)

    def open_store(_: str) -> MemoryStore:
        opened.append(Store())
        return opened[-1]

    monkeypatch.setattr(cached_in, "open_store", open_store)
    calls: list[int] = []

    class Outer(ParallelBatchNode):
        def prep(self, shared: Any) -> Any:
            return [1, 2, 1]

        async def exec(self, number: int) -> None:
            await doubled(number, calls=calls, cache=Cache("cache.db"))

    await Outer().run_async({})
    assert (len(opened), closed) == (1, opened)
    cancel_everywhere(Outer())
    assert len(closed) == len(opened)


def test_a_run_that_finds_all_in_memory_opens_nothing(tmp_path: Path) -> None:
    """The file is opened on first use."""
    cache = Cache(tmp_path / "cache.db")
    one = node(lambda: 1, cache=cache)
    one.run({})
    (tmp_path / "cache.db").unlink()
    one.run({})
    assert not (tmp_path / "cache.db").exists()


def test_a_place_where_no_file_can_be_is_an_error(tmp_path: Path) -> None:
    """The item that asked raises it."""
    with pytest.raises(JournalUnavailableError) as caught:
        node(lambda: 1, name="Fetch", cache=Cache(tmp_path / "nowhere" / "cache.db")).run({})
    assert caught.value.__notes__ == ["in node 'Fetch'"]


async def test_nobody_waits_for_a_store_that_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each item that asks gets its error, including those that would have waited for another."""

    def locked(_: str) -> None:
        raise JournalLockedError("another process has it")

    monkeypatch.setattr(cached_in, "open_store", locked)
    shared: dict[str, Any] = {"in": [1, 1, 2]}
    await Doubling([], cache=Cache("cache.db"), on_error="collect").run_async(shared)
    errors = [outcome.error for outcome in shared["out"]]
    assert [type(error) for error in errors] == [JournalLockedError] * 3
    assert len({*map(id, errors)}) == 3


def test_results_that_cannot_be_written_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run continues without the cache, and warns at its end."""

    class Full(MemoryStore):
        def cache_set_all(self, entries: Any) -> None:
            raise JournalFullError("there is no space left")

    monkeypatch.setattr(cached_in, "open_store", lambda _: Full())
    with pytest.warns(RuntimeWarning, match=r"not cached in 'cache\.db': there is no space left"):
        out = run_virtually(doubled(1, 2, calls=[], cache=Cache("cache.db")))
    assert out == [2, 4]


def test_many_results_wait_for_a_slow_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limited number wait to be written; all are, in the end."""
    store, calls = MemoryStore(), list[int]()
    monkeypatch.setattr(cached_in, "open_store", lambda _: store)
    monkeypatch.setattr(cached_in, "MOST_PENDING", 3)
    numbers = range(50)
    for _ in range(2):
        run_virtually(doubled(*numbers, calls=calls, cache=Cache("cache.db"), max_workers=50))
    assert sorted(calls) == list(numbers)


def test_what_is_in_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The most recently used results stay, up to a number and a size."""
    front = cache_module._Front()
    entry = cached_in.Entry(b"x" * 10, 100.0)
    monkeypatch.setattr(cache_module, "MOST_ENTRIES", 2)
    front.put(b"a", entry)
    front.put(b"b", entry)
    assert front.get(b"a", 0.0) == entry
    front.put(b"c", entry)
    assert [key for key in (b"a", b"b", b"c") if front.get(key, 0.0)] == [b"a", b"c"]
    monkeypatch.setattr(cache_module, "MOST_BYTES", 15)
    front.put(b"d", entry)
    assert [key for key in (b"a", b"c", b"d") if front.get(key, 0.0)] == [b"d"]
    assert front.get(b"d", 100.0) is None


def test_what_cannot_be_decoded_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result written by a newer version, or damaged, is not an error."""
    store, calls = MemoryStore(), list[int]()
    monkeypatch.setattr(cached_in, "open_store", lambda _: store)
    run_virtually(doubled(1, calls=calls, cache=Cache("cache.db")))
    for key in store._cache:
        store.cache_set(key, b"\xc1", None)
    assert run_virtually(doubled(1, calls=calls, cache=Cache("cache.db"))) == [2]
    assert calls == [1, 1]


def test_a_journal_records_hits_and_resumes_without_the_cache(tmp_path: Path) -> None:
    """A cached value is a result of the run like any other."""
    calls: list[Any] = []
    broken = [True]

    class Stop(Node):
        async def exec(self, _: Any) -> None:
            if broken:
                raise ConnectionError

    def graph(place: str) -> Graph:
        start = Quick(calls, cache=Cache(tmp_path / place))
        start >> Stop()
        return Graph(start)

    Quick(calls, cache=Cache(tmp_path / "cache.db")).run({"in": [1]})
    journal = partial(Journal, tmp_path / "runs.db", run="a")
    with pytest.raises(ConnectionError):
        graph("cache.db").run({"in": [1, 2]}, journal=journal())
    assert calls == [1, 2]
    broken.clear()
    shared: dict[str, Any] = {"in": [1, 2]}
    graph("another.db").run(shared, journal=journal())
    assert (shared["out"], calls) == ([2, 4], [1, 2])


@pytest.mark.parametrize("place", ["file", "memory"])
def test_it_works_in_any_order_of_tasks(place: str, tmp_path: Path) -> None:
    """In a simulation the store is used in the thread of the loop; each item has its result."""
    for seed in range(10):
        address = str(tmp_path / f"{seed}.db") if place == "file" else ":memory:"
        calls: list[int] = []
        graph = Graph(Doubling(calls, cache=Cache(address)))
        run = simulate(graph, {"in": [1, 2, 1, 1]}, seed=seed)
        assert run.shared["out"] == [2, 4, 2, 2]
        assert sorted(calls) == [1, 2]
        assert_accounted(run.report)


@pytest.mark.parametrize("place", ["file", "memory"])
def test_it_can_be_cancelled_anywhere(place: str, tmp_path: Path) -> None:
    """Nothing is left, and nobody waits for a finished call."""
    numbers = itertools.count()

    async def work(shared: dict[str, Any]) -> None:
        address = str(tmp_path / f"{next(numbers)}.db") if place == "file" else ":memory:"
        await Doubling([], cache=Cache(address), max_workers=3).run_async(shared)

    seeds = 2 if place == "file" else 5
    assert cancel_everywhere(work, lambda: {"in": [1, 2, 1, 1, 2]}, seeds=seeds) > 50


# --- the setting ----------------------------------------------------------------------------------


def test_a_node_in_a_process_leaves_its_cache_here() -> None:
    """Its key may be something that cannot be sent."""
    lock = threading.Lock()

    def key(item: Any) -> Any:
        with lock:
            return item

    calls = Cache(":memory:", key=key)
    squares = [
        node(abs, cache=calls, run_in="process", reads="in", writes="out", name="Abs")
        for _ in range(2)
    ]
    for one in squares:
        shared = {"in": -3}
        one.run(shared)
        assert shared["out"] == 3


def test_a_cache_can_be_copied_and_pickled() -> None:
    """A copy has the same address and none of what is in memory."""
    cache = Cache("cache.db", ttl="1h", types=[int])
    for one in (copy.copy(cache), pickle.loads(pickle.dumps(cache))):
        assert (one.address, one.ttl, one.types) == ("cache.db", 3600.0, (int,))
    assert repr(cache) == "Cache('cache.db')"
    assert "secret" not in repr(Cache("postgresql://ada:secret@host/db"))


def test_what_is_no_cache_is_refused() -> None:
    """The error shows one."""
    with pytest.raises(ValueError, match=r"cache must be a Cache\('cache\.db', ttl='7d'\)"):
        node(abs, cache="cache.db", reads="in")
    with pytest.raises(ValueError, match="cache must be"):
        node(abs, cache=Cache, reads="in")
    with pytest.raises(ValueError, match="ttl must be a duration such as '30d'"):
        Cache("cache.db", ttl="soon")
    with pytest.raises(ValueError, match="ttl must be more than 0 seconds"):
        Cache("cache.db", ttl=0)
    with pytest.raises(ValueError, match="key must be callable"):
        Cache("cache.db", key="id")  # type: ignore[arg-type]


def test_a_cache_stands_where_there_is_an_exec_of_an_item() -> None:
    """Elsewhere it is refused when the node is created."""
    cache = Cache(":memory:")
    with pytest.raises(ValueError, match="there is no exec here"):
        MapReduceNode(cache=cache)
    with pytest.raises(ValueError, match="this node produces the items"):
        ReadText("lines.txt", cache=cache)
    with pytest.raises(TypeError, match="unknown setting 'cache'"):
        ParallelValidationNode(cache=cache)  # type: ignore[call-arg]


async def test_a_node_with_a_cache_is_not_called_past_it() -> None:
    """There is no fast path that skips it."""
    plain, kept = AsyncOne(), AsyncOne(cache=Cache(":memory:"))
    assert plain.exec_is_plain
    assert not kept.exec_is_plain
    assert kept.in_line is None
    kept.cache = None
    assert kept.exec_is_plain
