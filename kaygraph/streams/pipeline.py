"""Pipelines: ``a | b`` starts b on each item as soon as a yields it."""

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Self, Unpack

from ..aio.buffer import Buffer
from ..aio.stopped import raise_failed_meanwhile
from ..aio.tasks import Gathering, raise_if_cancelled
from ..batch.failures import forget_callers
from ..errors import TooManyFailuresError
from ..events import StageStarted
from ..executors.kinds import result_of
from ..node.blocks import Blocks
from ..node.composition import Composition
from ..node.keywords import PipelineSettings
from ..node.node import BaseNode, Node
from ..node.observed import begun, prepared
from ..node.settings import Checks, checks_of
from ..node.streaming import Streaming
from ..node.wiring import unique
from ..run.frame import FRAME, Frame, Scope
from ..run.place import InNode
from .blocks import BlockStage, join_lines, stage_of
from .feeding import feed
from .outlet import UNBOUNDED
from .stage import Stage


class Pipeline(BaseNode[Any, list[Any] | None], Streaming[Any]):
    """Stages that run concurrently, each on the items that the previous one has finished.

    The first stage's ``prep`` returns the items (any iterable or async iterable, read as for a
    BatchNode, and no further than there is room); a stage's ``exec`` takes one item and returns
    one result, yields several, or raises ``Drop``; a stage without an ``exec`` passes items on.
    When the stream has ended, each stage's ``post(shared, prep_res, stage_report)`` is called, in
    order. ``exec_res`` for the pipeline's own ``post`` is the list of the last stage's results, or
    None with ``collect=False``. Between two stages is a buffer of ``buffer`` items, so a slow stage
    slows its source, and an endless source runs in bounded memory.

    A ParallelBatchNode runs ``max_workers`` items at once and, by default, passes them on in the
    order of the input (``ordered=False`` turns that off): at most ``buffer`` items (or
    ``max_workers``, if that is more) wait behind a slow one, or behind one that waits for its next
    attempt or for a full key. A waiting item holds no worker (see ``max_waiting``), so the others
    go on that far. Any other Node runs one item after another. Outcomes of ``on_error="collect"``
    skip the later stages.

    The values that an ``exec`` yields are passed on at once, and it is not asked for the next value
    while there is no room, so an endless one runs in bounded memory. While it waits for room it
    holds no permit, and its ``timeout`` and ``deadline`` are paused. With several workers, the
    first unfinished item passes its values on as they come; each of the others may be ahead by its
    share of the buffer. An ``exec`` written ``def``, or in a process, runs in one thread from its
    first step to its close. If your own executor runs it, its values come when it has ended, so an
    endless one yields none. An item that has yielded is not retried, as its values would be passed
    on twice: they stay, and either ``on_error`` decides about the error, or ``exec_fallback``
    returns (as a list or a generator) what follows them.

    Args:
        stages: Nodes; a Pipeline among them is replaced by its stages.
        buffer: How many items may wait between two stages; 64 by default.
        collect: Whether the last stage's results are kept.
        name: Its name in events, reports and drawings.
    """

    gives_many = True
    buffer: int = 64
    collect: bool = True
    _checks: ClassVar[Checks] = checks_of(PipelineSettings)
    _accepts: ClassVar[frozenset[str]] = frozenset(_checks)
    _hook_names = BaseNode._hook_names - {"exec"}

    def __init__(self, *stages: Any, **settings: Unpack[PipelineSettings]) -> None:
        if settings:
            self._set_all(settings)
        self.stages: tuple[Node[Any, Any], ...] = tuple(
            stage for given in stages for stage in _stages(given)
        )
        if not self.stages:
            raise TypeError("a Pipeline needs at least one stage")
        if len(set(self.stages)) < len(self.stages):
            raise TypeError("a node can be only one stage of a Pipeline: create one for each")
        for stage in self.stages[1:]:
            if stage.is_source:
                raise TypeError(
                    f"{stage.name!r} is a source, which takes no items: it must be first in a "
                    "pipeline"
                )
        for stage in self.stages:
            if getattr(stage, "batch_deadline", None) is not None:
                raise ValueError(
                    f"{stage.name!r} sets batch_deadline, but a stage has no batch: put "
                    "the pipeline in a Graph(…, deadline=seconds), or give the stage deadline= for "
                    "each of its items"
                )

    def __or__(self, other: Any) -> "Pipeline":
        if type(self) is not Pipeline:
            return Pipeline(self, other)
        said = {name: value for name, value in vars(self).items() if name in self._accepts}
        return Pipeline(self, other, **said)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {' | '.join(stage.name for stage in self.stages)}>"

    @property
    def composition(self) -> Composition[BaseNode[Any, Any]]:
        return Composition("pipeline", self.stages)

    def with_parts(self, parts: Sequence[Any] | None = None) -> Self:
        copied = super().with_parts(parts)
        if parts is not None:
            copied.stages = tuple(parts)
        return copied

    def _stream_buffer(self) -> int:
        return self.buffer

    async def _stream_into(self, sink: Buffer[Any], shared: Any, frame: Frame) -> None:
        await self._flow(shared, frame, sink)

    async def _exec(self, prep_res: Any, shared: Any, frame: Frame) -> list[Any] | None:
        last = Buffer[Any](UNBOUNDED)
        if not self.collect:
            last.items = deque(maxlen=0)  # keeps nothing
        results = list(last.items) if await self._flow(shared, frame, last) else None
        frame.record(results)
        return results

    async def _flow(self, shared: Any, frame: Frame, last: Buffer[Any]) -> bool:
        """Run the stages from the source to ``last``; return whether results were kept there."""
        names = unique([stage.name for stage in self.stages])
        scope = Scope(f"{frame.name_of(self)}/", dict(zip(self.stages, names, strict=True)))
        frame = frame.derive(scope=scope)
        context = FRAME.set(frame)  # for hooks that ask for their name; the workers' tasks copy it
        try:
            with frame.run.concurrently:
                return await self._run_stages(shared, frame, last)
        finally:
            FRAME.reset(context)

    async def _run_stages(self, shared: Any, frame: Frame, last: Buffer[Any]) -> bool:
        prep_results = [await prepared(node, shared, frame) for node in self.stages]
        await raise_if_cancelled()  # prep may have swallowed it
        stages = self._connect_stages(frame, last)
        emit = frame.run.emit
        if emit is not None:
            for stage in stages:
                emit(StageStarted(stage.name, stage.clock(), stage.workers))
        try:
            await _work_off(stages, prep_results[0], f"items of {self.name!r}")
        except asyncio.CancelledError as error:
            out_of_grace = frame.drains and frame.run.expired
            self._cut_short(stages, keeps_results=out_of_grace)
            if not out_of_grace:
                raise
            raise_failed_meanwhile(error)
            # What is done is the result; what was cancelled is left out.
        except TooManyFailuresError as error:
            self._cut_short(stages, keeps_results=False)
            for stage in stages:
                if stage.failures.given_up:
                    raise stage.failures.whole(error) from None
            raise
        except BaseException:
            self._cut_short(stages, keeps_results=False)
            raise
        kept = self.collect and last.size == UNBOUNDED
        if kept and any(stage.failures.failed for stage in stages):
            forget_callers(last.items)
        for stage, prep_res in zip(stages, prep_results, strict=True):
            if emit is not None:
                emit(stage.event())
            results = list(last.items) if kept and stage is stages[-1] else None
            node = stage.node
            with InNode(stage.name):
                returned = node.post(shared, prep_res, stage.report(results))
                await result_of(node, "post", returned, node.hook_kinds[2])
        return kept

    def _cut_short(self, stages: Sequence[Stage], *, keeps_results: bool) -> None:
        """Account for the items that no stage has run when a stream ends early.

        ``keeps_results``: what the last stage has done is a result, also behind an
        unfinished item.
        """
        for stage in stages if keeps_results else stages[:-1]:
            stage.hand_over_kept()
        for stage in stages:
            stage.account_for_rest()

    def _connect_stages(self, frame: Frame, last: Buffer[Any]) -> list[Stage]:
        """Return the stages, with a buffer before each of them and ``last`` behind the last."""
        stages: list[Stage] = []
        inbox = Buffer[Any](self.buffer)
        outcomes = False
        for node in self.stages:
            outbox = last if node is self.stages[-1] else Buffer[Any](self.buffer)
            stages.append(stage_of(node, inbox, outbox, frame, outcomes))
            outcomes = outcomes or stages[-1].failures.on_error not in ("raise", "skip")
            inbox = outbox
        join_lines(stages)
        return stages


def _stages(given: Any) -> Sequence[Node[Any, Any]]:
    if type(given) is Pipeline:
        return given.stages
    if isinstance(given, Node):
        return (given,)
    raise TypeError(
        f"a stage of a Pipeline is a Node, whose exec takes one item; got {given!r}. "
        "'|' binds weaker than '>>': write (a | b) >> c"
    )


async def _regrouped(stage: Stage) -> None:
    with InNode(stage.name):
        await stage.regroup()


async def _work_off(stages: Sequence[Stage], source: Any, what: str) -> None:
    """Run all stages to their end; the first reads the source.

    A first stage with an ``exec`` has workers like any other, and one more task to feed them,
    unless it takes the lists that its source yields. Several errors are grouped as the errors of
    ``what``.
    """
    gathering = Gathering[None](what)
    feeder = first = stages[0]
    if isinstance(first, BlockStage) and isinstance(source, Blocks):
        feeding = partial(first.feed, source)
    else:
        if first.node.has_exec:
            feeder = Stage(first.node, first.inbox, first.inbox, first.frame, False)
        feeding = partial(feed, feeder, source)
    gathering.add(begun(feeding, feeder.name, feeder.frame))
    for stage in stages:
        if stage.node.regroup is not None and stage is not first:
            gathering.add(begun(partial(_regrouped, stage), stage.name, stage.frame))
        elif stage is not feeder:
            stage.start(gathering)
    try:
        await gathering.ended()
    finally:
        for stage in stages:
            stage.pool = stage.crew = None  # they have the stage too: avoid a reference cycle
