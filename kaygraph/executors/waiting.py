"""Items that wait for a worker of a cluster, and how many of them make a chunk."""

import asyncio
import pickle
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Protocol, TypeVar

from ..limits.permits import Permits
from ..run.saying import Receiver
from .cluster import WIDEST
from .references import Needs, bytes_from_others, nearest
from .sending import Answer, result_of
from .speech import said_unpickled
from .spool import FAILED, Record

CHUNK_S = 0.1  # as many items as take so long together make a chunk
MOST = 1024  # and no more of them
GROWTH = 8  # times as many as the last time, at most
LONG_S = 0.5  # where chunks take so long, one is sent ahead, and none of the last ones

AHEAD = 3  # chunks that a thread of a worker has: the one that it works on, and the next ones

LOOKED_AT = 64  # items, for one that is at home where there is room

CHUNK_BYTES = 1 << 20  # that items of a chunk have at most, but for the last


class Entry:
    """An item that is sent to a worker, and its result on the way back.

    Args:
        given: The item and the facts of its call, pickled.
        alone: Whether it makes a chunk of its own.
        notifies: Whether something waits until it is sent.
        receive: Called with what ``exec`` says, if the run receives that.
        needs: The values on workers that it refers to.

    Attributes:
        home: The worker that has most of that.
        claimed: What was left with its result: it is kept until that is read.
        received: How many of the values that it says have come before its end.
        sent: Set when a worker gets it; None if nothing waits for that.
        ended: Set when it is known what came of it.
        chunk: What it is sent with; None before.
        withdrawn: Nothing waits for it any more.
    """

    __slots__ = (
        "_delivered",
        "alone",
        "chunk",
        "claimed",
        "ended",
        "failure",
        "given",
        "home",
        "needs",
        "receive",
        "received",
        "record",
        "sent",
        "withdrawn",
    )

    def __init__(
        self,
        given: bytes,
        alone: bool = False,
        notifies: bool = False,
        receive: Receiver | None = None,
        needs: Needs | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.given, self.alone, self.receive = given, alone, receive
        self.ended: asyncio.Future[None] = loop.create_future()
        self.sent: asyncio.Future[None] | None = loop.create_future() if notifies else None
        self.record: Record | None = None
        self.failure: BaseException | None = None
        self.chunk: Any = None
        self.withdrawn = False
        self.needs = needs or {}
        self.home = nearest(self.needs) if needs else None
        self.claimed: Sequence[object] = ()
        self.received = self._delivered = 0

    def end(self, record: Record | None = None, failure: BaseException | None = None) -> None:
        """Note what came of it."""
        self.chunk = None
        if not self.ended.done():
            self.record, self.failure = record, failure
            self.ended.set_result(None)

    def deliver(self, said: Sequence[tuple[int | None, bytes]]) -> None:
        """Pass on more of what it says, as long as that can be unpickled."""
        for place, pickled in said:
            if self._delivered == self.received and self.receive is not None:
                with suppress(Exception):  # ``value`` raises it
                    self.receive(place, said_unpickled(pickled))
                    self._delivered += 1
            self.received += 1

    def anew(self, chunk: Any) -> None:
        """Note what it is sent with; it begins there from the start."""
        self.chunk, self.received, self._delivered = chunk, 0, 0

    def value(self) -> Any:
        """Return the result, or raise the error of ``exec``, after what it has said."""
        record, error = self.record, self.failure
        self.record = self.failure = None
        try:
            if record is not None and self.receive is not None and record.said:
                for place, said in pickle.loads(record.said)[self._delivered :]:
                    self.receive(place, said_unpickled(said))
            if record is not None and record.kind == FAILED:
                error = Answer(*pickle.loads(record.data)).error()
            if error is not None:
                raise error
            assert record is not None
            return result_of(record.data)
        finally:
            del error  # it holds this frame: no cycle may keep them alive


def needs_of(entries: Sequence[Entry]) -> Needs:
    """Return what several items refer to."""
    return {bundle: remote for entry in entries for bundle, remote in entry.needs.items()}


class Free(Protocol):
    """A worker that has room for a chunk."""

    @property
    def load(self) -> float: ...


W = TypeVar("W", bound=Free)


class Room(Permits):
    """Permits for as many items as keep the workers of a cluster busy."""

    __slots__ = ()

    setting = "run_in"


class Queue:
    """The items of one node that wait for a worker.

    Args:
        node: The node, pickled.
        digest: Identifies it.
        name: What it is called.

    Attributes:
        limited: Whether an attempt has a time limit: then nothing is sent ahead, so that the
            time of an item begins when it is sent.
        deaths: How many chunks were on workers that died.
    """

    def __init__(self, node: bytes, digest: str, name: str) -> None:
        self.node, self.digest, self.name = node, digest, name
        self.limited = False
        self.deaths = 0
        self.pending: deque[Entry] = deque()
        self._size = 1
        self._each_s: float | None = None  # an average, of which the latest have the largest part

    def note(self, number: int, seconds: float) -> None:
        """Learn how long so many items have taken."""
        each_s = seconds / number
        if self._each_s is not None:
            each_s = (self._each_s + each_s) / 2
        self._each_s = each_s
        fits = CHUNK_S / each_s if each_s else MOST
        self._size = max(1, min(round(fits), self._size * GROWTH, MOST))

    @property
    def ahead(self) -> int:
        """How many chunks a thread of a worker may have, while there are many."""
        if self.limited or self._each_s is None:
            return 1
        return 2 if self._each_s * self._size > LONG_S else AHEAD

    def ahead_now(self, threads: int) -> int:
        """Return how many chunks a thread may have now: the last ones wait for a free one."""
        return 1 if self.ahead == 2 and len(self.pending) < threads else self.ahead

    def width(self, threads: int) -> int:
        """Return how many items should be in flight on so many threads, a waiting chunk each."""
        if self.limited:
            return max(1, threads)
        return max(1, threads, min(WIDEST, threads * (self.ahead + 1) * self._size))

    @property
    def next_is_suspect(self) -> bool:
        """Whether a worker has died of the next item, or of one that ran with it."""
        return bool(self.deaths and self.pending and self.pending[0].alone)

    def placed(self, free: Mapping[str, W], known: Collection[str]) -> W | None:
        """Return who gets the next chunk of those with room, or None; its first item comes first.

        Items go to the worker that has what they need. One that has nothing to do takes also what
        another has, and then gets it from there.
        """
        any_of = min(free.values(), key=lambda one: one.load, default=None)
        if any_of is None:
            return None
        for place, entry in enumerate(islice(self.pending, LOOKED_AT)):
            found = free.get(entry.home) if entry.home in known else any_of  # type: ignore[arg-type]
            if found is not None:
                del self.pending[place]
                self.pending.appendleft(entry)
                return found
        return None if any_of.load else any_of

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Have items wait again that were not run, before all others."""
        for entry in reversed(entries):
            entry.chunk = None
            if not (entry.withdrawn or entry.ended.done()):
                self.pending.appendleft(entry)

    def take(self, share: int, address: str) -> list[Entry]:
        """Take the items of the next chunk: a fair share of those that wait, if it is not small.

        Behind the first, it takes none of those whose values another worker has.
        """
        pending, entries, size = self.pending, list[Entry](), 0
        number = min(self._size, max(share, self._size // 8))
        while pending and len(entries) < number and size < CHUNK_BYTES:
            if pending[0].withdrawn:
                pending.popleft()
                continue
            if entries and (
                pending[0].alone or self.limited or pending[0].home not in (None, address)
            ):
                break
            entries.append(pending.popleft())
            size += len(entries[-1].given) + bytes_from_others(entries[-1].needs, address)
            if entries[-1].alone or self.limited:
                break
        return entries

    def fail(self, failures: Callable[[], BaseException]) -> None:
        """End all that wait; each gets an error of its own."""
        while self.pending:
            self.pending.popleft().end(failure=failures())
