"""Time limits: of an attempt, an item, a node, a run."""

import asyncio
from collections.abc import Awaitable
from math import inf
from typing import TypeVar

from ..errors import AttemptTimeoutError, DeadlineExceededError
from .stopped import tell

T = TypeVar("T")

# Work that ends this much after its limit is told of in the error.
OVERRUN_S = 0.05


async def within(
    seconds: float,
    setting: str,
    what: str,
    work: Awaitable[T],
    blocks: bool = False,
    limits: list[asyncio.Timeout] | None = None,
) -> T:
    """Await ``work``, and cancel it at its limit; the error names ``what`` and the setting.

    What comes later than that is dropped, also when the work has swallowed its cancellation.
    ``blocks``: a thread does the work, which cannot be stopped, and is waited for. ``limits``: the
    limit is among them while it runs, and may be put off.

    Raises:
        AttemptTimeoutError: where the setting is ``timeout``.
        DeadlineExceededError: where it is any other.
    """
    now = asyncio.get_running_loop().time
    cause: BaseException | None = None
    scope = asyncio.timeout(seconds)
    try:
        async with scope:
            if limits is None:
                result = await work
            else:
                limits.append(scope)
                try:
                    result = await work
                finally:
                    limits.remove(scope)
        if (over := _past(scope, now())) < 0:
            return result
        del result
    except TimeoutError as error:
        if not scope.expired():
            raise  # the work's own
        over, cause = _past(scope, now()), error.__cause__
    except Exception as error:
        if not scope.expired():
            raise
        over, cause = _past(scope, now()), error  # what the work has made of its cancellation
    message = f"{what} ran longer than {setting}={seconds:g} s"
    if over > OVERRUN_S:
        how = "written 'def' it cannot be stopped" if blocks else "it was cancelled then"
        message += f"; {how}, and ended {over:.2f} s after it"
    kind = AttemptTimeoutError if setting == "timeout" else DeadlineExceededError
    try:
        late = kind(message)
        raise late from tell(late, cause)
    finally:
        del cause, late  # they hold this frame: no cycle may keep them alive


def _past(limit: asyncio.Timeout, now: float) -> float:
    """Return how many seconds ago a time limit was, below 0 if it is still to come."""
    end = limit.when()
    return -inf if end is None else now - end
