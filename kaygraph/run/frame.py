"""The facts of the current run and the current place in it.

A run does not change a node. What a hook can read about its run (``self.params``,
``self.attempt``, …) is in a frame, found through one context variable, so that the same node
can run many times at once. The engine itself hands frames down as arguments.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, TypedDict, Unpack

from ..limits.permits import Permits
from ..outcome import Outcome
from .run import Run
from .tap import Tap

NO_PARAMS: Mapping[str, Any] = MappingProxyType({})


class Rules:
    """What graphs set for everything that runs inside them; an inner graph takes precedence.

    Attributes:
        workers: The workers of a batch that does not set them.
        timeout: Seconds for an attempt of a node that does not set it, or None.
        memory_limit: Bytes for a worker process of a node that does not set it, or None.
        run_in: Where ``exec`` runs for a node that does not set it and may run there, or None.
        slow_hook_s: How long a hook may block the loop, in seconds; None: not checked.
        on_conflict: What happens when branches write the same key; None: a warning, the first time
            a fork is walked.
        whole: All of it is one item (a round, a branch): it goes on while the run drains.
        show_items: Whether errors and their notes may quote items.
    """

    __slots__ = (
        "memory_limit", "on_conflict", "run_in", "show_items", "slow_hook_s", "timeout", "whole",
        "workers",
    )  # fmt: skip

    def __init__(
        self,
        workers: int | None = None,
        timeout: float | None = None,
        memory_limit: int | None = None,
        slow_hook_s: float | None = None,
        on_conflict: str | None = None,
        whole: bool = False,
        show_items: bool = True,
        run_in: Any = None,
    ) -> None:
        self.show_items, self.run_in = show_items, run_in
        self.workers, self.timeout, self.memory_limit = workers, timeout, memory_limit
        self.slow_hook_s, self.on_conflict, self.whole = slow_hook_s, on_conflict, whole

    def changed(self, **changes: Any) -> "Rules":
        """Return a copy of the rules with these changed."""
        return Rules(**{**{rule: getattr(self, rule) for rule in self.__slots__}, **changes})


RULES = Rules()


class Cell:
    """Keeps what the last ``exec`` of a branch returned."""

    __slots__ = ("attempts", "value")

    def __init__(self) -> None:
        self.value: Any = None
        self.attempts = 0


class Scope:
    """The enclosing graph: its nodes' names, and the outcomes of its groups in this walk."""

    __slots__ = ("depth", "names", "outcomes", "path")

    def __init__(self, path: str = "", names: Mapping[Any, str] = NO_PARAMS) -> None:
        self.path = path  # the names of the enclosing graphs, each followed by a slash
        self.names = names
        self.depth = 0  # how many enclosing graphs and runs are on the stack of this task
        self.outcomes: dict[Any, list[Outcome[Any]]] | None = None

    def again(self) -> "Scope":
        """Return the same names, for another walk."""
        scope = Scope(self.path, self.names)
        scope.depth = self.depth
        return scope

    def keep(self, group: Any, outcomes: list[Outcome[Any]]) -> None:
        """Note the outcomes of a group; the latest comes last."""
        known = self.outcomes or {}
        known.pop(group, None)
        self.outcomes = {**known, group: outcomes}


class FrameFacts(TypedDict, total=False):
    """The facts of a frame except its run."""

    scope: Scope | None
    params: Mapping[str, Any]
    attempt: int
    error: BaseException | None
    caps: tuple[Permits, ...]
    cell: Cell | None
    rules: Rules


FACTS = tuple(FrameFacts.__annotations__)


class Frame:
    """The facts of one place in a run.

    Attributes:
        run: The run.
        scope: The enclosing graph; None for the node that ``run`` was called on.
        params: The parameters of the BatchGraph round.
        attempt: The number of the attempt, from 1.
        error: On an error route, the error of the previous node.
        caps: The permits of the enclosing graphs, innermost first.
        cell: Where the enclosing branch keeps its last result.
        rules: What the enclosing graphs set.
        watched: What nodes do, or how long they take, is observed.
        bare: Items are not observed and nothing is limited: ``exec`` may be awaited directly.
        walk: The Place of the hooks in the enclosing graph, unless there is a nearer one.
    """

    # One is made for each run and each round: with slots that takes the same time for all.
    __slots__ = (
        "attempt", "bare", "caps", "cell", "error", "params", "rules", "run", "scope", "walk",
        "watched",
    )  # fmt: skip

    def __init__(
        self,
        run: Run,
        scope: Scope | None = None,
        params: Mapping[str, Any] = NO_PARAMS,
        attempt: int = 1,
        error: BaseException | None = None,
        caps: tuple[Permits, ...] = (),
        cell: Cell | None = None,
        rules: Rules = RULES,
    ) -> None:
        self.run, self.scope, self.params, self.attempt = run, scope, params, attempt
        self.error, self.caps, self.cell, self.rules = error, caps, cell, rules
        self.walk: Any = None
        self.watched = run.watched
        asked: object = run.watches_items or caps or cell
        if rules is not RULES:
            is_timed = rules.slow_hook_s is not None
            self.watched = self.watched or is_timed
            asked = asked or is_timed or rules.timeout is not None or rules.run_in is not None
        self.bare = not asked

    def derive(self, **changes: Unpack[FrameFacts]) -> "Frame":
        """Return a copy of the frame with the facts given."""
        facts: dict[str, Any] = {name: getattr(self, name) for name in FACTS}
        frame = Frame(self.run, **{**facts, **changes})
        frame.walk = self.walk
        return frame

    def again(self, params: Mapping[str, Any]) -> "Frame":
        """Return a frame for another walk of the same graph in the same place."""
        frame: Frame = object.__new__(Frame)
        frame.run, frame.watched, frame.bare = self.run, self.watched, self.bare
        frame.scope = None if self.scope is None else self.scope.again()
        frame.params = params
        frame.error, frame.caps, frame.cell = self.error, self.caps, self.cell
        frame.rules, frame.attempt, frame.walk = self.rules, self.attempt, None
        return frame

    def name_of(self, node: Any) -> str:
        """Return a node's name with the names of the enclosing graphs."""
        if self.scope is None:
            return str(node.name)
        return f"{self.scope.path}{self.scope.names.get(node, node.name)}"

    def tap_of(self, name: str) -> Tap | None:
        """Return the Tap for the node of this name; nearly always None."""
        tap = self.run.tap
        return tap if tap is not None and name in tap.names else None

    @property
    def is_entry(self) -> bool:
        """Whether it is the frame of the node that ``run`` was called on."""
        return self.scope is None or self.run.entry is self

    def checks_writes(self, first: bool) -> bool:
        """Whether branches that start together are checked for writes of the same key.

        ``first``: their graph or group runs for the first time.
        """
        if self.run.checking:  # an enclosing fork may be checked: only observability knows which
            return True
        mode = self.rules.on_conflict
        return mode != "ignore" and (first or mode is not None or self.run.checks_all)

    @property
    def drains(self) -> bool:
        """Whether to take no more items here and start no more nodes."""
        return self.run.draining and not self.rules.whole

    def record(self, value: Any, attempts: int = 1) -> None:
        """Note what an ``exec`` returned, for the enclosing branch."""
        if self.cell is not None:
            self.cell.value, self.cell.attempts = value, attempts


FRAME: ContextVar[Frame] = ContextVar("kaygraph_frame")
