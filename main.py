"""The demonstration: five parallel workflows, by name, by free text, or at a prompt.

Exit codes: 0 success, 1 failure, 2 wrong command, 130 or 143 interrupted.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from examples.inputs import InputError, did_you_mean
from examples.workflow import MAX_WORKERS, NAMES, PATTERNS

PROGRAM = "python main.py"

BEGIN = f"""\
ways to start:
  an example    {PROGRAM} --example validation
                (or {", ".join(NAMES[1:])}, all)
  the patterns  {PROGRAM} --example patterns
                (or one of them: {PATTERNS[0]}, …)
  free text     {PROGRAM} "Validate and enrich this user data"
                {PROGRAM} "validate people.csv and save to out.jsonl"
  a prompt      {PROGRAM} --interactive

KAYGRAPH_LLM_URL names a language model that interprets free text, such as
http://127.0.0.1:8080/v1 (see examples/planner.py); without it, or if it fails,
keywords decide

exit codes: 0 success, 1 failure, 2 wrong command, 130 or 143 interrupted
"""
NEEDED = ("aiohttp", "anyio", "structlog", "rich", "prompt_toolkit")


class Parser(argparse.ArgumentParser):
    """A parser that reports mistakes in one line."""

    def error(self, message: str) -> NoReturn:
        raise SystemExit(_wrong(message))


def _wrong(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def example(name: str) -> list[str]:
    """Return the names of the examples that ``--example`` selects."""
    if name == "all":
        return list(NAMES)
    known = (*NAMES, "all", "patterns", *PATTERNS)
    if name not in known:
        raise argparse.ArgumentTypeError(
            f"there is no example {name!r}.{did_you_mean(name.lower(), known)} "
            f"Type one of: {', '.join(known[: len(NAMES) + 2])}, or a file in examples/patterns"
        )
    return [name]


def workers(text: str) -> int:
    """Return a number of workers."""
    return _whole(text, 1, MAX_WORKERS)


def limit(text: str) -> int:
    """Return a number of records or files."""
    return _whole(text, 1, 10**12)


def port(text: str) -> int:
    """Return the port of a page; 0 means any free one."""
    return _whole(text, 0, 65535)


def seed(text: str) -> int:
    """Return a seed."""
    return _whole(text, -(10**12), 10**12)


def _whole(text: str, low: int, high: int) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"must be from {low} to {high}, got {number}")
    return number


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        prog=PROGRAM,
        usage=f'{PROGRAM} --example NAME | "free text" | --interactive  [options]',
        description="Five parallel workflows on real input, each a kaygraph graph.",
        epilog=BEGIN,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("text", nargs="*", help="what to do, in plain words; may contain JSON, e-mail addresses, "
        "the name of a file")  # fmt: skip
    add("--example", metavar="NAME", type=example, help=f"{', '.join(NAMES)}, all or patterns")
    add("--interactive", action="store_true", help="a prompt that takes commands and free text")
    add("--workers", metavar="N", type=workers, help="how many items to process at once")
    add("--input", metavar="FILE", help="records as JSON, JSON lines or CSV; - for standard input; "
        "for batch and mapreduce a file, a directory or a glob")  # fmt: skip
    add("--output", metavar="FILE", type=Path, help="write the results as JSON lines "
        "(pipeline: to a SQLite database if FILE ends in .db)")  # fmt: skip
    add(
        "--json",
        action="store_true",
        help="print JSON lines on standard output, the rest on standard error",
    )
    add("--seed", metavar="N", type=seed, default=7, help="seed of the service; by default, 7")
    add("--journal", metavar="FILE", help="record the run; the same command resumes it where it "
        "was killed")  # fmt: skip
    add("--services", metavar="URL", help="use the service at URL instead of the bundled one")
    add(
        "--limit",
        metavar="N",
        type=limit,
        help="how many files (batch, mapreduce) or records (pipeline)",
    )
    add("--run-in", metavar="PLACE", choices=("thread", "process", "dask"), help="run in threads, "
        "processes or a local Dask cluster (batch, mapreduce)")  # fmt: skip
    add("--mapper", metavar="MODULE:FUNCTION", help="your own map function (mapreduce)")
    add("--reducer", metavar="MODULE:FUNCTION", help="your own reduce function (mapreduce)")
    add("--progress", action="store_true", help="show the progress; by default in a terminal")
    add("--watch", metavar="PORT", nargs="?", const=0, type=port, help="show the run in the "
        "browser; in a terminal, the page stays open until Ctrl-C")  # fmt: skip
    add("-v", "--verbose", action="store_true", help="print a line per event on standard error")
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line; mistakes end in SystemExit(2) after one clear line."""
    parser = make_parser()
    # A text after --watch is not its port.
    words = [
        "--watch=0" if word == "--watch" and not following.isdecimal() else word
        for word, following in zip(argv, [*argv[1:], ""], strict=True)
    ]
    arguments, unknown = parser.parse_known_intermixed_args(words)
    known = [option for action in parser._actions for option in action.option_strings]
    for word in unknown:
        name = word.split("=")[0]
        hint = did_you_mean(name, known) or f" For the options type: {PROGRAM} --help"
        parser.error(f"there is no option {name}.{hint}")
    ways = [bool(arguments.example), arguments.interactive, bool(arguments.text)]
    if sum(ways) > 1:
        parser.error("use only one of --example, --interactive and free text")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # the caller closed it
            setattr(sys, stream, open(os.devnull, "w"))  # noqa: SIM115 - until the process ends
    try:
        if not argv:
            make_parser().print_help()
            return 0
        return run(parse(argv))
    except KeyboardInterrupt as interrupt:
        print("; ".join(getattr(interrupt, "__notes__", ["interrupted"])), file=sys.stderr)
        return getattr(interrupt, "code", 130)
    except BrokenPipeError:  # the reader of our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1


def run(arguments: Any) -> int:
    """Do what the arguments ask for and return the exit code."""
    try:
        from examples.command import Command
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        install = 'python -m pip install -e ".[cli]"'
        print(f"error: the command needs {error.name}: {install}", file=sys.stderr)
        return 1

    try:
        return Command(arguments).run()
    except InputError as error:
        return _wrong(str(error))
    finally:
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
