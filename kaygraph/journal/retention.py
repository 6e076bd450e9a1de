"""The runs that a journal keeps."""

import time
from collections.abc import Iterable

from .durations import seconds_of
from .store import RunInfo, Store

Keep = str | float | int


def check_keep(keep: Keep) -> Keep:
    """Return the runs to keep, if the value is valid."""
    if isinstance(keep, int) and not isinstance(keep, bool):
        if keep < 0:
            raise _wrong(keep)
        return keep
    try:
        seconds_of("keep", keep)
    except ValueError:
        raise _wrong(keep) from None
    return keep


def _wrong(keep: object) -> ValueError:
    return ValueError(f"keep must be a number of runs or a duration such as '30d', got {keep!r}")


def prune(store: Store, keep: Keep, unfinished: bool = False) -> list[str]:
    """Remove the runs that are not kept, and free their space; return their ids."""
    check_keep(keep)
    runs = [run for run in store.runs() if _may_go(run, unfinished)]
    runs.sort(key=lambda run: run.updated, reverse=True)
    gone = _ids(runs[keep:] if isinstance(keep, int) else _older(runs, seconds_of("keep", keep)))
    if gone:
        store.remove(gone)
        store.compact()
    return gone


def _may_go(run: RunInfo, unfinished: bool) -> bool:
    return run.status == "done" or (unfinished and run.status != "running")


def _older(runs: Iterable[RunInfo], age_s: float) -> list[RunInfo]:
    before = time.time() - age_s
    return [run for run in runs if run.updated < before]


def _ids(runs: Iterable[RunInfo]) -> list[str]:
    return [run.run for run in runs]
