"""``Progress``: an observer that shows how far a run is."""

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

SHARE = 0.01  # of a processor that drawing may take
LONGEST_PAUSE_S = 2.0  # between two looks
PATIENCE_S = 0.25  # for the loop's answer, before it is looked at from outside
LONGEST_END_S = 1.0  # for the thread that looks, where a terminal takes nothing


class Progress:
    """An observer that shows, for each node of a run, how far it is and what it waits for.

    .. code-block:: python

        graph.run(shared, observers=[Progress()])

    In a terminal these are bars on standard error: how many items are done and of how many, how
    many a second, how many have failed or were tried again, and how long it takes still. What the
    program prints comes above them. In a file, a pipe, or a terminal that cannot move its cursor,
    a node that has gone on gets a line every few seconds; in a notebook, the cell has a table.

    Items cost what they cost without it: it looks at the run ten times a second, and less often
    where a look takes long. One Progress may observe several runs at once.

    Args:
        leave: Whether the last bars stay in the terminal when the run has ended.
        every: Seconds between two lines of a node, where there is no terminal.
        display: Called for each run; returns what shows it, in place of bars and lines.
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
                "display is called for each run, and returns what shows it, as in "
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
        while run is not None:  # one that takes place within the one that is shown
            if run in self._looks:
                self._looks[run](event)
                return
            run = run.around


class Look:
    """Looks at one run, from a thread, so that a hook that holds the event loop is seen, too."""

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
        """Return how long to wait until the next look."""
        pause = self._inspector.interval
        if pause > LEAST_S:  # a look takes long: others on a busy machine pay for each as well
            pause *= 2
        return min(pause + drawing_s / SHARE, LONGEST_PAUSE_S)

    def _watch(self) -> None:
        loop = self._inspector.loop
        drawing_s = 0.0
        while not self._over.wait(self._pause(drawing_s)):
            if loop is None or loop.is_closed():  # nobody has waited for the end of the run
                self._display.close()
                return
            self._answered.clear()
            asked = self._inspector.request()  # its loop is not kept from other work
            asked.add_done_callback(lambda _: self._answered.set())
            self._answered.wait(PATIENCE_S)
            if self._over.is_set():
                return
            with suppress(Exception):  # what cannot be looked at now may be next time
                held = not asked.done() and asked.cancel()
                shown = self._inspector.snapshot() if held else asked.result()
                if not self._over.is_set():
                    began = thread_time()
                    self._display.show(shown)
                    drawing_s = thread_time() - began
