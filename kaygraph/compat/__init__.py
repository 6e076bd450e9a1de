"""The ancestors' names: code for PocketFlow 0.0.3 or KayGraph 0.3 runs with its import changed.

The classes are thin: they bring the ancestors' hook names and habits (a node is copied before it
runs, an unknown action ends a flow with a warning, …) to the nodes and graphs of this library,
which do the work. They stand in its graphs, and its nodes stand in their flows. What could not be
kept, and what to write instead, is in docs/migrating.md.
"""

from .._public import show_public
from ._ancestral import BaseNode
from .config import Config
from .flows import (
    AsyncBatchFlow,
    AsyncFlow,
    AsyncParallelBatchFlow,
    BatchFlow,
    Flow,
)
from .measured import MetricsNode, ValidatedNode
from .nodes import (
    AsyncBatchNode,
    AsyncNode,
    AsyncParallelBatchNode,
    BatchNode,
    Node,
    ParallelBatchNode,
)

# PocketFlow says flow where KayGraph says graph.
Graph = Flow
BatchGraph = BatchFlow
AsyncGraph = AsyncFlow
AsyncBatchGraph = AsyncBatchFlow
AsyncParallelBatchGraph = AsyncParallelBatchFlow

__all__ = [
    "AsyncBatchFlow",
    "AsyncBatchGraph",
    "AsyncBatchNode",
    "AsyncFlow",
    "AsyncGraph",
    "AsyncNode",
    "AsyncParallelBatchFlow",
    "AsyncParallelBatchGraph",
    "AsyncParallelBatchNode",
    "BaseNode",
    "BatchFlow",
    "BatchGraph",
    "BatchNode",
    "Config",
    "Flow",
    "Graph",
    "MetricsNode",
    "Node",
    "ParallelBatchNode",
    "ValidatedNode",
]

show_public()
