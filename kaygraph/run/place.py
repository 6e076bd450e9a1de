"""Where in a run a hook is called, for its log. Nothing is looked up before a line is logged."""

from asyncio import CancelledError
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from ..aio.tasks import awaited_cancelled
from ..errors import note_place
from ..limits.slots import Slot
from .frame import FRAME, Frame
from .here import SENT_HERE, Here
from .spans import Carries


class Place(Protocol):
    """Which node calls its hooks here: a Worker, a step, or a walk, which goes from node to node.

    Attributes:
        node: The node.
        frame: The frame in which the node has its name; None: the current one.
        slot: What the call of ``exec`` holds; None if it holds nothing.
        several: The call is one of several, each for one item: the slot knows which.
    """

    @property
    def node(self) -> Any: ...

    @property
    def frame(self) -> Frame | None: ...

    @property
    def slot(self) -> Slot | None: ...

    @property
    def several(self) -> bool: ...


class Worker:
    """The place of one call of ``exec``, or of several, one after another."""

    __slots__ = ("frame", "node", "several", "slot")

    def __init__(
        self, node: Any, frame: Frame, slot: Slot | None = None, several: bool = False
    ) -> None:
        self.node, self.frame, self.slot, self.several = node, frame, slot, several


PLACE: ContextVar[Place | None] = ContextVar("kaygraph_place", default=None)


def place_in(frame: Frame) -> Place | None:
    """Return the current place; this is the current frame."""
    near = PLACE.get()
    walk: Place | None = frame.walk
    return walk if near is None or near.node is None else near


# Where the context of a run is not available: a node, and its place.
SENT: ContextVar[tuple[Any, Mapping[str, Any]]] = ContextVar("kaygraph_sent")


class InNode:
    """Notes at an error in which node it happened, also at a cancellation that is not ours.

    It is not a generator: contextlib sets the traceback of an error, which not every error
    allows.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        failure = None if error is None else awaited_cancelled(error)
        try:
            if failure is not None:
                note_place(failure, repr(self.name))
                raise failure
            if error is not None and not isinstance(error, CancelledError):
                note_place(error, repr(self.name))
        finally:
            del error, failure  # they hold this frame: avoid a reference cycle


class Working(InNode):
    """The place of a worker while it works; its slot is given back at the end."""

    __slots__ = ("_token", "_worker")

    def __init__(self, name: str, worker: Worker) -> None:
        super().__init__(name)
        self._worker = worker

    def __enter__(self) -> None:
        self._token = PLACE.set(self._worker)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._worker.slot is not None:
            self._worker.slot.close()
        PLACE.reset(self._token)
        try:
            InNode.__exit__(self, kind, error, traceback)
        finally:
            del error, traceback  # they hold this frame: avoid a reference cycle


def shows_items() -> bool:
    """Whether errors may quote the items of the node that runs here."""
    frame = FRAME.get(None)
    return frame is None or frame.rules.show_items


def here_of(node: Any) -> Here | None:
    """Return what depends on where a node's hook is called, as far as it is known.

    Without a journal this is a key for the item, if the node asks for one.
    """
    sent_node, sent = SENT_HERE.get((None, None))
    if sent_node is not None and (node is sent_node or node is getattr(sent_node, "owner", None)):
        return sent
    frame = FRAME.get(None)
    if frame is None:
        return None
    if frame.run.journal is not None:
        return frame.run.journal.here()
    place = PLACE.get()
    if place is None or place.slot is None:
        return None
    if node is place.node or node is getattr(place.node, "owner", None):
        return Here(place.slot.token, None)
    return None


# What another process receives about the place of a call: what depends on it, and what observers
# pass on.
HERE, CARRIED = "here", "carried"


def place_to_send(node: Any) -> Mapping[str, Any]:
    """Return what a call in another process receives about its place: see ``place_of``."""
    place = place_of(node)
    frame = FRAME.get(None)
    if frame is not None and frame.run.observers:
        carried = [one.carrier() for one in frame.run.observers if isinstance(one, Carries)]
        place = {**place, CARRIED: carried}
    if node.keyed or (frame is not None and frame.run.journal is not None):
        return {**place, HERE: here_of(node)}
    return place


def place_of(node: Any) -> Mapping[str, Any]:
    """Return what is known: run, node name, item, and from the second attempt on its number."""
    sent_node, sent = SENT.get((None, {}))
    if node is sent_node:
        return sent
    frame = FRAME.get(None)
    if frame is None:
        return {"node": node.name}
    place: dict[str, Any] = {"run": frame.run.id, "node": frame.name_of(node)}
    here = PLACE.get()
    if here is not None and here.several and here.slot is not None and node is here.node:
        place["item"] = here.slot.index
    if frame.attempt > 1:
        place["attempt"] = frame.attempt
    return place
