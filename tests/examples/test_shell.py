"""The interactive prompt: through a pipe, and through a real terminal."""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory

from examples.runner import Runner
from examples.screen import Terminal
from examples.shell import LineCompleter, Shell, open_history
from examples.workflow import Options
from tests.children import child, ran

ROOT = Path(__file__).parents[2]
TRIES = 5  # of which one takes less than a second: a busy machine holds some up
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COMMAND = [sys.executable, str(ROOT / "main.py"), "--interactive"]


@pytest.fixture
def shell() -> Shell:
    return Shell(Runner(Terminal()), Options())


def lines_of(shell: Shell, capsys: Any, *lines: str) -> SimpleNamespace:
    """Execute lines and return standard output and standard error."""
    for line in lines:
        shell.do(line)
    return SimpleNamespace(**dict(zip(("out", "err"), capsys.readouterr(), strict=True)))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("frobnicate", "I do not understand 'frobnicate'"),
        ("reprot", "Did you mean report?"),
        ("pipline 5", "'pipline', '5'. Did you mean pipeline? Type help"),
        ("quit please", "To leave type quit."),
        ("report", "nothing has run yet"),
        ("graph", "nothing has run yet"),
        ("graph validaton", "Did you mean validation?"),
        ("workers 0", "at least 1"),
        ("workers many", "a number from 1 to"),
        ("workers 99999", "a number from 1 to"),
        ("validate {", "malformed"),
        ("validate foo", "'foo' is neither JSON nor a file. Type: validate [json|file]"),
        ("validate nothere.csv", "no file 'nothere.csv'"),
        ("batch nothere/*.py", "no files at 'nothere/*.py'"),
        ("batch 0", "at least 1"),
        ("mapreduce nothere.py", "no file"),
        ("pipeline many", "not a count"),
        ("validate and translate this", "do not understand 'translate'"),
    ],
)
def test_a_mistake_is_reported_in_a_line(line: str, words: str, shell: Shell, capsys: Any) -> None:
    """A mistyped line is one line on standard error, and the shell continues."""
    printed = lines_of(shell, capsys, line)
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert "workers: 3" in lines_of(shell, capsys, "workers 3").out


def test_commands_run_workflows_and_remember_the_last(shell: Shell, capsys: Any) -> None:
    """After mapreduce, report and graph show that run."""
    printed = lines_of(shell, capsys, "mapreduce the cat the dog")
    assert re.search(r"\bthe\b.*\b2\b", printed.out)
    printed = lines_of(shell, capsys, "report", "graph")
    assert "run report: mapreduce" in printed.out
    assert "flowchart LR" in printed.out
    assert printed.err == ""


def test_records_are_validated_from_json_and_from_a_file(
    shell: Shell, capsys: Any, tmp_path: Path
) -> None:
    """Validate takes JSON, a file whose name has spaces, and addresses."""
    file = tmp_path / "my records.jsonl"
    file.write_text('{"email": "a@example.com"}\n{"email": "b@example.com"}\n')
    assert "1 valid" in lines_of(shell, capsys, 'validate {"email": "a@example.com"}').out
    assert "2 valid" in lines_of(shell, capsys, f"validate {file}").out
    assert "1 valid" in lines_of(shell, capsys, "VALIDATE a@example.com").out


@pytest.mark.proofs
def test_batch_takes_a_count_and_a_glob(shell: Shell, capsys: Any, tmp_path: Path) -> None:
    """A number limits the files of the library; anything else names files."""
    for name in "abc":
        (tmp_path / f"{name}.py").write_text("x = 1\n")
    assert lines_of(shell, capsys, "batch 2").out.startswith("2 files")
    assert lines_of(shell, capsys, f"batch {tmp_path}/*.py").out.startswith("3 files")


def test_pipeline_takes_a_count(shell: Shell, capsys: Any) -> None:
    """So many records are streamed."""
    assert "run report: pipeline" in lines_of(shell, capsys, "pipeline 20").out
    assert shell.runner.last is not None
    assert shell.runner.last[1].nodes["Pipeline/Receive"].stage_items == 20


def test_free_text_is_understood(shell: Shell, capsys: Any) -> None:
    """A line that is not a command, or continues like a sentence, is free text."""
    printed = lines_of(shell, capsys, "validate and enrich a@example.com")
    assert "Understood: validation >> enrichment, on 1 e-mail address in the text" in printed.out
    assert "run report: validation >> enrichment" in printed.out


def test_named_workflows_are_drawn_without_a_run(shell: Shell, capsys: Any) -> None:
    """Several names are drawn as one graph."""
    printed = lines_of(shell, capsys, "graph validation >> enrichment")
    assert '"validation"' in printed.out
    assert "n0 --> n1" in printed.out


def test_help_lists_every_command(shell: Shell, capsys: Any) -> None:
    """Help names all that the shell takes."""
    printed = lines_of(shell, capsys, "help", "")
    for command in ("validate", "enrich", "batch", "mapreduce", "pipeline", "workers", "report",
                    "graph", "help", "quit"):  # fmt: skip
        assert f"  {command}" in printed.out


def completions(text: str) -> list[str]:
    document, event = Document(text), CompleteEvent()
    return [found.text for found in LineCompleter().get_completions(document, event)]


def test_completion_offers_commands_workflows_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the line is completed by its place."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.json").touch()
    assert completions("re") == ["report"]
    assert completions("graph v") == ["validation"]
    assert completions("validate peo") == ["ple.json"]
    assert completions("workers ") == []


def test_history_is_kept_for_its_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is in XDG_STATE_HOME and nobody else may read it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    open_history().store_string("batch 3")
    file = tmp_path / "kaygraph" / "history"
    assert "batch 3" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_history_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the state directory cannot be made, or the file is lost later, the prompt works."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert isinstance(open_history(), InMemoryHistory)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    history = open_history()
    (tmp_path / "kaygraph" / "history").unlink()
    (tmp_path / "kaygraph" / "history").mkdir()
    history.store_string("batch 3")
    assert list(history.load_history_strings()) == []


@pytest.mark.proofs
def test_a_pipe_is_read_to_its_end_without_terminal_codes() -> None:
    """Mistakes on the way do not end it; at the end of input the exit code is 0."""
    lines = "frobnicate\nmapreduce a b a\nreport\n\n"
    done = ran(*COMMAND, text=lines)
    assert done.returncode == 0
    assert done.stdout.count("run report: mapreduce") == 2
    assert "\x1b" not in done.stdout + done.stderr
    assert "kaygraph>" not in done.stdout + done.stderr


def test_data_over_several_lines_is_one_request() -> None:
    """JSON until it is closed, and rows under their header; what follows is a line of its own."""
    rows = "name,email\nMira,mira@example.com\nAda,ada@example.com"
    done = ran(*COMMAND, text=f'[{{"email":\n"a@example.com"}}]\n{rows}\nworkers 3\n{rows}')
    assert done.stdout.count("Understood: validation >> enrichment, on 1 record in the text") == 1
    assert done.stdout.count("Understood: validation >> enrichment, on 2 records in the text") == 2
    assert "workers: 3" in done.stdout
    assert done.stderr == ""


def test_a_line_of_a_pipe_is_done_when_it_comes() -> None:
    """It does not wait for the next."""
    with child(*COMMAND, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("workers 3\n")
        process.stdin.flush()
        assert process.stdout.readline() == "workers: 3\n"


def test_a_text_may_name_the_file_to_write(shell: Shell, capsys: Any, tmp_path: Path) -> None:
    """As on the command line; the next line writes nothing."""
    output = tmp_path / "out.jsonl"
    printed = lines_of(shell, capsys, f"validate a@example.com and save to {output}")
    assert f"1 row written to {output}" in printed.err
    assert output.read_text().count("\n") == 1
    output.unlink()
    lines_of(shell, capsys, "validate a@example.com")
    assert not output.exists()


def test_questions_about_the_shell_get_help(shell: Shell, capsys: Any) -> None:
    """In words as well."""
    assert "validate [json|file]" in lines_of(shell, capsys, "what can you do?").out


@pytest.mark.proofs
def test_quit_leaves_the_rest_of_a_pipe_unread() -> None:
    """Lines after quit are not executed."""
    done = ran(*COMMAND, text="quit\nhelp\n")
    assert (done.returncode, done.stdout) == (0, "")


# --- a real terminal ------------------------------------------------------------------------------


class Keyboard:
    """The person's end of a pseudo-terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.seen = ""

    def type(self, keys: str) -> None:
        self.seen = ""
        os.write(self._descriptor, keys.encode())

    def wait_for(self, pattern: str, seconds: float = 60) -> float:
        """Read until the pattern is on the screen; return how many seconds that took."""
        started = time.monotonic()
        while not re.search(pattern, self.seen):
            left = started + seconds - time.monotonic()
            if left <= 0 or not select.select([self._descriptor], [], [], left)[0]:
                pytest.fail(f"no {pattern!r} within {seconds} s; the screen has {self.seen!r}")
            try:
                written = os.read(self._descriptor, 65536).decode(errors="replace")
            except OSError:  # the program has left
                pytest.fail(f"the program left without {pattern!r}: {self.seen!r}")
            self.seen += CONTROL.sub("", written)
        return time.monotonic() - started


@pytest.fixture
def prompt(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Keyboard]]:
    """The command at a prompt, on a terminal of its own, so that Ctrl-C is the terminal's."""
    ours, theirs = pty.openpty()
    # The first terminal that the leader of a session opens controls it.
    script = 'exec "$@" <"$TTY" >"$TTY" 2>&1'
    settings = {
        "TTY": os.ttyname(theirs),
        "XDG_STATE_HOME": str(tmp_path),
        "PROMPT_TOOLKIT_NO_CPR": "1",
        "TERM": "xterm",
        "COLUMNS": "100",
    }
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, ours)
        process = stack.enter_context(child("sh", "-c", script, "sh", *COMMAND, env=settings))
        keyboard = Keyboard(ours)
        keyboard.wait_for("kaygraph>")
        os.close(theirs)
        yield process, keyboard


def test_ctrl_c_comes_back_to_the_prompt_within_a_second(
    prompt: tuple[subprocess.Popen[str], Keyboard],
) -> None:
    """It stops the graph in the middle of its work; the next command runs as ever."""
    process, keyboard = prompt

    def seconds() -> float:
        keyboard.type("pipeline 10000000\r")
        keyboard.wait_for(r"Validate +[1-9]")
        keyboard.type("\x03")
        took = keyboard.wait_for(r"interrupted after[\s\S]*kaygraph>")
        assert "Traceback" not in keyboard.seen
        return took

    assert any(seconds() < 1 for _ in range(TRIES))
    keyboard.type("mapreduce a b a\r")
    keyboard.wait_for(r"run report: mapreduce[\s\S]*kaygraph>")
    keyboard.type("\x04")
    assert process.wait(30) == 0


@pytest.mark.proofs
def test_ctrl_c_at_the_prompt_empties_the_line(
    prompt: tuple[subprocess.Popen[str], Keyboard],
) -> None:
    """The line is not executed, and the prompt returns; a wrong command is reported."""
    process, keyboard = prompt
    keyboard.type("frobnicate")
    keyboard.wait_for("frobnicate")
    keyboard.type("\x03")
    keyboard.wait_for("kaygraph>")
    keyboard.type("workers 3\r")
    keyboard.wait_for(r"workers: 3[\s\S]*kaygraph>")
    keyboard.type("reprot\r")
    keyboard.wait_for(r"Did you mean report\?[\s\S]*kaygraph>")
    keyboard.type("\x04")
    assert process.wait(30) == 0


@pytest.mark.proofs
def test_ctrl_c_stops_the_run_of_a_pipe_and_reads_on() -> None:
    """Without a terminal SIGINT ends the graph that runs, and the next line is done."""
    with child(*COMMAND, "--verbose", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("pipeline 10000000\nworkers 7\n")
        process.stdin.flush()
        while "stage started" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "pipeline interrupted after" in err
    assert out == "workers: 7\n"
