"""Who has written and read what is watched, and which of that has no order."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from types import CodeType
from typing import Any

from ._footprints import Footprints
from ._ordering import Actor, Ordering
from ._places import source_line, users_frame


class UnorderedAccessError(AssertionError):
    """Two tasks have accessed the same part of a watched object with no order between them."""


class Part(Enum):
    """What an access concerns if it is not one attribute, key or element."""

    ALL = "the content"
    NEW = "the number of items"  # several may be added in any order, and taken too


class Attribute(str):
    """The name of an attribute; a key may be the same text."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Access:
    """A write or a read: whose, which of its own, and where."""

    who: str
    stamp: tuple[int, int]
    code: CodeType
    line: int

    def __str__(self) -> str:
        return f"{self.who}, in {source_line(self.code, self.line)}"


@dataclass(slots=True)
class Record:
    """The accesses to an object, of which each task's last counts.

    Attributes:
        named: Returns what reports call a part.
        only: The parts that are followed; all if it is empty.
        reads: Whether a read is to have an order with each write, too.
    """

    named: Callable[[Hashable], str]
    only: frozenset[Hashable]
    reads: bool
    number: int = 0  # among all objects of a run whose footprints are followed
    written: dict[Hashable, dict[int, Access]] = field(default_factory=dict)
    read: dict[Hashable, dict[int, Access]] = field(default_factory=dict)


class Accesses:
    """The objects that are watched in a simulation, and what was found.

    Attributes:
        records: What is known of each, by its address; it is kept as long.
        found: The accesses without an order, each as text.
    """

    def __init__(self, ordering: Ordering) -> None:
        self._ordering = ordering
        self.records: dict[int, tuple[Any, Record]] = {}
        self.found: dict[str, None] = {}
        self.classes: dict[Hashable, type] = {}  # that tell of their writes
        self.changed: list[tuple[Any, type]] = []  # objects and the classes that they had
        self.footprints: Footprints | None = None

    @property
    def follows_reads(self) -> bool:
        """Whether reads are followed though nobody wants a report of them."""
        return self.footprints is not None and self.footprints.only_watched

    def end(self) -> None:
        """Follow nothing any more, and give the objects their own classes."""
        self.records.clear()
        for watched, cls in self.changed:
            set_class(watched, cls)
        self.changed.clear()

    def follow(self, watched: object, record: Record) -> None:
        """Follow what is written and read, from now on."""
        if self.footprints is not None:
            record.number = self.footprints.next_number()
        self.records[id(watched)] = watched, record

    def of(self, watched: object) -> Record | None:
        found = self.records.get(id(watched))
        return None if found is None else found[1]

    def wrote(self, record: Record, parts: Iterable[Hashable]) -> None:
        """Note a write by who runs now."""
        if self.footprints is not None:
            self._touch(record, parts, self.footprints.current.writes)
        actor = self._ordering.current
        for part in parts:
            if record.only and part not in record.only:
                continue
            access = _access(actor)
            self._compare(record, part, access, record.written, "written")
            if record.reads:
                self._compare(record, part, access, record.read, "read and written")
            _keep(record.written, part, access, actor)

    def has_read(self, record: Record, part: Hashable) -> None:
        """Note a read by who runs now."""
        if self.footprints is not None:
            self._touch(record, [part], self.footprints.current.reads)
        if not record.reads or (record.only and part not in record.only):
            return
        access = _access(self._ordering.current)
        self._compare(record, part, access, record.written, "written and read")
        _keep(record.read, part, access, self._ordering.current)

    def _touch(self, record: Record, parts: Iterable[Hashable], touched: set[Hashable]) -> None:
        """Note what a step touches: attributes, or the whole content, whose order may matter."""
        touched.update(
            (record.number, part if isinstance(part, Attribute) else None) for part in parts
        )

    def _compare(
        self,
        record: Record,
        part: Hashable,
        access: Access,
        others: dict[Hashable, dict[int, Access]],
        what: str,
    ) -> None:
        """Note the accesses to the same part that do not come before this one."""
        actor = self._ordering.current
        for other in others if part is Part.ALL else (part, Part.ALL):
            if other is part is Part.NEW:
                continue
            for before in others.get(other, {}).values():
                if not actor.follows(before.stamp):
                    shown = record.named(other if part is Part.ALL else part)
                    where = f"{shown} is {what} by two tasks, with no order between them"
                    self.found[f"{where}:\n  {before}\n  {access}"] = None

    def error(self) -> UnorderedAccessError | None:
        """Return what was found as an error; None if nothing was."""
        if not self.found:
            return None
        first = next(iter(self.found))
        more = len(self.found) - 1
        return UnorderedAccessError(first + (f"\nand {more} more" if more else ""))


def set_class(watched: object, cls: type) -> None:
    """Change the class of an object, whatever it says its class is."""
    vars(object)["__class__"].__set__(watched, cls)


def _keep(
    accesses: dict[Hashable, dict[int, Access]], part: Hashable, access: Access, actor: Actor
) -> None:
    """Add an access, in place of those that it comes after: what follows it follows them too."""
    others = {
        number: other
        for number, other in accesses.get(part, {}).items()
        if not actor.follows(other.stamp)
    }
    accesses[part] = {**others, access.stamp[0]: access}


def _access(actor: Actor) -> Access:
    frame = users_frame()
    return Access(actor.name, actor.stamp(), frame.f_code, frame.f_lineno)
