"""What a run is doing: found by inspecting its tasks, so that it costs nothing until asked."""

from .inspector import Inspector as Inspector
