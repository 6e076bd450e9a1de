"""``kaygraph run``: what it prints where, how it fails, and how it ends."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kaygraph import Journal
from tests.children import child, python, ran
from tests.cli.commands import Typed

FLOWS = """\
import asyncio
from dataclasses import dataclass
from pathlib import Path

from kaygraph import Graph, Node, ParallelBatchNode

@dataclass
class Page:
    number: int
    where: Path

class Fetch(ParallelBatchNode):
    max_workers = 4

    def prep(self, shared):
        return range(shared.get("pages", 3))

    async def exec(self, number) -> Page:
        if number == 7:
            raise RuntimeError("refused: token=abcdef")
        return Page(number, Path("/pages") / str(number))

    def post(self, shared, prep_res, exec_res):
        print("fetched", len(exec_res))
        shared["found"] = exec_res
        shared["api_key"] = "abcdef"
        shared["client"] = object()
        return "end"

class Sleep(ParallelBatchNode):
    max_workers = 2

    def prep(self, shared):
        return range(1000)

    async def exec(self, number):
        if number == 1:
            print("ready", flush=True)
        await asyncio.sleep(0.01)
        return number

    def post(self, shared, prep_res, exec_res):
        shared["slept"] = len(exec_res)

class Watcher:
    def __init__(self):
        self.began = 0

    def __call__(self, event):
        print("watched:", type(event).__name__)

graph = Graph(Fetch(), name="crawl")

def sleeping():
    return Graph(Sleep(), name="sleeping")
"""


@pytest.fixture
def typed(command: Callable[..., Typed]) -> Typed:
    """Type a command in a folder with ``flows.py``; return its code and output."""
    return command("run", flows=FLOWS)


def test_what_nodes_print_is_the_output_where_nothing_else_is_asked_for(typed: Typed) -> None:
    """As if the program were run by itself; how it ended goes to standard error."""
    code, out, error = typed("flows.py:graph", "--set", "pages=2")
    assert (code, out) == (0, "fetched 2\n")
    assert error.startswith("crawl: ended with the action 'end' after ")


def test_a_result_is_all_of_the_output(typed: Typed) -> None:
    """As JSON, also of dataclasses and paths; what nodes print goes to standard error."""
    code, out, error = typed("flows.py:graph", "--set", "pages=1", "--output", "found")
    assert (code, json.loads(out)) == (0, [{"number": 0, "where": "/pages/0"}])
    assert error.startswith("fetched 1\n")


def test_several_results_are_an_object(typed: Typed) -> None:
    """With the keys that were asked for, secret or not."""
    _, out, _ = typed(
        "flows.py:graph", "--output", "api_key", "--output", "pages", "--set", "pages=1"
    )
    assert json.loads(out) == {"api_key": "abcdef", "pages": 1}


def test_all_of_shared_is_printed_without_its_secrets(typed: Typed) -> None:
    """What JSON has no form for is printed as text; a note says where each is."""
    _, out, error = typed("flows.py:graph", "--output", ".", "--set", "pages=0")
    shown = json.loads(out)
    assert (shown["pages"], shown["found"], shown["api_key"]) == (0, [], "***")
    assert shown["client"].startswith("<object object")
    assert "note: api_key is hidden; --output api_key prints it\n" in error
    assert "note: client cannot be written as JSON: it is printed as text\n" in error


def test_a_missing_key_is_an_error_with_the_known_keys(typed: Typed) -> None:
    """It has run: the exit code is not that of a wrong command."""
    code, out, error = typed("flows.py:graph", "--output", "fuond")
    assert (code, out) == (1, "")
    assert (
        "shared has no 'fuond' at the end of the run. Did you mean 'found'? Its keys are: " in error
    )


def test_shared_comes_from_a_file_and_from_the_command(typed: Typed) -> None:
    """A value is JSON if it can be, otherwise text; it overrides the file's."""
    Path("shared.json").write_text('\ufeff{"pages": 5, "name": "Ann"}', encoding="utf-8")
    words = ["--input", "shared.json", "--set", "pages=1", "--set", "url=a=b", "--set", 'who="Bo"']
    _, out, _ = typed("flows.py:graph", *words, "--output", ".")
    shown = json.loads(out)
    assert [shown[key] for key in ("pages", "name", "url", "who")] == [1, "Ann", "a=b", "Bo"]


def test_shared_comes_from_standard_input(typed: Typed) -> None:
    """In its own process; ``python -m kaygraph`` is the command."""
    words = ["-m", "kaygraph", "run", "flows.py:graph", "--input", "-", "--output", "pages"]
    done = python(*words, text='{"pages": 2}')
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


def test_a_failure_shows_the_frames_of_the_user_and_no_secret(typed: Typed) -> None:
    """The last line says what happened, in which node and at which item."""
    code, out, error = typed("flows.py:graph", "--set", "pages=9", "--output", "found")
    assert (code, out) == (1, "")
    *frames, last = error.splitlines()
    assert last == "error: RuntimeError: refused: token=*** (in node 'Fetch', item 7 (7))"
    files = [line for line in frames if line.startswith("  File ")]
    assert len(files) == 1
    assert files[0].endswith('flows.py", line 20, in exec')
    assert "abcdef" not in error


def test_a_module_that_fails_shows_where(typed: Typed) -> None:
    """Not how it was imported."""
    Path("broken.py").write_text("import flows\n\n1 / 0\n")
    code, _, error = typed("broken.py:graph")
    assert code == 1
    assert error.count("  File ") == 1
    assert 'broken.py", line 3, in <module>' in error
    assert error.endswith("error: ZeroDivisionError: division by zero\n")
    Path("wrong.py").write_text("def f(:\n")
    code, _, error = typed("wrong.py:graph")
    assert (code, error.count("  File ")) == (1, 1)
    assert "error: SyntaxError: invalid syntax (wrong.py, line 1)" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["flows"], "a graph must be FILE:NAME or MODULE:NAME"),
        (["flows.py:grpah"], "has no 'grpah'. Did you mean 'graph'?"),
        (["flows.py:graph", "--set", "pages"], "--set must be KEY=VALUE, as in --set limit=20"),
        (["flows.py:graph", "--input", "none.json"], "cannot read --input none.json: No such file"),
        (["flows.py:graph", "--input", "flows.py"], "--input flows.py must be JSON"),
        (
            ["flows.py:graph", "--input", "l.json", "--set", "a=1"],
            "needs an object, but",
        ),
        (["flows.py:graph", "--input", "l.json", "--output", "a"], "type --output ."),
        (["flows.py:graph", "--deadline", "0"], "--deadline must be more than 0 seconds"),
        (["flows.py:graph", "--deadline", "soon"], "invalid float value: 'soon'"),
        (["flows.py:graph", "--report", "none/r.json"], "--report must be a file to write"),
        (["flows.py:graph", "--observe", "reprot"], "Did you mean 'report'?"),
        (["flows.py:graph", "--observe", "flows.py:None"], "has no 'None'"),
        (["flows.py:graph", "--observe", "prometheus"], "type --observe prometheus=9000"),
        (["flows.py:graph", "--journal", "run=a"], "which journal? Type --journal runs.db,run=ID"),
        (
            ["flows.py:graph", "--journal", "a.db,rnu=a"],
            "setting 'rnu'. Did you mean 'run'?",
        ),
        (["flows.py:graph", "--journal", "a.db,on_wait=no"], "on_wait"),
        (["json.py:graph"], "has the same name as another module"),
    ],
)
def test_a_wrong_command_says_what_to_type(typed: Typed, words: list[str], message: str) -> None:
    """In one line, with the exit code 2; nothing has run."""
    Path("l.json").write_text("[1]")
    Path("json.py").write_text("graph = 1")
    code, out, error = typed(*words)
    assert (code, out) == (2, "")
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_run_is_recorded_and_goes_on(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeated, it resumes the run; the address may come from the environment."""
    code, _, error = typed("flows.py:graph", "--set", "pages=8", "--journal", "runs.db,run=a,b")
    assert code == 1
    assert error.endswith(
        "what is recorded is kept; to resume, repeat the command with --journal runs.db,run=a,b\n"
    )
    monkeypatch.setenv("KAYGRAPH_JOURNAL", "runs.db")
    assert typed("flows.py:graph", "--set", "pages=7", "--journal", "run=a,b")[:2] == (
        0,
        "fetched 7\n",
    )
    assert typed("flows.py:graph", "--set", "pages=1", "--journal", "run=c")[0] == 0
    assert [run.run for run in Journal("runs.db").runs()] == ["c", "a,b"]
    _, _, error = typed("flows.py:graph", "--set", "pages=8", "--journal", "runs.db")
    new = Journal("runs.db").runs()[0].run
    assert f"recorded as run {new!r} in runs.db\n" in error  # also if it is killed
    assert error.endswith(f"--journal runs.db,run={new}\n")


def test_redo_and_accept_need_a_recorded_run_and_node(typed: Typed) -> None:
    """A mistyped name would begin a new run, or change nothing."""
    typed("flows.py:graph", "--journal", "runs.db,run=first")
    for setting, message in (
        ("run=frist,redo=failed", "has no run 'frist'. Known runs: 'first'. Did you mean 'first'?"),
        ("run=first,redo=Fecth", "recorded nothing of a node 'Fecth'. Did you mean 'Fetch'?"),
        ("run=first,accept=Fecth", "recorded nothing of a node 'Fecth'. Did you mean 'Fetch'?"),
        ("redo=Fetch", "redo and accept need the id of a recorded run: add ,run=ID"),
    ):
        code, out, error = typed("flows.py:graph", "--journal", f"runs.db,{setting}")
        assert (code, out) == (2, "")
        assert message in error
    assert [run.run for run in Journal("runs.db").runs()] == ["first"]
    assert typed("flows.py:graph", "--journal", "runs.db,run=first,redo=Fetch")[0] == 0


ASKING = """\
from kaygraph import Graph
from kaygraph.nodes import WaitFor

graph = Graph(WaitFor("approval", ask="Send it?"), name="asking")
"""


def test_no_resuming_is_offered_when_nothing_could_be_recorded(typed: Typed) -> None:
    """The journal cannot be created: the message says only what to do about that."""
    code, _, error = typed("flows.py:graph", "--journal", "none/runs.db")
    assert code == 1
    assert "there is no folder" in error
    assert "to resume" not in error


def test_a_run_that_waits_ends_with_a_code_of_its_own(typed: Typed) -> None:
    """It says what to type to answer; then the same command resumes the run."""
    Path("letters.py").write_text(ASKING)
    command = ["letters.py:graph", "--journal", "runs.db,run=letter", "--output", "."]
    code, out, error = typed(*command)
    assert (code, out) == (75, "")
    assert "kaygraph runs answer --journal runs.db letter approval JSON" in error
    Journal("runs.db").answer("letter", "approval", True)
    assert typed(*command)[0] == 0


def test_who_looks_on_is_named(typed: Typed) -> None:
    """The report, the log, and the user's own observer; the report also as a file."""
    words = ["--observe", "report", "--observe", "structlog", "--observe", "flows.py:Watcher"]
    code, out, error = typed("flows.py:graph", *words, "--report", "report.json")
    assert code == 0
    assert "watched: NodeStarted" in out
    assert "node finished" in error
    assert "items: 3 ok, 0 failed" in error
    assert json.loads(Path("report.json").read_text())["items"]["ok"] == 3


def test_a_run_is_traced_with_the_providers_of_the_program(typed: Typed) -> None:
    """Without the library, the message says what to install."""
    Path("traced.py").write_text(
        "from kaygraph import Graph, Node\n"
        "from opentelemetry import trace\n"
        "class Look(Node):\n"
        "    def exec(self, _):\n"
        "        return trace.get_current_span().name\n"
        "    def post(self, shared, prep_res, exec_res):\n"
        "        shared['span'] = exec_res\n"
        "graph = Graph(Look())\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "trace.set_tracer_provider(TracerProvider())\n"
    )
    command = ["-m", "kaygraph", "run", "traced.py:graph", "--observe", "otel", "--output", "span"]
    assert python(*command, check=True).stdout == '"item Look"\n'
    Path("without.py").write_text(
        "import sys; sys.modules['opentelemetry.trace'] = None\n"
        "from kaygraph.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = python("without.py", "run", "flows.py:graph", "--observe", "otel")
    assert "python -m pip install 'kaygraph[otel]'" in done.stderr
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_metrics_are_answered_while_the_run_goes_on(typed: Typed) -> None:
    """At the port that is printed."""
    pytest.importorskip("prometheus_client")
    Path("asks.py").write_text(
        "import sys\n"
        "from urllib.request import urlopen\n"
        "from kaygraph import Graph, Node\n"
        "class Ask(Node):\n"
        "    run_in = 'thread'\n"
        "    def exec(self, _):\n"
        "        return urlopen(open('port').read().split()[-1], timeout=30).read().decode()\n"
        "    def post(self, shared, prep_res, exec_res):\n"
        "        shared['metrics'] = exec_res\n"
        "graph = Graph(Ask(), name='asks')\n"
    )
    words = ["-m", "kaygraph", "run", "asks.py:graph", "--observe", "prometheus=0"]
    with open("port", "w") as errors:
        done = ran(sys.executable, *words, "--output", "metrics", stderr=errors)
    assert done.returncode == 0
    assert 'kaygraph_runs_running{graph="asks"} 1.0' in json.loads(done.stdout)


def test_lost_traces_are_noted(typed: Typed) -> None:
    """The command sets up no provider."""
    pytest.importorskip("opentelemetry.trace")
    done = python("-m", "kaygraph", "run", "flows.py:graph", "--observe", "otel")
    assert done.returncode == 0, done.stderr
    assert "traces are lost: type opentelemetry-instrument kaygraph run" in done.stderr


def test_the_report_of_a_run_that_fails_is_written(typed: Typed) -> None:
    """It says what had been done until then."""
    typed("flows.py:graph", "--set", "pages=8", "--report", "report.json")
    assert json.loads(Path("report.json").read_text())["items"]["failed"] == 1


def test_a_report_is_drawn_where_its_file_is_a_picture(typed: Typed) -> None:
    """As the timeline of the run."""
    assert typed("flows.py:graph", "--report", "run.svg")[0] == 0
    assert 'class="kaygraph-row" data-node="Fetch"' in Path("run.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_drains_the_run(typed: Typed, number: int, code: int) -> None:
    """``post`` gets the results so far, which are printed; the exit code names the signal."""
    command = [sys.executable, "-m", "kaygraph", "run", "flows.py:sleeping", "--output", "slept"]
    with child(*command) as process:
        assert process.stderr is not None
        while process.stderr.readline() != "ready\n":
            pass
        os.kill(process.pid, number)
        out, error = process.communicate(timeout=30)
    assert process.returncode == code
    assert 1 < json.loads(out) < 1000
    assert "the work in flight has ended" in error


def test_programs_and_processes_of_a_run_do_not_write_to_its_output(typed: Typed) -> None:
    """Also what is written to the file descriptor itself."""
    Path("shell.py").write_text(
        "import os, subprocess\n"
        "from kaygraph import Graph, Node\n"
        "class Call(Node):\n"
        "    def exec(self, _):\n"
        "        subprocess.run(['echo', 'from a program'], check=True)\n"
        "        os.write(1, b'past Python\\n')\n"
        "    def post(self, shared, prep_res, exec_res):\n"
        "        shared['done'] = True\n"
        "graph = Graph(Call())\n"
    )
    done = python("-m", "kaygraph", "run", "shell.py:graph", "--output", "done")
    assert done.stdout == "true\n"
    assert done.stderr.startswith("from a program\npast Python\n")


@pytest.mark.proofs
def test_help_has_examples_and_loads_no_library() -> None:
    """Help does not import what it does not need."""
    script = (
        "import sys\nfrom kaygraph.cli import main\n"
        "try: main(['run', '--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'aiohttp', 'rich', 'structlog'} & set(sys.modules)))"
    )
    done = python("-c", script)
    assert "kaygraph run flows.py:graph --set url=" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
