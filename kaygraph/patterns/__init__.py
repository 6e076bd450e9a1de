"""Patterns: nodes people subclass, for jobs that come again and again.

==========================  ======================================================================
``ParallelValidationNode``  many checks at once on one record
``ParallelEnrichmentNode``  many sources at once on one record, and why something is missing
``BatchSplitterNode``       items in chunks; ``AggregationNode`` puts their results together again
``ResilientBranch``         a call, a check, a fallback: one result in every case
``RaceNode``                the first answer wins, and a second is asked for after a delay
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
from .splitting import Aggregation as Aggregation
from .splitting import AggregationNode as AggregationNode
from .splitting import BatchSplitterNode as BatchSplitterNode
from .validation import ParallelValidationNode as ParallelValidationNode
from .validation import ValidationFailure as ValidationFailure
from .validation import ValidationSummary as ValidationSummary
from .validation import check as check

__all__ = [
    "Aggregation",
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
    "ValidationFailure",
    "ValidationSummary",
    "check",
    "source",
]

# A public name shows where users find it: in tracebacks, in pickles and in help().
for _public in map(globals().__getitem__, __all__):
    _public.__module__ = __name__
del _public
show_public()
