"""``kaygraph watch``, and ``kaygraph run --watch``."""

import json
import signal
import socket
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from kaygraph import Journal
from kaygraph.cli import main
from tests.children import child
from tests.terminal import InTerminal

FLOWS = """\
import asyncio
from pathlib import Path

from kaygraph import Graph, ParallelBatchNode
from kaygraph.nodes import WaitFor

class Items(ParallelBatchNode):
    max_workers = 2

    def prep(self, shared):
        return range(4)

    async def exec(self, item):
        if item == 1:
            print("working", flush=True)
        while not Path("go").exists():
            await asyncio.sleep(0.01)

graph = Graph(Items(), name="items")
asking = Graph(WaitFor("approval", ask="Send it?"), name="asking")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder has ``flow_to_watch.py``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KAYGRAPH_JOURNAL", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "flow_to_watch", raising=False)
    Path("flow_to_watch.py").write_text(FLOWS)


def read(address: str) -> str:
    with urlopen(address, timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def test_a_run_is_shown_while_it_goes_on() -> None:
    """At the printed address; --watch does not take the graph as its port."""
    words = ["run", "--watch", "flow_to_watch.py:graph", "--save-page", "run.html"]
    with child(sys.executable, "-m", "kaygraph", *words) as process:
        assert process.stderr is not None
        address = process.stderr.readline().removeprefix("kaygraph: watch at ").strip()
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        assert json.loads(read(f"{address}state"))["runs"][0]["name"] == "items"
        assert "'Items' runs: 2 calls await at flow_to_watch.py" in read(f"{address}explain")
        Path("go").touch()
        assert process.wait(60) == 0
    assert "<title>" in Path("run.html").read_text()


def test_the_page_stays_where_a_person_sits_at_the_terminal() -> None:
    """It shows the finished run until Ctrl-C; the result is printed first."""
    Path("go").touch()
    words = ["-m", "kaygraph", "run", "flow_to_watch.py:graph", "--watch", "--output", "."]
    with InTerminal(*words) as terminal:
        shown = terminal.until(lambda text: "stays open until Ctrl-C" in text)
        assert "items: ended after " in shown
        assert "\n{}\n" in shown
        address = shown.splitlines()[-1].split()[0]
        assert read(f"{address}explain") == "items: the run has ended.\n"
        terminal.type("\x03")
        assert terminal.ended() == 0


def test_a_port_in_use_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    """Before anything has run."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for words in (["run", "flow_to_watch.py:graph"], ["watch"]):
            taken = [f"--watch={port}"] if words[0] == "run" else ["--port", str(port)]
            Journal("runs.db").open_store().close()
            journal = ["--journal", "runs.db"]
            assert main([*words, *taken, *journal]) == 2
            assert f"error: port {port} is in use: type another" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--watch=soon"], "--watch must be a port, as in --watch=8765; got 'soon'"),
        (["--watch", "99999"], "a port is a number up to 65535"),
        (["--control"], "--control needs the page: type --watch --control"),
        (["--save-page", "none/run.html"], "there is no folder"),
    ],
)
def test_wrong_page_options_are_an_error(
    words: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Before anything has run."""
    assert main(["run", "flow_to_watch.py:graph", *words]) == 2
    assert message in capfd.readouterr().err


def test_the_runs_of_a_journal_are_listed_and_answered() -> None:
    """Until Ctrl-C; with --control, what waits is answered there."""
    assert main(["run", "flow_to_watch.py:asking", "--journal", "runs.db,run=letter"]) == 75
    words = ["watch", "--journal", "runs.db", "--control"]
    with child(sys.executable, "-m", "kaygraph", *words) as process:
        assert process.stderr is not None
        printed = process.stderr.readline().removeprefix("kaygraph: watch at ").strip()
        address, _, token = printed.partition("?token=")
        assert process.stderr.readline() == "press Ctrl-C to stop\n"
        headers = {"Authorization": f"Bearer {token}"}
        with urlopen(Request(f"{address}journal", headers=headers), timeout=30) as answer:
            (run,) = json.loads(answer.read())["runs"]
        assert (run["run"], run["status"]) == ("letter", "waits")
        answer = json.dumps({"name": "approval", "value": True}).encode()
        asked = Request(f"{address}journal/letter/answer", answer, headers)
        with urlopen(asked, timeout=30) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert main(["run", "flow_to_watch.py:asking", "--journal", "runs.db,run=letter"]) == 0


def test_a_missing_journal_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    """And it has to be named."""
    assert main(["watch", "--journal", "none.db"]) == 1
    assert capfd.readouterr().err == "error: there is no journal at 'none.db'\n"
    assert main(["watch"]) == 2
    assert "which journal? Type --journal runs.db" in capfd.readouterr().err
