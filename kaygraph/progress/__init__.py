"""The progress of a run: bars in a terminal, lines elsewhere, drawn from snapshots."""

from .progress import Progress as Progress
