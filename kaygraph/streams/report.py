"""What a stage of a pipeline did."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StageReport:
    """What a stage did; its ``post`` gets it when the stream has ended.

    ``busy_s``, ``starved_s`` (waiting for input) and ``blocked_s`` (waiting for room behind it)
    are seconds, each summed over the stage's workers. ``ok``, ``failed``, ``skipped`` and, if the
    grace of a draining run expired, ``cancelled`` say how many of the ``items`` that came in ended
    that way. ``results`` are the pipeline's: in the report of its last stage, if collected.
    """

    name: str
    workers: int
    items: int
    ok: int
    failed: int
    skipped: int
    busy_s: float
    starved_s: float
    blocked_s: float
    results: list[Any] | None = None
    cancelled: int = 0
