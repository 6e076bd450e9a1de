"""Runs that are killed and resumed, replayed, and given other items."""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from threading import Event
from typing import Any

from kaygraph import ParallelBatchNode
from kaygraph.journal.log import Entry
from kaygraph.journal.memory import MemoryStore
from kaygraph.journal.writer import Writer
from kaygraph.testing import kill_everywhere, simulate
from kaygraph.testing._mortal import RUN, Committed, MortalJournal
from tests.guarantees.test_g9_racy_graphs import Drawing, recorded
from tests.journal import shapes
from tests.journal.test_changed_items import CHANGES, FIRST, batch, pipeline, resumed

KILLED = [
    shape
    for shape in shapes.SHAPES
    if str(shape)
    in {
        "batch_as_they_finish",
        "collected",
        "deadline_of_a_branch",
        "equal_items",
        "error_edge_of_exec",
        "group_in_a_loop",
        "map_reduce",
        "nested",
        "pipeline_with_failures",
        "race",
        "rounds_at_once",
        "uneven_branches",
    }
]


def runs_come_to_the_same_wherever_they_are_killed() -> None:
    """Runs of many shapes, in two orders of tasks."""
    for shape in KILLED:
        with failing_as_an_assertion(str(shape)):
            kill_everywhere(shape.make(), **shape.settings, seeds=[0, 1])


def a_log_is_in_the_order_of_its_entries() -> None:
    """An entry that could be written at once comes behind those that the thread writes."""
    written: list[Entry] = []
    begun, go_on = Event(), Event()

    def slowly(entries: list[Entry]) -> None:
        begun.set()
        go_on.wait()
        written.extend(entries)

    def at_once(entries: list[Entry]) -> bool:
        written.extend(entries)
        return True

    async def write() -> None:
        writer = Writer(slowly, print, at_once)
        writer.add([1])
        wait = asyncio.create_task(writer.committed())
        await asyncio.to_thread(begun.wait)
        if not writer.commit_at_once([2]):
            writer.add([2])
        go_on.set()
        await wait
        await writer.committed()
        writer.close()
        writer.join()

    asyncio.run(write())
    assert written == [[1], [2]], f"written as {written}"


def racy_graphs_are_replayed_as_they_were() -> None:
    """Whole runs, and such as were cut off and resumed."""
    for seed in range(40):
        graph, store = Drawing(seed).graph(2), MemoryStore()
        with failing_as_an_assertion(f"seed {seed}"):
            shared, _ = recorded(graph, store, RUN, 3 * seed)
            rows = store.info(RUN).rows
            store.copy(RUN, "replayed", rows)
            assert recorded(graph, store, "replayed", 3 * seed + 1) == (shared, []), (
                f"seed {seed}: a replay differs"
            )
            store.copy(RUN, "cut", random.Random(seed).randint(0, rows))
            before = Committed(store, "cut")
            shared, calls = recorded(graph, store, "cut", 3 * seed + 2)
            again = [node for key, node in calls if key in before.names]
            assert not again, f"seed {seed}: {again} ran again"
            store.copy("cut", "whole", store.info("cut").rows)
            assert recorded(graph, store, "whole", 3 * seed) == (shared, []), (
                f"seed {seed}: a replay differs"
            )


def only_new_items_run() -> None:
    """What was recorded is known by what it is."""
    for make in (batch, pipeline):
        for change, now in CHANGES.items():
            with failing_as_an_assertion(change):
                calls, results = resumed(make, now)
            new = Counter(now) - Counter(FIRST)
            assert Counter(calls) == new, f"{change}: {calls} ran, and {new} were new"
            assert results == [item * 2 for item in now], f"{change}: a result of another item"


mended: list[bool] = []


class Recovers(ParallelBatchNode[int, int]):
    """Fails for one item, until it is fixed."""

    def prep(self, _: Any) -> list[int]:
        return [1, 2, 3]

    async def exec(self, item: int) -> int:
        if item == 2 and not mended:
            raise ValueError(item)
        return item


def what_ended_a_run_is_tried_again() -> None:
    """The failure is not a result."""
    store, node = MemoryStore(), Recovers()

    def run() -> None:
        async def work(shared: Any) -> None:
            await node.run_async(shared, journal=MortalJournal(store))

        simulate(work)

    mended.clear()
    with suppress(ValueError):
        run()
    mended.append(True)
    try:
        run()
    except ValueError as error:
        raise AssertionError("the failure that ended the run was replayed") from error


class failing_as_an_assertion(suppress):  # noqa: N801 - it is used as a function
    """What a journal with a bug raises is found as well."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def __exit__(self, cls: object, error: BaseException | None, _: object) -> bool:
        if isinstance(error, Exception) and not isinstance(error, AssertionError):
            raise AssertionError(f"{self.where}: {type(error).__name__}: {error}") from error
        return False
