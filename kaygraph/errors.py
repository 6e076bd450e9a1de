"""What can go wrong, as a tree.

KayGraphError
├── NodeDefinitionError      a class that cannot work (also a TypeError)
├── GraphDefinitionError     wiring that cannot work (also a ValueError)
├── UnknownActionError       an action that leads nowhere (also a LookupError)
├── AttemptTimeoutError      ``timeout=`` or ``deadline=`` ran out (also a TimeoutError)
├── WorkerDiedError          a worker process ended in the middle of an item
└── TooManyFailuresError     more items failed than ``on_error`` tolerates (also an ExceptionGroup)

Drop                         not an error: ``raise Drop`` in ``exec`` leaves the item out
"""

from collections.abc import Iterable, Sequence


def closest(name: object, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the known name nearest to ``name``, or nothing."""
    from difflib import get_close_matches  # only a mistake pays for it

    found = get_close_matches(str(name), list(known), n=1)
    return f" Did you mean {found[0]!r}?" if found else ""


class KayGraphError(Exception):
    """The root of everything that kaygraph itself raises."""


class NodeDefinitionError(KayGraphError, TypeError):
    """A node class or its settings cannot work as written."""


class GraphDefinitionError(KayGraphError, ValueError):
    """The wiring of a graph cannot work as written."""


class UnknownActionError(KayGraphError, LookupError):
    """``post`` returned an action that no edge listens to.

    Attributes:
        node: The name of the node.
        action: What ``post`` returned.
        known: The actions that lead somewhere, in the order they were wired.
    """

    def __init__(self, node: str, action: object, known: Sequence[str]) -> None:
        self.node, self.action, self.known = node, action, tuple(known)
        message = f"Node {node!r} returned action {action!r}, which leads nowhere."
        if not isinstance(action, str):
            message += " post() returns the name of an action (a string) or None."
        listed = ", ".join(repr(name) for name in self.known)
        super().__init__(f"{message} Known actions: {listed}.{closest(action, self.known)}")

    def __reduce__(self) -> tuple[type, tuple[object, ...], dict[str, object]]:
        return type(self), (self.node, self.action, self.known), self.__dict__


class AttemptTimeoutError(KayGraphError, TimeoutError):
    """``exec`` ran past the ``timeout`` of an attempt or the ``deadline`` of all of them."""


class WorkerDiedError(KayGraphError):
    """A worker process ended (was killed, ran out of memory) while it worked on an item."""


class TooManyFailuresError(KayGraphError, ExceptionGroup[Exception]):
    """More items failed than ``on_error`` tolerates; ``exceptions`` holds every failure."""

    def derive(self, excs: Sequence[Exception], /) -> "TooManyFailuresError":  # type: ignore[override]
        return TooManyFailuresError(self.message, excs)


class Drop(Exception):  # noqa: N818 - it is an instruction, not an error
    """Raise it in ``exec`` to leave an item out: it is counted as skipped, never retried."""
