"""The stores that all store tests run with, and a clock for them."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from kaygraph.journal.memory import MemoryStore
from kaygraph.journal.sqlite import SQLiteStore
from kaygraph.journal.store import Store
from tests.databases import schema


@dataclass
class Clock:
    """A clock that stands still until a test moves it."""

    now: float = 1.0

    def __call__(self) -> float:
        return self.now


def zeros(count: int) -> bytes:
    return bytes(count)


def folder() -> "TemporaryDirectory[str]":
    """Make a folder in memory, if possible: on a disk, many files take most of the time."""
    return TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


class AtOnce(SQLiteStore):
    """Writes rows like a run with nothing else in flight: on its loop, if possible."""

    def append(self, run: str, epoch: int, blob: bytes) -> int:
        number = self.append_at_once(run, epoch, blob)
        return super().append(run, epoch, blob) if number is None else number


Open = Callable[[], Store]  # opens another connection to the same store
Place = Callable[[Clock], AbstractContextManager[Open]]


@contextmanager
def in_sqlite(clock: Clock) -> Iterator[Open]:
    with folder() as place:
        yield lambda: SQLiteStore(Path(place, "runs.db"), clock=clock, entropy=zeros)


@contextmanager
def in_sqlite_at_once(clock: Clock) -> Iterator[Open]:
    with folder() as place:
        yield lambda: AtOnce(Path(place, "runs.db"), clock=clock, entropy=zeros)


@contextmanager
def in_memory(clock: Clock) -> Iterator[Open]:
    store = MemoryStore(clock, zeros)
    yield lambda: store


@contextmanager
def in_postgres(clock: Clock) -> Iterator[Open]:
    from kaygraph.journal.postgres import PostgresStore

    with schema() as url:
        yield lambda: PostgresStore(url, clock=clock, entropy=zeros)


# To test a new store, add an entry here.
PLACES: dict[str, Place] = {
    "memory": in_memory,
    "sqlite": in_sqlite,
    "sqlite, at once": in_sqlite_at_once,
    "postgres": in_postgres,
}
