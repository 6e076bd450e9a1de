"""Branch groups: several branches at once, where the policy is not "all of them, or none"."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Self
from weakref import WeakSet

from .._validation import check_count
from ..aio.tasks import errors_of, stop, with_errors
from ..graph.graph import Graph
from ..graph.plan import Plan
from ..node.composition import Composition
from ..node.node import BaseNode
from ..node.observed import begun
from ..node.wiring import Wired, successors_of, unique
from ..observability.conflicts import Branches, branches, look
from ..outcome import Outcome, status_of
from ..run.frame import FRAME, Cell, Frame, Scope
from ..run.recorder import Begin

# Groups that have completed a run: what a plan keeps for the forks of a graph.
WALKED: "WeakSet[BranchGroup]" = WeakSet()


class BranchGroup(BaseNode[Any, list[Any]]):
    """A node whose branches run concurrently; it ends as soon as ``needed`` of them succeed.

    ``self.outcomes`` holds one Outcome per branch, in the order written, for the group's own
    ``post`` and for that of the next node. ``value`` is what the ``exec`` of the branch's last
    node returned. ``exec_res`` is the list of values of the branches that succeeded, in the order
    written.

    Args:
        branches: Nodes, chains (``a >> b``) or graphs.
        needed: How many must succeed; then the rest are cancelled and awaited. None: all
            run to their end, and a failure is an outcome, not an error.
        name: The group's name in events, reports and drawings.

    Raises:
        Exception: From a run, when so many failed that ``needed`` cannot be reached: a single
            error as itself, several as an ExceptionGroup in the order written. The other branches
            are cancelled and awaited. An error that is not an Exception never becomes an outcome:
            it is raised in the same way, whatever ``needed`` is.
    """

    def __init__(self, *branches: Any, needed: int | None = None, name: str | None = None) -> None:
        super().__init__(name=name)
        if not branches:
            raise TypeError(
                f"{type(self).__name__} needs at least one branch, as in first_of(a, b)"
            )
        if needed is not None and check_count("needed", needed) > len(branches):
            raise ValueError(
                f"needed={needed} is more than the number of branches, {len(branches)}: pass more "
                "branches, or lower needed"
            )
        self.needed = needed
        self.branches = tuple(_branch(branch) for branch in branches)
        self._names = unique([branch.name for branch in self.branches])

    @property
    def composition(self) -> Composition[BaseNode[Any, Any]]:
        return Composition("group", self.branches)

    def with_parts(self, parts: Sequence[Any] | None = None) -> Self:
        copied = super().with_parts(parts)
        if parts is not None:
            copied.branches = tuple(parts)
        return copied

    async def _exec(self, prep_res: Any, shared: Any, frame: Frame) -> list[Any]:
        path = f"{frame.name_of(self)}/"
        rules = frame.rules.changed(whole=True)  # while a run drains, a group runs to its end
        cells = [Cell() for _ in self.branches]
        checked, journal, needed = None, frame.run.journal, self.needed
        if journal is not None:
            needed = journal.needed(needed)
        if len(cells) > 1 and frame.checks_writes(self not in WALKED):
            checked = branches(self, shared, frame)
        elif frame.run.checking:
            look(self, frame)  # the writes of prep are not the branch's
        loop = asyncio.get_running_loop()
        started = loop.time()
        ended = [started for _ in self.branches]
        tasks: list[asyncio.Task[None]] = []
        for index, branch in enumerate(self.branches):
            scope = Scope(path, {branch: self._names[index]})
            inner = frame.derive(scope=scope, cell=cells[index], rules=rules)
            tasks.append(loop.create_task(_walked(index, branch, shared, inner, checked, ended)))
        try:
            with frame.run.concurrently:
                try:
                    won = await _decided(tasks, needed)
                finally:
                    await stop(tasks)
        except asyncio.CancelledError as cancellation:
            raise with_errors(cancellation, tasks) from cancellation.__cause__
        finally:
            outcomes = [
                self._outcome(index, task, cells[index], ended[index] - started)
                for index, task in enumerate(tasks)
            ]
            frame.scope = frame.scope or Scope()  # none yet if only the group runs
            frame.scope.keep(self, outcomes)
            if checked is not None:
                checked.end()
        if not won:
            errors = errors_of(tasks)
            if len(errors) == 1:
                raise errors[0]
            raise BaseExceptionGroup(f"{len(errors)} branches of {self.name!r} failed", errors)
        WALKED.add(self)
        self._judge(outcomes)
        if journal is not None:
            outcomes = await journal.decided(outcomes)
            frame.scope.keep(self, outcomes)
        values = [outcome.value for outcome in outcomes if outcome.ok]
        frame.record(values)
        return values

    def _judge(self, outcomes: Sequence[Outcome[Any]]) -> None:
        """Raise an error if the outcomes are not enough: then the branches are walked again."""

    def _outcome(
        self, index: int, task: "asyncio.Task[None]", cell: Cell, seconds: float
    ) -> Outcome[Any]:
        name = self._names[index]
        if task.cancelled():
            return Outcome(name, index, "cancelled", attempts=cell.attempts, seconds=seconds)
        error = task.exception()
        if error is None:
            return Outcome(name, index, "ok", cell.value, None, cell.attempts, seconds)
        return Outcome(name, index, status_of(error), None, error, cell.attempts, seconds)


async def _decided(tasks: "Sequence[asyncio.Task[None]]", needed: int | None) -> bool:
    """Wait until it is clear whether enough branches succeed; return whether they do."""
    pending = set(tasks)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if any(task.cancelled() for task in done):  # by itself: nothing was cancelled by us yet
            raise asyncio.CancelledError
        if not all(isinstance(error, Exception) for error in errors_of(done)):
            return False  # as everywhere, it is not a failure that could be tolerated
        if needed is not None:
            failed = len(errors_of(task for task in tasks if task.done()))
            if len(tasks) - len(pending) - failed >= needed:
                return True
            if failed > len(tasks) - needed:
                return False
    return True


async def _walked(
    index: int,
    branch: Graph,
    shared: Any,
    frame: Frame,
    checked: Branches | None,
    ended: list[float],
) -> None:
    """Walk one branch, and record when it has ended.

    Not a closure: an error of the branch may refer to it, and is kept in an outcome.
    """
    FRAME.set(frame)
    if checked is not None:
        checked.enter()
    begin: Begin[Any] = partial(branch.run_within, shared, frame)
    if frame.run.journal is not None:
        begin = frame.run.journal.branch(index, branch, frame, begin)
    try:
        await begun(begin, frame.name_of(branch), frame, branch)
    finally:
        ended[index] = asyncio.get_running_loop().time()
        if checked is not None:
            checked.leave()


def _branch(branch: Any) -> Graph:
    if isinstance(branch, Graph) and not successors_of(branch):
        return branch
    if not isinstance(branch, Wired):
        raise TypeError(f"a branch is a node, a chain (a >> b) or a graph, got {branch!r}")
    return _Line(branch)


class _Line(Graph):
    """A branch that was given as a node or a chain, named after its first node."""

    def __init__(self, start: Any) -> None:
        super().__init__(start)
        self.name = self._starts[0].name

    def _scope(self, frame: Frame, plan: Plan) -> Scope:
        assert frame.scope is not None
        if len(plan.steps) > 1:
            return super()._scope(frame, plan)
        return Scope(frame.scope.path, {self._starts[0]: frame.scope.names[self]})


def all_of(*branches: Any, name: str | None = None) -> BranchGroup:
    """All must succeed; the first failure cancels the rest and is raised."""
    return BranchGroup(*branches, needed=len(branches) or None, name=name)


def first_of(*branches: Any, name: str | None = None) -> BranchGroup:
    """The first to succeed wins, the rest are cancelled; raises only if all fail."""
    return BranchGroup(*branches, needed=1, name=name)


def at_least(needed: int, /, *branches: Any, name: str | None = None) -> BranchGroup:
    """A quorum: ``needed`` must succeed, then the rest are cancelled."""
    return BranchGroup(*branches, needed=check_count("needed", needed), name=name)


def settle(*branches: Any, name: str | None = None) -> BranchGroup:
    """All run to their end; failures are outcomes, not exceptions."""
    return BranchGroup(*branches, name=name)
