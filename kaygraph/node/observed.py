"""How the work of a node starts, with and without observers."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from ..events import NodeFinished, NodeStarted
from ..executors.kinds import result_of
from ..observability.conflicts import checked
from ..observability.slow_hooks import timed
from ..outcome import Outcome, status_of
from ..run.frame import Cell, Frame
from ..run.place import InNode
from ..run.tap import Tap
from .node import BaseNode


async def lifecycle(node: BaseNode[Any, Any], shared: Any, frame: Frame) -> str | None:
    """Run a node's lifecycle and report its start and its end to the observers."""
    emit = frame.run.emit
    if emit is None:
        return await _visited(node, shared, frame)
    now = asyncio.get_running_loop().time
    name, started = frame.name_of(node), now()
    emit(NodeStarted(name, started))
    try:
        if frame.run.journal is None and frame.run.tap is None:
            action = await node.run_within(shared, frame)
        else:
            action = await _visited(node, shared, frame)
    except BaseException as error:
        emit(NodeFinished(name, at := now(), at - started, None, error))
        raise
    emit(NodeFinished(name, at := now(), at - started, action, None))
    return action


def _visited(
    node: BaseNode[Any, Any], shared: Any, frame: Frame
) -> Coroutine[Any, Any, str | None]:
    run = frame.run
    if run.tap is not None and not node.gives_many:
        tap = frame.tap_of(frame.name_of(node))
        if tap is not None:
            return _tapped(tap, node, shared, frame)
    return _recorded(node, shared, frame)


def _recorded(
    node: BaseNode[Any, Any], shared: Any, frame: Frame
) -> Coroutine[Any, Any, str | None]:
    journal = frame.run.journal
    if journal is None:
        return node.run_within(shared, frame)
    return journal.visited(node, frame, partial(node.run_within, shared, frame))


async def _tapped(tap: Tap, node: BaseNode[Any, Any], shared: Any, frame: Frame) -> str | None:
    """Run a node's lifecycle, and take the result of its ``exec``."""
    name, cell = frame.name_of(node), Cell()
    now = asyncio.get_running_loop().time
    started = now()
    try:
        action = await _recorded(node, shared, frame.derive(cell=cell))
    except Exception as error:
        status, seconds = status_of(error), now() - started
        tap.put(Outcome(name, 0, status, None, error, cell.attempts, seconds))
        raise
    frame.record(cell.value, cell.attempts)
    tap.put(Outcome(name, 0, "ok", cell.value, None, cell.attempts, now() - started))
    return action


async def prepared(node: BaseNode[Any, Any], shared: Any, frame: Frame) -> Any:
    """Open a node's ``lifespan`` and return what its ``prep`` returns."""
    has_lifespan, prep_is_async, _ = node.hook_kinds
    with InNode(frame.name_of(node)):
        if has_lifespan:
            await frame.run.open(node, shared)
        return await result_of(node, "prep", node.prep(shared), prep_is_async)


def visit(node: BaseNode[Any, Any], shared: Any, frame: Frame) -> Coroutine[Any, Any, str | None]:
    """Start a node's lifecycle, and measure each of its steps if required."""
    if frame.rules.slow_hook_s is None and not frame.run.checking:
        return lifecycle(node, shared, frame)
    return begun(partial(lifecycle, node, shared, frame), frame.name_of(node), frame, node)


def begun(
    begin: Callable[[], Coroutine[Any, Any, Any]], name: str, frame: Frame, node: Any = None
) -> Coroutine[Any, Any, Any]:
    """Start some work, and measure each of its steps if required.

    Steps are measured because of ``slow_hook_s`` and, for the work of a ``node`` on the shared
    store, because of a fork that is checked for conflicting writes.
    """
    checks = node is not None and frame.run.checking
    if frame.rules.slow_hook_s is None:
        return checked(begin(), node, frame) if checks else begin()
    return timed((lambda: checked(begin(), node, frame)) if checks else begin, name, frame)
