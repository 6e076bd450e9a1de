"""Those who are told of every event of a run, and what happens when one of them fails."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

from ..events import Event, Observer

MOST_IN_A_ROW = 25  # failures after which an observer is told of nothing more


# Whether an observer is being called: what it begins is no part of the run that it observes.
OBSERVING: ContextVar[bool] = ContextVar("kaygraph_observing", default=False)


class Observers:
    """Calls observers with events, in the order given.

    An observer that fails is kept, as an exporter may have one bad moment; what it has missed, it
    has missed. The loop's exception handler hears of its first failure, and again when it is given
    up: not of each one, as there may be as many as events.
    """

    __slots__ = ("_failures", "_observers", "_told")

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = list(observers)
        self._failures: dict[int, int] = {}  # in a row, by the id of the observer
        self._told: set[int] = set()  # those of which the handler has heard

    def __call__(self, event: Event) -> None:
        observing = OBSERVING.set(True)
        try:
            for observer in tuple(self._observers):
                try:
                    observer(event)
                except (Exception, asyncio.CancelledError) as error:
                    self._failed(observer, event, error)
                else:
                    if self._failures:
                        self._failures.pop(id(observer), None)
        finally:
            OBSERVING.reset(observing)

    def _failed(self, observer: Observer, event: Event, error: BaseException) -> None:
        failures = self._failures[id(observer)] = self._failures.get(id(observer), 0) + 1
        if id(observer) not in self._told:
            self._told.add(id(observer))
            message = f"observer {observer!r} failed at {type(event).__name__}"
        elif failures == MOST_IN_A_ROW:
            self._observers.remove(observer)
            message = f"observer {observer!r} failed {failures} times in a row, and is not called"
            message += " again in this run"
        else:
            return
        context = {"message": message, "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
