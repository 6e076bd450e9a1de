"""What became of one item or one branch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from .errors import AttemptTimeoutError, Drop

T = TypeVar("T")

Status = Literal["ok", "failed", "skipped", "cancelled", "timed_out"]


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """How one item of a batch, or one branch of a group, ended.

    Attributes:
        name: The node or branch that worked on it.
        index: Its place in the input, counted from 0.
        status: ``ok``, ``failed``, ``skipped``, ``cancelled`` or ``timed_out``.
        value: What ``exec`` returned, when ``ok``.
        error: What it failed with, when not.
        attempts: How many times ``exec`` was begun.
        seconds: Time spent in ``exec``, over all attempts, in seconds; of a branch, its wall time.
        item: The item itself (None for a branch).
    """

    name: str
    index: int
    status: Status
    value: T | None = None
    error: BaseException | None = None
    attempts: int = 1
    seconds: float = 0.0
    item: Any = None

    if not TYPE_CHECKING:  # Generic sets an attribute on what Outcome[int](…) makes: not on this

        def __class_getitem__(cls, _):
            return cls

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.status == "ok"


def status_of(error: BaseException, on_error: object = "raise") -> Status:
    """Return the one status under which a failure is counted."""
    if isinstance(error, Drop):
        return "skipped"
    if not isinstance(error, Exception):
        return "cancelled"
    if on_error == "skip":
        return "skipped"
    return "timed_out" if isinstance(error, AttemptTimeoutError) else "failed"
