"""Decides whether a walk starts no further node."""

from asyncio import get_running_loop
from collections.abc import Callable
from math import inf

from ..aio.tasks import cancellation_check
from ..run.frame import Frame


def end_check(
    frame: Frame, until: float, known: Callable[[], int] | None, forked: bool, loops: bool
) -> Callable[[], int] | None:
    """Return a check whether no further node must start; None if no check is needed.

    A walk that has a time limit or no end, or for which others wait, must not go on after a node
    that swallowed its cancellation, or blocked the loop and its timers.

    Args:
        frame: The frame of the walk.
        until: When its first time limit expires, by the clock of the loop.
        known: Returns whether its task was cancelled; None: looked up here.
        forked: Whether the token is one of several.
        loops: Whether a node may run again.
    """
    run = frame.run
    if run.by_hand:  # it cannot be cancelled
        return None
    others_wait = forked or run.side_by_side or frame.rules.whole
    if until == inf and not (others_wait or loops):
        return None
    cancelled = known or cancellation_check()
    if until == inf:
        return cancelled
    now = get_running_loop().time
    return lambda: cancelled() or now() >= until
