"""Nodes that fail in the same moment, and what is kept of their errors."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from random import Random
from typing import Any

from kaygraph import (
    BatchGraph,
    Event,
    Graph,
    ItemFailed,
    MapReduceNode,
    Node,
    Outcome,
    ParallelBatchNode,
    TooManyFailuresError,
)
from kaygraph.testing import assert_accounted, simulate


class PlannedError(Exception):
    """Says who has failed, on which item."""

    def __init__(self, name: str, item: Any) -> None:
        super().__init__(name, item)
        self.name, self.item = name, item


def leaves(error: BaseException | None) -> list[BaseException]:
    """Return the single errors in an error, in order."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [] if error is None else [error]


class Ledger:
    """What has failed for good, and where it was met again.

    Attributes:
        raised: The errors that no attempt followed, as they left ``exec``.
        found: Those in results, outcomes and on error routes.
    """

    def __init__(self) -> None:
        self.raised: list[BaseException] = []
        self.found: list[BaseException] = []

    async def work(self, node: Any, item: Any, fails: bool, seconds: float = 1.0) -> Any:
        await asyncio.sleep(seconds)
        self.end(node, item, fails)
        return item

    def end(self, node: Any, item: Any, fails: bool) -> None:
        if fails:
            error = PlannedError(node.name, item)
            if node.attempt == node.max_retries:
                self.raised.append(error)
            raise error

    def play(self, graph: Any, seed: int) -> tuple[BaseException | None, list[Event]]:
        """Run a graph; return what it raises, and its events."""
        errors: list[BaseException] = []

        async def main(shared: Any) -> None:
            try:
                await graph.run_async(shared)
            except Exception as error:
                errors.append(error)

        run = simulate(main, {}, seed=seed, order="turns", jitter=0)
        assert not run.left
        assert_accounted(run.events)
        return (errors[0] if errors else None), run.events


class Fails(Node[Any, Any]):
    """One of several nodes: fails, or works, after so many seconds."""

    def __init__(
        self, ledger: Ledger, fails: bool = True, seconds: float = 1.0, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.ledger, self.fails, self.seconds = ledger, fails, seconds

    async def exec(self, _: Any) -> Any:
        return await self.ledger.work(self, None, self.fails, self.seconds)


class FailsInRound(Fails):
    async def exec(self, _: Any) -> Any:
        number = self.params["round"]
        return await self.ledger.work(self, number, number in self.params["bad"])


class FailsOnSome(ParallelBatchNode[Any, Any]):
    """Fails on the items that are bad."""

    def __init__(
        self,
        ledger: Ledger,
        items: Sequence[Any],
        bad: Collection[Any],
        seconds: float = 1.0,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.ledger, self.items, self.bad, self.seconds = ledger, items, bad, seconds
        self.results: list[Any] | None = None

    def prep(self, _: Any) -> Sequence[Any]:
        return self.items

    async def exec(self, item: Any) -> Any:
        return await self.ledger.work(self, item, item in self.bad, self.seconds)

    def post(self, _: Any, __: Any, results: Any) -> None:
        self.results = getattr(results, "results", results)  # a stage gets a report


class FailsInThreads(FailsOnSome):
    def exec(self, item: Any) -> Any:
        self.ledger.end(self, item, item in self.bad)
        return item


class Rounds(BatchGraph):
    items: Sequence[Any] = ()
    bad: Collection[Any] = ()
    results: list[Any] | None = None

    def prep(self, _: Any) -> Any:
        return [{"round": number, "bad": self.bad} for number in self.items]

    def post(self, _: Any, __: Any, results: Any) -> None:
        object.__setattr__(self, "results", results)


class FailsInMap(MapReduceNode):
    def __init__(
        self, ledger: Ledger, items: Sequence[Any], bad: Collection[Any], **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.ledger, self.items, self.bad = ledger, items, bad
        self.results: dict[Any, Any] | None = None

    def prep(self, _: Any) -> Sequence[Any]:
        return self.items

    async def map(self, item: Any) -> Any:
        await self.ledger.work(self, item, item in self.bad)
        return [(item, item)]

    def post(self, _: Any, __: Any, results: Any) -> None:
        self.results = results


def wrapped(random: Random, node: Any) -> tuple[Graph, str]:
    """Put a node into one to three graphs; return the outermost, and the node's path in it."""
    path = ""
    for depth in range(random.randint(0, 2)):
        name = f"inner{depth}"
        node, path = Graph(node, name=name), f"{name}/{path}"
    return Graph(node, name="whole"), path


def allowed(on_error: str | float, items: int) -> float:
    """Return how many failures a policy bears."""
    match on_error:
        case "raise":
            return 0
        case "collect" | "skip":
            return items
        case int():
            return on_error
        case _:
            assert isinstance(on_error, float)
            return on_error * items


def policy(random: Random, items: int) -> str | float:
    number, share = random.randint(1, items), random.choice([0.3, 0.5])
    choices: list[str | float] = ["raise", "raise", "collect", "skip", number, share]
    return random.choice(choices)


def check_note(error: BaseException, place: str) -> None:
    """The error says once where it happened."""
    notes = [note for note in error.__notes__ if note.startswith("in node ")]
    assert notes == [f"in node {place}"]


def check_raised(error: BaseException | None, raised: Sequence[BaseException]) -> None:
    """One error is raised as itself, several as a group that holds each of them once."""
    assert error is not None
    if isinstance(error, TooManyFailuresError) or len(raised) > 1:
        assert isinstance(error, ExceptionGroup)
    assert sorted(map(id, leaves(error))) == sorted(map(id, raised)), (error, raised)


def check_policy(
    ledger: Ledger,
    on_error: str | float,
    items: Sequence[Any],
    bad: Collection[Any],
    at_once: bool,
    error: BaseException | None,
    results: Iterable[Any] | None,
) -> None:
    """A batch, a stage or a set of rounds did with its failures what its policy says.

    Args:
        at_once: Whether all items are worked on at once, so that all failures come in one moment.
    """
    if len(bad) > allowed(on_error, len(items)):
        check_raised(error, ledger.raised)
        assert isinstance(error, TooManyFailuresError) == (on_error != "raise")
        if at_once:
            assert len(ledger.raised) == len(bad)
        return
    assert error is None
    assert results is not None
    kept = [item for item in items if on_error != "skip" or item not in bad]
    for item, result in zip(kept, results, strict=True):
        assert isinstance(result, Outcome) == (item in bad)
        if isinstance(result, Outcome):
            assert (result.status, result.index) == ("failed", item)
            assert result.error in ledger.raised
    assert len(ledger.raised) == len(bad)


def failed_items(events: Iterable[Event]) -> list[BaseException]:
    """Return the errors of the items that have failed or were skipped, by the events."""
    return [e.error for e in events if isinstance(e, ItemFailed) and e.status != "cancelled"]


Form = Callable[[Random, int], int]  # (choices, seed) -> how many errors there were at once
