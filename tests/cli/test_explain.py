"""``kaygraph explain``: of running runs, by their page, and of recorded ones."""

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from kaygraph import Graph, Journal, ParallelBatchNode, Watch
from kaygraph.cli import main
from kaygraph.cli.owners import owners
from tests.children import child
from tests.cli.commands import Typed


@pytest.fixture
def typed(command: Callable[..., Typed]) -> Typed:
    """Type a command in an empty folder; return its code and output."""
    return command("explain")


class Held(ParallelBatchNode[int, None]):
    """Items that wait to be released, while the graph lets two run at once."""

    max_workers = 4

    def __init__(self) -> None:
        super().__init__()
        self.both, self.free = threading.Event(), threading.Event()

    def prep(self, shared: object) -> range:
        return range(4)

    async def exec(self, item: int) -> None:
        if item == 1:
            self.both.set()
        await asyncio.to_thread(self.free.wait, 60)


@contextmanager
def held_run(page: Watch) -> Iterator[None]:
    """A run that waits, in another thread."""
    node = Held()
    graph = Graph(node, name="held", max_parallel_tasks=2)
    thread = threading.Thread(target=graph.run, args=({},), kwargs={"watch": page})
    thread.start()
    try:
        assert node.both.wait(60)
        yield
    finally:
        node.free.set()
        thread.join()


SAID = "'Held' waits: 2 of 2 permits of Graph 'held' are held by 'Held' (2); 2 wait\n"


def test_a_run_of_another_process_says_why_it_waits(typed: Typed) -> None:
    """By the port of its page, or its address."""
    with Watch() as page:
        assert page.address is not None
        with held_run(page):
            port = page.address.rstrip("/").rpartition(":")[2]
            for where in (port, page.address, f"localhost:{port}", f"127.0.0.1:{port}/"):
                code, out, error = typed(where)
                assert (code, error) == (0, "")
                assert SAID in out
            assert typed(port, "--run", "none")[0] == 1
        assert typed(port)[1] == "held: the run has ended.\n"
    code, out, error = typed(port)
    assert (code, out) == (1, "")
    assert error.startswith(f"error: nothing answers at http://127.0.0.1:{port} (")


def test_a_page_may_want_its_token(typed: Typed) -> None:
    """It is part of the printed address, or typed as an option."""
    with Watch(token="sesame-open") as page, held_run(page):
        assert page.address is not None
        code, _, error = typed(page.address)
        assert code == 2
        assert "needs its token: type the whole address that was printed" in error
        assert SAID in typed(f"{page.address}?token=sesame-open")[1]
        assert SAID in typed(page.address, "--token", "sesame-open")[1]


class Other(BaseHTTPRequestHandler):
    """Some other server."""

    def do_GET(self) -> None:
        found = self.headers["Host"].startswith("localhost")
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


def test_another_server_is_no_page(typed: Typed) -> None:
    """Whatever it answers."""
    with HTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            for host in ("localhost", "127.0.0.1"):
                code, out, error = typed(f"http://{host}:{server.server_port}")
                assert (code, out) == (2, "")
                assert "is not the page of a kaygraph run" in error
        finally:
            server.shutdown()
            thread.join()


def test_a_proxy_is_not_asked(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is nearby."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    with Watch() as page, held_run(page):
        assert page.address is not None
        assert typed(page.address)[0] == 0


def test_it_says_what_to_type(typed: Typed) -> None:
    """When no run is named."""
    code, _, error = typed("import-7")
    assert code == 2
    assert "kaygraph explain 8765, or --journal runs.db and the id of a run" in error


# --- recorded runs --------------------------------------------------------------------------------

FLOWS = """\
import asyncio
from pathlib import Path

from kaygraph import Graph, Node, ParallelBatchNode
from kaygraph.nodes import WaitFor

class First(Node):
    def exec(self, _):
        return 1

class Items(ParallelBatchNode):
    max_workers = 2

    def prep(self, shared):
        return range(100)

    async def exec(self, item):
        if item == 50:
            print("ready", flush=True)
        while item >= 50 and not Path("go").exists():
            await asyncio.sleep(0.01)
        if item == 60 and Path("fail").exists():
            raise RuntimeError("token=abcdef")

graph = Graph(First() >> Items(), name="recorded")
asking = Graph(First() >> WaitFor("approval", ask="Send it?"), name="asking")
"""


def test_a_recorded_run_says_where_it_was(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it runs: in which process; after a kill: that, and how to resume."""
    Path("flows.py").write_text(FLOWS)
    words = ["run", "flows.py:graph", "--journal", "runs.db,run=a"]
    with child(sys.executable, "-m", "kaygraph", *words) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        out = ""
        while "'Items' has not ended: 50 results, " not in out:
            out = typed("a", "--journal", "runs.db")[1]
        assert out.startswith(f"run 'a' of 'recorded': it is running: process {process.pid} (")
        process.send_signal(signal.SIGKILL)
        process.wait()
    monkeypatch.setenv("KAYGRAPH_JOURNAL", "runs.db")
    code, out, _ = typed("a")
    state, go_on, node = out.splitlines()
    assert code == 0
    assert "no process on this machine has the journal open, so it was killed;" in state
    assert go_on == "to resume: kaygraph runs resume --journal runs.db a FILE:NAME"
    assert node.startswith("'Items' has not ended: 50 results, the last ")

    Path("go").touch()
    Path("fail").touch()
    assert main(words) == 1
    _, out, _ = typed("a")
    assert "s ago: RuntimeError: token=***" in out
    assert out.endswith("to resume: kaygraph runs resume --journal runs.db a FILE:NAME\n")

    Path("fail").unlink()
    assert main(words) == 0
    assert typed("a")[1].startswith("run 'a' of 'recorded': it ended, 20")


def test_a_run_that_waits_says_for_what_and_how_to_answer(typed: Typed) -> None:
    """No process is running it."""
    Path("asks.py").write_text(FLOWS)
    assert main(["run", "asks.py:asking", "--journal", "runs.db,run=letter"]) == 75
    _, out, _ = typed("letter", "--journal", "runs.db")
    state, wait, answer = out.splitlines()
    assert state.endswith("; no process is running it")
    assert wait.startswith("it waits for 'approval': Send it? (asked ")
    assert answer == "  to answer: kaygraph runs answer --journal runs.db letter approval JSON"
    Journal("runs.db").answer("letter", "approval", True)
    assert typed("letter", "--journal", "runs.db")[1].endswith(
        "to resume: kaygraph runs resume --journal runs.db letter FILE:NAME\n"
    )


def test_what_is_not_recorded_is_an_error(typed: Typed) -> None:
    """With the exit code of a failure."""
    assert typed("a", "--journal", "runs.db") == (
        1, "", "error: there is no journal at 'runs.db'\n",
    )  # fmt: skip


def test_who_has_a_file_open_is_found_without_opening_it(tmp_path: Path) -> None:
    """Not on a server; a process that has ended does not count."""
    file = tmp_path / "runs.db"
    assert owners("postgresql://host/name") is None
    assert owners(str(file)) is None
    file.touch()
    assert not owners(str(file))
    program = "import sys; file = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", program, str(file), "--password=abc"]
    with child(*words, stdin=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (found,) = owners(str(file)) or []
        assert found.startswith(f"process {process.pid} (")
        assert "abc" not in found
