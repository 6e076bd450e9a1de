"""Cells that fail, that are stopped, and that take long, in a real kernel."""

from collections.abc import Iterator

import pytest

from tests.notebooks.kernels import Kernel, kernel

pytestmark = pytest.mark.proofs

ITEM = "in node 'Batch', item 2 (0)"
DEFINITIONS = """
import asyncio, threading, time
from contextlib import asynccontextmanager
from kaygraph import *

def divide(number):
    return 1 / number

class Fails(Node):
    async def exec(self, _):
        return divide(0)

class Batch(ParallelBatchNode):
    max_workers = 3
    def prep(self, shared):
        return [2, 1, 0]
    async def exec(self, number):
        await asyncio.sleep(0)
        return divide(number)

class Waits(Node):
    async def exec(self, _):
        print("begun", flush=True)
        await asyncio.sleep(1000)

class Apart(Node):
    run_in = "thread"
    def exec(self, _):
        return divide(0)

class Items(ParallelBatchNode):
    max_workers = 4
    def __init__(self, number):
        super().__init__()
        self.number = number
    def prep(self, shared):
        return range(self.number)
    async def exec(self, item):
        if item == 4:
            print("begun", flush=True)
        await asyncio.sleep(0.1)
        return item
    def post(self, shared, _, results):
        shared["done"] = len(results)

class Inner(Node):
    async def exec(self, _):
        await Graph(Batch(), name="Inner").run_async({})

class NoItems(ParallelBatchNode):
    def prep(self, shared):
        return None

class Closes(Node):
    @asynccontextmanager
    async def lifespan(self, shared):
        yield 1
        raise ValueError("at the end")
    async def exec(self, _):
        return 1

shared = {}
"""


@pytest.fixture(scope="module")
def cells() -> Iterator[Kernel]:
    """Return a kernel in which the nodes are defined."""
    with kernel() as started:
        assert started.run(DEFINITIONS).error is None
        yield started


@pytest.fixture(autouse=True)
def _usable(cells: Kernel) -> Iterator[None]:
    """Whatever a cell has done, the next one works, and nothing is left behind."""
    yield
    left = "[one for one in threading.enumerate() if one.name.startswith('kaygraph-run')]"
    assert cells.run(left).shown == [{"text/plain": "[]"}]


# --- cells that fail ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "frames", "note"),
    [
        ("Graph(Fails()).run()", ["Fails.exec", "divide"], "in node 'Fails'"),
        ("await Graph(Fails()).run_async()", ["Fails.exec", "divide"], "in node 'Fails'"),
        ("await Graph(Fails()).launch()", ["Fails.exec", "divide"], "in node 'Fails'"),
        ("async for _ in Batch().stream(): pass", ["Batch.exec", "divide"], ITEM),
        ("Graph(Batch()).run()", ["Batch.exec", "divide"], ITEM),
        (
            "Graph(Graph([Fails(), Node()])).run()",
            ["Fails.exec", "divide"],
            "in node 'Graph/Fails'",
        ),
        (
            "Graph(Inner()).run()",
            ["Inner.exec", "Batch.exec", "divide"],
            "in node 'Inner/Inner/Batch', item 2 (0)",
        ),
        (
            "await Graph(Batch(max_retries=2) | Node()).run_async()",
            ["Batch.exec", "divide"],
            "in node 'Pipeline/Batch', item 2 (0), attempt 2 of 2",
        ),
        ("Graph(Apart()).run()", ["Apart.exec", "divide"], "in node 'Apart'"),
        ("Graph(NoItems()).run()", [], "in node 'NoItems'"),
        ("Graph(Fails()).run(observers=3)", [], "observers is a list"),
    ],
)
def test_a_cell_that_fails_shows_the_code_of_the_user(
    cells: Kernel, code: str, frames: list[str], note: str
) -> None:
    """The cell, the hook and what that called; none of the engine's frames; and the note."""
    cell = cells.run(code)
    assert cell.error in ("ZeroDivisionError", "TypeError", "ValueError")
    assert "kaygraph/" not in cell.traceback
    assert "asyncio/" not in cell.traceback
    places = [line for line in cell.traceback.splitlines() if line.startswith("Cell In")]
    assert len(places) == 1 + len(frames)
    for place, frame in zip(places[1:], frames, strict=True):
        assert f", in {frame}(" in place
    assert note in cell.traceback.splitlines()[-1]


def test_what_a_process_raises_shows_its_own_traceback(cells: Kernel) -> None:
    """In a note; of the engine, only what called it there."""
    cell = cells.run(
        "class P(Node):\n    def exec(self, _): return divide(0)\nGraph(P(run_in='process')).run()"
    )
    assert cell.error == "ZeroDivisionError"
    before, _, note = cell.traceback.partition("in process ")
    assert "kaygraph/" not in before
    assert "in divide" in note


def test_a_group_of_errors_is_shown_whole(cells: Kernel) -> None:
    """IPython writes groups to standard error, as Python does."""
    cell = cells.run("Graph(Closes(name='a') >> Closes(name='b')).run()")
    shown = cell.printed["stderr"]
    assert "in node 'b', when its lifespan ended" in shown
    assert "kaygraph/" not in shown


# --- cells that are stopped -----------------------------------------------------------------------


def test_stop_drains_a_run(cells: Kernel) -> None:
    """What was in flight ends, and is handed over; the cell says so and shows nothing else."""
    cell = cells.run("Graph(Items(1000)).run(shared)", stop_at="begun")
    assert (cell.error, cell.message) == (
        "KeyboardInterrupt",
        "stopped; the work in flight has ended",
    )
    assert "stopping: 4 in flight" in cell.printed["stderr"]
    assert "kaygraph/" not in cell.traceback
    (done,) = cells.run("4 <= shared['done'] <= 100").shown
    assert done == {"text/plain": "True"}


def test_stop_ends_what_does_not_end_within_its_grace(cells: Kernel) -> None:
    """It is cancelled."""
    cell = cells.run("Graph(Waits()).run(grace=0.1)", stop_at="begun")
    assert cell.message == "stopped; the work in flight was cancelled after 0.1 s"


@pytest.mark.parametrize(
    "code",
    ["await Graph(Waits()).run_async()", "task = Graph(Waits()).launch()\nawait task"],
)
def test_stop_cancels_what_a_cell_awaits(cells: Kernel, code: str) -> None:
    """At once, although nothing else wakes the loop."""
    before = "import time; since = time.monotonic()\n"
    cell = cells.run(before + code, stop_at="begun")
    assert cell.error == "CancelledError"
    assert "kaygraph/" not in cell.traceback
    assert cells.run("time.monotonic() - since < 30").shown == [{"text/plain": "True"}]


# --- cells that take long -------------------------------------------------------------------------


def test_a_run_that_takes_long_shows_how_far_it_is(cells: Kernel) -> None:
    """In one output, which is written anew, and at last says how it has ended."""
    cell = cells.run("Graph(Items(100), name='Crawl').run(shared)")
    (first,) = cell.shown
    assert set(first) == {"text/plain", "text/html"}
    assert first["text/plain"].startswith("Crawl  ")
    assert "<progress max=" in first["text/html"]
    last = cell.updates[-1]["text/plain"]
    assert last.splitlines()[1].split()[:3] == ["✓", "Items", "100"]
    assert cell.printed == {"stdout": "begun\n", "stderr": ""}


def test_a_short_run_shows_nothing(cells: Kernel) -> None:
    """Nor does one that somebody looks at, nor one within another."""
    assert cells.run("Graph(Items(1)).run({})").shown == []
    long = "Graph(Items(100)).run({}, observers=[RunReport()])"
    assert cells.run(long).shown == []


def test_progress_can_be_turned_off(cells: Kernel) -> None:
    """By the environment."""
    cell = cells.run("%env KAYGRAPH_PROGRESS=off\nGraph(Items(100)).run({})")
    assert cell.shown == []
    cells.run("%env KAYGRAPH_PROGRESS=on")


def test_progress_is_shown_by_an_observer_as_well(cells: Kernel) -> None:
    """Of a run that is awaited, from its beginning."""
    cell = cells.run("await Graph(Items(12), name='Crawl').run_async({}, observers=[Progress()])")
    assert cell.shown[0]["text/plain"].startswith("Crawl  ")
    assert "✓ Items" in cell.updates[-1]["text/plain"]
    assert cell.printed["stderr"] == ""


def test_a_run_that_fails_says_so_in_its_cell(cells: Kernel) -> None:
    """Below the last figures stands the error."""
    code = "Graph(Items(120) >> Fails(), name='Crawl').run({})"
    cell = cells.run(code)
    assert cell.error == "ZeroDivisionError"
    assert "failed" in cell.updates[-1]["text/plain"].splitlines()[0]


def test_a_hook_that_holds_the_loop_does_not_hide_the_run(cells: Kernel) -> None:
    """The cell's thread looks on."""
    held = """
class Held(Node):
    async def exec(self, _):
        time.sleep(3)
Graph(Held(), name="Flow").run()
"""
    cell = cells.run(held)
    assert "the event loop is blocked by a hook" in cell.shown[0]["text/html"]
