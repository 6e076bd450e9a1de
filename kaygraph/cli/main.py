"""What can be typed, and which code the command ends with."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from .. import __version__
from .._extras import MissingExtraError
from ..errors import JournalError
from . import draw, explain, run, runs, watch
from .arguments import Command
from .failing import is_of_user, tell_failure
from .wrong import WrongCommandError

BEGIN = """\
  kaygraph run flows.py:graph --set limit=20 --output pages --progress
  kaygraph run flows.py:graph --watch
  kaygraph explain 8765
  kaygraph draw flows.py:graph -o flow.svg

runs are kept in a journal: --journal runs.db, or postgresql://…, or what the
environment variable KAYGRAPH_JOURNAL names

  kaygraph watch --journal runs.db
  kaygraph runs list
  kaygraph runs show import-7
  kaygraph runs resume import-7 flows.py:graph
  kaygraph runs answer import-7 approval true
  kaygraph runs fork import-7 --at Total --set 'Total=12'
  kaygraph runs prune 30d

exit codes: 0 it worked, 1 it failed, 2 the command was wrong, 75 the run waits
for an answer, 130 or 143 it was interrupted
"""


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise WrongCommandError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what is typed; return the exit code."""
    try:
        options = _parser().parse_args(_words(sys.argv[1:] if argv is None else argv))
        if options.command is None:
            options.parser.print_help(sys.stderr)
            return 2
        if "journal" in options:
            options.journal = options.journal or os.environ.get("KAYGRAPH_JOURNAL")
            if not options.journal:
                raise WrongCommandError(
                    "which journal? Type --journal runs.db, or set KAYGRAPH_JOURNAL=runs.db"
                )
        code: int = options.command(options)
        sys.stdout.flush()  # here a closed pipe is met, and not when the interpreter ends
        return code
    except WrongCommandError as error:
        return _said(error, 2)
    except BrokenPipeError:  # as of `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (JournalError, MissingExtraError) as error:
        return _said(error, 1)
    except Exception as error:  # of a graph that was loaded or resumed
        return _failed(error)
    except KeyboardInterrupt as interruption:
        return int(getattr(interruption, "code", 130))


def _said(error: Exception, code: int) -> int:
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    print(f"error: {error}{notes}", file=sys.stderr)
    return code


def _failed(error: Exception) -> int:
    if isinstance(error, ValueError) and not is_of_user(error):  # what was typed cannot be done
        return _said(error, 1)
    tell_failure(error)
    return 1


def _words(argv: Sequence[str]) -> list[str]:
    """Return the words of a command, where ``--watch`` never takes a graph for its port."""
    words: list[str] = []
    for word in argv:
        if words and words[-1] == "--watch=" and word.isdecimal():
            words[-1] += word
        else:
            words.append("--watch=" if word == "--watch" else word)
    return words


def _parser() -> Parser:
    parser = Parser(
        prog="kaygraph",
        description="Run a graph; draw it; watch it; go on with runs that are recorded.",
        epilog=BEGIN, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"kaygraph {__version__}")
    parser.set_defaults(command=None, parser=parser)
    subjects = parser.add_subparsers(metavar="SUBJECT")
    for command in (run.COMMAND, draw.COMMAND, watch.COMMAND, explain.COMMAND):
        _add(subjects, command)
    recorded = subjects.add_parser(
        "runs", help="recorded runs", epilog=BEGIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    recorded.set_defaults(parser=recorded)
    commands = recorded.add_subparsers(metavar="COMMAND")
    for command in runs.COMMANDS:
        one = _add(commands, command)
        one.add_argument("--journal", metavar="ADDRESS", help="a file, or postgresql://…")
    return parser


def _add(commands: "argparse._SubParsersAction[Parser]", command: Command) -> Parser:
    one = commands.add_parser(
        command.name, help=command.help, description=command.help, epilog=command.examples or None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    for name, settings in command.arguments:
        one.add_argument(name, **settings)
    one.set_defaults(command=command.run)
    return one
