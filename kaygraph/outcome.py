"""The outcome of one item or one branch."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from .errors import AttemptTimeoutError, Drop

T = TypeVar("T")

Status = Literal["ok", "failed", "skipped", "cancelled", "timed_out"]


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """How one item of a batch, or one branch of a group, ended.

    Attributes:
        name: The node or branch that worked on it.
        index: The position in the input, counted from 0.
        status: ``ok``, ``failed``, ``skipped``, ``cancelled`` or ``timed_out``.
        value: What ``exec`` returned, if ``ok``; otherwise None.
        error: The error, if not ``ok``; otherwise None.
        attempts: How many times ``exec`` was called.
        seconds: The time in ``exec`` over all attempts, in seconds; for a branch, its wall time.
        item: The item itself, which its ``repr`` leaves out; None for a branch.
    """

    name: str
    index: int
    status: Status
    value: T | None = None
    error: BaseException | None = None
    attempts: int = 1
    seconds: float = 0.0
    item: Any = field(default=None, repr=False)

    # The alias of Generic sets an attribute on each new object, which slots refuse.
    if not TYPE_CHECKING:

        def __class_getitem__(cls, _):
            return cls

    @property
    def ok(self) -> bool:
        """Whether it ended well, with a value."""
        return self.status == "ok"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Show it in a notebook, as a table and as text; secrets in its values are hidden."""
        from ._formatting import error_text, value_text  # imported only when needed
        from .drawing.tables import html_table

        value = value_text(self.value) if self.ok else ""
        error = "" if self.error is None else error_text(self.error)
        heads = ("name", "index", "status", "value", "error", "attempts", "seconds")
        row = (self.name, self.index, self.status, value, error, self.attempts)
        table = html_table(heads, [(*row, f"{self.seconds:.3f}")])
        return {"text/plain": repr(self), "text/html": table}


def status_of(error: BaseException, on_error: object = "raise") -> Status:
    """Return the status of an item that ended with ``error``."""
    if isinstance(error, Drop):
        return "skipped"
    if not isinstance(error, Exception):
        return "cancelled"
    if on_error == "skip":
        return "skipped"
    return "timed_out" if isinstance(error, AttemptTimeoutError) else "failed"
