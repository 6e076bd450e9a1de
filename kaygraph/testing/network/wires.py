"""Bytes on their way: what is sent at one end arrives in order at the other, some time later."""

import asyncio
from collections import deque
from contextvars import Context
from random import Random
from typing import Protocol

from .settings import Network

CAPACITY = 65_536  # how many bytes are sent and not read before a sender has to wait

MOST_PIECES = 4  # of what is sent at once
LAST_LOSS = 12  # a connection that is lost is so within this many segments

_EMPTY = Context()  # arrivals are not part of the task that has sent


class End(Protocol):
    """One end of a wire: a socket."""

    def changed(self) -> None: ...

    def arrived(self, segment: bytes | None) -> None: ...


class Chance:
    """What the seed decides about one connection.

    Each connection has its own numbers, so that one segment more on one does not change another.
    """

    def __init__(self, settings: Network, seed: int, connection: int) -> None:
        self._settings = settings
        self._random = Random(f"{seed}/{connection}") if seed else None
        chosen = Random(f"{seed}/{connection}/fate")  # losses are not only for other seeds than 0
        self.refused = chosen.random() < settings.refuse
        lost = chosen.random() < settings.lose
        self.segments_left = chosen.randrange(LAST_LOSS) if lost else -1

    def latency(self) -> float:
        shortest, longest = self._settings.latency
        if self._random is None:
            return shortest
        return shortest + (longest - shortest) * self._random.random()

    def pieces(self, data: bytes) -> list[bytes]:
        """Return the segments in which some bytes arrive; none of them is empty."""
        if self._random is None or len(data) < 2 or self._random.random() >= self._settings.split:
            return [data]
        cuts = {self._random.randrange(1, len(data)) for _ in range(MOST_PIECES - 1)}
        ends = [*sorted(cuts), len(data)]
        return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


class Wire:
    """One direction of a connection.

    A segment is some bytes, ``b""`` for the end of what is sent, or None for a reset.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        chance: Chance,
        sender: End,
        receiver: End,
    ) -> None:
        self._loop, self._chance = loop, chance
        self.sender, self.receiver = sender, receiver
        self._segments: deque[bytes | None] = deque()
        self._last = 0.0
        self._unread = 0

    @property
    def room(self) -> int:
        """How many bytes may be sent now."""
        return max(0, CAPACITY - self._unread)

    def send(self, data: bytes) -> None:
        self._unread += len(data)
        first, *rest = self._chance.pieces(data)
        self._put(first)
        for piece in rest:
            self._last += self._chance.latency()  # comes alone, so that it is read alone
            self._put(piece)

    def end(self) -> None:
        self._put(b"")

    def reset(self) -> None:
        self._put(None)

    def read(self, count: int) -> None:
        """Some bytes have been read or thrown away at the other end: there is room for more."""
        self._unread -= count
        self.sender.changed()

    def _put(self, segment: bytes | None) -> None:
        if self._loop.is_closed():
            return  # a transport that was left open is collected after the simulation
        self._segments.append(segment)
        # No segment overtakes another, whatever the latencies are.
        self._last = max(self._last, self._loop.time() + self._chance.latency())
        # Timers of one moment come in any order: each delivers the segment that is next.
        self._loop.call_at(self._last, self._arrive, context=_EMPTY)

    def _arrive(self) -> None:
        segment = self._segments.popleft()
        if self._chance.segments_left == 0:
            self._chance.segments_left = -1
            self.sender.arrived(None)
            segment = None
        elif self._chance.segments_left > 0:
            self._chance.segments_left -= 1
        self.receiver.arrived(segment)
