"""Results of ``exec`` that outlive a run, by item and code."""

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from hashlib import blake2b
from math import inf
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from .._addresses import shown
from .._validation import check_callable, check_limit
from ..aio.outlet import hand_on_all
from ..errors import JournalError, NotRecordableError, note_place
from ..limits.clock import has_own_clock
from ..limits.slots import Slot
from ..node.call import Calls
from ..run.recorder import RunItem
from .cached_in import CachedIn, Entry, InMemory
from .code import Code, hooks_of
from .durations import seconds_of
from .encoding import Encoding
from .memory import MemoryStore

# Limits of what is kept in memory in addition to the store.
MOST_ENTRIES, MOST_BYTES = 10_000, 32 * 1024 * 1024


class Cache:
    """Caches what ``exec`` returns, so that it is not called again for an equal item.

    A result belongs to the item and the code of the node (``exec``, what it calls in its module
    and the plain values it reads), and is shared by all runs and processes that name the same file.
    It is restored as an equal value of the same types. Failures are not cached, nor what
    ``exec_fallback`` returns, nor ``Drop``. Of two equal items at once on one event loop, one calls
    ``exec`` and the other waits for its result; if it fails, the other calls ``exec`` itself.

    An item with a cached result uses no permit, no rate limit and no attempt. The cached result of
    a generator ``exec`` is a list; in a pipeline, its values move on when ``exec`` has ended.

    Args:
        address: The path of a file, or any other address of a Journal; ``":memory:"`` for results
            that end with this object.
        ttl: How long a result is valid: seconds, or a string such as "10m", "1h" or "7d"; None for
            as long as the file exists. On a virtual clock, by that clock.
        key: ``(item) -> key``: the part of an item that identifies its result, by default all of
            it; needed for items that cannot be recorded.
        types: Classes of items and results other than built-in ones. Those that the return
            annotation of ``exec`` names need not be listed.

    Raises:
        NotRecordableError: From a run: an item or a result is of a type that is not listed.
    """

    def __init__(
        self,
        address: str | os.PathLike[str],
        *,
        ttl: float | str | None = None,
        key: Callable[[Any], Any] | None = None,
        types: Iterable[type] = (),
    ) -> None:
        self.address = os.fspath(address)
        self.ttl = None if ttl is None else check_limit("ttl", seconds_of("ttl", ttl))
        self.key: Callable[[Any], Any] | None = check_callable("key", key)
        self.types = tuple(types)
        self._begin()

    def __repr__(self) -> str:
        return f"Cache({shown(self.address)!r})"

    def __getstate__(self) -> dict[str, Any]:
        names = ("address", "ttl", "key", "types")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def _begin(self) -> None:
        self._encoding = Encoding(self.types, given_to="Cache")
        self._front = _Front()
        self._flights: WeakKeyDictionary[Any, dict[bytes, _Flight]] = WeakKeyDictionary()
        self._memory = MemoryStore() if self.address == ":memory:" else None

    def cached(self, calls: Calls) -> RunItem:
        """Return what runs items, and calls ``calls.run`` for those without a cached result."""
        return _Cached(self, calls).run

    # --- for a run ------------------------------------------------------------------------------

    def _store(self, calls: Calls) -> "CachedIn | InMemory":
        """Return the store of results; a file stays open until the outermost run ends."""
        if self._memory is not None:
            return InMemory(self._memory)
        key = ("cache", self.address)
        return calls.frame.run.root.hold(key, lambda: CachedIn(self.address))

    def _here(self) -> "dict[bytes, _Flight]":
        """Return the calls in flight on this loop."""
        return self._flights.setdefault(asyncio.get_running_loop(), {})


class _Cached:
    """The cached calls of one node in one place of a run."""

    __slots__ = (
        "_cache", "_calls", "_encoding", "_flights", "_front", "_is_kept", "_name", "_now",
        "_prefix", "_store",
    )  # fmt: skip

    def __init__(self, cache: Cache, calls: Calls) -> None:
        self._cache, self._calls, self._name = cache, calls, calls.name
        self._encoding, self._front = cache._encoding, cache._front
        self._flights, self._store = cache._here(), cache._store(calls)
        loop = asyncio.get_running_loop()
        self._is_kept: Callable[[Any], bool] = getattr(calls.node, "keeps_result", _always)
        self._now = loop.time if has_own_clock(loop) else time.time
        self._prefix = self._prefix_of(Code(calls.node))
        owner, hooks = hooks_of(calls.node)
        for hook in ("function", *hooks):  # for @node, the user's function
            self._encoding.register_returned(getattr(owner, hook, None))

    def _prefix_of(self, code: Code) -> bytes:
        """Return the part of the key that all items have in common."""
        parts = blake2b(code.digest, digest_size=16)
        parts.update(code.varying)
        if code.reads_params:
            params = dict(self._calls.frame.params)
            what = f"params of {self._name!r}"
            parts.update(self._encoding.fingerprint(params, what=what))
        return parts.digest()

    async def run(self, item: Any, index: Any, slot: Slot) -> Any:
        """Return the result of an item, cached or new."""
        slot.attempts, slot.seconds, slot.waiting = 0, 0.0, False
        try:
            key = self._key(item)
            entry = self._front.get(key, self._now())
            flight = None
            if entry is None:
                entry, flight = await self._found_or_begun(key, slot)
            value: Any = None if entry is None else self._encoding.decode(entry.data)
        except BaseException as error:
            self._calls.refused(error, item, index, slot)
            raise
        if flight is not None:
            value = await self._called(flight, item, index, slot)
        else:
            self._calls.found(index, slot)
        if slot.outlet is None:
            return value
        slot.outlet.begin(index or 0)
        await hand_on_all(value, slot.outlet)
        return None

    def _key(self, item: Any) -> bytes:
        given, what = item, f"the item of {self._name!r}"
        if self._cache.key is not None:
            given, what = self._cache.key(item), f"what key= of {self._name!r} returned"
        return self._encoding.fingerprint(given, self._prefix, what)

    async def _found_or_begun(
        self, key: bytes, slot: Slot
    ) -> "tuple[Entry, None] | tuple[None, _Flight]":
        """Return a cached result or that of a call in flight for an equal item, or begin a call."""
        slot.give()  # lets another item run while this one waits
        within = _WITHIN.get()
        while (other := self._flights.get(key)) is not None and key not in within:
            if (entry := await self._waited(other, slot)) is not None:
                return entry, None
        flight = _Flight(key, self._flights)
        try:
            entry = await self._store.get(key)
            if entry is not None and entry.expires > self._now() and self._can_be_had(entry):
                self._front.put(key, entry)
                flight.end(entry)
                return entry, None
        except BaseException:
            flight.end()
            raise
        return None, flight

    async def _waited(self, flight: "_Flight", slot: Slot) -> Entry | None:
        clock = asyncio.get_running_loop().time
        since = clock()
        slot.pause()
        try:
            return await flight.ended()
        finally:
            slot.resume(clock() - since)

    def _can_be_had(self, entry: Entry) -> bool:
        """Whether a result can be decoded: its class may be gone, or the file be too new."""
        try:
            self._encoding.decode(entry.data)
        except JournalError:
            return False
        return True

    async def _called(self, flight: "_Flight", item: Any, index: Any, slot: Slot) -> Any:
        """Call ``exec`` and cache what it returns."""
        entry = None
        outlet, slot.outlet = slot.outlet, None  # what a generator yields is cached as a list
        slot.fell_back = False
        within = _WITHIN.set(_WITHIN.get() | {flight.key})
        try:
            value = await self._calls.run(item, index, slot)
            if not slot.fell_back and self._is_kept(value):
                entry = self._entry(value, index)
                self._front.put(flight.key, entry)
        finally:
            _WITHIN.reset(within)
            slot.outlet = outlet
            flight.end(entry)
        if entry is not None:
            await self._store.put(flight.key, entry)
        return value

    def _entry(self, value: Any, index: Any) -> Entry:
        try:
            data = self._encoding.encode(value, f"what exec of {self._name!r} returned")
        except NotRecordableError as error:
            place = repr(self._name) if index is None else f"{self._name!r}, item {index}"
            note_place(error, place)
            raise
        ttl = self._cache.ttl
        return Entry(data, inf if ttl is None else self._now() + ttl)


class _Flight:
    """One call of ``exec`` that equal items wait for."""

    __slots__ = ("_flights", "_waiting", "key")

    def __init__(self, key: bytes, flights: "dict[bytes, _Flight]") -> None:
        self.key, self._flights = key, flights
        self._waiting: list[asyncio.Future[Entry | None]] = []
        flights.setdefault(key, self)  # a call inside itself must not wait for itself

    async def ended(self) -> Entry | None:
        """Wait until the call has ended; return its result, or None if there is none to cache."""
        waiter: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        return await waiter

    def end(self, entry: Entry | None = None) -> None:
        if self._flights.get(self.key) is self:
            del self._flights[self.key]
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(entry)
        self._waiting.clear()


def _always(_: Any) -> bool:
    return True


# The keys of the calls around the current one.
_WITHIN: ContextVar[frozenset[bytes]] = ContextVar("kaygraph_cached", default=frozenset())


class _Front:
    """The most recently used results, in memory; shared by runs in several threads."""

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def get(self, key: bytes, now: float) -> Entry | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if entry.expires <= now:
                self._remove(key)
                return None
            self._entries.move_to_end(key)
            return entry

    def put(self, key: bytes, entry: Entry) -> None:
        with self._lock:
            self._remove(key)
            self._entries[key] = entry
            self._size += len(entry.data)
            while self._size > MOST_BYTES or len(self._entries) > MOST_ENTRIES:
                self._remove(next(iter(self._entries)))

    def _remove(self, key: bytes) -> None:
        known = self._entries.pop(key, None)
        if known is not None:
            self._size -= len(known.data)
