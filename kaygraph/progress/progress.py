"""``Progress``: an observer that shows the progress of a run."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import thread_time

from .._validation import check_flag, check_limit
from ..events import Event, NodeFinished, NodeStarted, RunFinished, RunStarted
from ..inspection.inspector import LEAST_S, Inspector
from ..limits.clock import has_own_clock
from ..run.frame import FRAME
from ..run.run import Run
from .displays import Display, display_here

SHARE = 0.01  # of a processor that drawing may use
LONGEST_PAUSE_S = 2.0  # between two snapshots
PATIENCE_S = 0.25  # for the loop's answer, before it is inspected from outside
LONGEST_END_S = 1.0  # for the drawing thread, if a terminal accepts nothing


class Progress:
    """An observer that shows, for each node of a run, its progress and what it waits for.

    .. code-block:: python

        graph.run(shared, observers=[Progress()])

    In a terminal these are bars on standard error: how many items are done and of how many, how
    many per second, how many have failed or were retried, and how long it still takes. The output
    of the program appears above them. In a file, a pipe, or a terminal that cannot move its
    cursor, a node with progress gets a line every few seconds; in a notebook, the cell has a table.

    Items cost as much as without it: it takes ten snapshots per second, fewer
    if they are slow. One Progress may observe several runs at once.

    Args:
        leave: Whether the last bars stay in the terminal when the run has ended.
        every: Seconds between two lines of a node, without a terminal.
        display: Called for each run; returns its display, instead of bars and lines.
    """

    items = False

    def __init__(
        self,
        *,
        leave: bool = True,
        every: float = 5.0,
        display: Callable[[], Display] | None = None,
    ) -> None:
        check_flag("leave", leave)
        seconds = check_limit("every", every)
        if seconds is None:
            raise ValueError("every must be more than 0 seconds, got None")
        if display is not None and not callable(display):
            raise TypeError(
                "display is called for each run and returns its display, as in "
                f"Progress(display=MyDisplay); got {display!r}"
            )
        here: Callable[[], Display | None] = partial(display_here, leave, seconds)
        self._make = here if display is None else display
        self._looks: dict[Run, Look] = {}

    def __call__(self, event: Event, /) -> None:
        run: Run | None = FRAME.get().run
        if isinstance(event, RunStarted):
            assert run is not None
            display = self._make()
            if display is not None:
                self._looks[run] = Look(display)
        if isinstance(event, RunFinished) and run in self._looks:
            self._looks.pop(run)(event)
            return
        while run is not None:  # one inside the run that is shown
            if run in self._looks:
                self._looks[run](event)
                return
            run = run.around


class Look:
    """Watches one run from a thread, so that a hook that blocks the event loop is seen too."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._inspector = Inspector()
        self._over = threading.Event()
        self._answered = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        self._inspector(event)
        match event:
            case RunStarted():
                if not has_own_clock(asyncio.get_running_loop()):
                    name = "kaygraph-progress"
                    self._thread = threading.Thread(target=self._watch, name=name, daemon=True)
                    self._thread.start()
            case RunFinished():
                self._end()
            case NodeStarted() | NodeFinished() if self._thread is None:
                self._display.show(self._inspector.snapshot())

    def _end(self) -> None:
        self._over.set()
        self._answered.set()
        if self._thread is not None:
            self._thread.join(LONGEST_END_S)
        self._display.show(self._inspector.snapshot())
        self._display.close()

    def _pause(self, drawing_s: float) -> float:
        """Return how long to wait until the next snapshot."""
        pause = self._inspector.interval
        if pause > LEAST_S:  # a slow snapshot: on a busy machine others pay for it too
            pause *= 2
        return min(pause + drawing_s / SHARE, LONGEST_PAUSE_S)

    def _watch(self) -> None:
        loop = self._inspector.loop
        drawing_s = 0.0
        while not self._over.wait(self._pause(drawing_s)):
            if loop is None or loop.is_closed():  # nothing has waited for the end of the run
                self._display.close()
                return
            self._answered.clear()
            asked = self._inspector.request()  # its loop is not kept from other work
            asked.add_done_callback(lambda _: self._answered.set())
            self._answered.wait(PATIENCE_S)
            if self._over.is_set():
                return
            with suppress(Exception):  # what cannot be inspected now may be next time
                held = not asked.done() and asked.cancel()
                shown = self._inspector.snapshot() if held else asked.result()
                if not self._over.is_set():
                    began = thread_time()
                    self._display.show(shown)
                    drawing_s = thread_time() - began
