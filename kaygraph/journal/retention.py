"""Which runs a journal keeps."""

import time
from collections.abc import Iterable

from .store import RunInfo, Store

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}

Keep = str | float | int


def seconds_of(setting: str, given: str | float) -> float:
    """Return a duration in seconds: of a number of them, or of a text such as ``"30d"``."""
    number = given
    if isinstance(given, str):
        unit = UNITS.get(given[-1:])
        try:
            number = float(given[:-1]) * unit if unit else -1.0
        except ValueError:
            number = -1.0
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < 1e12:
        raise ValueError(
            f"{setting} is a duration such as '30d', '12h', '10m' or '45s', got {given!r}"
        )
    return float(number)


def check_keep(keep: Keep) -> Keep:
    """Return which runs to keep, if it can be that."""
    if isinstance(keep, int) and not isinstance(keep, bool):
        if keep < 0:
            raise ValueError(f"keep is a number of runs or a duration such as '30d', got {keep!r}")
        return keep
    seconds_of("keep", keep)
    return keep


def prune(store: Store, keep: Keep, unfinished: bool = False) -> list[str]:
    """Remove the runs that are not to be kept, and give their space back; return their ids."""
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
