"""Nodes whose ``exec`` runs once per item."""

from collections.abc import AsyncIterable, Awaitable, Iterable
from functools import partial
from typing import Any, ClassVar, Generic, Literal, Unpack

from ..aio.buffer import Buffer
from ..aio.timeouts import within
from ..executors.cluster import WIDEST, Cluster
from ..executors.places import place_for
from ..executors.sessions import permits_of
from ..limits.permits import AUTO_MOST, AutoPermits, Permits
from ..node.blocks import Blocks, exec_block_of
from ..node.keywords import Attempts, BatchSettings, Item, ParallelSettings, Result
from ..node.node import Node
from ..node.observed import prepared
from ..node.settings import Checks, checks_of
from ..node.streaming import Streaming
from ..outcome import Outcome
from ..run.frame import RULES, Frame, Rules
from .calling_thread import FanOutInCallingThread
from .chunks import chunks_of
from .fan_out import FanOut, never
from .in_blocks import FanOutInBlocks
from .source import NO_ITEMS

MAX_WAITING = 1000  # items of a node with several workers, by default


class BatchNode(
    Node[Iterable[Item] | AsyncIterable[Item], list[Result], Item, Result],
    Streaming[Outcome[Result]],
    Generic[Item, Result],
):
    """Run ``exec`` once per item that ``prep`` returns, one after another.

    ``prep`` returns any iterable or async iterable (a generator is one), pulled lazily: an item is
    read when a worker is free for it. One task makes all steps of an async iterable, and closes
    it, so a generator may hold a task group or a time limit over its yields. Items do not see the
    context variables that a generator sets: bind those in ``exec``. ``post`` gets the results in
    the order of the input. Retries, time limits and the fallback count per item; an item that waits
    for its next attempt holds up the next.

    Args:
        on_error: What happens when an item fails for good. ``"raise"``: the others are cancelled
            and the error is raised. ``"collect"``: an Outcome takes the item's place.
            ``"skip"``: the item is left out, and counted. A whole number or a share below 1.0: as
            ``"collect"``, up to that many failures, then TooManyFailuresError.
        batch_deadline: Seconds that the whole batch may take, including its source; ``deadline``
            is per item. Not for a stage: a pipeline has the ``deadline`` of the enclosing Graph.
        chunksize: With ``run_in="process"``: how many items are sent to a worker process at a time.
            ``"auto"``, the default: as many as take about 20 ms, from a list, tuple, range or set;
            1 from any other source, from which an item is read when a process is free. Each item
            still has its own attempts, ``timeout`` and result. Items are sent one by one if other
            settings apply between them, see docs/how-to/processes.md.

    The other settings are those of Node.
    """

    on_error: str | float = "raise"
    batch_deadline: float | None = None
    chunksize: int | Literal["auto"] = "auto"

    gives_many = True
    _one_at_first = False  # in threads: others run concurrently only if that gains time
    _checks: ClassVar[Checks] = checks_of(Attempts, BatchSettings)
    _accepts: ClassVar[frozenset[str]] = frozenset(_checks)

    def __init__(
        self,
        max_retries: int | None = None,
        wait: float | None = None,
        **settings: Unpack[BatchSettings],
    ) -> None:
        self._configure(max_retries, wait, settings)

    def prep(
        self, shared: Any, /
    ) -> Iterable[Item] | AsyncIterable[Item] | Awaitable[Iterable[Item] | AsyncIterable[Item]]:
        """Return the items. Runs on the loop; an async generator is one."""
        return NO_ITEMS

    def _stream_buffer(self) -> int:
        return workers_of(self, RULES)

    async def _stream_into(self, sink: Buffer[Outcome[Result]], shared: Any, frame: Frame) -> None:
        items = await prepared(self, shared, frame)
        await self._in_time(self.fan_out_of(items, frame, sink))

    async def _exec(self, prep_res: Any, shared: Any, frame: Frame) -> list[Result]:
        results = await self._in_time(self.fan_out_of(prep_res, frame))
        frame.record(results)
        return results

    def _in_time(self, items: FanOut) -> Awaitable[list[Any]]:
        if self.batch_deadline is None:
            return items.run()
        return within(self.batch_deadline, "batch_deadline", repr(items.name), items.run())

    def fan_out_of(
        self, items: Any, frame: Frame, sink: Buffer[Outcome[Result]] | None = None
    ) -> FanOut:
        """Return the gather that runs ``exec`` once per item; a sink gets the outcomes."""
        name = frame.name_of(self)
        tap = frame.tap_of(name)
        is_bare = frame.bare and tap is None
        bare = self.exec if self.exec_is_plain and is_bare else None
        workers = workers_of(self, frame.rules)
        recorded = frame.run.journal is not None  # one by one: some are not called
        in_turn = isinstance(items, AsyncIterable) and not isinstance(items, Blocks)
        exec_block = None if bare is None or sink is not None or in_turn else exec_block_of(self)
        make = FanOut if exec_block is None else partial(FanOutInBlocks, exec_block)
        if self.exec_is_plain_def and is_bare and frame.run.alone and sink is None:
            make = FanOutInCallingThread if workers == 1 else FanOut
        fan_out: FanOut = make(
            name,
            items,
            self.run_items(frame, kept=sink is None),
            frame,
            owner=self,
            bare=bare,  # type: ignore[arg-type]
            caps=(cap_of(self, frame), *frame.caps),
            max_workers=workers,
            max_waiting=max_waiting_of(self, workers),
            ordered=getattr(self, "ordered", True),
            on_error=self.on_error,
            sink=sink,
            chunks=never if recorded else partial(chunks_of, self, frame, workers),
        )
        if tap is not None:
            fan_out.read_by(tap)
        return fan_out


class ParallelBatchNode(BatchNode[Item, Result]):
    """Run ``exec`` for many items at once and keep their order.

    At most ``max_workers`` items are in flight, over everything that this node does at once in a
    run. The first failure cancels the others, unless ``exec_fallback`` returns a value for that
    item or ``on_error`` says otherwise. Memory grows with ``max_workers + max_waiting``, not with
    the items (beyond the results).

    Args:
        max_workers: How many items run at once; 10 by default. ``"auto"``: the limit adapts
            to how long calls take and how they fail, see ``kaygraph.limits.adaptive``.
        max_waiting: How many items may wait while the workers go on with others: between two
            attempts, for a full key (``limit_by``), or for the result of an equal item
            (``cache``). Such an item holds no permit and no worker, and at most ``max_workers +
            max_waiting`` items are in progress. Once this many wait, they hold up those behind
            them. 1000 by default; 0 with ``max_workers=1``, where items run one after another.
        ordered: Whether results come in the order of the input (the default) or as they finish.

    The other settings are those of BatchNode and Node.
    """

    max_workers: int | Literal["auto"] = 10
    max_waiting: int | None = None
    ordered: bool = True

    _checks: ClassVar[Checks] = checks_of(Attempts, ParallelSettings)
    _accepts: ClassVar[frozenset[str]] = frozenset(_checks)

    def __init__(
        self,
        max_retries: int | None = None,
        wait: float | None = None,
        **settings: Unpack[ParallelSettings],
    ) -> None:
        self._configure(max_retries, wait, settings)


def workers_of(node: Node[Any, Any], rules: Rules) -> int:
    """Return how many workers a node has here. With "auto", its limit may be lower."""
    max_workers: Any = getattr(node, "max_workers", 1)
    if max_workers == "auto":
        return WIDEST if isinstance(place_for(node, rules), Cluster) else AUTO_MOST
    if isinstance(node, ParallelBatchNode) and not _has_max_workers(node):
        if rules.workers is not None:
            return rules.workers
        if isinstance(place_for(node, rules), Cluster):
            return WIDEST
    return int(max_workers)


def _has_max_workers(node: Any) -> bool:
    """Whether ``max_workers`` of a ParallelBatchNode is set."""
    classes = type(node).__mro__
    owners = (node, *classes[: classes.index(ParallelBatchNode)])
    return any("max_workers" in vars(owner) for owner in owners)


def max_waiting_of(node: Node[Any, Any], workers: int) -> int:
    """Return how many items of a node may wait while its workers go on with others."""
    attempts = node.max_retries if node.retry is None else node.retry.attempts
    if attempts == 1 and node.limit_by is None and node.cache is None:
        return 0  # items never wait for anything that does not hold up the others too
    max_waiting: int | None = getattr(node, "max_waiting", 0)
    if max_waiting is None:
        return MAX_WAITING if workers > 1 else 0
    return max_waiting


def cap_of(node: Node[Any, Any], frame: Frame) -> Permits:
    """Return a node's own permits."""
    workers = workers_of(node, frame.rules)
    if workers == WIDEST and isinstance(place := place_for(node, frame.rules), Cluster):
        return frame.run.cap(node, partial(permits_of, node, place, frame.run))
    if getattr(node, "max_workers", 1) == "auto":
        return frame.run.cap(node, AutoPermits)
    return frame.run.permits(node, workers)
