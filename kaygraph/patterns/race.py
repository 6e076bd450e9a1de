"""Several candidates for one answer: the first answer wins."""

import asyncio
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, ClassVar, Unpack

from .._validation import check_seconds
from ..aio.tasks import stop, with_errors
from ..node.keywords import Result
from ..node.node import Node
from ..node.settings import Checks
from ..node.wiring import unique
from ..nodes._store import configure
from ..outcome import Outcome
from ..run.frame import Frame
from ._compound import Called, CompoundNode, CompoundSettings
from ._marks import unmarked


def check_candidates(name: str, value: Any) -> tuple[Called, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{name} must be a tuple of callables or Nodes, got {value!r}")
    return tuple(value)


class RaceNode(CompoundNode[Any, Result]):
    """Ask one candidate, and the next when it takes too long or fails: hedged requests.

    ::

        quote = RaceNode(ask_frankfurt, ask_dublin, delay=0.1, timeout=2, writes="quote")

    ``exec`` takes a record, passes it to every candidate that it asks, and returns the answer of
    the first one to succeed. It asks the first candidate at once. It asks the next one when
    ``delay`` seconds have passed since the previous one was asked, or at once when one has failed.
    When a candidate succeeds, the others are cancelled, and ``exec`` waits for them to end (a
    ``def`` in a thread cannot be stopped and runs to its end).

    With a delay of the 95th percentile of the response time, one request in twenty is sent twice,
    and the slowest responses are avoided (Dean and Barroso, "The Tail at Scale", Communications of
    the ACM 56(2), 2013). A request that is sent twice may be executed twice: add an idempotency
    key, or only read.

    Args:
        candidates: Callables or Nodes, in the order in which to ask them.
        delay: Seconds before the next candidate is asked as well. 0, the default, asks all at
            once; ``math.inf`` asks the next one only after a failure.

    For the other settings see CompoundNode; ``timeout`` and attempts apply to each candidate.

    Raises:
        ExceptionGroup: from ``exec``, when all candidates have failed, with their errors in the
            order of the candidates.
    """

    candidates: Sequence[Called] = ()
    delay: float = 0.0

    _accepts: ClassVar[frozenset[str]] = CompoundNode._accepts | {"candidates", "delay"}
    _checks: ClassVar[Checks] = {
        "candidates": check_candidates,
        "delay": check_seconds,
    }

    def __init__(
        self,
        *candidates: Called,
        delay: float | None = None,
        **settings: Unpack[CompoundSettings],
    ) -> None:
        configure(self, {"candidates": candidates or None, "delay": delay}, settings)
        if not self._parts:
            raise TypeError(f"{type(self).__name__} needs candidates, as in RaceNode(ask_a, ask_b)")

    def _make(self) -> Mapping[str, Node[Any, Any]]:
        names = unique([_name(candidate) for candidate in self.candidates])
        pairs = zip(names, self.candidates, strict=True)
        return {name: self._part(candidate, name) for name, candidate in pairs}

    async def exec(self, record: Any, /) -> Result:
        """Ask the candidates and return the first answer."""

        async def race(frame: Frame) -> Result:
            return await self._race(record, frame)

        return await self._in_place(race)

    async def _race(self, record: Any, frame: Frame) -> Result:
        create_task = asyncio.get_running_loop().create_task
        tasks: list[asyncio.Task[Outcome[Result]]] = []
        waiting = list(self._parts)
        delay = None if self.delay == inf else self.delay
        pending: set[asyncio.Task[Outcome[Result]]] = set()
        try:
            try:
                while waiting or pending:
                    if waiting:
                        tasks.append(create_task(self._begin(waiting.pop(0), record, frame)))
                        pending.add(tasks[-1])
                    done, pending = await asyncio.wait(
                        pending,
                        timeout=delay if waiting else None,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    for task in (task for task in tasks if task in done):
                        if (outcome := task.result()).ok:
                            return outcome.value  # type: ignore[return-value]
            finally:
                await stop(tasks)
        except asyncio.CancelledError as cancellation:
            raise with_errors(cancellation, tasks) from cancellation.__cause__
        errors = [error for task in tasks if (error := task.result().error) is not None]
        raise BaseExceptionGroup(f"all {len(errors)} candidates of {self.name!r} failed", errors)


def _name(candidate: Any) -> str:
    candidate = unmarked(candidate)
    if isinstance(candidate, Node):
        return candidate.name
    name = getattr(candidate, "__name__", type(candidate).__name__)
    return "candidate" if name == "<lambda>" else str(name)
