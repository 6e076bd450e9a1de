"""The command as people call it: exit codes, streams, signals."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

import main as command
from examples.workflow import NAMES
from tests.children import LONGEST_S, child, left_of, python, ran

MAIN = str(Path(command.__file__))


class Done(NamedTuple):
    """How a command has ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Done]]:
    """Call the command in this process, with ``text`` as piped standard input."""
    with ExitStack() as stack:

        def call(*words: str, text: str = "") -> Done:
            ours, theirs = os.pipe()
            with os.fdopen(theirs, "w") as pipe:
                pipe.write(text)
            monkeypatch.setattr("sys.stdin", stack.enter_context(os.fdopen(ours)))
            return Done(command.main(list(words)), *capfd.readouterr())

        yield call


def test_without_arguments_the_ways_to_begin_are_shown() -> None:
    """Help, an example, a free text and the prompt; exit 0."""
    done = python(MAIN)
    assert done.returncode == 0
    for words in ("--example validation", '"Validate and enrich', "--interactive", "--workers"):
        assert words in done.stdout
    assert done.stderr == ""


def test_help_loads_nothing_heavy() -> None:
    """Help does not wait for aiohttp, rich, prompt-toolkit or an example."""
    script = (
        "import sys, main; main.main([]); "
        "print(sorted({'aiohttp', 'rich', 'prompt_toolkit', 'structlog', 'examples.batch'}"
        " & set(sys.modules)))"
    )
    assert python("-c", script).stdout.splitlines()[-1] == "[]"


def test_loading_one_example_imports_no_other() -> None:
    """The registry is lazy."""
    script = (
        "import sys; from examples.workflow import load; load('batch'); "
        "print(*[n for n in sys.modules if n in ('examples.pipeline', 'examples.validation')])"
    )
    done = python("-c", script)
    assert (done.returncode, done.stdout) == (0, "\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--example batsh", "Did you mean batch?"),
        ("--exampel batch", "Did you mean --example?"),
        ("--worker=3 --example batch", "Did you mean --workers?"),
        ("--example batch --workers 0", "must be from 1 to"),
        ("--example batch --workers x", "must be a whole number, got 'x'"),
        ("--example batch --workers", "expected one argument"),
        ("--example batch --run-in moon", "choose from 'thread', 'process'"),
        ("--example batch --interactive", "use only one of"),
        ("--example batch hello", "use only one of"),
        ("--workers 3", "nothing to do"),
        ("--example validation --input nope.json", "no file 'nope.json'"),
        ("--example validation --limit 5", "--limit goes with"),
        ("--example validation --services ftp://x", "--services must be an address"),
        ("--example validation --output nowhere/x", "there is no directory"),
        ("--example all --output x.db", "only the pipeline alone"),
        ("--example batch --input -", "batch works on files"),
        ("--example batch --input nothere/*.py", "nothere/*.py"),
        ("--example mapreduce --mapper nothere:f", "cannot import 'nothere'"),
        ("--interactive --output x", "goes with --example or a text"),
        ("make me a sandwich", "I understand: validate"),
        ("validate nothere.csv", "no file 'nothere.csv'"),
        ('validate {"email":', "malformed"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_2(
    words: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what to type; nothing has run, and there is no traceback."""
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115 - pytest ends it
    assert command.main(words.split(" ")) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    sys.stdin.close()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"a": \n{"a" 1}\n', "line 1"),
        ("a.csv", "a,a\n1,2\n3\n", "line 1"),
        ("a.json", '[{"a": 1},\n{]', "line 2"),
    ],
)
def test_malformed_input_names_the_line(
    run: Callable[..., Done], name: str, content: str, message: str, tmp_path: Path
) -> None:
    """Exit 2, before anything has run."""
    (tmp_path / name).write_text(content)
    done = run("--example", "validation", "--input", str(tmp_path / name))
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["validation", "enrichment", "pipeline"])
def test_rows_can_be_joined_with_the_input(
    run: Callable[..., Done], name: str, tmp_path: Path
) -> None:
    """By the record's own id, its place, its file and its line; a malformed line is one of them."""
    path = tmp_path / "records.jsonl"
    path.write_text(
        '{"email": "a@example.com", "id": 7}\n\n{"email": \n{"email": "b@example.com"}\n'
    )
    done = run("--example", name, "--input", str(path), "--json")
    assert done.returncode == 0, done.stderr
    assert f"bad record: {path}, line 3: malformed JSON at column 11" in done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()[:-1]]
    places = [one for row in rows for one in row.get("records", [row])]
    found = {(one["id"], one["index"], one["file"], one["line"]) for one in places}
    whole = {(7, 0, str(path), 1), (None, 2, str(path), 4)}
    assert found - {(None, 1, str(path), 3)} == whole
    assert len(found) == (2 if name == "pipeline" else 3)


def test_a_run_that_fails_is_exit_1(run: Callable[..., Done]) -> None:
    """An unreachable service is reported in one line."""
    done = run("--example", "pipeline", "--services", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.startswith("pipeline failed: HTTPConnectionError")
    assert done.stderr.count("\n") == 1


SMALL = {
    "validation": ["--input", "-"],
    "enrichment": ["--input", "-"],
    "batch": ["--limit", "5"],
    "mapreduce": ["--limit", "20"],
    "pipeline": ["--limit", "20"],
}
KEYS = {"wall_s", "work_s", "speedup", "verdict", "peak_in_flight", "items", "retries", "nodes"}


@pytest.mark.proofs
@pytest.mark.parametrize("name", NAMES)
def test_json_lines_end_with_the_report(run: Callable[..., Done], name: str) -> None:
    """Standard output is JSON lines alone; the last is the report; the rest is for people."""
    done = run("--example", name, "--json", *SMALL[name], text='{"email": "a@example.com"}')
    assert done.returncode == 0, done.stderr
    *rows, last = map(json.loads, done.stdout.splitlines())
    assert rows
    assert last["example"] == name
    assert last["report"].keys() >= KEYS
    assert last["report"]["items"].keys() == {"ok", "failed", "skipped", "cancelled", "timed_out"}
    assert last["report"]["wall_s"] > 0
    assert f"run report: {name}" in done.stderr


def test_all_runs_the_five_in_order() -> None:
    """Each ends with its report; --input goes to those that take records."""
    done = python(
        MAIN, "--example", "all", "--json", "--limit", "20", "--input", "-",
        text='{"email": "a@example.com"}\n{"email": "b@example.com"}\n',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["example"] for line in lines if "report" in line] == list(NAMES)
    assert list(dict.fromkeys(line["workflow"] for line in lines if "workflow" in line)) == [*NAMES]


@pytest.mark.proofs
def test_output_holds_the_rows(run: Callable[..., Done], tmp_path: Path) -> None:
    """The file has what --json prints, less the report."""
    path = tmp_path / "rows.jsonl"
    done = run("--example", "batch", "--limit", "5", "--json", "--output", str(path))
    assert done.returncode == 0
    assert path.read_text().splitlines() == done.stdout.splitlines()[:-1]
    assert f"5 rows written to {path}" in done.stderr


def test_output_of_the_pipeline_may_be_a_database(run: Callable[..., Done], tmp_path: Path) -> None:
    """A name that ends in .db is an SQLite file."""
    path = tmp_path / "records.db"
    done = run("--example", "pipeline", "--limit", "20", "--json", "--output", str(path))
    assert done.returncode == 0
    with sqlite3.connect(path) as database:
        (count,) = database.execute("SELECT count(*) FROM records").fetchone()
    database.close()
    assert count == len(done.stdout.splitlines()) - 1


def test_free_text_runs_on_the_data_in_it(run: Callable[..., Done]) -> None:
    """Words choose, the text gives the data, and one line says so."""
    done = run("Validate and enrich this user: a@example.com", "--json")
    assert done.returncode == 0, done.stderr
    assert "Understood: validation >> enrichment, on 1 e-mail address in the text" in done.stderr
    *rows, last = map(json.loads, done.stdout.splitlines())
    assert [row["workflow"] for row in rows] == ["validation", "enrichment"]
    assert last["example"] == "validation >> enrichment"


def test_free_text_runs_on_piped_data(run: Callable[..., Done]) -> None:
    """Without data in the text, standard input is read."""
    done = run("validate this", text="email\na@example.com\nb@example.com\n")
    assert "Understood: validation, on standard input" in done.stdout
    assert "2 records" in done.stdout


@pytest.mark.proofs
def test_free_text_runs_on_the_bundled_sample(run: Callable[..., Done]) -> None:
    """If there is no data in the text and none on standard input."""
    done = run("validate", "this")
    assert "Understood: validation, on the bundled sample" in done.stdout
    assert "1,000 records" in done.stdout


def test_free_text_counts_the_words_in_quotes(run: Callable[..., Done]) -> None:
    """Quoted words are the text of mapreduce."""
    done = run('count the words in "the cat the dog"', "--json")
    assert json.loads(done.stdout.splitlines()[0])["key"] == "the"


@pytest.mark.proofs
def test_a_reader_that_leaves_is_no_error() -> None:
    """A broken pipe ends the command quietly."""
    words = ["--example", "mapreduce", "--limit", "200", "--json"]
    with child(sys.executable, MAIN, *words) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        printed = process.stderr.read()
        assert process.wait(LONGEST_S) == 0
    assert "Error" not in printed


def interrupted(*words: str, when: str) -> tuple[int, str]:
    """Send SIGINT when a line of the log has ``when``; return code, and the rest of the log.

    No process is left then.
    """
    with child(sys.executable, MAIN, "--verbose", *words, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        while not re.search(when, line := process.stderr.readline()):
            assert line, "the run was over before it could be interrupted"
        os.killpg(process.pid, signal.SIGINT)
        printed = process.stderr.read()
        code = process.wait(LONGEST_S)
        assert left_of(process) == []
    return code, printed


@pytest.mark.proofs
@pytest.mark.parametrize(
    "closed",
    [">&- 2>&-", *(pytest.param(one, marks=pytest.mark.proofs) for one in ("", ">&-", "2>&-"))],
)
def test_a_closed_stream_is_no_error(closed: str, tmp_path: Path) -> None:
    """The work is done and written all the same."""
    output = tmp_path / "rows.jsonl"
    line = f'exec "$@" {closed}'
    words = ["--example", "validation", "--input", "-", "--output", output]
    done = ran("sh", "-c", line, "sh", sys.executable, MAIN, *words, text="email\na@example.com\n")
    assert done.returncode == 0
    assert output.read_text().count("\n") == 1


def test_a_missing_package_is_one_line_with_the_way_out() -> None:
    """As after a clone, before anything is installed."""
    done = python("-S", MAIN, "--example", "validation")
    assert done.returncode == 1
    assert re.fullmatch(r'error: the command needs \w+: python -m pip .*"\.\[cli\]"\n', done.stderr)


def test_interruption_is_a_line_and_exit_130() -> None:
    """SIGINT cancels the graph, says how far it got, and shows no traceback."""
    code, printed = interrupted("--example", "pipeline", "--limit", "9999999", when="stage started")
    assert code == 130
    assert printed.splitlines()[-1].startswith("pipeline interrupted after")
    assert "Traceback" not in printed


@pytest.mark.proofs
def test_interruption_leaves_no_worker_process(tmp_path: Path) -> None:
    """Worker processes end with the command that started them."""
    for number in range(64):
        (tmp_path / f"{number}.py").write_text("x = [" + "1, " * 2_000 + "]\n")
    code, printed = interrupted(
        "--example", "batch", "--run-in", "process", "--input", str(tmp_path),
        when=r"node started .*node=Processes",
    )  # fmt: skip
    assert code == 130
    assert "Traceback" not in printed
