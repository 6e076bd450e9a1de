"""The keywords of each class: the type of each setting, and the check of its values."""

import typing
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

from .._validation import (
    check_breaker,
    check_cache,
    check_callable,
    check_choice,
    check_count,
    check_flag,
    check_limit,
    check_memory,
    check_name,
    check_number,
    check_on_error,
    check_rate,
    check_retry,
    check_run_in,
    check_seconds,
    check_workers,
    optional,
)
from ..limits.breaker import CircuitBreaker
from ..limits.rate import RateLimit
from ..limits.retry import Retry
from ..run.recorder import ResultCache

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ..executors.cluster import Cluster


RunIn = Literal["loop", "thread", "process"]

check_on_conflict = optional(check_choice("warn", "raise", "ignore"))


class Attempts(TypedDict, total=False):
    """The settings of PocketFlow's and KayGraph's nodes, also by position: ``Node(3, 10)``."""

    max_retries: Annotated[int, check_count]
    wait: Annotated[float, check_seconds]


class NodeSettings(TypedDict, total=False):
    """The keywords of every Node, in addition to ``max_retries`` and ``wait``."""

    name: Annotated[str, check_name]
    retry: Annotated[Retry | None, check_retry]
    timeout: Annotated[float | None, check_limit]
    deadline: Annotated[float | None, check_limit]
    run_in: Annotated["RunIn | Executor | Cluster | None", check_run_in]
    memory_limit: Annotated[int | str | None, check_memory]
    start_timeout: Annotated[float | None, check_limit]
    rate: Annotated[RateLimit | Sequence[RateLimit] | None, check_rate]
    limit_by: Annotated[Callable[[Any], Hashable] | None, check_callable]
    max_per_key: Annotated[int, check_count]
    breaker: Annotated[CircuitBreaker | None, check_breaker]
    cache: Annotated[ResultCache | None, check_cache]


class BatchSettings(NodeSettings, total=False):
    """The keywords of a BatchNode, including those of a Node."""

    on_error: Annotated[str | float, check_on_error]
    batch_deadline: Annotated[float | None, check_limit]
    chunksize: Annotated[int | Literal["auto"], check_workers]


class ParallelSettings(BatchSettings, total=False):
    """The keywords of a ParallelBatchNode, including those of a BatchNode."""

    max_workers: Annotated[int | Literal["auto"], check_workers]
    max_waiting: Annotated[int | None, optional(check_number)]
    ordered: Annotated[bool, check_flag]


class MapReduceSettings(BatchSettings, Attempts, total=False):
    """The keywords of a MapReduceNode, including those of a BatchNode."""

    map_workers: Annotated[int, check_count]
    reduce_workers: Annotated[int, check_count]
    partitions: Annotated[int | None, optional(check_count)]
    max_waiting: Annotated[int | None, optional(check_number)]


class PipelineSettings(TypedDict, total=False):
    """The keywords of a Pipeline, in addition to its stages."""

    name: Annotated[str, check_name]
    buffer: Annotated[int, check_count]
    collect: Annotated[bool, check_flag]


class GraphSettings(TypedDict, total=False):
    """The keywords of a Graph, in addition to its start."""

    name: Annotated[str, check_name]
    max_workers: Annotated[int | None, optional(check_count)]
    max_parallel_tasks: Annotated[int | None, optional(check_count)]
    task_timeout: Annotated[float | None, check_limit]
    run_in: Annotated["RunIn | Executor | Cluster | None", check_run_in]
    memory_limit: Annotated[int | str | None, check_memory]
    deadline: Annotated[float | None, check_limit]
    on_conflict: Annotated[Literal["warn", "raise", "ignore"] | None, check_on_conflict]
    slow_hook_s: Annotated[float | None, check_limit]
    show_items: Annotated[bool | None, optional(check_flag)]


class BatchGraphSettings(GraphSettings, total=False):
    """The keywords of a BatchGraph, in addition to its start."""

    on_error: Annotated[str | float, check_on_error]


# Type variables that default to Any, so that nobody has to write types.
# Type checkers know defaults on every Python; at run time they come with 3.13.
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
