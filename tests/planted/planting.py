"""How a bug is planted: a real function gets the code of a copy of itself with some lines changed.

The change is written as a diff. What is planted is the mechanism as it is today but for these
lines, wherever it was imported to; and a diff that fits no longer is an error, not a bug that
nobody plants any more.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from textwrap import dedent
from types import CodeType
from typing import Any

Check = Callable[[], None]

NEXT_HUNK = "\n...\n"

planted_now: list[str] = []


@dataclass(frozen=True)
class Bug:
    """A fault that people have met in other tools, and how it is found.

    Attributes:
        name: What goes wrong, in a few words.
        check: What finds it: passes without the bug, raises an AssertionError with it.
        says: A regular expression for what the check says then.
        diffs: Functions, and what is changed in each: lines that begin with "- " are left out,
            those with "+ " put in, those with two spaces stand around them. "..." stands between
            two places in one function.
    """

    name: str
    check: Check
    says: str
    diffs: dict[Any, str]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Have the bug in kaygraph for as long as this lasts."""
        with ExitStack() as stack:
            for function, diff in self.diffs.items():
                stack.callback(setattr, function, "__code__", function.__code__)
                function.__code__ = patched(function, diff)
            planted_now.append(self.name)
            stack.callback(planted_now.remove, self.name)
            yield


def patched(function: Any, diff: str) -> CodeType:
    """Return the code of a function after a change.

    Raises:
        ValueError: What is to be changed does not stand there once.
    """
    lines = dedent(inspect.getsource(function)).splitlines()
    for hunk in dedent(diff).strip("\n").split(NEXT_HUNK):
        lines = _changed(lines, hunk.splitlines(), function.__qualname__)
    module = compile("\n".join(lines), f"<{function.__qualname__} with a bug>", "exec")
    (code,) = (
        part
        for part in module.co_consts
        if isinstance(part, CodeType) and part.co_name == function.__name__
    )
    return code


def _changed(lines: list[str], hunk: list[str], where: str) -> list[str]:
    """Return the lines with the hunk's old ones replaced by its new ones."""
    old = [line[2:] for line in hunk if not line.startswith("+")]
    new = [line[2:] for line in hunk if not line.startswith("-")]
    found = []
    for place in range(len(lines) - len(old) + 1):
        indent = lines[place].removesuffix(old[0])
        if not indent.strip() and lines[place : place + len(old)] == _indented(old, indent):
            found.append((place, indent))
    if len(found) != 1:
        raise ValueError(f"{where} has these lines {len(found)} times, not once: {old}")
    ((place, indent),) = found
    return [*lines[:place], *_indented(new, indent), *lines[place + len(old) :]]


def _indented(lines: list[str], indent: str) -> list[str]:
    return [f"{indent}{line}" if line else "" for line in lines]
