"""Compatibility: code for PocketFlow 0.0.3 or KayGraph 0.3 runs with its import line changed.

The classes are thin subclasses of the nodes and graphs of kaygraph. They add the hook names and the
behaviour of those libraries: a node is copied before it runs, an unknown action ends a flow with a
warning, and so on. Nodes of both kinds can share a graph. docs/migrating.md lists the
incompatibilities and what to write instead.
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
