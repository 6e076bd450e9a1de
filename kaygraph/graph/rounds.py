"""A graph that is walked once for each mapping of params."""

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

from .._validation import check_count
from ..batch.fan_out import FanOut
from ..limits.permits import Permits
from ..limits.slots import Slot
from ..node.call import Work
from ..node.keywords import BatchGraphSettings
from ..node.settings import Checks, checks_of
from ..observability.conflicts import branches, look
from ..run.frame import Frame
from .graph import Graph


class BatchGraph(Graph):
    """A graph that is walked once for each mapping of params that ``prep`` returns.

    ``post`` gets the last actions, in the order of the params. Nodes read theirs at
    ``self.params``, laid over those of the graphs around.

    Args:
        start: As for Graph.
        max_workers: How many rounds run at once; 1 by default.
        on_error: As for BatchNode, an item being a round.

    The other settings are those of Graph; ``deadline`` is a round's.
    """

    max_workers: int = 1
    on_error: str | float = "raise"
    _checks: ClassVar[Checks] = {**checks_of(BatchGraphSettings), "max_workers": check_count}
    _accepts: ClassVar[frozenset[str]] = frozenset(_checks)

    def __init__(self, start: Any = None, **settings: Unpack[BatchGraphSettings]) -> None:
        super().__init__(start, **settings)  # type: ignore[misc]

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Return None: there is no one last action."""
        return None

    async def _exec(self, prep_res: Any, shared: Any, frame: Frame) -> Any:
        async def walk(params: Mapping[str, Any], index: int, slot: Slot) -> str | None:
            await slot.take()
            if not isinstance(params, Mapping):
                got = repr(params) if inner.rules.show_items else f"a {type(params).__name__}"
                raise TypeError(
                    f"prep of {frame.name_of(self)!r} must return mappings of params, as in "
                    f"[{{'key': ...}}, ...]; got {got}"
                )
            round_ = self._walk_within(shared, inner, {**frame.params, **params})
            return await (round_ if beside is None else beside.within(round_))

        # A round is an item: one that has begun goes through all of its nodes.
        inner = frame.derive(rules=self._rules(frame.rules).changed(whole=True))
        beside = None
        walked = self._planned().walked
        if self.max_workers > 1 and inner.checks_writes(self not in walked):
            beside = branches(self, shared, inner)
        elif frame.run.checking:
            look(self, frame)  # what prep has written is not the first round's
        rounds = FanOut(
            frame.name_of(self),
            prep_res,
            Work(walk),
            frame,
            # Of this run alone: where it runs within one of its own rounds, that holds one.
            caps=(frame.run.own_cap(self, lambda: Permits(self.max_workers)),),
            max_workers=self.max_workers,
            on_error=self.on_error,
        )
        rounds.failures.shows = inner.rules.show_items  # a round is an item of this very graph
        try:
            actions = await rounds.run()
        finally:
            if beside is not None:
                beside.end()
        if self.max_workers > 1:
            walked.add(self)
        return actions

    def _caps(self, frame: Frame) -> tuple[Permits, ...]:
        if self.max_parallel_tasks is None:
            return frame.caps  # max_workers counts rounds here, not calls of exec
        permits = frame.run.permits((self, "tasks"), self.max_parallel_tasks)
        return frame.caps if permits in frame.caps else (permits, *frame.caps)
