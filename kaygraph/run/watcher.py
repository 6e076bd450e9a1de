"""The interface between a run and what shows it; see ``kaygraph.watching``."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from .._public import load
from ..events import Event
from .run import Run

T = TypeVar("T")


class Watching(Protocol):
    """Watches one run."""

    def __call__(self, event: Event, /) -> object: ...

    def around(
        self, work: Callable[[Any, Any], Coroutine[Any, Any, T]], /
    ) -> Callable[[Any, Any], Coroutine[Any, Any, T]]:
        """Return the work of the run, wrapped in everything needed to show it."""
        ...


class Watcher(Protocol):
    """What ``run(watch=…)`` takes: a ``kaygraph.Watch``."""

    def watching(self, node: Any, run: Run, journal: Any, /) -> Watching:
        """Return the watcher of a run of ``node`` that is about to start."""
        ...


def watcher_of(watch: "Watcher | int") -> Watcher:
    """Return the watcher for ``True``, a port or a Watch."""
    if isinstance(watch, int):
        made: Watcher = load("Watch")(watch)
        return made
    if isinstance(watch, type) or not hasattr(watch, "watching"):
        raise TypeError(
            "watch is True, a port or a Watch, as in run(shared, watch=True) and "
            f"run(shared, watch=Watch(8765, control=True)); got {watch!r}"
        )
    return watch
