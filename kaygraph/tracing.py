"""Traces of runs: ``from kaygraph.tracing import OpenTelemetry``."""

from ._public import show_public
from .observability.tracing import OpenTelemetry as OpenTelemetry

__all__ = ["OpenTelemetry"]

OpenTelemetry.__module__ = __name__  # where users find it, in help() and in tracebacks
show_public()
