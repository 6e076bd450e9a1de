"""What a worker holds while it works: its caps, acquired in one step."""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, Protocol

from ..aio.outlet import ItemOutlet
from ..aio.tasks import raise_if_cancelled
from ..aio.timer import Timer
from ..events import NO_USAGE, Usage
from .permits import AutoPermits, Cap, KeyPermits, Permits, Waiter, entered


class Pool(Protocol):
    """Replaces a worker while its item waits."""

    waiter: Waiter | None  # of a worker without an item: its siblings idle behind it

    def stand_in_line(self, waiter: Waiter, since: float) -> None: ...

    def with_line(self, usage: Usage, at: float) -> Usage: ...

    def pause(self, slot: "Slot") -> None: ...

    def resume(self, slot: "Slot", waited_s: float) -> None: ...

    def is_surplus(self, slot: "Slot") -> bool: ...


class ReadyResult(Protocol):
    """The result of the first attempt of an item, made before its worker asks for it."""

    seconds: float

    def result(self) -> Any: ...


class Slot:
    """The caps that a worker holds, and the figures of its current item.

    Args:
        caps: The caps that are kept from one item to the next while nobody waits for them.
        worker: The number of the worker within the node.
        timed: Whether to measure the time in ``exec``.
        pool: Replaces the worker while its item waits for something that does not block others.
    """

    __slots__ = (
        "attempts", "auto", "cancelled", "caps", "context", "ended_at", "fell_back", "held",
        "index", "item", "key", "known_token", "loan", "outlet", "pool", "ready", "replaced",
        "seconds", "stands_by", "timed", "timer", "usage", "waiting", "worker",
    )  # fmt: skip

    # Whether the result of the item is the fallback's: set by the caller, before the item begins.
    fell_back: bool

    def __init__(
        self,
        caps: tuple[Cap, ...] = (),
        worker: int = 0,
        timed: bool = False,
        pool: Pool | None = None,
    ) -> None:
        self.caps, self.worker, self.pool = caps, worker, pool
        self.replaced = False  # another worker goes on, and this one ends with its item
        self.stands_by = False  # it has no item, and is the one that waits for permits to take one
        self.index = 0  # of the current item in the batch
        # The adaptive limit that gets the measurements.
        self.auto = caps[0] if caps and isinstance(caps[0], AutoPermits) else None
        self.timed = timed or self.auto is not None
        # Returns whether the task of the worker was cancelled, if the worker asks for each item.
        self.cancelled: Callable[[], int] | None = None
        self.item: tuple[Cap, ...] = ()  # the caps that each attempt of the item needs too
        self.held: tuple[Cap, ...] = ()
        self.attempts = 0
        self.seconds = 0.0
        self.waiting = False  # waiting for its next attempt
        self.usage = NO_USAGE  # what the current item has used
        self.ended_at = 0.0  # when the last attempt ended, by the loop's clock
        self.key: KeyPermits | None = None  # of the item, as long as it is in progress
        self.timer: Timer | None = None  # the time limits of the item and its attempt
        self.context: Context | None = None  # in which the worker began: that of other attempts
        self.loan: Loan | None = None  # what it has given back while a graph runs within exec
        self.ready: ReadyResult | None = None  # the result of exec, if it was called ahead
        self.known_token: tuple[int, str] | None = None  # with the index of its item
        self.outlet: ItemOutlet[Any] | None = None  # where the values go that exec yields

    @property
    def token(self) -> str:
        """Identifies the current item: the same for all of its attempts."""
        if self.known_token is None or self.known_token[0] != self.index:
            self.known_token = self.index, os.urandom(16).hex()
        return self.known_token[1]

    @property
    def waited_s(self) -> float:
        """How long the values that exec yielded for this item have waited for room, in seconds."""
        return 0.0 if self.outlet is None else self.outlet.waited_s

    async def take(self) -> None:
        """Acquire the caps of the worker; this waits only when they are neither held nor free."""
        if not self.held:
            obstacle = entered(self.caps)
            if obstacle is not None:
                await self._wait(self.caps, obstacle)
            self.held = self.caps

    def try_take(self) -> bool:
        """Acquire the caps of the worker if they are free; return whether they are held."""
        if not self.held and entered(self.caps) is None:
            self.held = self.caps
        return bool(self.held)

    async def begin(self) -> None:
        """Acquire everything that an attempt needs, unless that is held already."""
        if self.begin_at_once():
            return
        whole = (*self.caps, *self.item)
        self.give()  # a waiter must hold nothing
        obstacle = entered(whole)
        if obstacle is not None:
            await self._wait(whole, obstacle)
        self.held = whole
        for cap in self.item:
            cap.begun()

    def begin_at_once(self) -> bool:
        """Acquire what an attempt needs besides the caps of the worker, if these are held.

        Returns:
            Whether everything is held now; otherwise nothing has changed.
        """
        item, held = self.item, self.held
        if len(held) > len(self.caps):
            return True
        if not (held and (item[0].enter() if len(item) == 1 else entered(item) is None)):
            return False
        self.held = (*held, *item)
        for cap in item:
            if cap.timed:
                cap.begun()
        return True

    async def go_on(self) -> None:
        """Acquire again what an attempt gave back halfway; a rate counts its call once."""
        while whole := self._missing():  # more, if a graph has ended since
            obstacle = entered(whole)
            if obstacle is not None:
                await self._wait(whole, obstacle)
            self.add(whole)

    def _missing(self) -> tuple[Cap, ...]:
        """Return what an attempt needs and does not hold, without what it has lent to graphs."""
        given = () if self.loan is None else self.loan.given
        held = (*self.held, *given)
        return tuple([c for c in (*self.caps, *self.item) if not c.timed and c not in held])

    def add(self, caps: tuple[Cap, ...]) -> None:
        """Hold these too, in the order in which all are held."""
        held = (*self.held, *caps)
        self.held = tuple([cap for cap in (*self.caps, *self.item) if cap in held])

    async def _wait(self, caps: tuple[Cap, ...], obstacle: Cap) -> None:
        now = asyncio.get_running_loop().time
        since = now()
        await raise_if_cancelled()  # the holder of a cap may be waiting for this task to end
        pool = self.pool if self.stands_by else None
        try:
            waiter = Waiter(caps, obstacle, self.pause)
            if pool is not None:
                pool.stand_in_line(waiter, since)
            await _admitted(waiter)
        finally:
            waited_s = now() - since
            self.resume(waited_s)
            if pool is not None:
                self.usage = pool.with_line(self.usage, since + waited_s)
                pool.waiter = None
            else:
                queued_s = self.usage.queued_s + waited_s
                self.usage = self.usage._replace(queued_s=queued_s, queued_for=obstacle.setting)

    @property
    def has_begun(self) -> bool:
        """Whether everything that an attempt needs is held."""
        return len(self.held) > len(self.caps)

    def is_ahead(self, taken: int) -> bool:
        """Whether the last of so many items was taken only because others wait."""
        own = self.caps[0] if self.pool is not None else None
        return isinstance(own, Permits) and taken > own.size

    @property
    def is_surplus(self) -> bool:
        """Whether the worker, which was replaced, is to end."""
        return self.pool is not None and self.pool.is_surplus(self)

    def pause(self) -> None:
        """Give the worker's place to another one while its item waits; it must hold nothing."""
        if self.pool is not None:
            self.pool.pause(self)

    def resume(self, waited_s: float) -> None:
        """Note that the item no longer waits, and how long it has waited."""
        if self.pool is not None:
            self.pool.resume(self, waited_s)

    @property
    def wanted(self) -> bool:
        """Whether anyone waits for one of the caps who would not only go on in its place."""
        own = None if self.pool is None else self.pool.waiter
        for cap in self.caps:
            waiting = cap.waiting
            if waiting and (len(waiting) > 1 or waiting[0] is not own):
                return True
        return False

    def undo(self) -> None:
        """Release the caps of an attempt that is not made; keep those of the worker."""
        if self.has_begun:
            for cap in self.item:
                cap.undo()
            self.held = self.caps
            _serve(self.item)

    def end(self) -> None:
        """Release the caps of an attempt that has ended; keep those of the worker."""
        if self.loan is not None:
            self.loan.close()
        held, own = self.held, self.caps
        if len(held) > len(own):
            _leave(held[len(own) :])
            self.held = own

    def give(self) -> None:
        """Release everything."""
        if self.held:
            held, self.held = self.held, ()
            _leave(held)

    def close(self) -> None:
        """Release everything at the end of the worker."""
        self.give()
        self.leave_task()

    def leave_task(self) -> None:
        """Let go of what belongs to its task: its time limits and its context."""
        self.context = self.cancelled = None  # which know this slot: avoid a reference cycle
        if self.timer is not None:
            self.timer.close()
            self.timer = None


class Loan:
    """The permits that a call of ``exec`` gives back while graphs run inside it.

    Otherwise it would hold what the nodes of these graphs wait for. It gets them back when the
    last of the graphs has ended, after those that have waited longer.

    Args:
        slot: What the call holds.
        caps: The permits of the enclosing graphs.
    """

    __slots__ = ("_caps", "_closed", "_runs", "_slot", "given")

    def __init__(self, slot: Slot, caps: tuple[Cap, ...]) -> None:
        self._slot, self._caps = slot, caps
        self.given: tuple[Cap, ...] = ()
        self._runs = 0
        self._closed = False

    def begin(self) -> None:
        """Give back the permits of the enclosing graphs: another graph runs inside the call."""
        self._runs += 1
        self._give(self._caps)

    def give_all(self) -> None:
        """Give back those of the node and the key too: the node runs inside itself."""
        self._give([cap for cap in self._slot.held if not cap.timed])

    def _give(self, caps: Sequence[Cap]) -> None:
        slot = self._slot
        given = tuple([cap for cap in slot.held if cap in caps])
        slot.held = tuple([cap for cap in slot.held if cap not in given])
        self.given += given
        _leave(given)

    async def end(self, waits: bool) -> None:
        """Acquire again what was given back, unless another graph runs inside the call.

        ``waits``: also if it is not free now. A call that was cancelled does not wait, and goes
        on without.
        """
        self._runs -= 1
        if self._runs or self._closed:
            return
        given = () if self._is_paused else self.given
        obstacle = entered(given)
        if obstacle is not None:
            if not waits:
                return
            await raise_if_cancelled()
            await _admitted(Waiter(given, obstacle))
        if self._runs or self._closed:  # another has begun since, or the call has ended
            _leave(given)
            return
        if self._is_paused:
            _leave(given)
        else:
            self._slot.add(given)
        self.given, self._slot.loan = (), None  # it knows the slot: avoid a reference cycle

    @property
    def _is_paused(self) -> bool:
        """Whether the call waits, without permits, and acquires all when it goes on."""
        held = (*self._slot.held, *self.given)
        return any(cap not in held for cap in self._slot.caps)

    def close(self) -> None:
        """End with the call; if it did not get back everything, it holds nothing."""
        self._closed, self._slot.loan = True, None
        if self.given:
            self._slot.give()


async def _admitted(waiter: Waiter) -> None:
    """Wait until all caps of a waiter are acquired."""
    caps = waiter.caps
    try:
        await waiter.future
    except asyncio.CancelledError:
        # The waiter may have been admitted in the same step in which it was cancelled.
        held = caps[: waiter.kept] if waiter.future.cancelled() else caps
        for cap in held:
            cap.undo()
        _serve(caps)  # and the others of its key, which are queued behind it wherever it waited
        raise


def _leave(caps: Sequence[Cap]) -> None:
    waiting = False
    for cap in caps:
        cap.leave()
        if cap.waiting:
            waiting = True
    if waiting:
        _serve(caps)


def _serve(caps: Sequence[Cap]) -> None:
    """Serve the queues of these caps, the one with the oldest waiter first."""
    lines = [cap for cap in caps if cap.waiting]
    if len(lines) > 1:
        lines.sort(key=lambda cap: cap.first)
    for cap in lines:
        cap.serve()
