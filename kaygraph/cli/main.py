"""The command line parser, and the exit code of the command."""

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
from .failing import is_of_user, report_failure
from .wrong import WrongCommandError

BEGIN = """\
  kaygraph run flows.py:graph --set limit=20 --output pages --progress
  kaygraph run flows.py:graph --watch
  kaygraph explain 8765
  kaygraph draw flows.py:graph -o flow.svg

runs are recorded in a journal: --journal runs.db or --journal postgresql://…;
by default, the one that the environment variable KAYGRAPH_JOURNAL names

  kaygraph watch --journal runs.db
  kaygraph runs list
  kaygraph runs show import-7
  kaygraph runs resume import-7 flows.py:graph
  kaygraph runs answer import-7 approval true
  kaygraph runs fork import-7 --at Total --set 'Total=12'
  kaygraph runs prune 30d

exit codes: 0 success, 1 failure, 2 wrong command, 75 the run waits for an
answer, 130 or 143 interrupted
"""


class Parser(argparse.ArgumentParser):
    """A parser that reports mistakes in one line."""

    def error(self, message: str) -> NoReturn:
        raise WrongCommandError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that was typed; return the exit code."""
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
        sys.stdout.flush()  # to notice a closed pipe here, not when the interpreter exits
        return code
    except WrongCommandError as error:
        return _report(error, 2)
    except BrokenPipeError:  # as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (JournalError, MissingExtraError) as error:
        return _report(error, 1)
    except Exception as error:  # from a graph that was loaded or resumed
        return _failed(error)
    except KeyboardInterrupt as interruption:
        return int(getattr(interruption, "code", 130))


def _report(error: Exception, code: int) -> int:
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    print(f"error: {error}{notes}", file=sys.stderr)
    return code


def _failed(error: Exception) -> int:
    if isinstance(error, ValueError) and not is_of_user(error):  # from the command itself
        return _report(error, 1)
    report_failure(error)
    return 1


def _words(argv: Sequence[str]) -> list[str]:
    """Return the words of a command so that ``--watch`` never takes a graph as its port."""
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
        description="Run, draw and watch graphs; inspect and resume recorded runs.",
        epilog=BEGIN, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"kaygraph {__version__}")
    parser.set_defaults(command=None, parser=parser)
    subjects = parser.add_subparsers(metavar="COMMAND")
    for command in (run.COMMAND, draw.COMMAND, watch.COMMAND, explain.COMMAND):
        _add(subjects, command)
    recorded = subjects.add_parser(
        "runs", help="inspect and resume recorded runs", epilog=BEGIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    recorded.set_defaults(parser=recorded)
    commands = recorded.add_subparsers(metavar="COMMAND")
    for command in runs.COMMANDS:
        one = _add(commands, command)
        one.add_argument("--journal", metavar="ADDRESS", help="a SQLite file, or postgresql://…")
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
