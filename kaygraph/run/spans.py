"""The interface of tracing to the rest of the engine; how a trace is sent is not part of it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Protocol

Attribute = str | int | float | bool | Sequence[str]


class Span(Protocol):
    """A piece of work that is traced."""

    def set_attributes(self, attributes: Mapping[str, Attribute]) -> None:
        """Set attributes."""


class Traced(Protocol):
    """The position of the calling code in the trace of a run."""

    def call(self, name: str, attributes: Mapping[str, Attribute]) -> AbstractContextManager[Span]:
        """Trace a call of another program while the context is entered."""


# In the tasks of a run, and in the threads of its hooks; None if it is not traced.
TRACED: ContextVar[Traced | None] = ContextVar("kaygraph_traced", default=None)


class Carries:
    """An observer that follows the code into threads and processes.

    It is called in the thread in which something happens, also for runs inside a run, and passes
    something on to the processes in which ``exec`` runs.
    """

    def carrier(self) -> Callable[[], object]:
        """Return a callable that is pickled with a call, and called before its ``exec``.

        It is created in the context of the call, and called in that of ``exec``.
        """
        raise NotImplementedError
