"""kaygraph: small asyncio nodes with three steps, wired into graphs that run in parallel.

These are the names that programs use. ``kaygraph.types`` has those that only annotations need,
``kaygraph.errors`` all errors, ``kaygraph.events`` all of events; ready-made nodes and patterns are
in ``kaygraph.nodes`` and ``kaygraph.patterns``, the test kit in ``kaygraph.testing``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ._public import NAMES, PLACES, load

if TYPE_CHECKING:
    from .batch.batch import BatchNode as BatchNode
    from .batch.batch import ParallelBatchNode as ParallelBatchNode
    from .errors import AlreadyAnsweredError as AlreadyAnsweredError
    from .errors import AttemptTimeoutError as AttemptTimeoutError
    from .errors import AwaitedCancelledError as AwaitedCancelledError
    from .errors import CircuitOpenError as CircuitOpenError
    from .errors import ClusterUnavailableError as ClusterUnavailableError
    from .errors import DeadlineExceededError as DeadlineExceededError
    from .errors import Drop as Drop
    from .errors import GraphDefinitionError as GraphDefinitionError
    from .errors import JournalError as JournalError
    from .errors import JournalFullError as JournalFullError
    from .errors import JournalLockedError as JournalLockedError
    from .errors import JournalUnavailableError as JournalUnavailableError
    from .errors import KayGraphError as KayGraphError
    from .errors import MemoryLimitError as MemoryLimitError
    from .errors import NodeDefinitionError as NodeDefinitionError
    from .errors import RecordedError as RecordedError
    from .errors import RemoteLostError as RemoteLostError
    from .errors import RunExistsError as RunExistsError
    from .errors import RunInterrupted as RunInterrupted
    from .errors import RunTakenOverError as RunTakenOverError
    from .errors import RunUnknownError as RunUnknownError
    from .errors import SlowHookWarning as SlowHookWarning
    from .errors import TooManyFailuresError as TooManyFailuresError
    from .errors import UnknownActionError as UnknownActionError
    from .errors import WaitUnknownError as WaitUnknownError
    from .errors import WorkerDiedError as WorkerDiedError
    from .errors import WorkerStartError as WorkerStartError
    from .errors import WriteConflictError as WriteConflictError
    from .errors import WriteConflictWarning as WriteConflictWarning
    from .events import AttemptStarted as AttemptStarted
    from .events import BatchFinished as BatchFinished
    from .events import CircuitChanged as CircuitChanged
    from .events import Event as Event
    from .events import ItemFailed as ItemFailed
    from .events import ItemFinished as ItemFinished
    from .events import ItemRetried as ItemRetried
    from .events import ItemStarted as ItemStarted
    from .events import LimitChanged as LimitChanged
    from .events import NodeFinished as NodeFinished
    from .events import NodeStarted as NodeStarted
    from .events import RunFinished as RunFinished
    from .events import RunStarted as RunStarted
    from .events import Said as Said
    from .events import StageFinished as StageFinished
    from .events import StageStarted as StageStarted
    from .executors.references import Remote as Remote
    from .graph.graph import Graph as Graph
    from .graph.rounds import BatchGraph as BatchGraph
    from .groups.branches import all_of as all_of
    from .groups.branches import at_least as at_least
    from .groups.branches import first_of as first_of
    from .groups.branches import settle as settle
    from .groups.map_reduce import MapReduceNode as MapReduceNode
    from .inspection.inspector import Inspector as Inspector
    from .inspection.prometheus import Prometheus as Prometheus
    from .journal.cache import Cache as Cache
    from .journal.journal import Journal as Journal
    from .limits.breaker import CircuitBreaker as CircuitBreaker
    from .limits.rate import RateLimit as RateLimit
    from .limits.retry import Retry as Retry
    from .node.node import AsyncNode as AsyncNode
    from .node.node import BaseNode as BaseNode
    from .node.node import Node as Node
    from .observability.log import RunLog as RunLog
    from .observability.log import StructlogObserver as StructlogObserver
    from .observability.report import RunReport as RunReport
    from .outcome import Outcome as Outcome
    from .progress.progress import Progress as Progress
    from .streams.pipeline import Pipeline as Pipeline
    from .watching.watch import Watch as Watch

__version__ = "0.1.0"

__all__ = sorted(PLACES)


if not TYPE_CHECKING:  # so that type checkers report an unknown name

    def __getattr__(name):
        if name in PLACES:
            globals()[name] = thing = load(name)
            return thing
        if name == "types" or any(name == module.partition(".")[0] for module in NAMES):
            return import_module(f".{name}", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
