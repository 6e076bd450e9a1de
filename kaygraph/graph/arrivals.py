"""The outcomes of the nodes before a merge; kept only in graphs that have one."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from ..outcome import Outcome, status_of
from ..run.frame import Cell, Frame, Scope
from .plan import Step

Begin = Callable[[Frame], Coroutine[Any, Any, Any]]


class Arrivals:
    """The outcomes of the nodes that led to a merge, until it starts.

    A merge is a node with ``merges_branches``: in its hooks ``self.outcomes`` holds one Outcome for
    each node that leads to it, in the order of the plan. A node that did not lead there in this
    round is ``"skipped"``.
    """

    def __init__(self) -> None:
        self._arrived: dict[Step, dict[Step, Outcome[Any]]] = {}

    async def run(self, step: Step, frame: Frame, begin: Begin) -> Any:
        """Run a step: a merge gets the outcomes so far, and a node before one adds its own."""
        if step.before:
            self._hand_over(step, frame)
        if not step.feeds:
            return await begin(frame)
        cell = Cell()
        loop = asyncio.get_running_loop()
        started = loop.time()
        name = frame.name_of(step.node)
        try:
            action = await begin(frame.derive(cell=cell))
        except Exception as error:
            seconds = loop.time() - started
            outcome = Outcome[Any](name, 0, status_of(error), None, error, cell.attempts, seconds)
            self._note(step, "error", outcome)
            raise
        finally:
            frame.record(cell.value, cell.attempts)
        seconds = loop.time() - started
        outcome = Outcome(name, 0, "ok", cell.value, None, cell.attempts, seconds)
        self._note(step, action, outcome)
        return action

    def _note(self, step: Step, action: Any, outcome: Outcome[Any]) -> None:
        following = step.after.get(action) if isinstance(action, str | None) else None
        for target in (following,) if isinstance(following, Step) else following or ():
            if target.before:
                self._arrived.setdefault(target, {})[step] = outcome

    def _hand_over(self, step: Step, frame: Frame) -> None:
        arrived = self._arrived.pop(step, {})
        outcomes = []
        for index, before in enumerate(step.before):
            found = arrived.get(before)
            name = frame.name_of(before.node) if found is None else found.name
            if found is None:
                outcomes.append(Outcome[Any](name, index, "skipped", attempts=0))
            else:
                outcomes.append(replace(found, index=index))
        frame.scope = frame.scope or Scope()
        frame.scope.keep(step.node, outcomes)
