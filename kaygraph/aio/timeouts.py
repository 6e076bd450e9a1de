"""Time limits: of an attempt, an item, a node, a run."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from math import inf
from typing import NamedTuple, Protocol, TypeVar

from ..errors import AttemptTimeoutError, DeadlineExceededError
from .stopped import explain

T = TypeVar("T")

# The error mentions work that ended this much after its limit.
OVERRUN_S = 0.05


class Limit(NamedTuple):
    """A time limit that applies here; ``end`` is by the machine's monotonic clock, as loops use.

    For a loop that runs while the loop of the limit is blocked and cannot cancel anything.
    """

    end: float
    seconds: float
    setting: str
    what: str

    @property
    def first(self) -> "Limit":
        return self


class Limited(Protocol):
    """Knows the time limits that apply here."""

    @property
    def first(self) -> Limit:
        """The limit that ends first."""


NO_LIMIT = Limit(inf, inf, "", "")

LIMIT: ContextVar[Limited] = ContextVar("kaygraph_limit", default=NO_LIMIT)


def clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """Return the cheapest function that returns a loop's time."""
    own = getattr(type(loop), "time", None)
    return time.monotonic if own is asyncio.BaseEventLoop.time else loop.time


async def within_limit(work: Awaitable[T]) -> T:
    """Await ``work`` within the first of the limits that apply here."""
    end, seconds, setting, what = LIMIT.get().first
    left = max(0.0, end - asyncio.get_running_loop().time())
    return await within(left, setting, what, work, named_s=seconds) if setting else await work


async def within(
    seconds: float,
    setting: str,
    what: str,
    work: Awaitable[T],
    named_s: float | None = None,
) -> T:
    """Await ``work``, and cancel it at its limit; the error names ``what`` and the setting.

    A later result is dropped, also when the work has swallowed its cancellation.
    ``named_s``: the limit in the error, if part of it was used before.

    Raises:
        AttemptTimeoutError: The setting is ``timeout``.
        DeadlineExceededError: It is any other.
    """
    now = asyncio.get_running_loop().time
    cause: BaseException | None = None
    scope = asyncio.timeout(seconds)
    holds = None
    end = now() + seconds
    if setting != "timeout" and end < LIMIT.get().first.end:
        holds = LIMIT.set(Limit(end, seconds, setting, what))
    try:
        async with scope:
            result = await work
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
        over, cause = _past(scope, now()), error  # what the work turned its cancellation into
    finally:
        if holds is not None:
            LIMIT.reset(holds)
    try:
        raise late_error(what, setting, seconds if named_s is None else named_s, over, cause)
    finally:
        del cause  # it holds this frame: avoid a reference cycle


def late_error(
    what: str,
    setting: str,
    seconds: float,
    over: float,
    cause: BaseException | None,
    blocks: bool = False,
) -> AttemptTimeoutError | DeadlineExceededError:
    """Return the error of a time limit that passed ``over`` seconds ago.

    ``cause`` is how the work ended. ``blocks``: a thread did it, which cannot be stopped.
    """
    message = f"{what} ran longer than {setting}={seconds:g} s"
    if over > OVERRUN_S:
        how = "written 'def' it cannot be stopped" if blocks else "it was cancelled then"
        message += f"; {how}, and ended {over:.2f} s after it"
    kind = AttemptTimeoutError if setting == "timeout" else DeadlineExceededError
    late = kind(message)
    late.__cause__ = explain(late, cause)
    return late


def _past(limit: asyncio.Timeout, now: float) -> float:
    """Return how many seconds ago a time limit passed; negative if it has not passed yet."""
    end = limit.when()
    return -inf if end is None else now - end
