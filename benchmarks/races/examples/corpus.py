"""All examples."""

from benchmarks.races.examples import caches, events, limits, loading, queues, retries
from benchmarks.races.examples.documented import EXAMPLES, Example

__all__ = ["EXAMPLES", "Example"]

MODULES = caches, events, limits, loading, queues, retries  # importing them adds their programs
