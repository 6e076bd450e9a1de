"""Time limits: of an attempt, an item, a node, a run."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from ..errors import AttemptTimeoutError, DeadlineExceededError

T = TypeVar("T")

# A thread that ends this much after its limit is told of in the error.
OVERRUN_S = 0.05


async def within(
    seconds: float, setting: str, what: str, work: Awaitable[T], blocks: bool = False
) -> T:
    """Await ``work``, and cancel it at its limit; the error names ``what`` and the setting.

    ``blocks``: a thread does the work, which cannot be stopped. It is waited for, its result is
    dropped, and the error says by how much it ran over.

    Raises:
        AttemptTimeoutError: where the setting is ``timeout``.
        DeadlineExceededError: where it is any other.
    """
    now = asyncio.get_running_loop().time
    cause: BaseException | None
    scope = asyncio.timeout(seconds)
    end = now() + seconds
    try:
        async with scope:
            result = await work
    except TimeoutError as error:
        if not scope.expired():
            raise  # the work's own
        over, cause = now() - end, error.__cause__
    except Exception as error:
        if not scope.expired():
            raise
        over, cause = now() - end, error  # what the work has made of its cancellation
    else:
        over, cause = now() - end, None
        if over < 0 or not blocks:
            return result
    message = f"{what} ran longer than {setting}={seconds:g} s"
    if over > OVERRUN_S and blocks:
        message += f"; written 'def' it cannot be stopped, and ended {over:.2f} s after it"
    kind = AttemptTimeoutError if setting == "timeout" else DeadlineExceededError
    raise kind(message) from cause
