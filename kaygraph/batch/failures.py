"""What becomes of items that fail for good."""

from typing import Any

from ..errors import TooManyFailuresError, note_place
from ..limits.slots import Slot
from ..outcome import Outcome, status_of


class Failures:
    """What ``on_error`` says of failed items, and the errors borne so far."""

    def __init__(self, name: str, on_error: str | float, known: int = 0) -> None:
        self.name, self.on_error = name, on_error
        self.known = known  # the number of items, where it is known from the beginning
        self.pulled = 0
        self.given_up = False
        self.errors: list[Exception] = []
        self.skipped = 0

    def bear(self, item: Any, index: int, slot: Slot, error: Exception) -> Outcome[Any]:
        """Return the outcome of a failed item; raise when it cannot be borne."""
        status = status_of(error, self.on_error)
        if status == "skipped":
            self.skipped += 1
        else:
            from .._formatting import item_place  # only a failure pays for it

            self.errors.append(error)
            note_place(error, item_place(self.name, index, item))
            if self.on_error == "raise":
                raise error
            allowed = self.on_error
            if isinstance(allowed, float):  # of an unknown number the share is known at the end
                allowed = allowed * self.known if self.known else float("inf")
            if not isinstance(allowed, str) and len(self.errors) > allowed and not self.given_up:
                self.given_up = True  # what fails while the others are stopped joins the errors
                raise self.too_many()
        return Outcome(self.name, index, status, None, error, slot.attempts, slot.seconds, item)

    def settle(self, pulled: int) -> None:
        """Raise when, of all items, a larger share has failed than is tolerated."""
        self.pulled = pulled
        if isinstance(self.on_error, float) and len(self.errors) > self.on_error * pulled:
            raise self.too_many()

    def whole(self, error: TooManyFailuresError) -> TooManyFailuresError:
        """Return the error with all that failed until the others were stopped."""
        return self.too_many() if len(error.exceptions) < len(self.errors) else error

    def too_many(self) -> TooManyFailuresError:
        message = f"{len(self.errors)} of {self.pulled} items of {self.name!r} failed"
        return TooManyFailuresError(f"{message}, on_error={self.on_error}", self.errors)
