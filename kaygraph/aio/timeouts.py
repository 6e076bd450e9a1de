"""Time limits: of an attempt, an item, a node, a run."""

import asyncio
from collections.abc import Awaitable
from contextvars import ContextVar
from math import inf
from typing import NamedTuple, TypeVar

from ..errors import AttemptTimeoutError, DeadlineExceededError
from .stopped import tell

T = TypeVar("T")

# Work that ends this much after its limit is told of in the error.
OVERRUN_S = 0.05


class Limit(NamedTuple):
    """A time limit that holds here; ``end`` is by the machine's monotonic clock, as loops have it.

    It is for a loop that runs while the loop of the limit is blocked, and cannot end anything.
    """

    end: float
    seconds: float
    setting: str
    what: str


NO_LIMIT = Limit(inf, inf, "", "")

LIMIT: ContextVar[Limit] = ContextVar("kaygraph_limit")


async def within_limit(work: Awaitable[T]) -> T:
    """Await ``work`` within the first of the limits that hold here."""
    end, seconds, setting, what = LIMIT.get(NO_LIMIT)
    left = max(0.0, end - asyncio.get_running_loop().time())
    return await within(left, setting, what, work, named_s=seconds) if setting else await work


async def within(
    seconds: float,
    setting: str,
    what: str,
    work: Awaitable[T],
    blocks: bool = False,
    limits: list[asyncio.Timeout] | None = None,
    named_s: float | None = None,
) -> T:
    """Await ``work``, and cancel it at its limit; the error names ``what`` and the setting.

    What comes later than that is dropped, also when the work has swallowed its cancellation.
    ``blocks``: a thread does the work, which cannot be stopped, and is waited for. ``limits``: the
    limit is among them while it runs, and may be put off. ``named_s``: the limit in the error,
    where not all of it is left.

    Raises:
        AttemptTimeoutError: where the setting is ``timeout``.
        DeadlineExceededError: where it is any other.
    """
    now = asyncio.get_running_loop().time
    cause: BaseException | None = None
    scope = asyncio.timeout(seconds)
    holds = None
    end = now() + seconds
    if (blocks or setting != "timeout") and end < LIMIT.get(NO_LIMIT).end:
        holds = LIMIT.set(Limit(end, seconds, setting, what))
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
    finally:
        if holds is not None:
            LIMIT.reset(holds)
    named_s = seconds if named_s is None else named_s
    message = f"{what} ran longer than {setting}={named_s:g} s"
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
