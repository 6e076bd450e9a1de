"""What traces a run, as the rest of the engine knows it: nothing of how, or whether, it is sent."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Protocol

Attribute = str | int | float | bool | Sequence[str]


class Span(Protocol):
    """A piece of work that is traced."""

    def set_attributes(self, attributes: Mapping[str, Attribute]) -> None:
        """Say more about it."""


class Traced(Protocol):
    """Where in the trace of a run the code runs that asks."""

    def call(self, name: str, attributes: Mapping[str, Attribute]) -> AbstractContextManager[Span]:
        """Trace a call of another program, as long as the context is entered."""


# In the tasks of a run, and in the threads where its hooks run; None where nobody traces it.
TRACED: ContextVar[Traced | None] = ContextVar("kaygraph_traced", default=None)


class Carries:
    """An observer that goes where the code goes.

    It is called in the thread in which something happens, for runs within a run as well, and hands
    something on to the processes in which ``exec`` runs.
    """

    def carrier(self) -> Callable[[], object]:
        """Return what is pickled with a call, and is called where that runs, before ``exec``.

        It is asked in the context of the call, and called in that of ``exec``.
        """
        raise NotImplementedError
