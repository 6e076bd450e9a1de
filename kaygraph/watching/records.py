"""What is kept of a run's events for the page: when nodes ran, and what failed."""

from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from .._formatting import error_text, redacted
from ..errors import Drop
from ..events import (
    Event,
    ItemFailed,
    ItemRetried,
    NodeFinished,
    NodeStarted,
    RunFinished,
    RunStarted,
    StageFinished,
    StageStarted,
)

MOST_FAILURES = 50
MOST_RETRIES = 10
MOST_SPANS = 256  # of a node
FINENESS = 500  # pauses shorter than this part of the run are not drawn
PAUSE_S = 0.02  # between two errors that are kept, once the first have come
MOST_NOTES = 10
LONGEST_NOTE = 500


class Activity:
    """When a node ran somewhere: spans from a start to an end, in seconds since the run started."""

    __slots__ = ("running", "runs", "spans", "version")

    def __init__(self) -> None:
        self.running = self.runs = self.version = 0
        self.spans: list[tuple[float, float | None]] = []

    def begin(self, at: float) -> None:
        self.running += 1
        self.version += 1
        if self.running > 1:
            return
        if self.spans and self.spans[-1][1] is not None:
            first, last = self.spans[-1]
            if at - last <= at / FINENESS:  # type: ignore[operator]
                self.spans[-1] = (first, None)
                return
        self.spans.append((at, None))
        if len(self.spans) > MOST_SPANS:
            self._thin(at)

    def end(self, at: float) -> None:
        self.running = max(0, self.running - 1)
        self.runs += 1
        self.version += 1
        if not self.running and self.spans:
            self.spans[-1] = (self.spans[-1][0], at)

    def _thin(self, at: float) -> None:
        """Join spans too close to be seen apart, or else each with its neighbour."""
        joined = self.spans[:1]
        for first, last in self.spans[1:]:
            before = joined[-1]
            if before[1] is not None and first - before[1] <= at / FINENESS:
                joined[-1] = (before[0], last)
            else:
                joined.append((first, last))
        if len(joined) > MOST_SPANS // 2:
            pairs = zip(joined[::2], [*joined[1::2], joined[-1]], strict=False)
            joined = [(one[0], other[1]) for one, other in pairs]
        self.spans = joined


class Records:
    """An observer; it is called in the run's thread, and read in that of the page.

    Attributes:
        activity: When nodes ran, by name.
        failed: How many errors there were; the last are kept.
    """

    items: ClassVar[bool] = False

    def __init__(self) -> None:
        self.activity: dict[str, Activity] = {}
        self.failed = 0
        self._failures: deque[dict[str, Any]] = deque(maxlen=MOST_FAILURES)
        self._retries: deque[dict[str, Any]] = deque(maxlen=MOST_RETRIES)
        self._began: float | None = None
        self._number = 0
        self._last_at = self._last_retry_at = float("-inf")
        self._last_id = 0

    def __call__(self, event: Event) -> None:
        note = _NOTED.get(type(event))
        if note is not None:
            note(self, event)

    def errors(self, after: int = 0) -> list[dict[str, Any]]:
        """Return the errors that were recorded or changed after a number, in order."""
        kept = [*tuple(self._failures), *tuple(self._retries)]
        return sorted((one for one in kept if one["number"] > after), key=lambda one: one["number"])

    def _started(self, event: RunStarted) -> None:
        if self._began is None:
            self._began = event.at

    def _since(self, at: float) -> float:
        if self._began is None:
            self._began = at
        return round(at - self._began, 4)

    def _node_started(self, event: NodeStarted | StageStarted) -> None:
        activity = self.activity.get(event.node)
        if activity is None:
            activity = self.activity[event.node] = Activity()
        activity.begin(self._since(event.at))

    def _node_finished(self, event: NodeFinished) -> None:
        activity = self.activity.get(event.node)
        if activity is not None:
            activity.end(self._since(event.at))
        if event.error is not None:
            self._note(event.node, None, event.at, event.error)

    def _stage_finished(self, event: StageFinished) -> None:
        activity = self.activity.get(event.node)
        if activity is not None:
            activity.end(self._since(event.at))

    def _run_finished(self, event: RunFinished) -> None:
        if event.error is not None:
            self._note(event.node, None, event.at, event.error)

    def _item_failed(self, event: ItemFailed) -> None:
        skipped = event.status == "skipped" and not isinstance(event.error, Drop)
        if skipped or event.status in ("failed", "timed_out"):
            self._note(event.node, event.item, event.at, event.error)

    def _item_retried(self, event: ItemRetried) -> None:
        if event.at - self._last_retry_at >= PAUSE_S:
            self._last_retry_at = event.at
            entry = self._entry(event.node, event.item, event.at, event.error)
            self._retries.append({**entry, "attempt": event.attempt, "wait_s": event.wait_s})

    def _note(self, node: str, item: int | None, at: float, error: BaseException) -> None:
        if item is None and self._failures and id(error) == self._last_id:
            last = self._failures[-1]
            # On its way out through nodes, unless the same node failed again.
            if last["item"] is not None or last["node"] != redacted(node):
                self._number += 1
                self._failures[-1] = {**last, "number": self._number, "notes": _notes(error)}
                return
        self.failed += 1
        if len(self._failures) == MOST_FAILURES and at - self._last_at < PAUSE_S:
            return
        self._last_at, self._last_id = at, id(error)
        self._failures.append(self._entry(node, item, at, error))

    def _entry(
        self, node: str, item: int | None, at: float, error: BaseException
    ) -> dict[str, Any]:
        self._number += 1
        return {
            "number": self._number, "of": self._number, "node": redacted(node), "item": item,
            "at": self._since(at), "error": error_text(error), "notes": _notes(error),
        }  # fmt: skip


def _notes(error: BaseException) -> list[str]:
    notes = getattr(error, "__notes__", ())
    shown = [redacted(note[: 4 * LONGEST_NOTE]) for note in notes if isinstance(note, str)]
    return [note[:LONGEST_NOTE] for note in shown[:MOST_NOTES]]


_NOTED: dict[type, Callable[[Records, Any], None]] = {
    RunStarted: Records._started,
    NodeStarted: Records._node_started,
    NodeFinished: Records._node_finished,
    StageStarted: Records._node_started,
    StageFinished: Records._stage_finished,
    RunFinished: Records._run_finished,
    ItemFailed: Records._item_failed,
    ItemRetried: Records._item_retried,
}
