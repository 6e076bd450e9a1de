"""The public names and their modules. A module is imported when one of its names is first used."""

import sys
from importlib import import_module
from typing import Any

# The modules with names that users import from kaygraph, and with those for kaygraph.types.
NAMES = {
    "batch.batch": ("BatchNode", "ParallelBatchNode"),
    "errors": (
        "AlreadyAnsweredError",
        "AttemptTimeoutError",
        "AwaitedCancelledError",
        "CircuitOpenError",
        "ClusterUnavailableError",
        "DeadlineExceededError",
        "Drop",
        "GraphDefinitionError",
        "JournalError",
        "JournalFullError",
        "JournalLockedError",
        "JournalUnavailableError",
        "KayGraphError",
        "MemoryLimitError",
        "NodeDefinitionError",
        "RecordedError",
        "RemoteLostError",
        "RunExistsError",
        "RunInterrupted",
        "RunTakenOverError",
        "RunUnknownError",
        "SlowHookWarning",
        "TooManyFailuresError",
        "UnknownActionError",
        "WaitUnknownError",
        "WorkerDiedError",
        "WorkerStartError",
        "WriteConflictError",
        "WriteConflictWarning",
    ),
    "events": (
        "AttemptStarted",
        "BatchFinished",
        "CircuitChanged",
        "Event",
        "ItemFailed",
        "ItemFinished",
        "ItemRetried",
        "ItemStarted",
        "LimitChanged",
        "NodeFinished",
        "NodeStarted",
        "RunFinished",
        "RunStarted",
        "Said",
        "StageFinished",
        "StageStarted",
    ),
    "executors.references": ("Remote",),
    "graph.graph": ("Graph",),
    "graph.rounds": ("BatchGraph",),
    "groups.branches": ("all_of", "at_least", "first_of", "settle"),
    "groups.map_reduce": ("MapReduceNode",),
    "inspection.inspector": ("Inspector",),
    "inspection.prometheus": ("Prometheus",),
    "journal.cache": ("Cache",),
    "journal.journal": ("Journal",),
    "limits.breaker": ("CircuitBreaker",),
    "limits.rate": ("RateLimit",),
    "limits.retry": ("Retry",),
    "node.node": ("AsyncNode", "BaseNode", "Node"),
    "observability.log": ("RunLog", "StructlogObserver"),
    "observability.report": ("RunReport",),
    "outcome": ("Outcome",),
    "progress.progress": ("Progress",),
    "streams.pipeline": ("Pipeline",),
    "watching.watch": ("Watch",),
}

TYPES = {
    "groups.branches": ("BranchGroup",),
    "journal.records": ("RunRecord",),
    "journal.store": ("RunInfo",),
    "journal.waiting": ("Wait", "Waits"),
    "node.keywords": (
        "BatchGraphSettings",
        "BatchSettings",
        "GraphSettings",
        "MapReduceSettings",
        "NodeSettings",
        "ParallelSettings",
        "PipelineSettings",
    ),
    "node.streaming": ("Streaming",),
    "node.wiring": ("Branch", "Chain"),
    "observability.figures": ("NodeFigures", "WorkerFigures"),
    "outcome": ("Status",),
    "run.task": ("RunTask",),
    "snapshot": ("RunSnapshot",),
    "streams.report": ("StageReport",),
}

PLACES = {name: module for module, names in NAMES.items() for name in names}
TYPE_PLACES = {name: module for module, names in TYPES.items() for name in names}


def load(name: str) -> Any:
    """Import and return the object with a public name of kaygraph or of kaygraph.types."""
    module = PLACES.get(name) or TYPE_PLACES[name]
    thing = getattr(import_module(f"{__package__}.{module}"), name)
    show_public()
    return thing


def show_public() -> None:
    """Make public objects show the module that users import them from: ``kaygraph`` or its types.

    It is what tracebacks, pickles and help() show. Every entry point calls this, for the modules
    that are loaded by then.
    """
    for home, table in ((__package__, NAMES), (f"{__package__}.types", TYPES)):
        for module, names in table.items():
            loaded = sys.modules.get(f"{__package__}.{module}")
            for thing in map(vars(loaded).get, names) if loaded is not None else ():
                if getattr(thing, "__module__", None) == f"{__package__}.{module}":
                    thing.__module__ = home
