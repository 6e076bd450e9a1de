"""What a stage of a pipeline did."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StageReport:
    """What a stage did; its ``post`` gets it when the stream has ended.

    ``busy_s``, ``starved_s`` (waiting for input) and ``blocked_s`` (waiting for room behind it)
    are seconds, each summed over the stage's workers. Of the ``items`` that came in, so many were
    ``ok``, ``failed``, ``skipped`` and, where the grace of a draining run ran out, ``cancelled``.
    ``results`` are those of the pipeline: in the report of its last stage, if they are collected.
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
