"""One constant SQL statement: its placeholders and their values."""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ...errors import closest
from .errors import StatementError

Bound = dict[str, Any] | tuple[Any, ...] | None

# Where placeholders and semicolons do not count. Names in brackets exist only in SQLite: in
# PostgreSQL brackets contain array elements; texts between dollars exist only in PostgreSQL.
_QUOTED = r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?(?:\*/|\Z)"""
_SQLITE = re.compile(
    rf"{_QUOTED} | `[^`]*` | \[[^\]]*\] | (?P<end>;) | (?<!:):(?P<name>\w+) "
    r"| (?P<other>(?<!\w)[@$]\w+|\?\d+) | (?P<mark>\?)",
    re.DOTALL | re.VERBOSE,
)
_POSTGRES = re.compile(
    rf"\b[eE]'(?:[^'\\]|\\.|'')*' | {_QUOTED} | \$(\w*)\$.*?\$\1\$ | (?P<end>;)",
    re.DOTALL | re.VERBOSE,
)
# psycopg finds its placeholders everywhere, even in quotes.
_PERCENT = re.compile(
    r"%% | %\((?P<name>[^)]+)\)[sbt] | (?P<mark>%[sbt]) | (?P<other>%(?:\(\w*\))?.?)",
    re.DOTALL | re.VERBOSE,
)
_NOTHING = re.compile(r"(?>[\s;]|--[^\n]*|/\*.*?(?:\*/|\Z))*+", re.DOTALL)
_TRANSACTION = re.compile(
    rf"{_NOTHING.pattern}(BEGIN|START|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE)\b",
    re.IGNORECASE | re.DOTALL,
)

STYLES = {True: ("?", ":{}"), False: ("%s", "%({})s")}


@dataclass(frozen=True, slots=True)
class Statement:
    """A checked statement, and what is needed to bind its values.

    Attributes:
        text: In the driver's form.
        names: Of the named placeholders, each once, in order.
        marks: How many placeholders have no name.
        style: How placeholders without and with a name are written for this database.
    """

    text: str
    names: tuple[str, ...]
    marks: int
    style: tuple[str, str]

    @classmethod
    @lru_cache(maxsize=512)  # called for each item
    def of(cls, text: str, sqlite: bool) -> "Statement":
        """Read a statement.

        Raises:
            StatementError: It is several, ends or begins a transaction, or has placeholders of two
                kinds or of one that is not for this database.
        """
        if _NOTHING.fullmatch(text):
            raise StatementError("a statement must not be empty")
        if begins := _TRANSACTION.match(text):
            raise StatementError(
                f"a node cannot {begins[1].upper()}: whatever it does is one "
                "transaction. Give SQLExecute several statements for several in one"
            )
        found = list((_SQLITE if sqlite else _POSTGRES).finditer(text))
        _refuse_several(text, [match.end() for match in found if match["end"]], sqlite)
        style = STYLES[sqlite]
        placeholders = found if sqlite else list(_PERCENT.finditer(text))
        names = tuple(dict.fromkeys(match["name"] for match in placeholders if match["name"]))
        marks = sum(match["mark"] is not None for match in placeholders)
        if names and marks:
            raise StatementError(
                f"a statement has named placeholders ({style[1].format(names[0])}) or {style[0]}, "
                "not both"
            )
        others = [match["other"] for match in placeholders if match["other"]]
        if others and sqlite:
            raise StatementError(f"write the placeholder {others[0]!r} as ':name' or '?'")
        if others and (names or marks):  # psycopg ignores a % if nothing is bound
            raise StatementError(
                f"a % begins a placeholder, %s or %(name)s: write a literal one as %%; "
                f"got {others[0]!r}"
            )
        return cls(text, names, marks, style)

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The placeholders as they are written."""
        return tuple(map(self.style[1].format, self.names)) or (self.style[0],) * self.marks

    def require_placeholders(self, why: str) -> None:
        """Raise a StatementError with the style if there is none."""
        if not self.placeholders:
            named = self.style[1].format("name")
            other = STYLES[self.style == STYLES[False]]
            hint = ""
            others = r"%\((\w+)\)s|%s" if other[0] == "%s" else r"(?<![:\w]):(\w+)|\?"
            wrong = re.search(others, self.text)
            if wrong:
                right = self.style[0] if wrong[1] is None else self.style[1].format(wrong[1])
                hint = f". Instead of {wrong[0]!r} write {right!r}"
            raise StatementError(
                f"the statement has no placeholder, {named!r} or {self.style[0]!r}, {why}{hint}"
            )

    def takes_as_they_are(self, items: Sequence[Any]) -> bool:
        """Whether the driver can take the items themselves.

        It ignores additional keys of a dict, and refuses a dict that lacks some, or
        a sequence of another length; ``bound`` then says what is wrong.
        """
        return set(map(type, items)) <= ({dict} if self.names else {tuple, list})

    def bound(self, parameters: Any) -> Bound:
        """Return what the driver binds, from a mapping or a sequence.

        Raises:
            StatementError: It lacks what the placeholders need.
        """
        if self.names:
            if not isinstance(parameters, Mapping):
                raise StatementError(
                    f"the placeholder {self.placeholders[0]!r} needs a mapping with "
                    f"{self.names[0]!r}, got {_kind(parameters)}"
                )
            for name in self.names:
                if name not in parameters:
                    raise StatementError(
                        f"the placeholder {self.style[1].format(name)!r} needs {name!r}, which is "
                        f"not among {_listed(parameters)}.{closest(name, map(str, parameters))}"
                    )
            return {name: parameters[name] for name in self.names}
        if not self.marks:
            return None
        if not isinstance(parameters, Sequence) or isinstance(parameters, str | bytes | bytearray):
            raise StatementError(
                f"the placeholder {self.style[0]!r} needs a sequence of {self.marks} values, got "
                f"{_kind(parameters)}; with {self.style[1].format('name')!r} it may be a mapping"
            )
        if len(parameters) != self.marks:
            raise StatementError(
                f"the statement has {self.marks} placeholders {self.style[0]!r}, but "
                f"{len(parameters)} values were given"
            )
        return tuple(parameters)


def _kind(parameters: Any) -> str:
    return "none" if parameters is None else f"{type(parameters).__name__}"


def _listed(parameters: Mapping[Any, Any]) -> str:
    names = [repr(name) for name in list(parameters)[:20]]
    return ", ".join(names) + (", ..." if len(parameters) > 20 else "") or "no parameters at all"


def _refuse_several(text: str, ends: Sequence[int], sqlite: bool) -> None:
    """A semicolon may end a statement; the body of a trigger or a function may have several."""
    for end in ends:
        if _NOTHING.fullmatch(text, end):
            return
        if sqlite and sqlite3.complete_statement(text[:end]):
            raise StatementError("this is more than one statement: give SQLExecute each separately")
        if not sqlite and not re.search(r"\bBEGIN\s+ATOMIC\b", text[:end], re.IGNORECASE):
            raise StatementError("this is more than one statement: give SQLExecute each separately")


def check_statement(name: str, value: Any) -> str:
    """Return ``value`` if it is a string, which is parsed when its database is known."""
    if not isinstance(value, str):
        raise TypeError(
            f"{name} must be a string with placeholders for data, as in "
            f"'SELECT name FROM users WHERE id = :id'; got {type(value).__name__}"
        )
    return value


def check_statements(name: str, value: Any) -> tuple[str, ...]:
    """Return the statements as a tuple."""
    if not isinstance(value, tuple | list) or not value:
        got = "none" if value == () or value == [] else type(value).__name__
        raise TypeError(f"{name} must be a tuple of one statement or more, got {got}")
    return tuple(check_statement(name, statement) for statement in value)
