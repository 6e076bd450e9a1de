"""Threads that come one by one: others start while the first leaves Python free."""

import asyncio
import threading
from collections import Counter
from typing import Any

import pytest

from kaygraph import Graph, MapReduceNode
from kaygraph.batch import contention
from kaygraph.batch.contention import Contention

pytestmark = pytest.mark.anyio


@pytest.fixture
def only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every look find that somebody computes, and that its call may still end."""
    monkeypatch.setattr(contention, "LATE_S", -1.0)
    monkeypatch.setattr(contention, "STUCK_S", 1e9)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every look find that nobody computes."""
    monkeypatch.setattr(contention, "LATE_S", 1e9)


async def standing(these: Contention) -> asyncio.Task[None]:
    """Return a task that waits for room."""
    task = asyncio.create_task(these.room())
    await asyncio.sleep(0)
    return task


async def test_one_may_always_begin_and_another_has_to_ask() -> None:
    """Nobody has looked yet whether the first leaves anything to others."""
    these = Contention()
    assert these.has_room(0)
    assert not these.has_room(1)


async def test_others_begin_where_the_interpreter_is_free(free: None) -> None:
    """One look is enough, for all that stand aside."""
    these = Contention()
    await asyncio.wait_for(asyncio.gather(these.room(), these.room()), 30)
    assert these.has_room(1)
    these.close()


async def test_nobody_begins_in_parallel_with_one_that_holds_the_loop_up() -> None:
    """As one does who computes: the loop wakes up late."""
    these = Contention()
    waiting = await standing(these)
    threading.Event().wait(0.2)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    assert not these.has_room(1)
    these.close()
    await waiting


async def test_nobody_begins_any_more_once_those_that_run_compute() -> None:
    """It is looked at again and again."""
    these = Contention()
    await asyncio.wait_for(these.room(), 30)
    assert these.has_room(1)
    threading.Event().wait(0.2)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not these.has_room(1)
    these.close()


@pytest.mark.usefixtures("only_one")
async def test_a_call_that_does_not_end_may_wait_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However busy the interpreter is: after a while others begin."""
    monkeypatch.setattr(contention, "STUCK_S", 0.0)
    these = Contention()
    await asyncio.wait_for(these.room(), 30)
    assert these.has_room(1)
    these.close()


@pytest.mark.usefixtures("only_one")
async def test_one_that_ends_makes_room_for_one() -> None:
    """For one that still waits."""
    these = Contention()
    cancelled, first, second = [await standing(these) for _ in range(3)]
    cancelled.cancel()
    these.ended()
    await first
    assert cancelled.cancelled()
    assert not second.done()
    these.close()
    await second


# --- in a node ---


class Letters(MapReduceNode):
    """Counts letters; ``calls`` says what to do for some of them."""

    def __init__(self, calls: dict[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.calls = calls or {}
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def prep(self, shared: Any) -> Any:
        return list(shared["letters"])

    def map(self, letter: str) -> Any:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            self.calls.get(letter, int)()
        finally:
            with self.lock:
                self.now -= 1
        return [(letter, 1)]

    def reduce(self, letter: str, ones: list[int]) -> int:
        return sum(ones)

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["counts"] = exec_res


async def counted(node: Letters, letters: str) -> Any:
    shared: dict[str, Any] = {"letters": letters}
    await node.run_async(shared)
    return shared["counts"]


@pytest.mark.usefixtures("only_one")
async def test_maps_that_compute_run_one_after_another() -> None:
    """None is left out."""
    node = Letters()
    assert await counted(node, "abracadabra" * 100) == Counter("abracadabra" * 100)
    assert node.most == 1


async def test_maps_that_wait_run_at_once() -> None:
    """As many as there may be by default."""
    barrier = threading.Barrier(4)
    node = Letters({"w": lambda: barrier.wait(30)})
    assert await counted(node, "w" * 8) == {"w": 8}
    assert node.most == 4


@pytest.mark.usefixtures("only_one")
@pytest.mark.parametrize("where", ["on the node", "in its class"])
async def test_as_many_run_at_once_as_was_said(where: str) -> None:
    """Also if they compute."""
    barrier = threading.Barrier(4)
    calls = {"w": lambda: barrier.wait(30)}

    class Four(Letters):
        map_workers = 4

    node = Letters(calls, map_workers=4) if where == "on the node" else Four(calls)
    assert await counted(node, "w" * 8) == {"w": 8}


@pytest.mark.usefixtures("only_one")
@pytest.mark.parametrize("max_waiting", [0, 1])
async def test_others_go_on_while_an_item_waits_for_its_next_attempt(max_waiting: int) -> None:
    """The worker that ran it makes room for them."""
    others = threading.Event()

    def fails_until_others_are_done() -> None:
        if not others.is_set():
            raise ValueError("too early")

    node = Letters(
        {"f": fails_until_others_are_done, "z": others.set},
        max_retries=1000, wait=0.001, max_waiting=max_waiting,
    )  # fmt: skip
    assert await counted(node, "fabcz") == Counter("fabcz")


@pytest.mark.usefixtures("only_one")
async def test_an_error_ends_those_that_stand_aside() -> None:
    """It is raised, and nothing is left."""

    def fails() -> None:
        raise ValueError("on purpose")

    before = asyncio.all_tasks()
    with pytest.raises(ValueError, match="on purpose"):
        await counted(Letters({"f": fails}), "aaafaaa")
    assert asyncio.all_tasks() == before


@pytest.mark.usefixtures("only_one")
async def test_a_cancelled_node_ends_those_that_stand_aside() -> None:
    """It waits for the one call that runs."""
    begun, may_end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def holds() -> None:
        loop.call_soon_threadsafe(begun.set)
        assert may_end.wait(30)

    before = asyncio.all_tasks()
    node = Letters({"h": holds})
    task = asyncio.create_task(counted(node, "haaa"))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    may_end.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert asyncio.all_tasks() == before


@pytest.mark.usefixtures("only_one")
async def test_a_run_that_drains_begins_no_more_maps() -> None:
    """Those that stand aside end with it; what was mapped is reduced."""

    def drain() -> None:
        asyncio.run_coroutine_threadsafe(drained(), loop).result(30)

    async def drained() -> None:
        run.drain()

    loop = asyncio.get_running_loop()
    shared: dict[str, Any] = {"letters": "d" + "a" * 9}
    run = Graph(Letters({"d": drain})).launch(shared)
    await run
    assert shared["counts"] == {"d": 1}
