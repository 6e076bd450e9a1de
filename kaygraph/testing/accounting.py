"""``assert_accounted``: every item that began has ended exactly once."""

from collections import Counter
from collections.abc import Iterable

from ..events import Event, ItemFailed, ItemFinished, ItemStarted
from ..observability.figures import STATUSES
from ..observability.report import RunReport


def assert_accounted(run: RunReport | Iterable[Event]) -> None:
    """Check that no item of a run was lost or counted twice.

    It checks that ``submitted = ok + failed + skipped + cancelled + timed_out``, for the run and
    for each node, and that nothing is in flight. Given events, it also checks that each item that
    began has ended exactly once.

    Args:
        run: The report of a finished run, or its events in order.

    Raises:
        AssertionError: Items are not accounted for; the message has the figures.
    """
    wrong = [] if isinstance(run, RunReport) else unaccounted(run := list(run))
    if isinstance(run, RunReport):
        report = run
    else:
        report = RunReport()
        for event in run:
            report(event)
    ended = sum(report.items.values())
    if report.submitted != ended:
        wrong.append(f"{report.submitted} items submitted, {ended} ended")
    wrong += [
        f"{figures.name}: {figures.in_flight} in flight"
        for figures in report.nodes.values()
        if figures.in_flight
    ]
    if wrong:
        raise AssertionError("\n".join(["items are not accounted for:", *wrong, *_figures(report)]))


def unaccounted(events: Iterable[Event]) -> list[str]:
    """Return one line for each item that did not end exactly once."""
    running: Counter[tuple[str, int]] = Counter()
    wrong = []
    for event in events:
        if isinstance(event, ItemStarted):
            running[event.node, event.item] += 1
        elif isinstance(event, ItemFinished | ItemFailed) and event.attempts:
            running[event.node, event.item] -= 1
            if running[event.node, event.item] < 0:
                wrong.append(f"item {event.item} of {event.node!r} ended without having begun")
    for (node, item), count in running.items():
        if count > 0:
            wrong.append(f"item {item} of {node!r} was begun and has not ended")
    return wrong


def _figures(report: RunReport) -> list[str]:
    """Return one line of figures for the run, and one for each node."""
    rows = [("all nodes", report.items), *((n.name, n.items) for n in report.nodes.values())]
    return [
        f"  {name}: " + ", ".join(f"{items[status]} {status}" for status in STATUSES)
        for name, items in rows
    ]
