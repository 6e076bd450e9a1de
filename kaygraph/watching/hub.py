"""Snapshots of a run, shared by all readers: at most ten a second, and none without readers.

A reader that cannot keep up misses changes, and gets everything at once when it can.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from typing import Any

from .._formatting import error_text
from ..snapshot import RunSnapshot
from .records import Records
from .view import View

PAUSE_S = 0.1  # at least, between two snapshots
LONGEST_PAUSE_S = 1.0
SHARE = 0.01  # of the time that the page's thread may work, at a minimum of one snapshot a second
QUIET_S = 15.0  # after which a reader is sent a comment, to notice one that has gone
MOST_READERS = 256


@dataclass(eq=False)
class Shown:
    """A run that is shown.

    Attributes:
        id: The identifier of the run.
        name: The name of the graph or node.
        snapshot: Returns what the run is doing; called in the page's thread.
        interval: Returns the least time between two snapshots, in seconds.
        drawing: Returns the SVG, left to right or from the top; an empty text without one.
        drain: Drains the run; None if the page may not.
        over: Whether it has ended; ``snapshot`` still returns the last state.
    """

    id: str
    name: str
    snapshot: Callable[[], RunSnapshot]
    records: Records
    interval: Callable[[], float] = lambda: PAUSE_S
    drawing: Callable[[bool], str] = lambda _: ""
    drain: Callable[[], None] | None = None
    over: bool = False


class Hub:
    """Takes snapshots of one run for the readers of its stream. All on one loop.

    Attributes:
        looks: How many snapshots it took.
        readers: The current number of readers.
        view: What they are shown.
    """

    def __init__(self, shown: Shown) -> None:
        self.shown = shown
        self.looks = 0
        self.readers = 0
        self.view = View(shown.records)
        self._number = 0  # of the last change that was sent
        self._change = self._all = b""
        self._next: asyncio.Event = asyncio.Event()
        self._looks_now = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None
        self._last: RunSnapshot | None = None

    @property
    def over(self) -> bool:
        return self.shown.over

    async def snapshot(self) -> RunSnapshot:
        """Return what the run is doing; if that fails, its error says why."""
        if self._last is not None:
            return self._last
        try:  # it may wait for the run's loop
            return await asyncio.to_thread(self.shown.snapshot)
        except Exception as error:  # the page goes on, and shows it
            known = RunSnapshot(self.shown.id, self.shown.name, time.time())
            return replace(known, error=f"nothing is known of the run: {error_text(error)}")

    async def state(self) -> dict[str, Any]:
        """Return everything that the page shows."""
        await self._look()
        return self.view.all()

    def end(self) -> None:
        """Send all readers how the run ended, and end their streams."""
        if self._last is None:
            self._last = self.shown.snapshot()
            self.shown.over = True
            self._take(self._last)
            self._notify()  # even if nothing is new

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield what a reader is sent: everything, then changes; it ends with the run."""
        sent = -2
        self.readers += 1
        try:
            if self._looking is None and not self.over:
                self._looking = asyncio.get_running_loop().create_task(self._keep_looking())
            await self._look(first=True)
            while True:
                if sent != self._number:
                    message = self._change if sent == self._number - 1 else self._whole()
                    sent = self._number
                    yield message
                elif self.over:
                    yield b"event: end\ndata: {}\n\n"
                    return
                else:
                    try:
                        await asyncio.wait_for(self._next.wait(), QUIET_S)
                    except TimeoutError:
                        yield b": nothing new\n\n"
        finally:
            self.readers -= 1
            if not self.readers and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _keep_looking(self) -> None:
        spent, pause = time.thread_time(), PAUSE_S
        while not self.over:
            await asyncio.sleep(pause)
            if not self.over:
                await self._look()
            # Sending to all readers counts too: with many readers there are fewer snapshots.
            cost, spent = time.thread_time() - spent, time.thread_time()
            pause = min(max(PAUSE_S, self.shown.interval(), cost / SHARE), LONGEST_PAUSE_S)

    async def _look(self, first: bool = False) -> None:
        """Take a snapshot, and send what is new to the readers.

        ``first``: only if there was none before.
        """
        async with self._looks_now:
            if first and self._number:
                return
            snapshot = await self.snapshot()
            if self._last is None or not self._number:
                self.looks += 1
                self._take(snapshot)

    def _take(self, snapshot: RunSnapshot) -> None:
        change = self.view.change(snapshot)
        if change is not None:
            self._number += 1
            self._change, self._all = _message(change), b""
            self._notify()

    def _notify(self) -> None:
        changed, self._next = self._next, asyncio.Event()
        changed.set()

    def _whole(self) -> bytes:
        if not self._all:
            self._all = _message(self.view.all())
        return self._all


def _message(data: dict[str, Any]) -> bytes:
    return b"data: %s\n\n" % json.dumps(data, separators=(",", ":")).encode()
