"""The walk: tokens that move along edges, and joins that run once."""

from asyncio import CancelledError, sleep
from collections.abc import Coroutine, Mapping, Sequence
from itertools import repeat
from types import MappingProxyType
from typing import Any

from ..aio.tasks import TURN, cancelled_again, gather, is_cancelled, raise_if_cancelled
from ..errors import UnknownActionError, note_place
from ..node.node import BaseNode, watched
from ..observability.conflicts import NOTHING, Seen, Token, looked_at, merged, token_for
from ..observability.slow_hooks import timed
from ..run.frame import FRAME, Frame
from .plan import Step
from .tokens import Fork, Tokens

NONE: Mapping[Any, Any] = MappingProxyType({})

DRAINED = object()  # the action of a node that was not begun, as the run drains


class Walk:
    """One walk through a graph.

    While one token is all there is, ``along`` is a plain loop. ``tokens`` exists from a fork
    until a single token is left again. ``errors`` are on their way along an "error" edge.
    """

    # By those who have left a step that holds up certain joins, for each such mask.
    seen: Mapping[int, Seen] = NONE
    arrived: Mapping[Step, Seen] = NONE  # by those who have come to a join

    def __init__(self, graph: BaseNode[Any, Any], shared: Any, frame: Frame, loops: bool) -> None:
        self.graph, self.shared, self.frame, self.loops = graph, shared, frame, loops
        self.action: str | None = None
        self.tokens: Tokens | None = None
        self.errors: Mapping[Step, tuple[Exception, ...]] = NONE

    async def along(
        self, step: Step | None, fork: Fork | None = None, token: Token | None = None
    ) -> Step | None:
        """Move a token until it ends.

        The last token of a fork is handed back to the one that forked, as the step it stands on:
        so a loop around a fan-out does not nest deeper round by round.
        """
        shared = self.shared
        frame = self.frame if fork is None else fork.frame
        run = frame.run
        plain = not frame.watched
        bare = plain and token is None
        following: Step | tuple[Step, ...] | None
        action: Any = None
        left = TURN
        while step is not None:
            if self.loops:  # nodes that never suspend must not starve the event loop
                left -= 1
                if not left:
                    left = TURN
                    await sleep(0)
            node = step.node
            try:
                if bare and not run.marked:
                    action = await node._run(shared, frame)
                elif token is None or not plain or run.marked or step.walks:
                    token = token and token.own()
                    following = await self._special(step, frame, token)
                    if following is DRAINED and action is not None:
                        self.action = action
                    action = following
                    if token is not None:
                        token = token.after(node, frame)
                else:  # branches run beside each other: look at what each step writes
                    writes = token.writes
                    if writes.store or writes.known:
                        writes.pass_over()
                    work = node._run(shared, frame)
                    try:
                        waited = work.send(None)
                    except StopIteration as end:  # it has not waited for anything
                        action = end.value
                    else:
                        token = token.own()
                        action = await token.rest(work, waited, node, frame)
                    if writes.store or writes.known or token.error is not None:
                        token = token.after(node, frame)
            except Exception as failure:
                error = failure
                if token is not None:
                    token = token.own()
                    error = token.failed(failure, node, frame)
                note_place(error, repr(frame.name_of(node)))
                following = step.after.get("error")
                # A node may make an error of its cancellation; in a drained run nothing begins.
                if following is None or is_cancelled() or frame.drains:
                    self._left(step, token)
                    if error is not failure:
                        raise error from failure
                    del error
                    raise
                self._send(error, following)
                action = "error"
                del error  # it holds this frame: no cycle may keep them alive
            except BaseException:
                self._left(step, token)
                if fork is not None:
                    fork.broken = True
                raise
            else:
                try:
                    following = step.after.get(action)
                except TypeError:  # it cannot be hashed: no action is like that
                    following = None
            if following is None:
                self._ended(step, action)
            if self.tokens is None and (following is None or type(following) is Step):
                if following is None and token is not None:
                    self._left(step, token)
                step = following
            else:
                tokens = self.tokens
                if tokens is None:
                    tokens = self.tokens = Tokens()
                    tokens.enter(step)
                if token is not None and token.seen:
                    self._went(step, following, token)
                begun = tokens.move(step, following)
                if tokens.single:
                    self.tokens = None
                if len(begun) > 1:
                    step, token = await self._fork(begun, fork, token)
                    if step is None:  # the tokens have ended, and were counted where they did
                        return None
                else:
                    step = begun[0] if begun else None
                    if token is not None and step is not None and step.bit:
                        token = token.having(self._before(step))
                if fork is None and token is not None and step is not None and step.bit:
                    token = self._alone_after(token)
                bare = plain and token is None
            if fork is not None:
                if step is None:
                    fork.ended()
                    return None
                if fork.live == 1:
                    fork.token = token
                    return step
            if (fork is not None or self.loops) and not run.expired and is_cancelled():
                await cancelled_again()  # a hook may have swallowed it
        return None

    async def begin(self, steps: tuple[Step, ...]) -> tuple[Step | None, Token | None]:
        """Begin with several tokens."""
        self.tokens = Tokens()
        return await self._fork(self.tokens.move(None, steps), None, self.frame.token)

    async def _fork(
        self, steps: Sequence[Step], around: Fork | None, token: Token | None
    ) -> tuple[Step | None, Token | None]:
        """Move several tokens at once; return the last of them, and the step it stands on."""
        if around is not None:
            await raise_if_cancelled()
        fork = Fork(len(steps), self.frame, around)
        view = token_for(self.shared, self.frame, token)
        views = [view] * len(steps)
        if view is not None and self.seen:
            for number, step in enumerate(steps):
                if step.bit:
                    views[number] = view.having(self._before(step))
        try:
            with self.frame.run.beside:
                left = await gather(map(self.along, steps, repeat(fork), views))
        except CancelledError as error:
            # The grace of a run that drains is over, and the branches have given what was done.
            given = self.frame.drains and self.frame.run.expired and not fork.broken
            if not given or error.__cause__ is not None:
                raise
            return None, None
        last = fork.token
        if last is not None and token is not None:
            last = last.having(last.seen, token.levels)
        return next((step for step in left if step is not None), None), last

    def _left(self, step: Step, token: Token | None) -> None:
        """Note what a token has seen that leaves a step."""
        if token is not None and token.seen:
            seen = merged((self.seen.get(step.mask, NOTHING), token.seen))
            self.seen = {**self.seen, step.mask: seen}

    def _before(self, join: Step) -> Seen:
        """What those have seen for whom a join has waited."""
        waited_for = [seen for mask, seen in self.seen.items() if mask & join.bit]
        return merged((*waited_for, self.arrived.get(join, NOTHING)))

    def _alone_after(self, token: Token) -> Token | None:
        """Return the view of the one token that went through a join; None: all has come before."""
        if self.tokens is not None or self.frame.token is not None or not token.seen_all:
            return token
        self.seen, self.arrived = NONE, NONE
        return None

    def _went(self, step: Step, following: Step | tuple[Step, ...] | None, token: Token) -> None:
        """Note what a token has seen that goes on to these steps."""
        self._left(step, token)
        for target in (following,) if isinstance(following, Step) else following or ():
            if target.bit:
                seen = merged((self.arrived.get(target, NOTHING), token.seen))
                self.arrived = {**self.arrived, target: seen}

    def _send(self, error: Exception, following: Step | tuple[Step, ...]) -> None:
        """Put an error on its way to the steps that an "error" edge leads to."""
        targets = (following,) if isinstance(following, Step) else following
        self.errors = {**self.errors, **{t: (*self.errors.get(t, ()), error) for t in targets}}
        self.frame.run.marked = True

    async def _special(self, step: Step, frame: Frame, token: Token | None) -> Any:
        """Run a node that stands on an error route, at which somebody looks, or that walks."""
        node, errors = step.node, self.errors.get(step, ())
        if frame.drains:  # what has begun comes to its end, and nothing else begins
            if len(errors) > 1:
                raise ExceptionGroup(f"{len(errors)} nodes failed", errors)
            if errors:
                raise errors[0]  # the node that would handle it does not begin any more
            return DRAINED
        if errors:
            error, left = errors[0], errors[1:]
            if step.bit and left:  # a join runs once for all that has failed before it
                error, left = ExceptionGroup(f"{len(errors)} nodes failed", errors), ()
            others = {other: e for other, e in self.errors.items() if other is not step}
            self.errors = {**others, step: left} if left else others
        if errors or token is not None:
            frame = frame.derive(error=error if errors else frame.error, token=token)
        context = FRAME.set(frame)
        try:
            if frame.rules.slow_hook_s is None:
                return await looked_at(watched(node, self.shared, frame), node, frame)

            def begin() -> Coroutine[Any, Any, Any]:
                return looked_at(watched(node, self.shared, frame), node, frame)

            return await timed(begin, frame.name_of(node), frame)
        finally:
            FRAME.reset(context)
            if token is not None and frame.token is not None:
                token.seen, token.error = frame.token.seen, frame.token.error

    def _ended(self, step: Step, action: str | None) -> None:
        """A path ends quietly where nothing was to follow; any other action is a mistake."""
        if action is DRAINED:
            return
        self.action = action
        if action is None or action == "default":
            return
        if isinstance(action, str) and action in self.graph._successors:
            return
        known = step.node._successors
        if any(name != "error" for name in known):
            raise UnknownActionError(self.frame.name_of(step.node), action, list(known))
