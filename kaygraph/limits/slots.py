"""What a worker holds while it works: its caps, taken in one step."""

import asyncio
from collections.abc import Sequence

from ..aio.tasks import raise_if_cancelled
from .permits import AutoPermits, Cap, Waiter, entered


class Slot:
    """The place in which a worker works: what it holds, and the figures of its item.

    Args:
        caps: What is held from one item to the next unless somebody waits for it.
        worker: Its number within the node.
        timed: Whether the time in ``exec`` is measured.
    """

    __slots__ = (
        "attempts", "auto", "caps", "held", "index", "item", "seconds", "timed", "until", "worker",
    )  # fmt: skip

    def __init__(self, caps: tuple[Cap, ...] = (), worker: int = 0, timed: bool = False) -> None:
        self.caps, self.worker = caps, worker
        self.index = 0  # of its item in the batch
        # The limit that learns from what is measured here.
        self.auto = caps[0] if caps and isinstance(caps[0], AutoPermits) else None
        self.timed = timed or self.auto is not None
        self.item: tuple[Cap, ...] = ()  # taken for every attempt of this item, beside the caps
        self.held: tuple[Cap, ...] = ()
        self.attempts = 0
        self.seconds = 0.0
        self.until: float | None = None  # the deadline of its item, by the loop's clock

    async def take(self) -> None:
        """Hold the caps; at once when they are held already, or free."""
        if not self.held:
            obstacle = entered(self.caps)
            if obstacle is not None:
                await _waited(self.caps, obstacle)
            self.held = self.caps

    async def begin(self) -> None:
        """Hold all that an attempt needs."""
        whole = (*self.caps, *self.item)
        if self.held and entered(self.item) is None:
            self.held = whole
        else:
            self.give()  # whoever waits holds nothing
            obstacle = entered(whole)
            if obstacle is not None:
                await _waited(whole, obstacle)
            self.held = whole
        for cap in self.item:
            cap.begun()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for one of the caps."""
        return any(cap.waiting for cap in self.caps)

    def undo(self) -> None:
        """Give back what an attempt alone would have needed: it is not made."""
        if len(self.held) > len(self.caps):
            for cap in self.item:
                cap.undo()
            self.held = self.caps
            _serve(self.item)

    def end(self) -> None:
        """Give back what an attempt alone has needed."""
        if len(self.held) > len(self.caps):
            _leave(self.item)
            self.held = self.caps

    def give(self) -> None:
        """Hold none."""
        if self.held:
            held, self.held = self.held, ()
            _leave(held)


async def _waited(caps: tuple[Cap, ...], obstacle: Cap) -> None:
    """Wait until all are taken."""
    await raise_if_cancelled()  # whoever holds them may wait for this task to end
    waiter = Waiter(caps, obstacle)
    try:
        await waiter.future
    except asyncio.CancelledError:
        # It may have been let in, in the very step of the cancellation.
        held = caps[: waiter.kept] if waiter.future.cancelled() else caps
        for cap in held:
            cap.undo()
        _serve(held)
        waiter.obstacle.serve()
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
    """Let go on who can, by age whichever line they stand in."""
    lines = [cap for cap in caps if cap.waiting]
    if len(lines) > 1:
        lines.sort(key=lambda cap: cap.first)
    for cap in lines:
        cap.serve()
