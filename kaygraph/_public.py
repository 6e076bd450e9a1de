"""The public names and their modules. A module is imported when one of its names is first used."""

import sys
from importlib import import_module
from typing import Any

# The modules of this package that have public names.
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
        "JournalCorruptError",
        "JournalError",
        "JournalFullError",
        "JournalLockedError",
        "JournalUnavailableError",
        "JournalVersionError",
        "KayGraphError",
        "MemoryLimitError",
        "NodeChangedError",
        "NodeDefinitionError",
        "NotRecordableError",
        "RecordedError",
        "RunDivergedError",
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
        "Observer",
        "RunFinished",
        "RunStarted",
        "Said",
        "StageFinished",
        "StageStarted",
        "Usage",
    ),
    "graph.graph": ("Graph",),
    "graph.rounds": ("BatchGraph",),
    "groups.branches": ("BranchGroup", "all_of", "at_least", "first_of", "settle"),
    "groups.map_reduce": ("MapReduceNode",),
    "inspection.inspector": ("Inspector",),
    "inspection.prometheus": ("Prometheus",),
    "journal.cache": ("Cache",),
    "journal.journal": ("Journal",),
    "journal.records": ("RunRecord",),
    "journal.store": ("RunInfo",),
    "journal.waiting": ("Wait", "Waits"),
    "limits.breaker": ("CircuitBreaker",),
    "limits.rate": ("RateLimit",),
    "limits.retry": ("Retry",),
    "node.keywords": (
        "BatchGraphSettings",
        "BatchSettings",
        "GraphSettings",
        "MapReduceSettings",
        "NodeSettings",
        "ParallelSettings",
    ),
    "node.node": ("AsyncNode", "BaseNode", "Node"),
    "node.streaming": ("Streaming",),
    "node.wiring": ("Branch", "Chain"),
    "observability.log": ("RunLog", "StructlogObserver"),
    "observability.figures": ("NodeFigures", "WorkerFigures"),
    "observability.report": ("RunReport",),
    "outcome": ("Outcome", "Status"),
    "progress.progress": ("Progress",),
    "run.task": ("RunTask",),
    "snapshot": ("RunSnapshot",),
    "streams.pipeline": ("Pipeline",),
    "streams.report": ("StageReport",),
    "watching.watch": ("Watch",),
}

PLACES = {name: module for module, names in NAMES.items() for name in names}


def load(name: str) -> Any:
    """Import and return the object with a public name."""
    thing = getattr(import_module(f"{__package__}.{PLACES[name]}"), name)
    show_public()
    return thing


def show_public() -> None:
    """Make public objects show ``kaygraph`` as their module in tracebacks, pickles and help().

    Every entry point calls this, for the modules that are loaded by then.
    """
    for module, names in NAMES.items():
        loaded = sys.modules.get(f"{__package__}.{module}")
        for thing in map(vars(loaded).get, names) if loaded is not None else ():
            if getattr(thing, "__module__", None) == f"{__package__}.{module}":
                thing.__module__ = __package__
