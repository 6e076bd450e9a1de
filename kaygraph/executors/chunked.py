"""A chunk as it is sent to a worker process, and how its items are run there."""

import os
import pickle
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from math import inf
from time import monotonic
from typing import Any, NamedTuple

from ..errors import Drop
from ..run.frame import FRAME, Frame
from ..run.place import SENT
from ..run.run import Run
from .elsewhere import run_to_end
from .pickling import dumps, loads
from .rebuilding import note
from .results import ResultWriter
from .sending import failed

ITEM = "the item was unpickled in the process"

LOOK_S = 0.001  # between two items, how often it is asked whether they are to stop


class Plan(NamedTuple):
    """What goes to a process with the pickled items of a chunk.

    Attributes:
        key: Of the node.
        sent: The node, pickled, unless the process has it.
        facts: Pickled: the params, the attempt and the place in the run.
        sizes: How many bytes each item has.
        places: Where each item stands in its batch; None for those of no batch.
        goes_on: Whether those behind an item that fails are run.
        share_s: After so many seconds those that have not begun are given back.
    """

    key: int
    sent: bytes | None
    facts: bytes
    sizes: list[int]
    places: list[int]
    goes_on: bool
    share_s: float = inf


def run_items(
    node: Any,
    given: bytes,
    plan: Plan,
    results: ResultWriter,
    begins: Callable[[], object],
    is_stopped: Callable[[], bool],
) -> None:
    """Run items, one after another, and write what each has come to.

    Args:
        node: Whose ``exec`` runs, or the error that there is in its place.
        given: The items, pickled.
        begins: Called when all is there that they need.
        is_stopped: Tells, in between, whether no more are to begin.
    """
    own, entries = os.getpid(), _entries(node, given, plan)
    begins()
    looked = at = began = monotonic()
    while entries:
        call = entries.popleft()
        error: BaseException | None = None
        try:
            pickled = call()
        except BaseException as failure:
            error = failure
            answer = failed(failure)
            pickled = pickle.dumps((answer.pickled, answer.trace))
        if os.getpid() != own:  # exec has forked this process
            os._exit(0)
        at, since = monotonic(), at
        results.write(error is not None, at, at - since, pickled)
        if error is not None and not (plan.goes_on or isinstance(error, Drop)):
            return
        del error, pickled, call
        if at - began > plan.share_s:
            return
        if at - looked > LOOK_S:
            looked = at
            if is_stopped():
                return


def _entries(node: Any, given: bytes, plan: Plan) -> deque[Callable[[], bytes]]:
    """Return what runs each item and returns its result pickled."""
    try:
        if isinstance(node, BaseException):
            raise node
        params, attempt, place = loads(plan.facts, ITEM)
    except BaseException as error:
        return deque(partial(_raise, error) for _ in plan.sizes)
    context = copy_context()
    context.run(FRAME.set, Frame(Run(), params=params, attempt=attempt))
    entries: deque[Callable[[], bytes]] = deque()
    items, end = memoryview(given), 0
    for size, index in zip(plan.sizes, plan.places, strict=True):
        pickled, end = items[end : end + size], end + size
        try:
            item = loads(pickled, ITEM)
        except BaseException as error:
            entries.append(partial(_raise, error))
            continue
        at = {**place, "item": index} if "item" in place else place
        entries.append(partial(_run, node, item, context, (node, at)))
    return entries


def _raise(error: BaseException) -> bytes:
    raise error


def _run(node: Any, item: Any, context: Context, place: Any) -> bytes:
    one = context.copy()
    one.run(SENT.set, place)
    result = one.run(run_to_end, node, item)
    try:
        return dumps(result)
    except BaseException as error:
        note(error, "while the result of exec was pickled in the process")
        raise
