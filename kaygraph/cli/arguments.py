"""Commands and their arguments."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Options = argparse.Namespace


class Command(NamedTuple):
    """One command: its name, function, help text, arguments and examples."""

    name: str
    run: Callable[[Options], int]
    help: str
    arguments: Sequence[tuple[str, Mapping[str, Any]]] = ()
    examples: str = ""


def takes(name: str, metavar: str | None = None, **settings: Any) -> tuple[str, Mapping[str, Any]]:
    """Return an argument in the form that argparse expects."""
    return name, settings if metavar is None else {**settings, "metavar": metavar}


def several(name: str, metavar: str, text: str) -> tuple[str, Mapping[str, Any]]:
    """Return an option that may be given several times."""
    return takes(name, metavar, help=text, action="append", default=[])


def flag(name: str, text: str) -> tuple[str, Mapping[str, Any]]:
    """Return an option without a value."""
    return takes(name, help=text, action="store_true")
