"""``capture_events``: the events of runs, without passing observers to them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..events import Event, Observer
from ..run.run import Run


@contextmanager
def capturing(*observers: Observer) -> Iterator[None]:
    """Add observers to every run that begins inside the ``with`` block, in any thread."""
    ours = [_Ours(observer) for observer in observers]
    Run.ambient = (*Run.ambient, *ours)
    try:
        yield
    finally:
        Run.ambient = tuple(observer for observer in Run.ambient if observer not in ours)


@contextmanager
def runs_begun() -> Iterator[list[Run]]:
    """Collect every run that begins inside the ``with`` block, with or without observers."""
    runs: list[Run] = []
    make = Run.__init__

    def noted(self: Run, *args: Any, **settings: Any) -> None:
        make(self, *args, **settings)
        runs.append(self)

    Run.__init__ = noted  # type: ignore[method-assign]
    try:
        yield runs
    finally:
        Run.__init__ = make  # type: ignore[method-assign]


@contextmanager
def capture_events() -> Iterator[list[Event]]:
    """Collect the events of every run that begins inside the ``with`` block, in order.

    ::

        with capture_events() as events:
            graph.run(shared)

    The list grows until the runs that began inside the block have ended. Blocks can be nested; each
    collects all events of the runs inside it.
    """
    events: list[Event] = []
    with capturing(events.append):
        yield events


class _Ours:
    """An observer compared by identity: ``append`` methods of equal lists would be equal."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def __call__(self, event: Event, /) -> object:
        return self._observer(event)
