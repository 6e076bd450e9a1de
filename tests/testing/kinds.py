"""Batches whose ``exec`` is written in every way, and how their items ended."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from kaygraph import Event, ItemFailed, ItemFinished, Node, Outcome, ParallelBatchNode


class Gets(ParallelBatchNode[Any, Any]):
    """Returns its items; failures in their place."""

    max_workers = 4
    on_error = "collect"

    def __init__(self, items: Any = range(30), **settings: Any) -> None:
        super().__init__(**settings)
        self.items = items

    def prep(self, _: Any) -> Any:
        return self.items

    async def exec(self, item: Any) -> Any:
        return item

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["results"] = [
            result.status if isinstance(result, Outcome) else result for result in results
        ]


class GetsInThread(Gets):
    def exec(self, item: Any) -> Any:  # type: ignore[override]
        return item


class Yields(Gets):
    def exec(self, item: Any) -> Iterator[Any]:  # type: ignore[override]
        yield item
        yield item


class YieldsLater(Gets):
    async def exec(self, item: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        yield item
        yield item


class Doubles(GetsInThread):
    """Short enough to be worked off in a process of its own."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(range(8), **settings)


class Numbers(Node[Any, Any]):
    """A source."""

    def prep(self, _: Any) -> range:
        return range(5)


KINDS = [Gets, GetsInThread, Yields, YieldsLater]


def statuses(events: list[Event]) -> dict[tuple[str, int], tuple[str, int]]:
    """Return per node and item how it ended, and after how many attempts."""
    ended = {}
    for event in events:
        if isinstance(event, ItemFinished):
            ended[event.node, event.item] = ("ok", event.attempts)
        elif isinstance(event, ItemFailed):
            ended[event.node, event.item] = (event.status, event.attempts)
    return ended
