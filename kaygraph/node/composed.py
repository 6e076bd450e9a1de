"""The settings that apply around a call of ``exec``: looked up once, applied where set.

The parts of ``Calls.run`` that not every node needs: what an item must acquire, when it must end,
and where the result of an attempt is reported.
"""

import asyncio
from contextvars import copy_context
from math import inf
from typing import Any

from ..aio.tasks import awaited_cancelled
from ..aio.timeouts import clock_of, late_error
from ..aio.timer import Timer
from ..errors import CircuitOpenError
from ..events import (
    CACHED,
    NO_USAGE,
    AttemptStarted,
    CircuitChanged,
    ItemFailed,
    ItemFinished,
    ItemStarted,
    LimitChanged,
)
from ..executors.choice import begins_late, blocks
from ..executors.kinds import YIELDING
from ..executors.places import place_for
from ..limits.breaker import Ticket
from ..limits.permits import KeyedPermits, KeyPermits
from ..limits.slots import Slot
from ..outcome import status_of
from ..run.frame import FRAME, Frame
from ..run.observers import counter_of

NO_TICKET = Ticket(0)  # of a node without a breaker


class Composed:
    """The settings of the calls of a node's ``exec`` in one place of a run."""

    __slots__ = (
        "acquires", "breaker", "circuit", "clock", "clocked", "counter", "deadline", "direct",
        "emit", "emit_item", "ends", "exec", "frame", "keys", "limit_s", "name", "node", "place",
        "prepares", "rate", "rates", "timeout", "whole",
    )  # fmt: skip

    def __init__(self, node: Any, frame: Frame) -> None:
        run = frame.run
        self.node, self.frame, self.name, self.emit = node, frame, frame.name_of(node), run.emit
        self.exec = node.exec
        self.place = place = place_for(node, frame.rules)
        self.direct = node.exec_kind == "async" and place in (None, "loop")
        timeout = frame.rules.timeout if node.timeout is None else node.timeout
        if node.times_itself:
            timeout = None
        # There it counts from the start of exec.
        is_late = place is not None and begins_late(place)
        self.timeout: float | None = None if is_late else timeout
        self.limit_s: float | None = timeout if is_late else None
        self.deadline, self.breaker = node.deadline, node.breaker
        self.keys: KeyedPermits | None = None
        if node.limit_by is not None:
            self.keys = run.cap((node, "by key"), lambda: KeyedPermits(node.max_per_key))
        self.circuit = None if self.breaker is None else self.breaker.circuit()
        self.rates = [rate.here() for rate in node.rate] if node.rate else []
        # If there is only a rate, and calls weigh the same, no claim is made for each.
        alone = len(self.rates) == 1 and self.keys is None and self.breaker is None
        self.rate = self.rates[0] if alone and self.rates[0].weight is not None else None
        self.acquires = bool(self.rates) or not (self.keys is None and self.breaker is None)
        yields = node.exec_kind in YIELDING
        claims = bool(self.rates) and self.rate is None
        self.prepares = claims or yields or not (self.keys is None and self.deadline is None)
        self.clock = clock_of(asyncio.get_running_loop())
        limited = self.timeout is not None or self.deadline is not None
        self.clocked = limited or run.observes_items or run.journal is not None
        self.ends = self.keys is not None or run.observes_items
        self.emit_item = run.emit_item
        self.whole = node.composition.kind == "compound" if self.emit is not None else False
        self.counter = counter_of(run.counting, self.name, self.whole) if run.counting else None

    @property
    def what(self) -> str:
        return f"exec of {self.node.name!r}"

    @property
    def blocks(self) -> bool:
        """Whether a call of ``exec`` holds up a thread of this process."""
        return blocks(self.node, self.place)

    def begin(self, slot: Slot) -> None:
        """Prepare a worker for its first item."""
        if slot.timed:
            self.clocked = True
        slot.context = copy_context()
        if self.timeout is not None or self.deadline is not None:
            timeout = self.timeout if self.blocks else None
            slot.timer = Timer(self.what, timeout, self.deadline)

    # --- before exec ------------------------------------------------------------------------------

    def _taken_up(self, item: Any, index: Any, slot: Slot) -> bool:
        """Note what an item must acquire and when it must end; return whether it is early."""
        if slot.outlet is not None:
            slot.outlet.begin(index or 0)
        if self.keys is not None:
            slot.key = permits = self._key(item)
            slot.item = (permits,)
        if self.rates and self.rate is None:
            slot.item += tuple([rate.claim(item) for rate in self.rates])
        if self.deadline is not None:
            if self.keys is not None and slot.is_ahead(self.keys.taken):
                return True
            self._limit_item(slot)
        return False

    async def _begin_early(self, slot: Slot) -> None:
        """Start with an item that was taken early, while the workers looked past a full key.

        It must not suffer from that: its time begins with its first attempt.
        """
        if self.breaker is not None:
            self.breaker.check()
        await slot.begin()
        self._limit_item(slot)

    def _in_time(self, slot: Slot) -> bool:
        """End an item that succeeded; return False, and do nothing, if it may be late."""
        return slot.timer is None or slot.timer.item_in_time()

    def _limit_item(self, slot: Slot) -> None:
        timer = slot.timer
        assert timer is not None
        timer.whole = self.clock() + self.deadline
        if timer.whole < timer.at:
            timer.arm()

    def _key(self, item: Any) -> KeyPermits:
        """Return the permits of an item's key."""
        assert self.keys is not None
        key = self.node.limit_by(item)
        try:
            return self.keys.begin(key)
        except TypeError as error:
            shown = repr(key) if self.frame.rules.show_items else f"a {type(key).__name__}"
            raise TypeError(
                f"limit_by of {self.node.name!r} returned {shown}, which cannot be a key: return a "
                "string, a number or a tuple of them"
            ) from error

    def _at_once(self, slot: Slot) -> Ticket | None:
        """Acquire what an attempt needs if that needs no waiting; otherwise return None."""
        if self.rate is not None:
            ready = bool(slot.held) and not slot.item and self.rate.begin_at_once()
        else:
            ready = slot.begin_at_once() if slot.item else bool(slot.held)
        if not ready:
            return None
        return NO_TICKET if self.circuit is None else self.circuit.ticket or self._admitted(slot)

    async def _acquire(self, item: Any, slot: Slot) -> Ticket:
        """Acquire everything that an attempt needs, and wait for it."""
        if self.rate is not None and not slot.item:
            slot.item = (self.rate.claim(item),)
        if self.breaker is not None and not slot.has_begun:
            self.breaker.check()  # an open one fails fast, without queueing first
        if slot.item:
            await slot.begin()
        else:
            await slot.take()
        return NO_TICKET if self.breaker is None else self._admitted(slot)

    def _admitted(self, slot: Slot) -> Ticket:
        """Ask the breaker, now that everything is acquired."""
        try:
            ticket: Ticket = self.breaker.admit()
        except CircuitOpenError:
            slot.undo()
            raise
        if ticket.moved and self.emit is not None:
            self.emit(CircuitChanged(self.name, self.clock(), "half_open"))
        return ticket

    def _emit_start(self, index: Any, slot: Slot, at: float, again: Frame | None) -> None:
        if again is not None:
            slot.waiting = False
            FRAME.set(again)  # not earlier: an attempt may end before it begins
            if self.emit is not None:
                where = self.name, at, index or 0, slot.worker
                self.emit(AttemptStarted(*where, slot.attempts))
        else:
            assert self.emit_item is not None
            self.emit_item(ItemStarted(self.name, at, index or 0, slot.worker, self.whole))

    # --- after exec -------------------------------------------------------------------------------

    def _ended(
        self,
        slot: Slot,
        started: float,
        starts_s: float,
        ticket: Ticket,
        failure: BaseException | None,
    ) -> BaseException | None:
        """Report the result of an attempt to breaker, limit and observers; return its error."""
        try:
            if failure is not None:
                failure = awaited_cancelled(failure) or failure
            ended = took = 0.0
            if self.clocked:
                ended, timer = self.clock(), slot.timer
                took = ended - started
                if not self.direct:  # it may have waited for room, or for a process to start
                    took = max(0.0, took - slot.waited_s - slot.usage.start_s + starts_s)
                slot.seconds += took
                slot.ended_at = ended
                if timer is not None and self.timeout is not None:
                    if failure is not None or timer.rung or ended >= timer.attempt:
                        failure = self._late(timer, failure) or failure
                    timer.attempt = inf
            if slot.item or slot.loan is not None:
                slot.end()
            if self.circuit is not None and (failure is not None or not self._is_calm(ticket)):
                state = self.breaker.leave(ticket, failure)
                if state is not None and self.emit is not None:
                    self.emit(CircuitChanged(self.name, ended, state))
            if slot.auto is not None and slot.auto.sampled(took, ended, failure) and self.emit:
                self.emit(LimitChanged(self.name, ended, slot.auto.size))
            return failure
        except Exception as error:  # from `on=`, which is the user's
            return error
        finally:
            del failure  # it holds this frame: avoid a reference cycle

    def _is_calm(self, ticket: Ticket) -> bool:
        """Whether a success leaves the breaker unchanged."""
        circuit = self.circuit
        assert circuit is not None
        return circuit.ticket is ticket and not circuit.streak and self.breaker.share is None

    def _late(self, timer: Timer, failure: BaseException | None) -> BaseException | None:
        """Return the error of an attempt that took longer than it may, or None."""
        assert self.timeout is not None
        late = timer.end_attempt(failure)
        try:
            if late is None:
                return None
            return late_error(self.what, "timeout", self.timeout, *late, self.blocks)
        finally:
            del failure, late

    def found(self, index: Any, slot: Slot) -> None:
        """Report an item whose result a cache had: ``run`` is not called."""
        if self.counter is not None:
            self.counter.ended(index or 0, slot.worker, 0, 0.0, CACHED, False, self.clock())
        if self.emit_item is not None:
            where = self.name, self.clock(), index or 0, slot.worker
            self.emit_item(ItemFinished(*where, 0, 0.0, CACHED))

    def _end_item(self, index: Any, slot: Slot, error: BaseException | None = None) -> None:
        """Note that an item has ended, its fallback included, and how."""
        if slot.loan is not None:
            slot.loan.close()
        slot.item = ()
        if slot.key is not None:
            assert self.keys is not None
            self.keys.end(slot.key)
            slot.key = None
        if self.emit is None:
            return
        is_observed = self.emit_item is not None or self.counter is not None
        usage, slot.usage = slot.usage if is_observed else NO_USAGE, NO_USAGE  # for the next item
        if slot.pool is not None and slot.pool.waiter is not None:
            usage = slot.pool.with_line(usage, self.clock())
        worker, attempts, seconds = slot.worker, slot.attempts, slot.seconds
        if error is None and self.counter is not None:
            figures = worker, attempts, seconds, usage, slot.waiting, slot.ended_at
            self.counter.ended(index or 0, *figures)
        if error is None and self.emit_item is None:
            return
        ended = (self.name, self.clock(), index or 0, worker, attempts, seconds)
        if error is not None:
            status = status_of(error, getattr(self.node, "on_error", "raise"))
            self.emit(ItemFailed(*ended, status, error, usage, slot.waiting))
        else:
            assert self.emit_item is not None
            self.emit_item(ItemFinished(*ended, usage, slot.waiting))


def most_attempts(node: Any) -> int:
    """Return how many attempts there are at most."""
    return node.max_retries if node.retry is None else node.retry.attempts  # type: ignore[no-any-return]
