"""The time limits of the items that one task works on, one after another."""

import asyncio
from contextvars import Token
from math import inf

from .tasks import current_task
from .timeouts import LIMIT, Limit, Limited


class Timer:
    """The limits of a task's current attempt and item, both kept by one timer of the loop.

    The caller that begins an attempt sets its end, and calls ``arm`` only if the timer would fire
    too late. The timer stays armed from one item to the next: when it fires, it cancels the task
    for each limit that has passed, and is armed again for the next one.

    Args:
        what: What is limited, for errors.
        timeout: The seconds of an attempt, for a loop that blocks this one and has to know them.
        deadline: The seconds of an item.

    Attributes:
        attempt: When the attempt must end, by the loop's clock; ``inf`` without a limit.
        whole: When the item must end.
        at: When the timer fires; ``inf`` while it is not armed.
        rung: Whether it has cancelled the task because of the current attempt or item.
    """

    __slots__ = (
        "_around", "_attempt_over", "_before", "_deadline", "_handle", "_loop", "_task", "_timeout",
        "_token", "_what", "_whole_over", "at", "attempt", "rung", "whole",
    )  # fmt: skip

    def __init__(
        self, what: str = "", timeout: float | None = None, deadline: float | None = None
    ) -> None:
        task = current_task()
        assert task is not None
        self._task: asyncio.Task[object] | None = task
        self._before = task.cancelling()  # cancellations that are not from here
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self.at = self.attempt = self.whole = inf
        self.rung = self._attempt_over = self._whole_over = False
        self._what, self._timeout, self._deadline = what, timeout, deadline
        self._around: Limited | None = None
        self._token: Token[Limited] | None = None
        if timeout is not None or deadline is not None:
            self._around = LIMIT.get()
            self._token = LIMIT.set(self)

    def close(self) -> None:
        """Disarm the timer; the task goes on without it, and this object no longer limits it."""
        if self._handle is not None:
            self._handle.cancel()
        self._task = self._handle = None  # the task knows this object: avoid a reference cycle
        if self._token is not None:
            LIMIT.reset(self._token)
            self._token = None

    @property
    def first(self) -> Limit:
        """The first of the limits that apply here, for a loop that blocks this one."""
        assert self._around is not None
        first = self._around.first
        if self._timeout is not None and self.attempt < first.end:
            first = Limit(self.attempt, self._timeout, "timeout", self._what)
        if self._deadline is not None and self.whole < first.end:
            first = Limit(self.whole, self._deadline, "deadline", self._what)
        return first

    def arm(self) -> None:
        """Have it fire at the first coming limit, if it would fire later than that."""
        end = inf if self._attempt_over else self.attempt
        if self.whole < end and not self._whole_over:
            end = self.whole
        if end < self.at:
            if self._handle is not None:
                self._handle.cancel()
            self.at, self._handle = end, self._loop.call_at(end, self._ring)

    def _ring(self) -> None:
        # Compared with the time it was armed for: a loop may call early by the clock's resolution.
        at, self.at, self._handle = self.at, inf, None
        assert self._task is not None
        if self.attempt <= at and not self._attempt_over:
            self.rung = self._attempt_over = True
            self._task.cancel()
        if self.whole <= at and not self._whole_over:
            self.rung = self._whole_over = True
            self._task.cancel()
        self.arm()

    def end_attempt(self, error: BaseException | None) -> tuple[float, BaseException | None] | None:
        """End the attempt, which has returned or failed with ``error``.

        Returns:
                None if that counts; otherwise by how many seconds it was over its limit, and the
                cause of the error that replaces its result.
        """
        end, over = self.attempt, self._attempt_over
        self.attempt, self._attempt_over, self.rung = inf, False, self._whole_over
        return self._ended(end, over, error)

    def end_item(self, error: BaseException | None) -> tuple[float, BaseException | None] | None:
        """End the item, its last attempt included; see ``end_attempt``."""
        end, over = self.whole, self._whole_over
        self.whole, self._whole_over, self.rung = inf, False, False
        return self._ended(end, over, error)

    def item_in_time(self) -> bool:
        """End an item that has worked; return False, and do nothing, if it may be late."""
        if self.whole < inf:
            if self.rung or self._loop.time() >= self.whole:
                return False
            self.whole = inf
        return True

    def _ended(
        self, end: float, over: bool, error: BaseException | None
    ) -> tuple[float, BaseException | None] | None:
        assert self._task is not None
        # As for asyncio.timeout: a cancellation that comes from elsewhere as well is not ours.
        ours = over and self._task.uncancel() <= self._before
        late_s = self._loop.time() - end
        if error is None:
            return (late_s, None) if late_s >= 0 else None
        if isinstance(error, asyncio.CancelledError):
            return (late_s, error) if ours else None
        if not (over and isinstance(error, Exception)):
            return None
        # What the work turned its cancellation into; a time limit within it names the cause.
        return late_s, error.__cause__ if isinstance(error, TimeoutError) else error

    def hold(self) -> tuple[float, float]:
        """Pause; return what ``go_on`` needs: the seconds that were left of each limit."""
        now = self._loop.time()
        left = self.attempt - now, self.whole - now
        if not self._attempt_over:
            self.attempt = inf
        if not self._whole_over:
            self.whole = inf
        return left

    def go_on(self, left: tuple[float, float]) -> None:
        """Go on with what was left."""
        now = self._loop.time()
        if not self._attempt_over:
            self.attempt = now + left[0]
        if not self._whole_over:
            self.whole = now + left[1]
        self.arm()
