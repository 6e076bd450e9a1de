"""Graphs: edges and joins known before the run, tokens that move, joins that run once."""

from .graph import Graph as Graph
from .rounds import BatchGraph as BatchGraph
