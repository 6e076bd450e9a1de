"""The walk: tokens that move along edges, and joins that run once."""

from asyncio import CancelledError, sleep
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence, Set
from functools import partial
from itertools import repeat
from math import inf
from types import CoroutineType, MappingProxyType
from typing import Any

from ..aio.stopped import stopped_at
from ..aio.tasks import (
    READ_TURN,
    TURN,
    Gathering,
    awaited_cancelled,
    is_cancelled,
    raise_if_cancelled,
)
from ..aio.timeouts import LIMIT, NO_LIMIT
from ..aio.tracebacks import trim
from ..errors import UnknownActionError, note_place
from ..executors.kinds import late
from ..limits.slots import Slot
from ..node.node import BaseNode
from ..node.observed import lifecycle, visit
from ..node.wiring import successors_of
from ..observability.conflicts import Branches, Trail, branches, inherited_trail
from ..run.frame import FRAME, Frame
from ..run.place import PLACE
from ..run.recorder import Recorder
from .arrivals import Arrivals
from .ending import end_check
from .plan import Fan, Plan, Step
from .tokens import Fork, Tokens

NONE: Mapping[Any, Any] = MappingProxyType({})
UNASKED: Callable[[], int] = int
DRAINED = object()  # the action of a node that was not started, as the run drains

Following = Step | tuple[Step, ...] | None  # where an action leads


def _following(step: Step, action: Any) -> Following:
    """Return where an action leads that is not a string."""
    try:
        return step.after.get(action)
    except TypeError:  # it cannot be hashed: no action is like that
        return None


class Walk:
    """One walk through a graph.

    While there is only one token, ``along`` is a plain loop. ``tokens`` exists from a fork until a
    single token is left again. ``errors`` are those on their way along an "error" edge. A
    ``trail`` is kept if writes are checked for conflicts, in ``forks``; ``arrivals`` if a merge
    needs the outcomes of the nodes before it. ``node`` is the position of the only token, or of
    the one that forked: a walk is the Place of its nodes.
    """

    action: str | None = None
    errors: Mapping[Step, tuple[Exception, ...]] = NONE
    node: Any = None
    slot: Slot | None = None
    several = False
    until = inf  # when its first time limit expires, by the clock of the loop
    forks: Set[Sequence[Step]] = frozenset()

    def __init__(self, graph: BaseNode[Any, Any], shared: Any, frame: Frame, plan: Plan) -> None:
        self.graph, self.shared, self.frame, self.plan = graph, shared, frame, plan
        self.cancelled: Callable[[], int] | None = None  # whether the task was cancelled, if known
        # Read at every step, or by every branch, which is cheapest from the instance.
        self.tokens: Tokens | None = None
        self.trail = inherited_trail() if frame.run.checking else None
        self.arrivals = Arrivals() if plan.merges else None
        self.plain = not frame.watched and self.arrivals is None
        # Only the start and the end of nodes are observed.
        closely = self.arrivals is not None or frame.rules.slow_hook_s is not None
        journal = frame.run.journal
        self.observes_ends = not closely and (journal is None or not journal.takes_snapshots)
        # How many nodes may run, at most, before the loop gets a turn: nodes that never suspend
        # must not starve it. Never 0 if no node runs twice.
        self.turn = TURN if plan.loops and not frame.run.by_hand else -1
        if frame.watched:
            self.turn = READ_TURN

    async def run(self) -> str | None:
        """Walk from the start to the end; return the last action."""
        plan, frame = self.plan, self.frame
        frame.walk = self
        # No variable is set if it exists already, or no other place is near: that takes longer
        # than everything else at the start of a walk.
        context = None if FRAME.get(None) is frame else FRAME.set(frame)
        near = PLACE.get()
        place = None if near is None or near.node is None else PLACE.set(self)
        if (limits := LIMIT.get()) is not NO_LIMIT:
            self.until = limits.first.end
        try:
            begins = plan.first if frame.run.journal is None else self._resumed(frame.run.journal)
            if isinstance(begins, Step):
                await self.along(begins)
            else:
                self.tokens = Tokens()
                first = tuple(self.tokens.move(None, begins))
                await self.along(await self._forked(first, None))
        finally:
            frame.walk = None  # it knows the frame: avoid a reference cycle
            if place is not None:
                PLACE.reset(place)
            if context is not None:
                FRAME.reset(context)
            if self.trail is not None:
                self.trail.end()
        if self.forks:
            plan.walked |= self.forks
        return self.action

    async def along(self, step: Step | None, fork: Fork | None = None) -> Step | None:
        """Move a token until it ends.

        The last token of a fork is handed back to the one that forked, as its current step:
        so a loop around a fan-out does not nest deeper round by round.
        """
        shared, frame, run = self.shared, self.frame, self.frame.run
        ends: Callable[[], int] | None = UNASKED  # until there may be another node
        plain = self.plain
        bare = plain and self.trail is None
        unlimited = frame.bare
        following: Following
        action: Any = None
        result: Any
        left = self.turn
        while step is not None:
            left -= 1
            if not left:
                left = self.turn
                await sleep(0)
            node = step.node
            if fork is None:
                self.node = node
            else:
                PLACE.set(step)  # in its own task
            try:
                if not bare or run.marked:
                    action = await self._observed(step, action)
                elif not unlimited or (in_line := node.in_line) is None:
                    action = await node.run_within(shared, frame)
                else:  # like run_within, without an extra coroutine
                    prep_is_async, post_is_async = in_line
                    result = node.prep(shared)
                    if prep_is_async or type(result) is CoroutineType:
                        result = await (result if prep_is_async else late(node, "prep", result))
                    action = node.post(shared, result, await node.exec(result))  # type: ignore[misc]
                    if post_is_async or type(action) is CoroutineType:
                        action = await (action if post_is_async else late(node, "post", action))
            except BaseException as error:
                following, action = self._failed(step, fork, error), "error"
            else:
                is_name = action is None or type(action) is str
                following = step.after.get(action) if is_name else _following(step, action)
                if following is None:
                    self._ended(step, action)
            tokens = self.tokens
            if tokens is not None and fork is not None and bare and tokens.waits(step, following):
                step = None  # at a join, for those that are still moving
                fork.ended()
            elif tokens is None and (
                type(following) is Step or (fork is None and following is None)
            ):
                step = following
            else:
                step = await self._onward(step, following, fork)
                bare = plain and self.trail is None
            if fork is not None and (step is None or fork.live == 1):
                fork.last = step or fork.last
                return step
            ends = self._end_check(fork) if ends is UNASKED else ends
            if ends is not None and ends() and not (run.expired and frame.drains):
                await self._end_at(node)
        return None

    def _ended(self, step: Step, action: Any) -> None:
        """A path ends quietly at a node without edges; any other action is a mistake."""
        if action is DRAINED:
            return
        self.action = action
        if action is None or action == "default":
            return
        if isinstance(action, str) and action in successors_of(self.graph):
            return
        known = successors_of(step.node)
        if any(name != "error" for name in known):
            raise UnknownActionError(self.frame.name_of(step.node), action, list(known))

    async def _onward(self, step: Step, following: Following, fork: Fork | None) -> Step | None:
        """Move a token that is one of several, or ends, or forks; return its position then."""
        if isinstance(following, Fan) and self.trail is None and self.tokens is None:
            masks = following.masks
            if masks is not None:
                self.tokens = Tokens(masks)
                return await self._forked(following, fork)
        target = self._moved(step, following, fork)
        return await self._forked(target, fork) if isinstance(target, tuple) else target

    def _moved(self, step: Step, following: Following, fork: Fork | None) -> Following:
        """Move a token that is one of several, or ends, or forks; return where it goes on."""
        targets = (following,) if isinstance(following, Step) else following or ()
        if self.trail is not None:
            self.trail.leave(step, targets)
        if self.tokens is None and following is not None:
            self.tokens = Tokens()
            self.tokens.enter(step)
        begun: Sequence[Step] = ()
        if self.tokens is not None:
            begun = self.tokens.move(step, targets)
            if self.tokens.single:
                self.tokens = None
        if len(begun) > 1:
            return tuple(begun)
        if not begun:
            # The only token either moves on, or its end lets a join begin that waits.
            if fork is not None:  # pragma: no branch
                fork.ended()
            return None
        if self.trail is not None:
            self.trail.enter(begun[0])
            self._end_checks(begun[0], fork)
        return begun[0]

    def _end_checks(self, step: Step | None, fork: Fork | None) -> None:
        """Stop checking if the only token, at a join, knows everything that was written before."""
        if self.trail is None or self.tokens is not None or fork is not None:
            return
        if step is not None and step.bit and self.trail.is_over():
            self.trail.end()
            self.trail = None

    async def _forked(self, steps: Sequence[Step], around: Fork | None) -> Step | None:
        """Move several tokens at once; return the current step of the last of them."""
        if around is not None:
            await raise_if_cancelled()
        fork = Fork(len(steps), around)
        checked = self._checked_branches(steps, around)
        tokens: Iterable[Coroutine[Any, Any, Any]]
        if checked is None:
            tokens = map(self.along, steps, repeat(fork))
        else:
            tokens = map(self._along_branch, steps, repeat(fork), repeat(checked))
        # Not within a branch: one stack would have to do for all forks. Nor if each step's writes
        # are checked: those of a branch are not steps of the graph that forks.
        at_once = around is None and not self.frame.run.checking
        try:
            with self.frame.run.concurrently:
                gathering = Gathering[Step | None]()
                gathering.add_all(tokens, at_once)
                await gathering.ended()
        except CancelledError as error:
            # The grace of a draining run is over, and the branches have handed over what was done.
            given = self.frame.drains and self.frame.run.expired and not fork.broken
            if not given or error.__cause__ is not None:
                raise
            return None  # the tokens have ended, and were counted where they did
        if checked is not None:
            checked.joined()
            self._end_checks(fork.last, around)
        return fork.last

    async def _along_branch(self, step: Step, fork: Fork, checked: Branches) -> None:
        """Move a token whose writes are checked against those of the others."""
        assert self.trail is not None
        checked.enter(self.trail.before(step))
        if await self.along(step, fork) is not None:
            checked.leave()

    def _checked_branches(self, steps: Sequence[Step], around: Fork | None) -> Branches | None:
        """Return the branches of a fork whose writes are checked."""
        frame = self.frame
        if self.trail is not None:
            self.forks |= {steps}
            return Branches(self.shared, frame)
        if around is not None or not frame.checks_writes(steps not in self.plan.walked):
            return None
        self.forks |= {steps}
        checked = branches(self.graph, self.shared, frame)
        if checked is not None:
            self.trail = Trail(checked)
        return checked

    def _failed(self, step: Step, fork: Fork | None, error: BaseException) -> Following:
        """Return where the error of a node leads, or raise it if there is no such edge."""
        failure = awaited_cancelled(error) or error
        try:
            if not isinstance(failure, Exception):
                self._interrupted(step, fork, failure)
            elif (following := self._rerouted(step, failure)) is not None:
                return following
            raise failure
        finally:
            del error, failure  # they hold this frame: avoid a reference cycle

    def _interrupted(self, step: Step, fork: Fork | None, error: BaseException) -> None:
        """Note where a token was cancelled, or ended by something other than an Exception."""
        place = repr(self.frame.name_of(step.node))
        if isinstance(error, CancelledError):
            stopped_at(error, place)
        else:
            note_place(error, place)
        if self.trail is not None:
            self.trail.leave(step)
        if fork is not None:
            fork.broken = True

    def _end_check(self, fork: Fork | None) -> Callable[[], int] | None:
        known = self.cancelled if fork is None else None
        return end_check(self.frame, self.until, known, fork is not None, self.plan.loops)

    async def _end_at(self, node: BaseNode[Any, Any]) -> None:
        """Raise the pending cancellation, or that of a timer that is due."""
        try:
            for _ in range(2):
                await sleep(0)
            await raise_if_cancelled()
        except CancelledError as error:
            stopped_at(error, repr(self.frame.name_of(node)))
            raise

    def _rerouted(self, step: Step, error: Exception) -> Following:
        """Send the error of a node along its "error" edge; None: there is no such edge."""
        note_place(error, repr(self.frame.name_of(step.node)))
        following = step.after.get("error")
        # A node may turn its cancellation into an error; in a drained run nothing starts.
        if following is None or is_cancelled() or self.frame.drains:
            if self.trail is not None:
                self.trail.leave(step)
            return None
        if (journal := self.frame.run.journal) is not None:
            journal.went_on(self.frame.name_of(step.node), error)
        trim(error)  # it may be kept in the shared store, which the engine's frames hold
        self._send(error, following)
        return following

    def _send(self, error: Exception, following: Step | tuple[Step, ...]) -> None:
        """Send an error to the steps that an "error" edge leads to."""
        targets = (following,) if isinstance(following, Step) else following
        self.errors = {**self.errors, **{t: (*self.errors.get(t, ()), error) for t in targets}}
        self.frame.run.marked = True

    def _observed(self, step: Step, last: Any) -> Coroutine[Any, Any, Any]:
        """Run a node that is observed, or on an error route, or while the run drains.

        ``last`` is the action of the previous node.
        """
        run = self.frame.run
        if self.observes_ends and not (run.marked or run.checking):
            return lifecycle(step.node, self.shared, self.frame)
        return self._looked_at(step, last)

    async def _looked_at(self, step: Step, last: Any) -> Any:
        node, frame, errors = step.node, self.frame, self.errors.get(step, ())
        if frame.drains:  # what has started runs to its end, and nothing else starts
            if len(errors) > 1:
                raise ExceptionGroup(f"{len(errors)} nodes failed", errors)
            if errors:
                raise errors[0]  # the node that would handle it does not start
            self.action = self.action if last is None else last
            return DRAINED
        if (journal := frame.run.journal) and self.tokens is None and not self.errors:
            journal.stands(node, frame, self.shared)
        if errors:
            frame = frame.derive(error=self._taken(step, errors))
        if self.arrivals is None:
            return await self._begun(node, frame)
        return await self.arrivals.run(step, frame, partial(self._begun, node))

    def _resumed(self, journal: Recorder) -> Step | tuple[Step, ...]:
        """Return where a recorded run continues."""
        name = journal.first(self.shared)
        begins = self.plan.first if name is None else self.plan.named(name)
        if begins is None:
            raise journal.misses(str(name))
        return begins

    async def _begun(self, node: BaseNode[Any, Any], frame: Frame) -> Any:
        context = FRAME.set(frame)
        try:
            return await visit(node, self.shared, frame)
        finally:
            FRAME.reset(context)

    def _taken(self, step: Step, errors: tuple[Exception, ...]) -> Exception:
        """Take the error that a node must handle; a join takes all errors before it."""
        error, left = errors[0], errors[1:]
        if step.bit and left:
            error, left = ExceptionGroup(f"{len(errors)} nodes failed", errors), ()
        others = {other: e for other, e in self.errors.items() if other is not step}
        self.errors = {**others, step: left} if left else others
        return error
