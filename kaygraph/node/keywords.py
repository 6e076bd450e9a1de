"""What each class takes as keywords: for editors, type checkers, and to refuse all others."""

import typing
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from ..limits.breaker import CircuitBreaker
from ..limits.rate import RateLimit
from ..limits.retry import Retry

if TYPE_CHECKING:
    from concurrent.futures import Executor


RunIn = Literal["loop", "thread", "process"]


class NodeSettings(TypedDict, total=False):
    """What every Node takes as a keyword beside ``max_retries`` and ``wait``."""

    name: str
    retry: Retry | None
    timeout: float | None
    deadline: float | None
    run_in: "RunIn | Executor | None"
    memory_limit: int | str | None
    rate: RateLimit | Sequence[RateLimit] | None
    limit_by: Callable[[Any], Hashable] | None
    max_per_key: int
    breaker: CircuitBreaker | None


class BatchSettings(NodeSettings, total=False):
    """What a BatchNode takes beside the settings of a Node."""

    on_error: str | float
    batch_deadline: float | None


class ParallelSettings(BatchSettings, total=False):
    """What a ParallelBatchNode takes beside the settings of a BatchNode."""

    max_workers: int | Literal["auto"]
    ordered: bool


class MapReduceSettings(BatchSettings, total=False):
    """What a MapReduceNode takes beside the settings of a BatchNode."""

    max_retries: int
    wait: float
    map_workers: int
    reduce_workers: int
    partitions: int


class GraphSettings(TypedDict, total=False):
    """What a Graph takes beside its start."""

    name: str
    max_workers: int | None
    max_parallel_tasks: int | None
    task_timeout: float | None
    memory_limit: int | str | None
    deadline: float | None
    on_conflict: Literal["warn", "raise", "ignore"] | None
    slow_hook_s: float | None


class BatchGraphSettings(GraphSettings, total=False):
    """What a BatchGraph takes beside its start."""

    on_error: str | float


if TYPE_CHECKING:
    from typing_extensions import TypeVar
else:

    def TypeVar(name, default):  # noqa: N802
        return typing.TypeVar(name)


P = TypeVar("P", default=Any)  # what prep returns

E = TypeVar("E", default=Any)  # what post gets from exec

I = TypeVar("I", default=P)  # noqa: E741 - what exec takes: of a batch, one item of P

R = TypeVar("R", default=E)  # what exec returns: of a batch, one result of E

Item = TypeVar("Item", default=Any)

Result = TypeVar("Result", default=Any)
