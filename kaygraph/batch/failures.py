"""What happens when items fail for good."""

from asyncio import CancelledError, get_running_loop
from collections.abc import Callable, Iterable
from typing import Any

from ..aio.stopped import stopped_at
from ..aio.tasks import awaited_cancelled
from ..aio.tracebacks import trim
from ..errors import Drop, TooManyFailuresError, note_place
from ..events import Event, ItemFailed
from ..limits.slots import Slot
from ..outcome import Outcome, status_of


class Failures:
    """Applies ``on_error`` to failed items, and keeps the errors so far.

    Attributes:
        emit: Receives an event for each failure; None if the caller of ``exec`` emits it.
        cancelled: How many items were cancelled.
    """

    def __init__(
        self, name: str, on_error: str | float, known: int = 0, *, shows: bool = True
    ) -> None:
        self.shows = shows  # the items, in errors
        # An old program may have a method of this name (in compat).
        self.name, self.on_error = name, "raise" if callable(on_error) else on_error
        self.known = known  # the number of items if known in advance, else 0
        self.pulled = 0
        self.given_up = False
        self.failed = self.skipped = self.cancelled = 0
        self.emit: Callable[[Event], None] | None = None
        self.errors: list[Exception] = []  # if their number decides

    def bear(self, item: Any, index: int, slot: Slot, raised: BaseException) -> Outcome[Any]:
        """Return the outcome of a failed item, or raise when ``on_error`` does not tolerate it.

        An error that is not the item's own, such as a cancellation of the run, is raised too.
        """
        error = awaited_cancelled(raised) or raised
        try:
            if isinstance(error, CancelledError):
                stopped_at(error, f"{self.name!r}, item {index}")
                self.cancel(index, slot.worker, error, 1)
                raise error
            if not isinstance(error, Exception):
                self._note(error, item, index)
                self.cancel(index, slot.worker, error, 1)
                raise error
            if self.emit is not None:
                if not isinstance(error, Drop):
                    self._note(error, item, index)
                self._emit_failure(index, slot, error)
            status = status_of(error, self.on_error)
            if status == "skipped":
                self.skipped += 1
            else:
                self._count(error, item, index)
            trim(error)
            return Outcome(self.name, index, status, None, error, slot.attempts, slot.seconds, item)
        finally:
            del error, raised  # they hold this frame: avoid a reference cycle

    def cancel(self, index: int, worker: int, error: BaseException, attempts: int = 0) -> None:
        """Count an item that was cancelled, or ended by an error that is not its own."""
        self.cancelled += 1
        if self.emit is not None:
            at = get_running_loop().time()
            failed = ItemFailed(self.name, at, index, worker, attempts, 0.0, "cancelled", error)
            self.emit(failed)

    def lose(self, index: int, error: BaseException) -> None:
        """Count an item that has ended, if the batch ends before its result was requested."""
        if not isinstance(error, Exception):
            self.cancel(index, 0, error, 1)
            return
        if status_of(error, self.on_error) == "skipped":
            self.skipped += 1
        else:
            self.failed += 1
        if self.emit is not None:
            self._emit_failure(index, Slot(), error)

    def drop(self, index: int, slot: Slot) -> None:
        """Count an item that is left out without a ``Drop``."""
        self.skipped += 1
        if self.emit is not None:
            self._emit_failure(index, slot, Drop())

    def _emit_failure(self, index: int, slot: Slot, error: Exception) -> None:
        assert self.emit is not None
        where = self.name, get_running_loop().time(), index, slot.worker, 1, slot.seconds
        self.emit(ItemFailed(*where, status_of(error, self.on_error), error))

    def _count(self, error: Exception, item: Any, index: int) -> None:
        """Count a failure, and raise it, or all, if it is not tolerated."""
        try:
            self.failed += 1
            if not isinstance(self.on_error, str):
                self.errors.append(error)
            self._note(error, item, index)
            if self.on_error == "raise":
                raise error
            if not self.given_up and self.too_many_of(self.known):
                self.given_up = True  # whole() adds the errors that come while the others stop
                raise self.too_many()
        finally:
            del error

    def _note(self, error: BaseException, item: Any, index: int) -> None:
        from .._formatting import item_place  # imported when something fails

        note_place(error, item_place(self.name, index, item, self.shows))

    def settle(self, pulled: int) -> None:
        """Raise if more of all items have failed than is tolerated."""
        self.pulled = pulled
        if isinstance(self.on_error, float) and self.too_many_of(pulled):
            raise self.whole(self.too_many())

    def too_many_of(self, items: int) -> bool:
        """Whether more have failed than is tolerated; a share needs the number of items."""
        allowed, failed = self.on_error, self.failed
        if isinstance(allowed, float):
            # Divided, as 0.29 * 100 is less than 29 in floating point.
            return items > 0 and failed / items > allowed
        return not isinstance(allowed, str) and failed > allowed

    def whole(self, error: TooManyFailuresError) -> TooManyFailuresError:
        """Return the error with everything that failed until the others had stopped."""
        whole = self.too_many() if len(error.exceptions) < len(self.errors) else error
        self.errors = []  # each leads here through the context of its item: avoid a reference cycle
        return whole

    def too_many(self) -> TooManyFailuresError:
        message = f"{self.failed} of {self.pulled} items of {self.name!r} failed"
        return TooManyFailuresError(
            f"{message}, more than on_error={self.on_error} tolerates", self.errors
        )


def forget_callers(results: Iterable[object]) -> None:
    """Clear the frames of ended workers, to which errors in the results may lead."""
    for result in results:
        if type(result) is Outcome and result.error is not None:
            trim(result.error)
