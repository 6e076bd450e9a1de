"""``a | b``: stages that run concurrently."""

from .pipeline import Pipeline as Pipeline
