"""What tells a walk that no other node is to begin."""

from asyncio import get_running_loop
from collections.abc import Callable
from math import inf

from ..aio.tasks import cancellation_check
from ..run.frame import Frame


def end_check(
    frame: Frame, until: float, known: Callable[[], int] | None, forked: bool, loops: bool
) -> Callable[[], int] | None:
    """Return what tells whether no other node is to begin; None where nobody needs to ask.

    Where a walk has a time limit or no end, or others wait for it, it is not to go on after a
    node that has swallowed its cancellation, or has held up the loop and its timers.

    Args:
        frame: That of the walk.
        until: When its first time limit ends, by the clock of the loop.
        known: Tells whether its task was cancelled; None: it is found out.
        forked: Whether the token is one of several.
        loops: Whether a node may run again.
    """
    run = frame.run
    if run.by_hand:  # nobody can cancel it
        return None
    others_wait = forked or run.side_by_side or frame.rules.whole
    if until == inf and not (others_wait or loops):
        return None
    cancelled = known or cancellation_check()
    if until == inf:
        return cancelled
    now = get_running_loop().time
    return lambda: cancelled() or now() >= until
