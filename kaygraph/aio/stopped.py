"""What was running when it was cancelled, for the error of the limit that cancelled it.

It travels with the CancelledError, from the cancelled task to those that wait for it.
"""

from asyncio import CancelledError
from collections.abc import Iterable, Sequence

from ..errors import add_note

WHILE_CANCELLED = "failed while cancelled"
BEFORE_CANCELLED = "had failed before, and were to be tried again"

MOST = 5  # places that an error names


class Stopped:
    """Where work was cancelled, and the error before, if it was to be retried."""

    __slots__ = ("failures", "places")

    def __init__(self) -> None:
        self.places: list[str] = []
        self.failures: list[BaseException] = []


def _stopped(cancellation: BaseException) -> Stopped:
    known: Stopped | None = vars(cancellation).get("stopped")
    if known is None:
        known = vars(cancellation)["stopped"] = Stopped()
    return known


def stopped_at(error: BaseException, place: str) -> None:
    """Note where work was cancelled; only the innermost place is noted."""
    if isinstance(error, CancelledError) and not (known := _stopped(error)).places:
        known.places.append(place)


def stopped_after(cancellation: CancelledError, failure: BaseException | None) -> None:
    """Note the error of the attempt before the cancelled one."""
    if failure is not None:
        _stopped(cancellation).failures.append(failure)


def raise_failed_meanwhile(cancellation: CancelledError, alone: bool = False) -> None:
    """Raise what failed while it was cancelled, if anything did; neither then leads to the other.

    ``alone``: one error of a group comes as itself.
    """
    failure, cancellation.__cause__ = cancellation.__cause__, None
    try:
        if alone and isinstance(failure, BaseExceptionGroup) and len(failure.exceptions) == 1:
            failure = failure.exceptions[0]
        if failure is not None:
            raise failure from None
    finally:
        del failure  # it holds this frame: avoid a reference cycle


def merge(cancellation: CancelledError, others: Iterable[CancelledError]) -> None:
    """Add to a task's cancellation what is known of the tasks that were cancelled with it."""
    known = _stopped(cancellation)
    for other in others:
        if other is not cancellation:
            known.places += _stopped(other).places
            known.failures += _stopped(other).failures


def explain(error: BaseException, cancellation: BaseException | None) -> BaseException | None:
    """Add to the error of a limit where it cancelled the work; return the error's cause.

    The cause is what failed while it was cancelled, or the error before, if any.
    """
    if not isinstance(cancellation, CancelledError):
        return cancellation
    known = _stopped(cancellation)
    for place in known.places[:MOST]:
        add_note(error, f"it was in node {place}")
    if (more := len(known.places) - MOST) > 0:
        add_note(error, f"and in {more} other places")
    cause = cancellation.__cause__
    if isinstance(cause, BaseExceptionGroup) and cause.message == WHILE_CANCELLED:
        return _together(WHILE_CANCELLED, cause.exceptions)
    if cause is None and known.failures:
        return _together(BEFORE_CANCELLED, known.failures)
    return cancellation if cause is None else cause


def _together(message: str, errors: Sequence[BaseException]) -> BaseException:
    return errors[0] if len(errors) == 1 else BaseExceptionGroup(message, errors)
