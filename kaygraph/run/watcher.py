"""What a run asks of whoever shows it while it goes on; see ``kaygraph.watching``."""

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
        """Return the work of the run, with all that is to be there while it goes on."""
        ...


class Watcher(Protocol):
    """What ``run(watch=…)`` takes: a ``kaygraph.Watch``."""

    def watching(self, node: Any, run: Run, journal: Any, /) -> Watching:
        """Return what watches a run of ``node``, which is about to begin."""
        ...


def watcher_of(watch: "Watcher | int") -> Watcher:
    """Return what is to watch, for ``True``, a port or itself."""
    if isinstance(watch, int):
        made: Watcher = load("Watch")(watch)
        return made
    if isinstance(watch, type) or not hasattr(watch, "watching"):
        raise TypeError(
            "watch is True, a port or a Watch, as in run(shared, watch=True) and "
            f"run(shared, watch=Watch(8765, control=True)); got {watch!r}"
        )
    return watch
