"""``kaygraph runs``: typed in this process, and once in its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kaygraph import Journal, __version__
from kaygraph.cli import main
from tests.cli.commands import Typed

FLOWS = """\
from pathlib import Path
from kaygraph import Graph, Node

class Count(Node):
    def exec(self, _):
        return 3

    def post(self, shared, prep_res, exec_res):
        shared["count"] = exec_res

class Double(Node):
    def prep(self, shared):
        return shared["count"] + shared.get("more", 0)

    def exec(self, count):
        if not Path("ready").exists():
            raise RuntimeError("not ready")
        return count * 2

    def post(self, shared, prep_res, exec_res):
        print("doubled:", exec_res)
        return "end"

def graph():
    count, double = Count(), Double()
    count >> double
    return Graph(count, name="doubling")

nothing = 5
"""


@pytest.fixture
def typed(command: Callable[..., Typed]) -> Typed:
    """Type a command in a folder with a journal and ``flows.py``; return its code and output."""
    return command("runs", flows=FLOWS, journal="runs.db")


def test_a_run_is_resumed_shown_forked_and_pruned(typed: Typed) -> None:
    """Everything the command does with a run, in order."""
    assert typed("list") == (1, "", "error: there is no journal at 'runs.db'\n")

    code, _, error = typed("resume", "first", "flows.py:graph", "--new")
    assert code == 1
    assert 'flows.py", line 17, in exec\n' in error
    assert error.endswith("\nerror: RuntimeError: not ready (in node 'Double')\n")
    assert "first  doubling  failed" in typed("list")[1]

    Path("ready").touch()
    code, out, _ = typed("resume", "first", "flows:graph")
    assert (code, out) == (0, "doubled: 6\nrun 'first': done, action 'end'\n")
    assert typed("resume", "first", "flows:graph")[1:] == ("run 'first': done, action 'end'\n", "")

    shown = typed("show", "first", "--points")[1]
    assert "first: doubling, done" in shown
    assert "Count         1" in shown

    new = typed("fork", "first", "--set", "Count=10", "--new", "second")[1].strip()
    assert new == "second"
    assert typed("resume", "second", "flows.py:graph")[1].startswith("doubled: 20\n")

    assert typed("prune", "1")[1] == "removed 1 run\n"
    assert [run.run for run in Journal("runs.db").runs()] == ["second"]


def test_a_mistyped_run_id_begins_nothing(typed: Typed) -> None:
    """The error has the id that was meant, and the option that begins a new run."""
    Path("ready").touch()
    assert typed("resume", "first", "flows.py:graph")[0] == 1
    assert not Path("runs.db").exists()
    typed("resume", "first", "flows.py:graph", "--new")
    assert typed("resume", "frist", "flows:graph") == (
        2, "", "error: 'runs.db' has no run 'frist'. Known runs: 'first'. Did you mean 'first'? "
        "To begin a run with this id, add --new\n",
    )  # fmt: skip
    assert [run.run for run in Journal("runs.db").runs()] == ["first"]


def test_a_new_run_has_a_new_id(typed: Typed) -> None:
    """And nothing recorded that could run again or be accepted."""
    typed("resume", "first", "flows.py:graph", "--new")
    assert typed("resume", "first", "flows.py:graph", "--new") == (
        2, "", "error: run 'first' is recorded already: leave out --new to resume it\n"
    )  # fmt: skip
    code, _, error = typed("resume", "second", "flows.py:graph", "--new", "--redo", "failed")
    assert (code, error) == (2, "error: --redo and --accept need a recorded run: leave out --new\n")


def test_a_run_is_shown_as_json(typed: Typed) -> None:
    """What machines read has the nodes and the points."""
    Path("ready").touch()
    typed("resume", "first", "flows.py:graph", "--new", "--set", "more=1")
    shown = json.loads(typed("show", "first", "--json")[1])
    assert [node["name"] for node in shown["nodes"]] == ["Count", "Double"]
    assert [point["path"] for point in shown["points"]] == ["Count", "Double"]
    assert json.loads(typed("list", "--json")[1])[0]["status"] == "done"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["resume", "a", "flows.py"], "a graph must be FILE:NAME or MODULE:NAME"),
        (["resume", "a", "missing.py:graph"], "there is no file 'missing.py'"),
        (["resume", "a", "missing:graph"], "there is no module 'missing' here"),
        (["resume", "a", "flows.py:grap"], "has no 'grap'. Did you mean 'graph'?"),
        (
            ["resume", "a", "flows.py:nothing"],
            "a graph or a function that returns one, got int",
        ),
        (["resume", "a", "flows.py:graph", "--set", "more"], "--set must be KEY=VALUE"),
        (["fork", "a", "--set", "Count"], "--set must be NAME=JSON"),
        (["prune", "soon"], "KEEP must be a number of runs, as in 20, or an age, as in 30d"),
        (["stop", "a"], "invalid choice: 'stop'"),
    ],
)
def test_a_wrong_command_says_what_to_type(typed: Typed, words: list[str], message: str) -> None:
    """The exit code is 2, and nothing has run."""
    code, out, error = typed(*words)
    assert (code, out) == (2, "")
    assert error.startswith("error: ")
    assert message in error


def test_a_node_to_run_again_must_be_known(typed: Typed) -> None:
    """A mistyped name would change nothing."""
    typed("resume", "first", "flows.py:graph", "--new")
    for option in ("--redo", "--accept"):
        code, out, error = typed("resume", "first", "flows.py:graph", option, "Cuont")
        assert (code, out) == (2, "")
        assert error == (
            "error: run 'first' has recorded nothing of a node 'Cuont'. Did you mean 'Count'?\n"
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "none"], "has no run 'none'"),
        (["fork", "none"], "has no run 'none'"),
    ],
)
def test_what_cannot_be_done_is_an_error(typed: Typed, words: list[str], message: str) -> None:
    """The exit code is 1."""
    typed("resume", "first", "flows.py:graph", "--new")
    code, _, error = typed(*words)
    assert code == 1
    assert message in error


def test_a_journal_has_to_be_named(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an option or by the environment."""
    monkeypatch.delenv("KAYGRAPH_JOURNAL")
    assert typed("list")[0] == 2
    assert typed("list", "--journal", "other.db")[0] == 1


def test_half_a_command_prints_its_help(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """On standard error, with the exit code of a wrong command."""
    for words, known in (([], "runs"), (["runs"], "resume")):
        assert main(words) == 2
        out, error = capfd.readouterr()
        assert out == ""
        assert error.startswith("usage: kaygraph")
        assert known in error


def test_it_says_its_version(capfd: pytest.CaptureFixture[str]) -> None:
    """As programs do."""
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capfd.readouterr().out == f"kaygraph {__version__}\n"


def test_a_missing_library_is_named(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it, and nothing else."""
    monkeypatch.setitem(sys.modules, "ormsgpack", None)
    install = "ormsgpack is not installed. Type: python -m pip install 'kaygraph[journal]'"
    assert typed("list") == (1, "", f"error: {install}\n")


@pytest.mark.proofs
def test_a_closed_pipe_ends_the_command(typed: Typed) -> None:
    """As with `head`: without a message."""
    typed("resume", "first", "flows.py:graph", "--new")
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-m", "kaygraph", "runs", "show", "first"]
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    shown = subprocess.run(
        command, stdout=writes, stderr=subprocess.PIPE, text=True, env=buffered, check=False
    )
    os.close(writes)
    assert (shown.returncode, shown.stderr) == (1, "")


@pytest.mark.proofs
def test_it_is_a_program(typed: Typed) -> None:
    """``python -m kaygraph`` exits with the code."""
    command = [sys.executable, "-m", "kaygraph", "runs"]
    shown = subprocess.run([*command, "list"], capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (1, "error: there is no journal at 'runs.db'\n")
    wrong = subprocess.run([*command, "shwo"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2


ASKING = """\
from kaygraph import Graph
from kaygraph.nodes import WaitFor

graph = Graph(WaitFor("approval", ask="Send it?", schema=bool) >> WaitFor("who"), name="asking")
"""


def test_a_run_that_waits_is_shown_and_answered(typed: Typed) -> None:
    """It exits with 75 until all is answered; a wrong answer is refused with the reason."""
    Path("asking.py").write_text(ASKING)
    code, out, error = typed("resume", "letter", "asking.py:graph", "--new")
    assert (code, out) == (75, "run 'letter': waits\n")
    assert "kaygraph runs answer --journal runs.db letter approval JSON" in error
    assert "waits for approval: Send it?" in typed("show", "letter")[1]
    assert json.loads(typed("show", "letter", "--json")[1])["waits"][0]["id"] == "approval"

    code, _, error = typed("answer", "letter", "approval", '"yes"')
    assert (code, "does not fit its schema" in error) == (1, True)
    code, _, error = typed("answer", "letter", "aproval", "true")
    assert (code, "Did you mean 'approval'?" in error) == (1, True)
    assert typed("answer", "letter", "who", '"ann"', "--early")[0] == 0
    assert typed("answer", "letter", "approval", "true")[0] == 0
    assert typed("resume", "letter", "asking.py:graph")[:2] == (0, "run 'letter': done\n")
