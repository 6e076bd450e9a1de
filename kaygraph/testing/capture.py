"""``capture_events``: what runs tell, without handing observers over."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..events import Event, Observer
from ..run.run import Run


@contextmanager
def capturing(*observers: Observer) -> Iterator[None]:
    """Let observers watch every run that begins within, in whatever thread."""
    ours = [_Ours(observer) for observer in observers]
    Run.ambient = (*Run.ambient, *ours)
    try:
        yield
    finally:
        Run.ambient = tuple(observer for observer in Run.ambient if observer not in ours)


@contextmanager
def runs_begun() -> Iterator[list[Run]]:
    """Collect every run that begins within, whether anybody watches it or not."""
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
    """Collect the events of every run that begins within, in the order in which they came.

    ::

        with capture_events() as events:
            graph.run(shared)

    The list goes on to grow until the runs that began within have ended. They may stand within
    each other; each gets all that happens in it.
    """
    events: list[Event] = []
    with capturing(events.append):
        yield events


class _Ours:
    """An observer that is equal to itself alone: two lists that hold the same are not the same."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def __call__(self, event: Event, /) -> object:
        return self._observer(event)
