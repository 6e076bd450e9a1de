"""``a | b``: stages that work at the same time."""

from .pipeline import Pipeline as Pipeline
