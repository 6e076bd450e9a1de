"""Traces of runs: ``from kaygraph.tracing import OpenTelemetry``."""

from ._public import show_public
from .observability.tracing import OpenTelemetry as OpenTelemetry

__all__ = ["OpenTelemetry"]

show_public()
