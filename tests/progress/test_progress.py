"""Progress: of runs that go on, in this process and in a pseudo-terminal."""

import asyncio
import gc
import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from kaygraph import Graph, Node, ParallelBatchNode, Progress
from kaygraph.progress.displays import Display
from kaygraph.testing import simulate
from kaygraph.types import RunSnapshot
from tests.children import python
from tests.terminal import InTerminal, at_terminal


class Kept:
    """A display that keeps what it is shown."""

    def __init__(self, until: Callable[[RunSnapshot], object] = bool) -> None:
        self.snapshots: list[RunSnapshot] = []
        self.closed = 0
        self.threads: set[str] = set()
        self.reached = threading.Event()
        self._until = until

    def show(self, snapshot: RunSnapshot) -> None:
        assert not self.closed
        self.snapshots.append(snapshot)
        self.threads.add(threading.current_thread().name)
        if self._until(snapshot):
            self.reached.set()

    def close(self) -> None:
        self.closed += 1


class Work(ParallelBatchNode[int, int]):
    """Items of which some wait until they are let go."""

    max_workers = 4

    def __init__(self, reached: threading.Event, items: int = 20) -> None:
        super().__init__()
        self.reached, self.number = reached, items

    def prep(self, shared: object) -> range:
        return range(self.number)

    async def exec(self, item: int) -> int:
        if item >= 10:
            await asyncio.to_thread(self.reached.wait, 60)
        return item


def half_done(snapshot: RunSnapshot) -> bool:
    node = snapshot.node("Work")
    return node is not None and node.ok == 10 and node.in_flight == 4


def test_a_run_is_shown_as_it_goes_on_and_as_it_has_ended() -> None:
    """With the items that are done, of how many, and the state."""
    kept = Kept(half_done)
    Graph(Work(kept.reached), name="crawl").run(observers=[Progress(display=lambda: kept)])
    assert kept.reached.is_set()
    last = kept.snapshots[-1]
    assert (last.name, last.state, kept.closed) == ("crawl", "finished", 1)
    assert last.node("Work") is not None
    assert not [one for one in threading.enumerate() if one.name == "kaygraph-progress"]


async def _in_a_loop(progress: Progress, reached: threading.Event) -> None:
    await Graph(Work(reached), name="crawl").run_async(observers=[progress])


def test_it_works_on_a_loop_of_the_users() -> None:
    """As under run()."""
    kept = Kept(half_done)
    asyncio.run(_in_a_loop(Progress(display=lambda: kept), kept.reached))
    assert (kept.reached.is_set(), kept.closed) == (True, 1)


def test_one_progress_shows_several_runs_at_once() -> None:
    """Each in a display of its own."""
    made: list[Kept] = []
    together = threading.Event()

    def seen(snapshot: RunSnapshot) -> bool:
        reached = half_done(snapshot)
        if reached and len(made) == 2 and all(map(half_done, [one.snapshots[-1] for one in made])):
            together.set()
        return reached

    def make() -> Display:
        made.append(Kept(seen))
        return made[-1]

    progress = Progress(display=make)

    async def both() -> None:
        await asyncio.gather(_in_a_loop(progress, together), _in_a_loop(progress, together))

    asyncio.run(both())
    assert together.is_set()
    assert [one.closed for one in made] == [1, 1]
    assert len({one.snapshots[-1].run for one in made}) == 2


class Outer(Node[None, None]):
    """A node in whose hook another run takes place."""

    def __init__(self, inner: Graph) -> None:
        super().__init__()
        self.inner = inner

    async def exec(self, _: None) -> None:
        await self.inner.run_async()


def test_a_run_within_a_run_is_part_of_it() -> None:
    """There is one display, which shows the nodes of both."""
    made: list[Kept] = []

    def make() -> Display:
        made.append(Kept(lambda snapshot: snapshot.node("Outer/inner/Work") is not None))
        return made[-1]

    reached = threading.Event()
    reached.set()
    Graph(Outer(Graph(Work(reached), name="inner"))).run(observers=[Progress(display=make)])
    (kept,) = made
    names = [node.name for node in kept.snapshots[-1].nodes]
    assert any(name.endswith("/Work") for name in names), names


class Fails(Node[None, None]):
    """A node that fails."""

    def exec(self, _: None) -> None:
        raise RuntimeError("not ready")


def test_a_run_that_fails_is_closed_too() -> None:
    """And the error is the caller's."""
    kept = Kept()
    with pytest.raises(RuntimeError, match="not ready"):
        Graph(Fails()).run(observers=[Progress(display=lambda: kept)])
    assert (kept.snapshots[-1].state, kept.closed) == ("failed", 1)
    assert kept.snapshots[-1].error == "RuntimeError: not ready"


def test_a_run_that_is_cancelled_is_closed_too() -> None:
    """Nothing of it goes on."""
    kept = Kept(half_done)

    async def cancelled() -> None:
        run = asyncio.create_task(_in_a_loop(Progress(display=lambda: kept), threading.Event()))
        await asyncio.to_thread(kept.reached.wait, 60)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    work = Work.exec

    async def waits(self: Work, item: int) -> int:
        if item >= 10:
            await asyncio.Event().wait()
        return item

    Work.exec = waits  # type: ignore[method-assign]
    try:
        asyncio.run(cancelled())
    finally:
        Work.exec = work  # type: ignore[method-assign]
    assert kept.closed == 1


def test_a_run_whose_loop_is_closed_is_shown_no_more() -> None:
    """Nobody has waited for its end; the thread that looks ends, and so do the bars."""
    kept = Kept(half_done)
    loop = asyncio.new_event_loop()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the task is lost
        loop.set_exception_handler(lambda *_: None)
        task = loop.create_task(_in_a_loop(Progress(display=lambda: kept), threading.Event()))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        (looking,) = [one for one in threading.enumerate() if one.name == "kaygraph-progress"]
        looking.join(60)
        assert (looking.is_alive(), kept.closed) == (False, 1)
        kept.closed = 0
        del task
        gc.collect()


class Holds(Node[None, None]):
    """A node that holds the event loop."""

    def __init__(self, reached: threading.Event) -> None:
        super().__init__()
        self.reached = reached

    def exec(self, _: None) -> None:
        self.reached.wait(60)


def test_a_hook_that_holds_the_loop_is_seen() -> None:
    """It is looked at from outside, and named."""
    kept = Kept(lambda snapshot: any(wait.kind == "loop" for wait in snapshot.waits))
    Graph(Holds(kept.reached)).run(observers=[Progress(display=lambda: kept)])
    held = [wait for one in kept.snapshots for wait in one.waits if wait.kind == "loop"]
    assert "test_progress.py" in held[0].text


class Broken:
    """A display that fails."""

    def __init__(self) -> None:
        self.calls = 0

    def show(self, snapshot: RunSnapshot) -> None:
        self.calls += 1
        raise ValueError("no")

    def close(self) -> None:
        pass


def test_a_display_that_fails_does_not_end_the_run() -> None:
    """As with any observer, the loop's exception handler is called."""
    messages: list[str] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, c: messages.append(c["message"]))
        await Graph(Node()).run_async(observers=[Progress(display=Broken)])

    asyncio.run(run())
    assert len(messages) == 1
    assert "failed at RunFinished" in messages[0]


def test_a_simulated_run_is_shown_without_a_thread() -> None:
    """Its clock is its own: nobody looks at it meanwhile but at the begin and end of nodes."""
    kept = Kept()

    async def run(shared: object) -> None:
        graph = Graph(Node(name="A") >> Node(name="B"))
        await graph.run_async(shared, observers=[Progress(display=lambda: kept)])

    simulate(run)
    assert kept.threads == {threading.current_thread().name}
    assert (kept.snapshots[-1].state, kept.closed) == ("finished", 1)


def test_settings_are_checked() -> None:
    """With what to write."""
    with pytest.raises(ValueError, match="leave must be True or False"):
        Progress(leave=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="every must be more than 0 seconds"):
        Progress(every=0.0)
    with pytest.raises(ValueError, match="every must be more than 0 seconds"):
        Progress(every=None)  # type: ignore[arg-type]


def test_bars_stay_behind_the_run() -> None:
    """In a terminal."""
    reached = threading.Event()
    reached.set()
    with at_terminal() as terminal:
        Graph(Work(reached), name="crawl").run(observers=[Progress()])
        assert terminal.text.startswith("✓ crawl  0.")
        assert "\n  ✓ Work  " in terminal.text
        before = terminal.text
        Graph(Work(reached), name="crawl").run(observers=[Progress(leave=False)])
        assert terminal.text == before


# --- in a terminal of the system ------------------------------------------------------------------

PROGRAM = """\
import asyncio, sys
from pathlib import Path
from kaygraph import Graph, Node, ParallelBatchNode, Progress

class Fetch(ParallelBatchNode):
    max_workers = 2
    def prep(self, shared):
        return range(100)
    async def exec(self, item):
        if item in (0, 50):
            print("item", item, "is here")
        while item >= 60 and not Path("go").exists():
            await asyncio.sleep(0.01)
        if item == 99 and Path("went").exists():
            Path("went").write_text("all of it")
    def post(self, shared, prep_res, exec_res):
        print("warning: done", file=sys.stderr)

class Fail(Node):
    def exec(self, _):
        raise RuntimeError("not ready")

graph = Graph(Fetch() >> Graph(Node(name="Parse"), name="Inner"), name="crawl")
failing = Graph(Fail(), name="failing")
if __name__ == "__main__":
    globals()[sys.argv[1]].run({}, observers=[Progress()])
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("program.py").write_text(PROGRAM)
    return "program.py"


def test_bars_stand_below_what_is_printed(program: str) -> None:
    """They show how far it is while it goes on, and stay when it has ended."""
    with InTerminal(program, "graph") as terminal:
        shown = terminal.until(lambda text: "60/100" in text)
        assert shown.splitlines()[:2] == ["item 0 is here", "item 50 is here"]
        assert "▸ crawl  " in shown
        assert "  ▸ Fetch  ━━━━━━━━━━━━━━──────────  60/100" in shown
        Path("go").touch()
        assert terminal.ended() == 0
    lines = terminal.text.splitlines()
    assert lines[2] == "warning: done"
    assert lines[3].startswith("✓ crawl  ")
    assert lines[4].startswith("  ✓ Fetch")
    assert lines[-1].startswith("    ✓ Parse")
    assert "\x1b[3" not in terminal.sent  # no colours, as NO_COLOR says


def test_what_is_printed_to_a_file_is_not_drawn_over(program: str, tmp_path: Path) -> None:
    """The bars are in the terminal, and the file has what was printed."""
    with open("out.txt", "w") as out, InTerminal(program, "graph", stdout=out) as terminal:
        terminal.until(lambda text: "60/100" in text)
        Path("go").touch()
        assert terminal.ended() == 0
    assert Path("out.txt").read_text() == "item 0 is here\nitem 50 is here\n"
    assert "item" not in terminal.text


def test_a_narrow_terminal_has_whole_lines(program: str) -> None:
    """None is broken in two."""
    with InTerminal(program, "graph", width=30) as terminal:
        terminal.until(lambda text: "60/100" in text)
        Path("go").touch()
        assert terminal.ended() == 0
    assert [line for line in terminal.text.splitlines() if "Fetch" in line] == [
        line for line in terminal.text.splitlines() if line.startswith("  ✓ Fetch")
    ]


def test_colours_are_shown_unless_they_are_unwanted(program: str) -> None:
    """As programs do."""
    Path("go").touch()
    with InTerminal(program, "graph", env={"NO_COLOR": ""}) as terminal:
        assert terminal.ended() == 0
    assert "\x1b[32m✓\x1b[0m" in terminal.sent


def test_a_dumb_terminal_has_lines(program: str) -> None:
    """Without a single step of its cursor."""
    Path("go").touch()
    with InTerminal(program, "graph", env={"TERM": "dumb"}) as terminal:
        assert terminal.ended() == 0
    assert "\x1b" not in terminal.sent
    assert "\ncrawl: finished after " in terminal.text


def test_an_error_stands_below_the_bars(program: str) -> None:
    """The streams are the program's own again by then."""
    with InTerminal(program, "failing") as terminal:
        assert terminal.ended() == 1
    lines = terminal.text.splitlines()
    assert lines[0].endswith("s  failed")
    assert lines[1].startswith("  ✗ Fail")
    assert lines[2] == "Traceback (most recent call last):"
    assert lines[-1] == "in node 'Fail'"


def test_a_pipe_has_a_line_for_each_node_at_the_end(program: str) -> None:
    """And on standard output nothing but what the program prints."""
    Path("go").touch()
    done = python(program, "graph")
    assert (done.returncode, done.stdout) == (0, "item 0 is here\nitem 50 is here\n")
    assert "crawl: finished after " in done.stderr
    assert "\x1b" not in done.stderr


def test_the_command_shows_it(program: str) -> None:
    """``kaygraph run --progress``; a signal drains, and its line stands above the bars."""
    words = ["-m", "kaygraph", "run", f"{program}:graph", "--progress"]
    with InTerminal(*words) as terminal:
        terminal.until(lambda text: "60/100" in text)
        terminal.type("\x03")
        terminal.until(lambda text: "stopping: 2 in flight" in text)
        Path("go").touch()
        assert terminal.ended() == 130
    assert "crawl: ended by SIGINT; the work in flight has ended" in terminal.text


def test_the_run_goes_on_where_the_terminal_takes_nothing(program: str) -> None:
    """As one does that was stopped with Ctrl-S: only what prints waits for it."""
    os.mkfifo("went")
    with InTerminal(program, "graph") as terminal:
        terminal.until(lambda text: "60/100" in text)
        terminal.type("\x13")
        Path("go").touch()
        assert Path("went").read_text() == "all of it"
        terminal.type("\x11")
        assert terminal.ended() == 0
    assert "\n  ✓ Fetch" in terminal.text


def test_a_display_is_given_by_what_makes_it() -> None:
    """One Progress observes many runs, each of which has its own."""
    with pytest.raises(TypeError, match=r"display is called for each run .*\(display=MyDisplay"):
        Progress(display=Kept())  # type: ignore[arg-type]
