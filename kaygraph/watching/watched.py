"""One run that is shown: what is known of it, from start to end."""

import asyncio
import warnings
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from .._formatting import error_text
from ..events import Event
from ..inspection import Inspector
from ..run.lifespan import Held
from ..snapshot import RunSnapshot
from .files import saved
from .hub import Hub, Shown
from .picture import Picture
from .records import Records
from .view import View

T = TypeVar("T")


class Page(Protocol):
    """Where runs are shown: a Watch."""

    control: bool
    save_to: Path | None

    def begun(self, run: "WatchedRun") -> None:
        """Show a run."""

    async def ended(self, run: "WatchedRun") -> None:
        """Show how it ended."""


class WatchedRun(Held[None]):
    """An observer of one run, for the page; the run holds it open until its end."""

    items = False

    def __init__(self, page: Page, node: Any, run: Any) -> None:
        self._page, self._node, self._run = page, node, run
        self._inspector = Inspector()
        self._records = Records()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._error: str | None = None
        self._last: RunSnapshot | None = None
        self._picture = Picture(node)

    def __call__(self, event: Event) -> None:
        self._inspector(event)
        self._records(event)

    def around(
        self, work: Callable[[Any, Any], Coroutine[Any, Any, T]]
    ) -> Callable[[Any, Any], Coroutine[Any, Any, T]]:
        """Return the work of a run, wrapped in the page that shows it."""

        async def watched(shared: Any, frame: Any) -> T:
            frame.run.hold(self, lambda: self)
            try:
                return await work(shared, frame)
            except BaseException as error:
                self._error = error_text(error)
                raise

        return watched

    def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        drain = self._drain if self._page.control else None
        self.hub = Hub(
            Shown(
                self._run.id, self._node.name, self._snapshot, self._records,
                lambda: self._inspector.interval, self._picture, drain,
            )
        )  # fmt: skip
        self._page.begun(self)

    async def close(self) -> None:
        self._last = self._ended(self._inspector.snapshot())
        self._run = self._loop = None
        try:
            if self._page.save_to is not None:
                self._page.save_to.write_text(self.page(), encoding="utf-8")
        except OSError as error:
            warnings.warn(f"the page of the run was not saved: {error}", stacklevel=2)
        await self._page.ended(self)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._last is not None

    def page(self) -> str:
        """Return the run as it is now, as one HTML file."""
        view = View(self._records)
        view.recall(self.hub.view)
        view.change(self._snapshot())
        return saved(view.all(), self._picture())

    def _snapshot(self) -> RunSnapshot:
        return self._inspector.snapshot() if self._last is None else self._last

    def _ended(self, snapshot: RunSnapshot) -> RunSnapshot:
        """Return how the run ended: all of its nodes have, and what it holds is closed soon."""
        state: Literal["finished", "failed"] = "finished" if self._error is None else "failed"
        nodes = tuple(
            replace(node, state=state, running=0) if node.state == "running" else node
            for node in snapshot.nodes
            if node.name != snapshot.name or node.runs  # under this name the run itself is closed
        )
        return RunSnapshot(
            snapshot.run, snapshot.name, snapshot.at, state, snapshot.seconds, nodes,
            rates=snapshot.rates, breakers=snapshot.breakers, error=self._error,
        )  # fmt: skip

    def _drain(self) -> None:
        run, loop = self._run, self._loop
        if run is not None and loop is not None:
            run.halt()  # at once, even if a hook blocks the loop
            with suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(run.drain)
