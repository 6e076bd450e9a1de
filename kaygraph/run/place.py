"""Where in a run a hook is called, as its log says it. Nothing is looked up before a line is."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from ..limits.slots import Slot
from .frame import FRAME

# The node that this worker works for, and the slot that knows which item it works on.
WORKING: ContextVar[tuple[Any, Slot]] = ContextVar("kaygraph_working")

# Where the context of a run does not reach: a node, and its place as it was there.
SENT: ContextVar[tuple[Any, Mapping[str, Any]]] = ContextVar("kaygraph_sent")


def place_of(node: Any) -> Mapping[str, Any]:
    """Return what is known: the run, the node's name, its item, the attempt from the second on."""
    sent_node, sent = SENT.get((None, {}))
    if node is sent_node:
        return sent
    frame = FRAME.get(None)
    if frame is None:
        return {"node": node.name}
    place: dict[str, Any] = {"run": frame.run.id, "node": frame.name_of(node)}
    worker_node, slot = WORKING.get((None, None))
    if node is worker_node and slot is not None:
        place["item"] = slot.index
    if frame.attempt > 1:
        place["attempt"] = frame.attempt
    return place
