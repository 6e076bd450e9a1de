"""Nodes with the names, arguments and behaviour of PocketFlow and KayGraph."""

from asyncio import CancelledError, sleep
from collections.abc import AsyncIterable, Awaitable, Iterable, Mapping
from contextvars import copy_context
from types import CoroutineType
from typing import Any

from ..batch import batch
from ..batch.failures import Failures
from ..batch.fan_out import FanOut
from ..batch.source import NO_ITEMS, PLAIN
from ..errors import RAISED_STOP, Drop
from ..limits.slots import Slot
from ..node import node
from ..run.frame import Frame
from ..run.place import PLACE, Worker
from ._ancestral import BaseNode
from ._suffixed import Suffixed
from .config import Config

UNLIMITED = 1_000_000  # max_workers where PocketFlow and KayGraph have no limit


class Node(BaseNode, node.Node[Any, Any]):
    """Three steps; ``exec`` has ``max_retries`` attempts, ``wait`` seconds apart.

    ``cur_retry`` is the number of the attempt, counted from 0, in ``exec`` and in the hooks after
    it. In a flow, a plain ``def exec`` runs in the thread of the flow.

    Args:
        max_retries: As for ``kaygraph.Node``.
        wait: As for ``kaygraph.Node``.
        node_id: The name of the node; it may also be the first argument.
        config: The Config of the node; by default, that of the enclosing flow.
        settings: The settings of the class in ``kaygraph`` (``timeout``, ``run_in``, …).
    """

    def __init__(
        self,
        max_retries: int | str | None = None,
        wait: float | Config | None = None,
        node_id: str | Config | None = None,
        config: Config | None = None,
        **settings: Any,
    ) -> None:
        if isinstance(wait, Config):  # Node("name", Config(…))
            wait, config = None, wait
        if isinstance(max_retries, str):
            max_retries, node_id = None, max_retries
        given = {name: value for name, value in settings.items() if value is not None}
        super(BaseNode, self).__init__(max_retries, wait, **given)
        self._identify(node_id, config)

    _stays = True  # in the flow's thread


class AsyncNode(Suffixed, Node):
    """A Node with ``prep_async``, ``exec_async``, ``exec_fallback_async`` and ``post_async``."""


class BatchNode(Node, batch.BatchNode[Any, Any]):
    """``exec`` once per item that ``prep`` returns, one after another; None means no items."""

    def fan_out_of(self, items: Any, frame: Frame, *sink: Any) -> FanOut:
        return super().fan_out_of(_items(items), frame, *sink)

    def _needs_no_loop(self, depth: int) -> bool:
        plain = type(self)._work is BatchNode._work and self.exec_is_plain_def and self._stays
        tolerates = not (self.on_error == "raise" or callable(self.on_error))
        return plain and not (any(self.hook_kinds) or self.batch_deadline or tolerates)

    async def _work(self, prep_res: Any, shared: Any, frame: Frame) -> Any:
        items = prep_res
        if frame.run.by_hand and frame.bare and self._needs_no_loop(0):
            items = _items(prep_res)
            if isinstance(items, Iterable) and type(iter(items)) in PLAIN:
                return await self._one_after_another(items, frame)
        return await super()._work(items, shared, frame)

    async def _one_after_another(self, items: Iterable[Any], frame: Frame) -> list[Any]:
        """Call ``exec`` for each item, in a run without a loop."""
        results: list[Any] = []
        execute, slot = self.exec, Slot()
        place = PLACE.set(Worker(self, frame, slot, several=True))
        try:
            for index, item in enumerate(items):
                slot.index = index
                try:
                    result = copy_context().run(execute, item)
                    if type(result) is CoroutineType:
                        result = await self._late("exec", result, frame.run)
                except Drop:
                    continue
                except BaseException as error:
                    if isinstance(error, CancelledError):
                        await sleep(0)  # only a task can have been cancelled
                    elif isinstance(error, StopIteration):  # no coroutine can carry it
                        failure = RuntimeError(RAISED_STOP)
                        failure.__cause__, error = error, failure
                    name = frame.name_of(self)
                    shows = frame.rules.show_items
                    Failures(name, "raise", shows=shows).bear(item, index, slot, error)
                results.append(result)
        finally:
            PLACE.reset(place)
        return results


class ParallelBatchNode(BatchNode, batch.ParallelBatchNode[Any, Any]):
    """A BatchNode with ``max_workers`` items at once, each ``def exec`` in a thread.

    As in KayGraph, ``max_workers`` is the first argument, and those of Node follow it.
    """

    _stays = False

    def __init__(
        self,
        max_workers: int | str | None = None,
        max_retries: int | str | None = None,
        wait: float | None = None,
        node_id: str | None = None,
        config: Config | None = None,
        **settings: Any,
    ) -> None:
        if isinstance(max_workers, str) and max_workers != "auto":
            max_workers, node_id = None, max_workers
        super().__init__(max_retries, wait, node_id, config, max_workers=max_workers, **settings)


class AsyncBatchNode(AsyncNode, BatchNode):
    """A BatchNode with the hooks of AsyncNode: one item after another."""


class AsyncParallelBatchNode(AsyncBatchNode, batch.ParallelBatchNode[Any, Any]):
    """A BatchNode with the hooks of AsyncNode: all items at once; ``max_workers`` limits them.

    Of several simultaneous errors, the first is raised, from a group of the others.
    """

    max_workers = UNLIMITED

    def fan_out_of(self, items: Any, frame: Frame, *sink: Any) -> FanOut:
        return super().fan_out_of(listed(items, self), frame, *sink)

    async def _work(self, prep_res: Any, shared: Any, frame: Frame) -> Any:
        return await first_error(super()._work(prep_res, shared, frame))


def _items(given: Any) -> Any:
    """Return the items in what ``prep`` returned, as PocketFlow reads them."""
    if given is None or given is NO_ITEMS:
        return ()
    # The letters of a string, the keys of a dict.
    return list(given) if isinstance(given, str | bytes | Mapping) else given


def listed(items: Any, owner: Any) -> Any:
    """Return the items in a list if as many workers as items are needed."""
    if owner.max_workers != UNLIMITED or items is None:
        return items
    if isinstance(items, AsyncIterable):
        raise TypeError(
            f"prep of {owner.name!r} yields its items lazily: say how many may run at once with "
            "max_workers="
        )
    return list(items)


async def first_error(work: Awaitable[Any]) -> Any:
    """Await items that run at once; raise the first error, as PocketFlow and KayGraph do."""
    try:
        return await work
    except ExceptionGroup as group:
        if type(group) is not ExceptionGroup or hasattr(group, "__notes__"):
            raise  # an item's own: one with its place noted is one error
        first, *others = group.exceptions
    try:  # out here, because the group contains it and must not be its context
        raise first from ExceptionGroup("failed at the same time", others)
    finally:
        del first, others
