"""A node that computes, in a module of its own: worker processes import it."""

from typing import Any

from kaygraph import ParallelBatchNode


def work(number: int) -> int:
    """Compute for some 50 ms, with the interpreter's lock held."""
    for _ in range(1_000_000):
        number = (number * 7 + 1) % 1_000_003
    return number


class Computes(ParallelBatchNode[Any, Any]):
    """Computes in a ``def``."""

    def prep(self, shared: Any) -> Any:
        return range(100)

    def exec(self, item: int) -> int:
        return work(item)
