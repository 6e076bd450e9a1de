"""A chunk as it is sent to a worker process, and how its items are run there."""

import os
import pickle
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from math import inf
from time import monotonic
from typing import Any, NamedTuple

from ..errors import Drop
from ..run.frame import FRAME, Frame
from ..run.place import CARRIED, SENT
from ..run.run import Run
from ..run.saying import RECEIVER, Receiver
from .elsewhere import run_to_end
from .pickling import PLAIN, dumps, loads
from .rebuilding import note
from .results import BYTES, FAILED, PICKLED, ResultWriter
from .sending import failed

ITEM = "the item was unpickled in the process"

LOOK_S = 0.001  # between two items, how often it is asked whether they are to stop


class Plan(NamedTuple):
    """What goes to a process with the pickled items of a chunk.

    Attributes:
        key: Of the node.
        sent: The node, pickled, unless the process has it.
        facts: Pickled: the params, the attempt and the place in the run.
        sizes: How many bytes each item has; None: all are pickled as one list.
        places: Where each item stands in its batch.
        goes_on: Whether those behind an item that fails are run.
        share_s: After so many seconds those that have not begun are given back.
        is_received: Whether the run receives what they say.
    """

    key: int
    sent: bytes | None
    facts: bytes
    sizes: list[int] | None
    places: list[int]
    goes_on: bool
    share_s: float = inf
    is_received: bool = False


def run_items(
    node: Any,
    given: bytes,
    plan: Plan,
    results: ResultWriter,
    begins: Callable[[], object],
    is_stopped: Callable[[], bool],
    receive: Receiver | None = None,
) -> None:
    """Run items, one after another, and write what each has come to.

    Args:
        node: Whose ``exec`` runs, or the error that there is in its place.
        given: The items, pickled.
        begins: Called when all is there that they need.
        is_stopped: Called between items; returns whether no more should begin.
        receive: Called with what they say, if the run receives that.
    """
    items, context, place = _unpickled(node, given, plan)
    context.run(RECEIVER.set, receive)
    begins()
    own, several = os.getpid(), "item" in place
    looked = at = began = monotonic()
    items.reverse()
    for index in plan.places:
        item, error = items.pop(), None
        try:
            if type(item) is _Failed:
                raise item.error
            one = context.copy()
            one.run(SENT.set, (node, {**place, "item": index} if several else place))
            result = one.run(run_to_end, node, item)
            kind = BYTES if type(result) is bytes else PICKLED
            pickled = result if kind == BYTES else _result(result)
            del result
        except BaseException as failure:
            error, kind = failure, FAILED
            answer = failed(failure)
            pickled = pickle.dumps((answer.pickled, answer.trace))
        if os.getpid() != own:  # exec has forked this process
            os._exit(0)
        at, since = monotonic(), at
        results.write(kind, at, at - since, pickled)
        if error is not None and not (plan.goes_on or isinstance(error, Drop)):
            return
        del item, error, pickled
        if at - began > plan.share_s:
            return
        if at - looked > LOOK_S:
            looked = at
            if is_stopped():
                return


class _Failed:
    """Stands for an item that cannot be worked on."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _unpickled(node: Any, given: bytes, plan: Plan) -> tuple[list[Any], Context, Mapping[str, Any]]:
    """Return the items, and the context and the place in which each runs."""
    context = copy_context()
    try:
        if isinstance(node, BaseException):
            raise node
        params, attempt, place = loads(plan.facts, ITEM)
    except BaseException as error:
        return [_Failed(error)] * len(plan.places), context, {}
    context.run(FRAME.set, Frame(Run(), params=params, attempt=attempt))
    place = dict(place)
    for attach in place.pop(CARRIED, ()):
        context.run(attach)
    if plan.sizes is None:
        return pickle.loads(given), context, place
    items: list[Any] = []
    view, end = memoryview(given), 0
    for size in plan.sizes:
        pickled, end = view[end : end + size], end + size
        try:
            items.append(loads(pickled, ITEM))
        except BaseException as error:
            items.append(_Failed(error))
    return items, context, place


def _result(value: Any) -> bytes:
    if type(value) in PLAIN:
        return pickle.dumps(value)
    try:
        return dumps(value)
    except BaseException as error:
        note(error, "while the result of exec was pickled in the process")
        raise
