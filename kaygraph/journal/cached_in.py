"""The store of a Cache: opened for a run, in its own thread."""

import asyncio
import time
import warnings
from collections import deque
from typing import NamedTuple

from .._addresses import shown
from ..aio.lanes import Call, Lanes
from ..aio.tasks import outlast, retrieve_exception
from ..errors import JournalError, copied
from ..run.lifespan import Held
from .opening import open_store
from .store import Store

MOST_PENDING = 1000  # results waiting to be written
MOST_BYTES = 4 * 1024 * 1024  # per transaction


class Entry(NamedTuple):
    """An encoded result, and when it expires (``math.inf``: never)."""

    data: bytes
    expires: float


class InMemory:
    """Results in memory, which need no thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, key: bytes) -> Entry | None:
        known = self._store.cache_get(key)
        return None if known is None else Entry(*known)

    async def put(self, key: bytes, entry: Entry) -> None:
        self._store.cache_set(key, *entry)


class CachedIn(Held["CachedIn"]):
    """Results in the store at an address, which is opened on first use.

    The loop never waits for the store. Questions gather while its thread reads, and results while
    it writes.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._lanes: Lanes | None = None
        self._store: Store | None = None
        self._asked: list[tuple[bytes, asyncio.Future[Entry | None]]] = []
        self._reading: Call | None = None
        self._pending: deque[tuple[bytes, Entry]] = deque()
        self._writing: Call | None = None
        self._failure: JournalError | None = None  # from a result that could not be written
        self._has_written = False

    def open(self) -> "CachedIn":
        self._lanes = Lanes(1, "kaygraph-cache")
        return self

    async def close(self) -> None:
        """Write what is pending, and close the store."""
        assert self._lanes is not None
        self._asked.clear()  # their callers were cancelled
        begun = [call.answered for call in (self._reading, self._writing) if call is not None]
        try:
            if begun or self._store is not None:
                try:
                    await outlast(begun)
                finally:  # the reads may have opened the store
                    closing = self._lanes.begin(self._close)
                    await outlast([closing.answered])
                    closing.result()
        finally:
            self._lanes.shutdown()
        if self._failure is not None:
            warnings.warn(
                f"results were not cached in {shown(self._address)!r}: {self._failure}",
                RuntimeWarning,
                stacklevel=2,
            )

    async def get(self, key: bytes) -> Entry | None:
        """Return what is cached under a key, even if it has expired."""
        found: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
        self._asked.append((key, found))
        if self._reading is None:
            self._ask()
        return await found

    def _ask(self) -> None:
        """Have the thread answer everything that has been asked so far."""
        assert self._lanes is not None
        asked, self._asked = self._asked, []
        call = self._lanes.begin(self._get, [key for key, found in asked if not found.done()])
        self._reading = call
        call.answered.add_done_callback(lambda _: self._answered(call, asked))

    def _answered(
        self, call: Call, asked: "list[tuple[bytes, asyncio.Future[Entry | None]]]"
    ) -> None:
        self._reading = None
        failure: BaseException | None = None
        try:
            known = call.result()
        except BaseException as error:
            failure, known = error, {}
        for key, found in asked:
            if found.done():  # the caller was cancelled
                continue
            if failure is not None:
                found.set_exception(copied(failure))
                retrieve_exception(found)  # the caller may be cancelled meanwhile
            else:
                found.set_result(known.get(key))
        del failure  # it references this frame, which would be a cycle
        if self._asked:
            self._ask()

    async def put(self, key: bytes, entry: Entry) -> None:
        """Have a result written soon; wait only if too many are pending.

        A store that cannot be written must not cost results: caching stops, and the end of the run
        reports it.
        """
        assert self._lanes is not None
        if self._failure is not None:
            return
        self._pending.append((key, entry))
        if self._writing is None or self._writing.ended:
            self._writing = self._lanes.begin(self._write)
        elif len(self._pending) >= MOST_PENDING:
            await asyncio.wait([self._writing.answered])

    # --- in the thread --------------------------------------------------------------------------

    def _opened(self) -> Store:
        if self._store is None:
            self._store = open_store(self._address)
        return self._store

    def _get(self, keys: list[bytes]) -> dict[bytes, Entry]:
        known = self._opened().cache_get_all(keys)
        return {key: Entry(*entry) for key, entry in known.items()}

    def _write(self) -> None:
        try:
            store = self._opened()
            while self._pending:
                entries: dict[bytes, Entry] = {}
                size = 0
                while self._pending and len(entries) < MOST_PENDING and size < MOST_BYTES:
                    key, entry = self._pending.popleft()
                    entries[key] = entry
                    size += len(entry.data)
                store.cache_set_all(entries)
                self._has_written = True
        except JournalError as error:
            self._failure = error
            self._pending.clear()

    def _close(self) -> None:
        if self._pending:  # the thread finished before they came, and the loop did not know yet
            self._write()
        if self._store is not None:
            store, self._store = self._store, None
            try:
                if self._has_written and self._failure is None:
                    store.cache_prune(time.time())
            finally:
                store.close()
