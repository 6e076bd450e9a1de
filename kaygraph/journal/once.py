"""Rows that a node writes to the journal's own database, recorded in the same transaction.

Whenever a run is killed, either both exist or neither does: when the node's ``exec`` is called
again, its earlier writes are known, and are not repeated.
"""

import asyncio
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

from ..errors import JournalError, NotRecordableError
from ..run.frame import FRAME
from .log import PAYLOAD, WRITTEN, Entry, packed
from .position import POSITION, Position
from .state import State
from .turns import SIZE

_NOTHING = b"\xc0"  # None, encoded


class Owner(Protocol):
    """The owner of the run in its store."""

    @property
    def store(self) -> Any: ...
    @property
    def run(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    @property
    def seed(self) -> bytes: ...


class Writes:
    """What was written in one place of a run, kept with its Position."""

    __slots__ = ("attempt", "entries", "met")

    def __init__(self) -> None:
        self.attempt = 0
        self.met: dict[bytes, int] = {}  # how often an equal write occurred in this attempt
        self.entries: dict[bytes, Entry] = {}


class Write:
    """One write, done once."""

    __slots__ = ("_writes", "entry", "key")

    def __init__(self, key: bytes, writes: Writes) -> None:
        self.key, self._writes = key, writes
        self.entry: Entry | None = None  # as stored in the database

    @property
    def known(self) -> Entry | None:
        """What is recorded for it, if it was written."""
        return self._writes.entries.get(self.key)

    def done(self) -> None:
        """Note that it was committed."""
        if self.entry is not None:
            self._writes.entries[self.key] = self.entry


class Recorded(NamedTuple):
    """A row of the log in which writes are recorded."""

    number: int
    blob: bytes
    writes: Sequence[Write]


class Together:
    """The part of a transaction that records what the rest of it writes.

    Its methods take the connection of the transaction and the result of each write, which is an
    exception if nothing was written.
    """

    def __init__(self, once: "Once", writes: Sequence[Write], rows: list[Recorded]) -> None:
        self._once, self.writes = once, writes
        self.rows = rows  # written to the log, in transactions that may have failed

    def alone(self, place: int) -> "Together":
        """Return the same for one of the writes."""
        return Together(self._once, self.writes[place : place + 1], self.rows)

    def in_sqlite(self, connection: Any, results: Sequence[Any]) -> None:
        if blob := self._blob(results):
            owner = self._once.owner
            number = owner.store.append_in(connection, owner.run, owner.epoch, blob)
            self.rows.append(Recorded(number, blob, self.writes))

    async def in_postgres(self, connection: Any, results: Sequence[Any]) -> None:
        if blob := self._blob(results):
            owner = self._once.owner
            number = await owner.store.within.append(connection, owner.run, owner.epoch, blob)
            self.rows.append(Recorded(number, blob, self.writes))

    def _blob(self, results: Sequence[Any]) -> bytes:
        once, entries = self._once, []
        encode = once.state.encoding.encode
        for write, result in zip(self.writes, results, strict=True):
            write.entry = None
            if not isinstance(result, Exception):
                value = _NOTHING if result is None else encode(result, once.what)
                write.entry = [WRITTEN, write.key, once.number, value]
                entries.append(write.entry)
        return packed(entries) if entries else b""


class Once:
    """What one node writes to the database in which its run is recorded.

    Attributes:
        here: Whether each database asked about is that one: nodes that share a name, made while
            the graph runs, may use several.
    """

    def __init__(self, state: State, owner: Owner, number: int, name: str) -> None:
        self.state, self.owner, self.number = state, owner, number
        self.what = f"what the database returned to {name!r}"
        self.here: dict[Any, bool] = {}
        self._doubts: list[Recorded] = []  # from transactions that may have been committed
        self._asks = asyncio.Lock()

    async def is_here(self, database: Any) -> bool:
        """Whether a connected database is the one in which the run is recorded."""
        async with self._asks:
            if database not in self.here:
                await self.state.committed()  # the log must know the node before its rows
                self.here[database] = await database.has_part(_IsHere(self.owner))
        return self.here[database]

    def write(self, what: object) -> Write:
        """Return what is known about a write at the current place of the call in the run."""
        position, frame = POSITION.get(), FRAME.get(None)
        writes: Writes | None = position.writes
        if writes is None:
            writes = position.writes = Writes()
        attempt = 1 if frame is None else frame.attempt
        if attempt != writes.attempt:  # a new attempt, which must find what the last one wrote
            writes.attempt, writes.met = attempt, {}
        key = self._key(what, position)
        number = writes.met.get(key, 0)
        writes.met[key] = number + 1
        if number:
            key = blake2b(number.to_bytes(8, "big"), digest_size=SIZE, key=key).digest()
        entry = self.state.log.entries.pop(key, None)
        if entry is not None:
            writes.entries[key] = entry
        return Write(key, writes)

    def result(self, entry: Entry) -> Any:
        """Return the result of the write that was done before."""
        return self.state.encoding.decode(entry[PAYLOAD])

    def together(self, writes: Sequence[Write]) -> Together:
        """Return the recorder of writes in their transaction."""
        return Together(self, writes, [])

    def doubt(self, together: Together, writes: Sequence[Write]) -> None:
        """Note that it is unknown whether writes were committed."""
        unknown = set(writes)
        self._doubts += [row for row in together.rows if not unknown.isdisjoint(row.writes)]

    async def settle(self, database: Any) -> None:
        """Find out the result of transactions whose commit was interrupted."""
        while self._doubts:
            doubt = self._doubts[0]
            if await database.has_part(_IsThere(self.owner, doubt.number, doubt.blob)):
                for write in doubt.writes:
                    write.done()
            if doubt in self._doubts:  # not found out by another task meanwhile
                self._doubts.remove(doubt)

    def fatal(self, error: JournalError) -> None:
        """End the run, which can no longer be recorded."""
        self.state.fatal(error)

    def _key(self, what: object, position: Position) -> bytes:
        try:
            return self.state.encoding.fingerprint(what, position.digest)
        except NotRecordableError:
            return position.key("writes")


class _IsHere:
    """Whether a connection leads to the store."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def in_sqlite(self, connection: Any, results: Sequence[Any]) -> bool:
        is_in = getattr(self._owner.store, "is_in", None)
        return bool(is_in and is_in(connection))

    async def in_postgres(self, connection: Any, results: Sequence[Any]) -> bool:
        owner = self._owner
        within = getattr(owner.store, "within", None)
        if within is None:
            return False
        return bool(await within.is_here(connection, owner.run, owner.epoch, owner.seed))


class _IsThere:
    """Whether a row of the log was written."""

    def __init__(self, owner: Owner, number: int, blob: bytes) -> None:
        self._owner, self._number, self._blob = owner, number, blob

    def in_sqlite(self, connection: Any, results: Sequence[Any]) -> bool:
        owner = self._owner
        return bool(owner.store.holds_in(connection, owner.run, self._number, self._blob))

    async def in_postgres(self, connection: Any, results: Sequence[Any]) -> bool:
        owner = self._owner
        return bool(await owner.store.within.holds(connection, owner.run, self._number, self._blob))
