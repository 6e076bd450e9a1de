"""``python -m benchmarks.races.examples [PACKAGE ...]``: explore the documented examples.

The packages must be installed: ``python -m benchmarks.races`` does that, and runs this. Each
program runs under 1,000 seeds in orders that asyncio's own loop could have, and in 1,000 of any.
It prints those that break their promise. ``--found FILE`` gets a line of JSON for each program.
"""

import argparse
import json
import logging
import warnings
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.races.each_seed import ORDERS
from benchmarks.races.examples.corpus import EXAMPLES, Example
from kaygraph.testing import EndlessRunError, explore

MAX_STEPS, MAX_SECONDS = 20_000, 600.0


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.races.examples", description=__doc__
    )
    parser.add_argument("packages", nargs="*", metavar="PACKAGE")
    parser.add_argument("--name", help="this program alone, and print what breaks it")
    parser.add_argument("--seeds", type=int, default=1000, help="for each order (1000)")
    parser.add_argument("--found", type=Path, metavar="FILE")
    options = parser.parse_args()
    logging.disable()
    warnings.simplefilter("ignore")
    for each in EXAMPLES:
        wanted = not options.packages or each.package in options.packages
        if wanted and options.name in (None, each.name):
            result = explored(each, options.seeds, whole=options.name is not None)
            print(line_of(result), flush=True)
            if options.found:
                with options.found.open("a") as file:
                    file.write(json.dumps(result) + "\n")


def explored(each: Example, seeds: int, whole: bool = False) -> dict[str, Any]:
    """Return how many seeds of each order break a program, and by which error.

    A program that has no end in asyncio's own order polls for a clock that stands still meanwhile:
    it cannot be simulated.
    """
    play = partial(each.play, import_module(each.module))
    result: dict[str, Any] = {"example": each.name, "package": each.package}
    result |= {"schedules": seeds * len(ORDERS), "broken": {}}
    limits: dict[str, Any] = {"max_steps": MAX_STEPS, "max_seconds": MAX_SECONDS}
    if any(isinstance(one.error, EndlessRunError) for one in explore(play, seeds=1, **limits)):
        return {**result, "schedules": 0}
    for order in ORDERS:
        found = explore(play, seeds=seeds, order=order, **limits)
        if found.shortest is not None:
            first = found.failures[0]
            error = str(found) if whole else first_line(first.error)
            result["broken"][order] = {"seeds": len(found), "first": first.seed, "error": error}
    return result


def first_line(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".splitlines()[0]


def line_of(result: dict[str, Any]) -> str:
    name = f"{result['package']}: {result['example']}"
    if not result["schedules"]:
        return f"{name}: not simulated"
    if not result["broken"]:
        return f"{name}: passes"
    return "\n".join(
        f"{name}: order {order}: {one['seeds']} seeds, first {one['first']}: {one['error']}"
        for order, one in result["broken"].items()
    )


if __name__ == "__main__":
    main()
