"""What a command is, and what it takes."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Options = argparse.Namespace


class Command(NamedTuple):
    """One command: its name, what it does, what it takes, and how it is typed."""

    name: str
    run: Callable[[Options], int]
    help: str
    arguments: Sequence[tuple[str, Mapping[str, Any]]] = ()
    examples: str = ""


def takes(name: str, metavar: str | None = None, **settings: Any) -> tuple[str, Mapping[str, Any]]:
    """Return an argument as argparse takes it."""
    return name, settings if metavar is None else {**settings, "metavar": metavar}


def several(name: str, metavar: str, text: str) -> tuple[str, Mapping[str, Any]]:
    """Return an option that may be given several times."""
    return takes(name, metavar, help=text, action="append", default=[])


def flag(name: str, text: str) -> tuple[str, Mapping[str, Any]]:
    """Return an option without a value."""
    return takes(name, help=text, action="store_true")
