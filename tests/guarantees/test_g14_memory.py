"""Memory is bounded by the window, however many items a source has and whatever reads them."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.children import python

BUFFER, WORKERS = 64, 10

# How far a source is ahead of its reader at most, and exactly that when the reader is stuck. A
# batch: the outcomes that wait for the reader, and one with every worker but the one that filled
# them up. A pipeline: what its feeder holds (of an async source, which it asks for no item
# before there is room, none), the buffers, and what waits for its order. An exec that yields: the
# buffer behind it.
WINDOWS = {
    "batch": WORKERS + WORKERS - 1,
    "pipeline": 1 + 2 * BUFFER + BUFFER,
    "stream": 1 + 3 * BUFFER + BUFFER,
    "yields": BUFFER,
}
MOST_GROWTH = 20 * 2**20  # bytes
# Bytes an item: a list of them grows by 8. Resident memory comes in pages, so it is not just 0.
MOST_SLOPE, MOST_SOAK_SLOPE = 1.0, 0.01

SCRIPT = '''
import asyncio, json, resource, sys
from itertools import count
from kaygraph import Graph, Node, ParallelBatchNode, Pipeline

shape, kind, reader = sys.argv[1:4]
items, buffer, workers = map(int, sys.argv[4:])
page, statm = resource.getpagesize(), open("/proc/self/statm", "rb", buffering=0)
pulled = taken = ahead = 0
samples = []

def numbers():
    global pulled, ahead
    for number in count(1000):  # above the small ones that Python keeps
        pulled += 1
        ahead = max(ahead, pulled - taken)
        yield number

async def later():
    for number in numbers():
        yield number

async def read():
    """Take an item; now and then be stuck for so long that all that can fill up does."""
    global taken
    taken += 1
    if reader == "slow" and not taken % workers:
        await asyncio.sleep(0)
    if not taken % (items // 100):
        for _ in range(500):
            await asyncio.sleep(0)
        statm.seek(0)
        samples.append((taken, int(statm.read().split()[1]) * page))

class Work(ParallelBatchNode):
    def prep(self, shared): return later() if kind == "async" else numbers()
    async def exec(self, item): return item

class Yields(Node):
    def prep(self, shared): return ["one item"]
    if kind == "async":
        async def exec(self, item):
            for number in numbers(): yield number
    else:
        def exec(self, item): yield from numbers()

class Reads(Node):
    async def exec(self, item):
        await read()
        if taken == items: task.cancel() if shape == "yields" else task.drain()
        return item

async def main():
    global task
    work = Work(max_workers=workers)
    if shape == "pipeline":
        task = Graph(Pipeline(work, Reads(), buffer=buffer, collect=False)).launch()
        await task
        assert items <= taken == pulled <= items + ahead  # drained: nothing of it is lost
        return
    if shape == "yields":
        task = Graph(Pipeline(Yields(), Reads(), buffer=buffer, collect=False)).launch()
        try: await task
        except asyncio.CancelledError: return
    stream = work.stream()
    if shape == "stream":
        stream = Pipeline(work, Work(max_workers=1, name="last"), buffer=buffer).stream()
    async for _ in stream:
        await read()
        if taken == items: break
    await stream.aclose()

asyncio.run(main())
warm = samples[10:]
places, sizes = zip(*warm)
place, size = sum(places) / len(warm), sum(sizes) / len(warm)
slope = sum((x - place) * (y - size) for x, y in warm) / sum((x - place) ** 2 for x in places)
print(json.dumps({"growth": max(sizes) - sizes[0], "slope": slope, "ahead": ahead}))
'''

Case = tuple[str, str, str]


def window_of(case: Case) -> int:
    return WINDOWS[case[0]] - (case[:2] == ("pipeline", "async"))


CASES = [
    ("pipeline", "sync", "slow"),
    ("pipeline", "async", "fast"),
    ("batch", "async", "slow"),
    ("batch", "sync", "fast"),
    ("stream", "sync", "slow"),
    ("yields", "async", "slow"),
    ("yields", "sync", "fast"),
]


def measured(path: Path, case: Case, items: int) -> dict[str, float]:
    """Run a case in a process of its own; bytes of growth, bytes an item, items ahead."""
    arguments = [*case, *map(str, (items, BUFFER, WORKERS))]
    done = python(path, *arguments, check=True, timeout=None)
    print(*case, done.stdout)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def figures(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Case, "Future[dict[str, float]]"]]:
    """Measure the cases, two at once."""
    path = tmp_path_factory.mktemp("memory") / "script.py"
    path.write_text(SCRIPT)
    with ThreadPoolExecutor(2) as threads:
        yield {case: threads.submit(measured, path, case, request.param) for case in CASES}


@pytest.mark.parametrize("figures", [20_000], indirect=True, ids=["20k items"])
@pytest.mark.parametrize("case", [case for case in CASES if "slow" in case], ids=" ".join)
def test_a_source_is_ahead_of_its_reader_by_the_window(
    figures: dict[Case, "Future[dict[str, float]]"], case: Case
) -> None:
    """Never by more, and all of it is used."""
    figure = figures[case].result()
    assert figure["ahead"] == window_of(case)
    assert figure["growth"] <= MOST_GROWTH


@pytest.mark.proofs
@pytest.mark.timeout(600)
@pytest.mark.parametrize("figures", [1_000_000], indirect=True, ids=["1M items"])
@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_memory_does_not_grow_with_the_items(
    figures: dict[Case, "Future[dict[str, float]]"], case: Case
) -> None:
    """The source is never further ahead of its reader than the window, all of which is used."""
    figure = figures[case].result()
    assert figure["ahead"] == window_of(case)
    assert figure["growth"] <= MOST_GROWTH
    assert figure["slope"] < MOST_SLOPE


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("figures", [10_000_000], indirect=True, ids=["10M items"])
@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_memory_stays_as_it_is(figures: dict[Case, "Future[dict[str, float]]"], case: Case) -> None:
    """Ten times the items; the line through what was measured does not rise."""
    figure = figures[case].result()
    assert figure["ahead"] == window_of(case)
    assert figure["growth"] <= MOST_GROWTH
    assert abs(figure["slope"]) < MOST_SOAK_SLOPE
