"""Finds out what a run is doing by inspecting the calls of its tasks.

Nothing is recorded while a run goes on. The engine's functions are known by their names, and what
they work on by their local variables: ``tests/inspection`` makes sure that these exist.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..batch.fan_out import FanOut
from ..batch.source import AsyncSource
from ..graph.plan import Step
from ..graph.walk import Walk
from ..limits.slots import Slot
from ..run.frame import Frame
from ..run.run import Run
from ..streams.stage import Stage
from .stacks import Called, stacks

# Calls in which a task waits for what the engine knows.
WAITS: Mapping[str, str] = {
    "limits.slots:_admitted": "permit",
    "node.call:Calls._waited": "retry",
    "batch.source:AsyncSource.take": "source",
    "batch.source:AsyncSource.__anext__": "reading",
    "streams.stage:Stage._wait_for_room": "room",
    "streams.stage:Stage._wait_for_item": "items",
    "streams.stage:Stage._may_take": "items",
    "aio.buffer:Buffer.put": "reader",
    "executors.elsewhere:in_thread": "thread",
    "executors.process:ProcessPool.call": "process",
    "executors.process:ProcessPool.run": "process",
    "executors.choice:_in_executor": "executor",
    "journal.asking:Asking.answered": "answer",
    "journal.cache:_Cached._waited": "cache",
    "journal.writer:Writer.committed": "journal",
    "batch.pool:WorkerPool._be_idle": "idle",
    "batch.pool:WorkerPool.take_turns": "idle",
    "batch.fan_out:FanOut._let_others": "idle",
    "aio.tasks:Gathering.ended": "others",
    "aio.tasks:in_own_task": "others",
    "aio.tasks:outlast": "others",
    "groups.branches:_decided": "others",
    "run.run:Run.outlast_joined": "others",
}
# Calls of a worker that has no item.
WITHOUT_ITEM = frozenset(
    {
        "batch.fan_out:FanOut._permit",
        "batch.fan_out:FanOut._asked_for",
        "batch.fan_out:FanOut._let_others",
        "batch.fan_out:FanOut._deliver",
        "batch.pool:WorkerPool.permit",
        "batch.pool:WorkerPool.take_turns",
        "streams.stage:Stage._may_take",
        "streams.stage:Stage._wait_for_item",
        "streams.stage:Stage._hand_over",
        "streams.stage:Stage._pass",
    }
)
AT_WORK = frozenset({"thread", "process", "executor"})  # of a chunk that a worker takes


class Seen(NamedTuple):
    """What one task is doing in the run.

    Attributes:
        node: The name of the node.
        kind: What it waits for; "" if a hook awaits something that is not the engine's.
        at: The call of the engine that waits.
        calls: All calls of the task, the outermost first.
        slot: What it holds.
        item: The number of its item; None if it has none.
        has_item: Whether it works on an item of a batch or a stage, or waits with one.
        owner: The batch or stage that it works for.
    """

    node: str
    kind: str
    at: Called | None
    calls: Sequence[Called]
    slot: Slot | None
    item: int | None
    has_item: bool
    owner: "FanOut | Stage | None"


class Look:
    """One inspection of a run.

    Attributes:
        now: By the clock of the loop.
        seen: What its tasks are doing.
        walks: The walks, each with the current steps of its tokens.
        fan_outs: The batches that run.
        lines: The stages of each pipeline, in their order, with the pipeline's name.
        readers: The reader of the source of each batch or pipeline.
        calls: The calls of each node's ``exec``, by node name, for their limits.
        fed: How many items a source stage has read.
        names: The names of the nodes seen.
    """

    def __init__(self, run: Run, thread: int | None) -> None:
        self.root = run.root
        self.now = 0.0
        self.seen: list[Seen] = []
        self.walks: dict[Walk, list[Step]] = {}
        self.fan_outs: dict[FanOut, None] = {}
        self.lines: list[tuple[str, Sequence[Stage]]] = []
        self.readers: dict[AsyncSource, Seen] = {}
        self.calls: dict[str, Any] = {}
        self.fed: dict[Stage, int] = {}
        self.names: dict[Any, str] = {}
        for number, loop in enumerate(_loops(run)):
            if number == 0:
                self.now = loop.time()
            for calls in stacks(loop, thread if number == 0 else None):
                self._look(calls)
        for walk in self.walks:
            for step in walk.plan.steps.values():
                self.note(step.node, walk.frame.name_of(step.node))

    def note(self, node: Any, name: str) -> None:
        """Record the name of a node; one with several places has only its own name."""
        if self.names.setdefault(node, name) != name:
            self.names[node] = node.name

    def _belongs(self, frame: Frame | None) -> bool:
        return frame is not None and frame.run.outermost is self.root.outermost

    def _look(self, calls: Sequence[Called]) -> None:
        found = _Reading(self)
        for call in calls:
            if call.name:
                found.read(call)
        if not found.node:
            return
        kind, at = found.kind, found.at
        has_item = found.owner is not None and found.has_item
        index = found.index if has_item or found.owner is None else None
        if not has_item and kind in AT_WORK:  # of a chunk
            has_item = True
        seen = Seen(found.node, kind, at, calls, found.slot, index, has_item, found.owner)
        if kind == "reading" and at is not None:
            self.readers[at.local("self")] = seen
        self.seen.append(seen)


class _Reading:
    """Reads the calls of one task, from the outermost."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.node = self.kind = ""
        self.at: Called | None = None
        self.slot: Slot | None = None
        self.index: int | None = None
        self.has_item = False
        self.owner: FanOut | Stage | None = None
        self.is_ours = False

    def read(self, call: Called) -> None:
        reads = READ.get(call.name)
        if reads is not None:
            reads(self, call)
        elif self.is_ours:
            if call.name in WITHOUT_ITEM:
                self.has_item = False
            if call.name in WAITS:
                self.kind, self.at = WAITS[call.name], call

    def _begin(self, frame: Frame | None, node: str) -> bool:
        """Start with what runs in a frame; return whether it belongs to the run."""
        self.is_ours = self.look._belongs(frame)
        if not self.is_ours:
            self.node = ""
            return False
        self.node, self.kind, self.at = node, "", None
        self.slot = self.owner = self.index = None
        self.has_item = False
        return True

    def launched(self, call: Called) -> None:
        self._begin(call.local("frame"), call.local("name"))

    def token(self, call: Called) -> None:
        walk, step = call.local("self"), call.local("step")
        if step is not None and self._begin(walk.frame, walk.frame.name_of(step.node)):
            self.look.walks.setdefault(walk, []).append(step)

    def forked(self, call: Called) -> None:
        """The token has ended: each branch has one, in its own task."""
        steps = self.look.walks.get(call.local("self"))
        if steps:
            steps.pop()
        self.kind = "others"

    def batch(self, call: Called) -> None:
        batch = call.local("self")
        if self._begin(batch.frame, batch.name):
            self.look.fan_outs[batch] = None
            if batch.owner is not None:
                self.look.note(batch.owner, batch.name)
            self.kind = "others"

    def worker(self, call: Called) -> None:
        owner = call.local("self")
        if self._begin(owner.frame, owner.name):
            self.owner, self.slot = owner, call.local("slot")
            self.has_item = self.slot is not None
            self.index = None if self.slot is None else self.slot.index

    def pipeline(self, call: Called) -> None:
        stages = call.local("stages")
        frame = call.local("frame")
        if stages and self.look._belongs(frame):
            self.look.lines.append((stages[0].name.rpartition("/")[0], stages))
            for stage in stages:
                self.look.note(stage.node, stage.name)
            self.kind = "others"

    def reading(self, call: Called) -> None:
        source = call.local("source")
        self._begin(source.frame, call.local("name"))

    def feeding(self, call: Called) -> None:
        stage = call.local("stage")
        if self._begin(stage.frame, stage.name):
            self.owner = stage

    def fed(self, call: Called) -> None:
        """How many items a source has yielded, which the stage learns at its end."""
        self.look.fed[call.local("stage")] = call.local("taken") or 0

    def single(self, call: Called) -> None:
        frame, node = call.local("frame"), call.local("node")
        if self.look._belongs(frame) and self._begin(frame, frame.name_of(node)):
            self.slot = call.local("slot")

    def call(self, call: Called) -> None:
        calls = call.local("self")
        if self.is_ours and calls.frame.run is not None:
            self.look.calls[calls.name] = calls
            if self.slot is None:
                self.slot = call.local("slot")


READ = {
    "run.launch:launched": _Reading.launched,
    "graph.walk:Walk.along": _Reading.token,
    "graph.walk:Walk._forked": _Reading.forked,
    "batch.fan_out:FanOut._run": _Reading.batch,
    "batch.fan_out:FanOut._worker": _Reading.worker,
    "batch.fan_out:_read": _Reading.reading,
    "streams.stage:Stage.worker": _Reading.worker,
    "streams.blocks:BlockStage.worker": _Reading.worker,
    "streams.stage:Stage.regroup": _Reading.worker,
    "streams.pipeline:Pipeline._run_stages": _Reading.pipeline,
    "streams.feeding:feed": _Reading.feeding,
    "streams.feeding:_read": _Reading.fed,
    "node.call:call": _Reading.single,
    "node.call:Calls.run": _Reading.call,
}


def _loops(run: Run) -> Iterator[asyncio.AbstractEventLoop]:
    """Yield the loops of a run and of the runs inside it; its own first."""
    loops: dict[asyncio.AbstractEventLoop, None] = {}
    for one in run.with_joined():
        if one.task is not None and not (loop := one.task.get_loop()).is_closed():
            loops[loop] = None
    yield from loops
