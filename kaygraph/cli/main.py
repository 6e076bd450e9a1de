"""What can be typed, and which code the command ends with."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from ..errors import JournalError, RunInterrupted
from . import draw, runs
from .arguments import Command
from .wrong import WrongCommandError

BEGIN = """\
  kaygraph draw flows.py:graph -o flow.svg

runs are kept in a journal: --journal runs.db, or postgresql://…, or what the
environment variable KAYGRAPH_JOURNAL names

  kaygraph runs list
  kaygraph runs show import-7
  kaygraph runs resume import-7 flows.py:graph
  kaygraph runs answer import-7 approval true
  kaygraph runs fork import-7 --at Fetch --set 'Total=12'
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
        options = _parser().parse_args(argv)
        if "journal" in options:
            options.journal = options.journal or os.environ.get("KAYGRAPH_JOURNAL")
            if not options.journal:
                raise WrongCommandError(
                    "which journal? Type --journal runs.db, or set KAYGRAPH_JOURNAL=runs.db"
                )
        code: int = options.command(options)
        return code
    except WrongCommandError as error:
        return _said(error, 2)
    except BrokenPipeError:  # as of `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (JournalError, ValueError) as error:
        return _said(error, 1)
    except Exception as error:  # of a graph that was resumed
        return _said(error, 1, f"{type(error).__name__}: ")
    except RunInterrupted as interruption:
        return int(interruption.code or 130)


def _said(error: Exception, code: int, kind: str = "") -> int:
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    print(f"error: {kind}{error}{notes}", file=sys.stderr)
    return code


def _parser() -> Parser:
    parser = Parser(
        prog="kaygraph", description="See a graph, and runs that are recorded; go on with these.",
        epilog=BEGIN, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    subjects = parser.add_subparsers(required=True, metavar="SUBJECT")
    commands = subjects.add_parser(
        "runs", help="recorded runs", epilog=BEGIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).add_subparsers(required=True, metavar="COMMAND")  # fmt: skip
    for command in runs.COMMANDS:
        one = _add(commands, command)
        one.add_argument("--journal", metavar="ADDRESS", help="a file, or postgresql://…")
    _add(subjects, draw.COMMAND)
    return parser


def _add(commands: "argparse._SubParsersAction[Parser]", command: Command) -> Parser:
    one = commands.add_parser(command.name, help=command.help, description=command.help)
    for name, settings in command.arguments:
        one.add_argument(name, **settings)
    one.set_defaults(command=command.run)
    return one
