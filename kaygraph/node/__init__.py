"""One node: three steps, its settings and its wiring, and the call of ``exec``."""

from .node import AsyncNode as AsyncNode
from .node import BaseNode as BaseNode
from .node import Node as Node
