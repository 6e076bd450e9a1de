"""``exec`` once per item: workers that pull, each behind permits."""

from .batch import BatchNode as BatchNode
from .batch import ParallelBatchNode as ParallelBatchNode
