"""The prompt: commands and free text, one line at a time, until Ctrl-D.

An error never ends it. Ctrl-C stops the running graph and returns to the prompt. If
standard input is not a terminal, lines are read as they come and nothing is drawn.
"""

import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.output import create_output

from examples.command import HELP, make_requested, with_output
from examples.inputs import InputError, Records, did_you_mean, is_file, read_records
from examples.mentions import find_data, goes_on, may_go_on
from examples.planner import chooser
from examples.prompt import HelpAsked, NotUnderstoodError, understand
from examples.runner import Runner, check_options, explain, make_job, message_of, output_to
from examples.workflow import MAX_WORKERS, NAMES, Options, load

COMMANDS = {
    "validate": ("validate [json|file]", "check records: the bundled thousand, or yours"),
    "enrich": ("enrich [json|file]", "gather what is known about people"),
    "batch": ("batch [count|glob]", "hash and measure this many files, or those"),
    "mapreduce": ("mapreduce [text|glob]", "count words of a text, or identifiers of files"),
    "pipeline": ("pipeline [count]", "stream this many records through five stages"),
    "workers": ("workers [N]", "how many items to process at once from now on"),
    "report": ("report", "show the run report of the last run"),
    "graph": ("graph [name …]", "show the last or the named workflows as Mermaid"),
    "help": ("help", "show this list"),
    "quit": ("quit", "quit (also Ctrl-D)"),
}
QUIT = ("quit", "exit")


class Shell:
    """Executes lines, one after another."""

    def __init__(self, runner: Runner, options: Options) -> None:
        self.runner, self.screen, self.options = runner, runner.screen, options
        # Each returns False for an argument that is not its own: then the line is free text.
        self._commands: dict[str, Callable[[str], bool]] = {
            "validate": lambda rest: self._records("validation", rest),
            "enrich": lambda rest: self._records("enrichment", rest),
            "batch": self._batch,
            "mapreduce": self._mapreduce,
            "pipeline": self._pipeline,
            "workers": self._workers,
            "report": self._report,
            "graph": self._graph,
            "help": self._help,
        }

    def run(self) -> int:
        """Read lines until the input ends or one is quit; the exit code is 0."""
        if sys.stdin.isatty():
            self.screen.tell("kaygraph: type a command (help lists them) or text; Ctrl-D quits")
            lines = terminal_lines(plain_output=self.screen.json)
        else:
            lines = piped_lines()
        for line in lines:
            if line.strip().lower() in QUIT:
                break
            self.do(line)
        return 0

    def do(self, line: str) -> None:
        """Execute one line; any failure is reported.

        Raises:
            BrokenPipeError: The reader of our output is gone.
        """
        word, _, rest = line.strip().partition(" ")
        if not word:
            return
        command = self._commands.get(word.lower())
        try:
            if command is None or not command(rest.strip()):
                self._free_text(line)
        except KeyboardInterrupt as interrupt:
            self.screen.tell(message_of(interrupt))
        except BrokenPipeError:
            raise
        except NotUnderstoodError as error:
            leave = word.lower() in QUIT  # followed by something
            hint = " To leave type quit." if leave else did_you_mean(word.lower(), [*COMMANDS])
            hint = "" if hint in error.reason else hint
            self.screen.tell(f"error: {error.reason}{hint} Type help for a list.")
        except InputError as error:
            self.screen.tell(f"error: {error}")
        except Exception as error:
            for text in explain(error):
                self.screen.tell(f"error: {text}")

    def _free_text(self, line: str) -> None:
        try:
            request = understand(line, chooser(self.screen.tell))
        except HelpAsked:
            self._help("")
            self.screen.print(*HELP[:-1])
            return
        options = with_output(self.options, request)
        check_options(Options(output=options.output), request.workflows)
        job, understood = make_requested(request, options)
        self.screen.print(understood)
        with output_to(options.output, self.screen) as self.runner.output:
            try:
                self.runner.run(job)
            finally:
                self.runner.output = None

    def _run(self, name: str, options: Options) -> bool:
        self.runner.run(make_job([load(name)], options))
        return True

    def _records(self, name: str, rest: str) -> bool:
        if not rest:
            return self._run(name, self.options)
        if Path(rest).expanduser().is_file():
            return self._run(name, replace(self.options, records=read_records(rest)))
        found = find_data(rest)
        if found.output is not None:
            return False
        if found.rest.strip(" ,;."):
            if len(rest.split()) > 1:
                return False
            raise InputError(f"{rest!r} is neither JSON nor a file. Type: {COMMANDS_OF[name]}")
        records = Records(found.records or ())
        for file in found.files:
            records = records + read_records(file)
        return self._run(name, replace(self.options, records=records))

    def _batch(self, rest: str) -> bool:
        if rest and not _is_count(rest):
            if len(rest.split()) > 1 and not Path(rest).exists():
                return False
            return self._run("batch", replace(self.options, paths=rest))
        return self._run("batch", self._limited(rest))

    def _mapreduce(self, rest: str) -> bool:
        if not rest:
            return self._run("mapreduce", self.options)
        if Path(rest).expanduser().exists() or (len(rest.split()) == 1 and is_file(rest)):
            return self._run("mapreduce", replace(self.options, paths=rest))
        return self._run("mapreduce", replace(self.options, text=rest.strip("\"'")))

    def _pipeline(self, rest: str) -> bool:
        if rest and not _is_count(rest):
            if len(rest.split()) > 1:
                return False
            raise InputError(f"{rest!r} is not a count. Type: {COMMANDS_OF['pipeline']}")
        return self._run("pipeline", self._limited(rest))

    def _limited(self, rest: str) -> Options:
        return replace(self.options, limit=_count(rest)) if rest else self.options

    def _workers(self, rest: str) -> bool:
        if rest:
            number = _count(rest) if _is_count(rest) else 0
            if not 1 <= number <= MAX_WORKERS:
                raise InputError(f"workers takes a number from 1 to {MAX_WORKERS}, got {rest!r}")
            self.options = replace(self.options, workers=number)
        number_now = self.options.workers
        self.screen.print(
            f"workers: {'by default of each example' if number_now is None else number_now}"
        )
        return True

    def _report(self, rest: str) -> bool:
        if self.runner.last is None:
            raise InputError("nothing has run yet: type batch 100, for example")
        self.screen.report(self.runner.last[1])
        return True

    def _graph(self, rest: str) -> bool:
        names = rest.replace(">>", " ").replace(",", " ").lower().split()
        for name in names:
            if name not in NAMES:
                raise InputError(
                    f"there is no workflow {name!r}.{did_you_mean(name, NAMES)} "
                    f"Type one of: {', '.join(NAMES)}"
                )
        if names:
            graph = make_job([load(name) for name in dict.fromkeys(names)], self.options).graph
        elif self.runner.last is None:
            raise InputError("nothing has run yet: type graph validation, for example")
        else:
            graph = self.runner.last[0].graph
        self.screen.print(graph.to_mermaid())
        return True

    def _help(self, rest: str) -> bool:
        width = max(len(usage) for usage, _ in COMMANDS.values())
        self.screen.print(*(f"  {usage:<{width}}  {what}" for usage, what in COMMANDS.values()))
        self.screen.print(
            '  or plain words, such as: validate and enrich {"email": "a@example.com"}'
        )
        return True


COMMANDS_OF = {
    "validation": COMMANDS["validate"][0],
    "enrichment": COMMANDS["enrich"][0],
    "pipeline": COMMANDS["pipeline"][0],
}


def _is_count(text: str) -> bool:
    return re.fullmatch(r"-?[0-9][0-9,]{0,15}", text) is not None


def _count(text: str) -> int:
    number = int(text.replace(",", ""))
    if number < 1:
        raise InputError(f"a count is at least 1, got {number}")
    return number


# --- input --------------------------------------------------------------------------------------


def piped_lines() -> Iterator[str]:
    """Yield the lines of standard input as they come; JSON and rows over several lines as one."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    lines = (line.rstrip("\n") for line in sys.stdin or ())
    text = ""
    for line in lines:
        if text and not (line and goes_on(text, line)):
            yield text
            text = ""
        text = f"{text}\n{line}" if text else line
        if not may_go_on(text):
            yield text
            text = ""
    if text:
        yield text


def terminal_lines(*, plain_output: bool) -> Iterator[str]:
    """Read line after line, with history and completion.

    Ctrl-C clears the line, Ctrl-D ends. With ``plain_output`` standard output is not touched.
    """
    output = sys.stderr if plain_output or not sys.stdout.isatty() else sys.stdout
    session: PromptSession[str] = PromptSession(
        "kaygraph> ",
        history=open_history(),
        completer=LineCompleter(),
        complete_while_typing=False,
        output=create_output(stdout=output),
    )
    while True:
        try:
            yield session.prompt()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


class ForgivingHistory(FileHistory):
    """A history file; if it cannot be written, lines are remembered for this session only."""

    def load_history_strings(self) -> Iterable[str]:
        try:
            return [*super().load_history_strings()]
        except OSError:
            return []

    def store_string(self, string: str) -> None:
        try:
            super().store_string(string)
        except OSError:
            return


def open_history() -> History:
    """Return the history in the user's state directory (XDG_STATE_HOME)."""
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        path = state / "kaygraph" / "history"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)  # input may contain personal data
    except (OSError, RuntimeError):
        return InMemoryHistory()
    return ForgivingHistory(path)


class LineCompleter(Completer):
    """Completes the command, then the name of a workflow or of a file."""

    def __init__(self) -> None:
        self._paths = PathCompleter(expanduser=True)

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """Yield possible endings of the line."""
        word, space, rest = document.text_before_cursor.lstrip().partition(" ")
        if not space:
            yield from _beginning_with(word, COMMANDS)
        elif word == "graph":
            yield from _beginning_with(rest.split(" ")[-1], NAMES)
        elif word in ("validate", "enrich", "batch", "mapreduce"):
            yield from self._paths.get_completions(Document(rest), complete_event)


def _beginning_with(start: str, words: Iterable[str]) -> Iterable[Completion]:
    return (Completion(word, -len(start)) for word in words if word.startswith(start.lower()))
