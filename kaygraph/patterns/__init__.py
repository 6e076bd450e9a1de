"""Patterns: base classes for common jobs.

==========================  ======================================================================
``ParallelValidationNode``  runs many checks on one record at once
``ParallelEnrichmentNode``  asks many sources about one record at once, and reports what is missing
``BatchSplitterNode``       splits items into chunks; ``AggregationNode`` combines their results
``ResilientBranch``         calls, checks and falls back: one result in every case
``RaceNode``                takes the first answer; asks the next candidate after a delay
==========================  ======================================================================
"""

from .._public import show_public
from .enrichment import Enrichment as Enrichment
from .enrichment import MissingSourcesError as MissingSourcesError
from .enrichment import ParallelEnrichmentNode as ParallelEnrichmentNode
from .enrichment import source as source
from .race import RaceNode as RaceNode
from .resilience import RefusedAnswerError as RefusedAnswerError
from .resilience import ResilientBranch as ResilientBranch
from .resilience import ResilientResult as ResilientResult
from .splitting import AggregationNode as AggregationNode
from .splitting import BatchSplitterNode as BatchSplitterNode
from .validation import ParallelValidationNode as ParallelValidationNode
from .validation import ValidationSummary as ValidationSummary
from .validation import check as check

__all__ = [
    "AggregationNode",
    "BatchSplitterNode",
    "Enrichment",
    "MissingSourcesError",
    "ParallelEnrichmentNode",
    "ParallelValidationNode",
    "RaceNode",
    "RefusedAnswerError",
    "ResilientBranch",
    "ResilientResult",
    "ValidationSummary",
    "check",
    "source",
]

# A public name shows where users find it: in tracebacks, in pickles and in help().
for _public in map(globals().__getitem__, __all__):
    _public.__module__ = __name__
del _public
show_public()
