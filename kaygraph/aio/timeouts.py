"""Time limits: of an attempt, an item, a node, a run."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from ..errors import AttemptTimeoutError, DeadlineExceededError

T = TypeVar("T")

# A thread that ends this much after its limit is told of in the error.
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

    ``blocks``: a thread does the work, which cannot be stopped. It is waited for, its result is
    dropped, and the error says by how much it ran over. ``limits``: the limit is among them while
    it runs, and may be put off.

    Raises:
        AttemptTimeoutError: where the setting is ``timeout``.
        DeadlineExceededError: where it is any other.
    """
    now = asyncio.get_running_loop().time
    cause: BaseException | None
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
    except TimeoutError as error:
        if not scope.expired():
            raise  # the work's own
        over, cause = now() - (scope.when() or 0.0), error.__cause__
    except Exception as error:
        if not scope.expired():
            raise
        # What the work has made of its cancellation.
        over, cause = now() - (scope.when() or 0.0), error
    else:
        over, cause = now() - (scope.when() or 0.0), None
        if over < 0 or not blocks:
            return result
    message = f"{what} ran longer than {setting}={seconds:g} s"
    if over > OVERRUN_S and blocks:
        message += f"; written 'def' it cannot be stopped, and ended {over:.2f} s after it"
    kind = AttemptTimeoutError if setting == "timeout" else DeadlineExceededError
    raise kind(message) from cause
