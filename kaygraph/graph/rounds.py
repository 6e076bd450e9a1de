"""A graph that is walked once for each mapping of params."""

from asyncio import CancelledError, sleep
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar, TypeVar, Unpack

from .._validation import check_count
from ..batch.failures import Failures
from ..batch.fan_out import FanOut
from ..limits.permits import Permits
from ..limits.slots import Slot
from ..node.call import Work
from ..node.keywords import BatchGraphSettings
from ..node.settings import Checks, checks_of
from ..observability.conflicts import Branches, branches, look
from ..run.frame import FRAME, Frame
from ..run.place import PLACE
from ..run.recorder import RunItem
from .graph import Graph
from .plan import Plan

T = TypeVar("T")


class _Rounds:
    """What the rounds of a batch share.

    Attributes:
        frame: The frame of the batch, in which the graph has its name.
        inside: The result of ``Graph._inside``, valid as long as the plan.
        checked: Checks their writes against each other, or None.
    """

    __slots__ = ("checked", "frame", "inside", "plan", "shared")

    def __init__(self, shared: Any, frame: Frame, checked: Branches | None) -> None:
        self.shared, self.frame, self.inside, self.checked = shared, frame, frame, checked
        self.plan: Plan | None = None


async def _permitted(begin: Callable[[], Coroutine[Any, Any, T]], slot: Slot) -> T:
    """Take the permits of a worker, then start."""
    await slot.take()
    return await begin()


async def _begun(begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Start in the context of the awaiting code."""
    return await begin()


class BatchGraph(Graph):
    """A graph that is walked once for each mapping of params that ``prep`` returns.

    ``post`` gets the last actions, in the order of the params. Nodes read the params as
    ``self.params``, merged over those of the enclosing graphs.

    Args:
        start: As for Graph.
        max_workers: How many rounds run at once; 1 by default.
        on_error: As for BatchNode; an item is a round.

    The other settings are those of Graph; ``deadline`` is per round.
    """

    max_workers: int = 1
    on_error: str | float = "raise"
    _checks: ClassVar[Checks] = {**checks_of(BatchGraphSettings), "max_workers": check_count}
    in_rounds = True
    _accepts: ClassVar[frozenset[str]] = frozenset(_checks)

    def __init__(self, start: Any = None, **settings: Unpack[BatchGraphSettings]) -> None:
        super().__init__(start, **settings)  # type: ignore[misc]

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Return None: there is no single last action."""
        return None

    def _inner(self, frame: Frame) -> Frame:
        """Return the frame of all rounds."""
        # A round is an item: one that has begun goes through all of its nodes.
        return frame.derive(rules=self._rules(frame.rules).changed(whole=True))

    async def _one_after_another(
        self, items: Iterable[Mapping[str, Any]], shared: Any, frame: Frame
    ) -> None:
        """Walk once for each of the params, in a run that has no loop, in a single frame.

        Nothing outlives a round, so nothing sees the params of the next.
        """
        run, inner, slot = frame.run, self._inner(frame), Slot()
        name, shows = frame.name_of(self), inner.rules.show_items
        plan = self._planned()
        inside = self._inside(inner, plan).again(inner.params)
        walk = self._walks_by(self, shared, inside, plan)
        place, context = PLACE.set(walk), FRAME.set(inside)
        try:
            for index, params in enumerate(items):
                if (
                    run.draining
                ):  # something had to wait: it is on a loop, where signals are handled
                    return
                try:
                    given = inside.params = self._params(params, inner)
                    if not plan.stale:
                        await walk.along(plan.first)  # type: ignore[arg-type]
                        continue
                    if run.by_hand:  # nodes wired by a hook may need a loop
                        await sleep(0)
                    await self._walk_within(shared, inner, given)
                except BaseException as error:
                    if run.by_hand and isinstance(error, CancelledError):
                        await sleep(0)  # only a task can have been cancelled
                    Failures(name, "raise", shows=shows).bear(params, index, slot, error)
        finally:
            PLACE.reset(place)
            FRAME.reset(context)

    def _params(self, params: Any, frame: Frame) -> dict[str, Any]:
        """Return the params of a round."""
        if type(params) is not dict and not isinstance(params, Mapping):
            got = repr(params) if frame.rules.show_items else f"a {type(params).__name__}"
            raise TypeError(
                f"prep of {frame.name_of(self)!r} must return mappings of params, as in "
                f"[{{'key': ...}}, ...]; got {got}"
            )
        return {**frame.params, **params} if frame.params else {**params}

    async def _exec(self, prep_res: Any, shared: Any, frame: Frame) -> Any:
        inner = self._inner(frame)
        checked = None
        walked = self._planned().walked
        if self.max_workers > 1 and inner.checks_writes(self not in walked):
            checked = branches(self, shared, inner)
        elif frame.run.checking:
            look(self, frame)  # the writes of prep are not the first round's
        walk: RunItem = partial(self._round, _Rounds(shared, inner, checked))
        if (journal := frame.run.journal) is not None:
            walk = journal.apart(self, frame, walk)
        rounds = FanOut(
            frame.name_of(self),
            prep_res,
            Work(walk),
            frame,
            # Only for this run: if it runs inside one of its own rounds, that holds one.
            caps=(frame.run.own_cap(self, lambda: Permits(self.max_workers)),),
            max_workers=self.max_workers,
            on_error=self.on_error,
        )
        rounds.failures.shows = inner.rules.show_items  # a round is an item of this very graph
        try:
            actions = await rounds.run()
        finally:
            if checked is not None:
                checked.end()
        if self.max_workers > 1:
            walked.add(self)
        return actions

    def _round(
        self, rounds: "_Rounds", params: Mapping[str, Any], index: int, slot: Slot
    ) -> Coroutine[Any, Any, str | None]:
        """Return a walk with these params, which takes the permits of its worker."""
        if not slot.held:
            return _permitted(partial(self._round, rounds, params, index, slot), slot)
        frame = rounds.frame
        params = self._params(params, frame)
        plan = self._planned()
        if plan is not rounds.plan:  # a hook may rewire nodes
            rounds.plan, rounds.inside = plan, self._inside(frame, plan)
        if rounds.checked is None:
            return self._walk(rounds.shared, frame, rounds.inside, params, plan, slot.cancelled)
        asked = rounds.shared, frame, rounds.inside, params, plan, slot.cancelled
        walk = partial(self._walk, *asked)
        return rounds.checked.within(_begun(walk))

    def _caps(self, frame: Frame) -> tuple[Permits, ...]:
        if self.max_parallel_tasks is None:
            return frame.caps  # max_workers counts rounds here, not calls of exec
        permits = frame.run.permits((self, "tasks"), self.max_parallel_tasks)
        return frame.caps if permits in frame.caps else (permits, *frame.caps)
