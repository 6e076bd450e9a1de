"""G6: exactly the attempts asked for, counted per item; cancellation is never retried.

Not seeded: every sequence of ok, fail, cancel and timeout up to five attempts is tried (up to three
in every run, and to five as a proof), by single nodes and by the items of batches, stages and
rounds at once.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any

import pytest

from kaygraph import (
    AwaitedCancelledError,
    BatchGraph,
    Graph,
    ItemFailed,
    ItemFinished,
    ItemRetried,
    Node,
    Outcome,
    ParallelBatchNode,
    Retry,
)
from kaygraph.testing import simulate
from kaygraph.types import RunTask

MOST, FAST_MOST = 5, 3
ENDS = ("ok", "fail", "cancel", "timeout")
TIMEOUT_S = 2.0

Ends = tuple[str, ...]  # how the attempts at an item end, if they are made


@pytest.fixture(
    params=[FAST_MOST, pytest.param(MOST, marks=pytest.mark.proofs)], ids="to {}".format
)
def counts(request: pytest.FixtureRequest) -> range:
    """Return how many attempts an item may have: one, two and so on."""
    return range(1, request.param + 1)


def sequences(attempts: int) -> list[Ends]:
    return list(product(ENDS, repeat=attempts))


def expected(ends: Ends, retried: Sequence[str] = ("fail", "timeout")) -> tuple[str, int]:
    """Return how an item ends, and after how many attempts."""
    for number, end in enumerate(ends, 1):
        if end in ("ok", "cancel") or end not in retried or number == len(ends):
            break
    statuses = {"ok": "ok", "fail": "failed", "cancel": "cancelled", "timeout": "timed_out"}
    return statuses[end], number


class Calls:
    """What was called, by item: ``self.attempt`` at each call of ``exec`` and of the fallback.

    Args:
        cancels: How a cancellation comes: from exec "itself", which cancels its task; from
            "outside"; or "hidden", from outside, and exec makes an error of it, as of that by a
            timeout.
    """

    def __init__(self, cancels: str = "outside") -> None:
        self.cancels = cancels
        self.attempts: dict[Ends, list[int]] = {}
        self.fallbacks: dict[Ends, list[int]] = {}
        self.run: RunTask | None = None
        self.loop: Any = None

    def end(self, node: Any, item: Ends) -> str:
        """Count a call of exec; return how it should end."""
        counted = self.attempts.setdefault(item, [])
        counted.append(node.attempt)
        return item[len(counted) - 1] if len(counted) <= len(item) else "ok"

    def cancel(self) -> None:
        assert self.run is not None
        self.run.cancel()

    def cancel_task(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async def follow(self, node: Any, item: Ends) -> Ends:
        end = self.end(node, item)
        if end == "fail":
            if node.attempt % 2:
                raise ValueError(item)
            raise asyncio.CancelledError  # as from a task that others have cancelled
        if end != "ok":
            if end == "cancel" and self.cancels == "itself":
                self.cancel_task()
            elif end == "cancel":
                asyncio.get_running_loop().call_soon(self.cancel)
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                if self.cancels == "hidden":
                    raise ValueError("hidden") from None
                raise
        return item

    def play(self, graph: Any) -> tuple[list[Any], BaseException | None]:
        """Run it; return its events and its error."""
        errors: list[BaseException] = []

        async def main(shared: Any) -> None:
            self.run, self.loop = graph.launch(shared), asyncio.get_running_loop()
            try:
                await self.run
            except (Exception, asyncio.CancelledError) as error:
                errors.append(error)

        run = simulate(main, {})
        assert not run.left
        return run.events, errors[0] if errors else None

    def check(self, item: Ends, attempts: int, events: Iterable[Any], index: int = 0) -> None:
        """An item was called that often, with the right attempt numbers, and the events agree."""
        assert self.attempts[item] == list(range(1, attempts + 1)), item
        own = [event for event in events if getattr(event, "item", None) == index]
        retries = [event.attempt for event in own if isinstance(event, ItemRetried)]
        assert retries == list(range(1, attempts)), item
        ended = [event for event in own if isinstance(event, ItemFinished | ItemFailed)]
        assert [event.attempts for event in ended] == [attempts], item


class Follows(Node[Any, Any]):
    def __init__(self, calls: Calls, item: Ends | None = None, **settings: Any) -> None:
        super().__init__(timeout=TIMEOUT_S, **settings)
        self.calls, self.item = calls, item

    def prep(self, _: Any) -> Ends:
        return self.params["item"] if self.item is None else self.item

    async def exec(self, item: Ends) -> Ends:
        return await self.calls.follow(self, item)


class FollowsInThread(Follows):
    """The same, blocking; a cancellation arrives while the call is in flight."""

    def exec(self, item: Ends) -> Ends:  # type: ignore[override]
        end = self.calls.end(self, item)
        if end == "fail":
            raise ValueError(item)
        if end == "timeout":
            time.sleep(TIMEOUT_S + 1)
        elif end == "cancel":
            time.sleep(TIMEOUT_S - 1)
            self.calls.loop.call_soon(self.calls.cancel)
        return item


class FallsBack(Follows):
    def exec_fallback(self, item: Ends, _: Exception) -> Ends:
        self.calls.fallbacks.setdefault(item, []).append(self.attempt)
        return item


class FollowMany(ParallelBatchNode[Any, Any]):
    def __init__(self, calls: Calls, items: Sequence[Ends], **settings: Any) -> None:
        super().__init__(timeout=TIMEOUT_S, on_error="collect", **settings)
        self.calls, self.items = calls, items
        self.results: list[Any] = []

    def prep(self, _: Any) -> Sequence[Ends]:
        return self.items

    async def exec(self, item: Ends) -> Ends:
        return await self.calls.follow(self, item)

    def post(self, _: Any, __: Any, results: Any) -> None:
        self.results = getattr(results, "results", results)  # a stage gets a report


class ManyFallBack(FollowMany):
    async def exec_fallback(self, item: Ends, _: Exception) -> Ends:
        self.calls.fallbacks.setdefault(item, []).append(self.attempt)
        return item


class Rounds(BatchGraph):
    items: Sequence[Ends] = ()

    def prep(self, _: Any) -> Any:
        return [{"item": item} for item in self.items]


SETTINGS: dict[str, Callable[[int], dict[str, Any]]] = {
    "max_retries": lambda attempts: {"max_retries": attempts},
    "wait": lambda attempts: {"max_retries": attempts, "wait": 1},
    "Retry": lambda attempts: {"retry": Retry(attempts=attempts, wait=1, backoff=2, jitter=0.5)},
}


@pytest.mark.parametrize("cancels", ["itself", "outside", "hidden"])
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("kind", [Follows, FallsBack])
def test_a_node_is_tried_exactly_as_often_as_asked(
    kind: type[Follows],
    settings: str,
    cancels: str,
    counts: range,
    tally: Callable[[str, int], None],
) -> None:
    """Until it works, is cancelled, or has failed as often as it may; then the fallback, once."""
    tried = 0
    for attempts in counts:
        for item in sequences(attempts):
            calls = Calls(cancels)
            node = kind(calls, item, **SETTINGS[settings](attempts))
            events, error = calls.play(Graph(node))
            status, number = expected(item)
            calls.check(item, number, events)
            good = status == "ok" or (kind is FallsBack and status != "cancelled")
            assert (error is None) == good, item
            if status == "cancelled" and cancels != "hidden":
                assert isinstance(error, asyncio.CancelledError), item
            fell_back = kind is FallsBack and status in ("failed", "timed_out")
            assert calls.fallbacks == ({item: [number]} if fell_back else {}), item
            tried += 1
    tally("G6 sequences, by single nodes", tried)


def test_a_node_in_a_thread_is_tried_exactly_as_often_as_asked(
    counts: range, tally: Callable[[str, int], None]
) -> None:
    """Written 'def' as well; a cancellation that comes while it blocks is not retried."""
    tried = 0
    for attempts in counts:
        for item in sequences(attempts):
            calls = Calls()
            node = FollowsInThread(calls, item, max_retries=attempts)
            events, error = calls.play(Graph(node))
            status, number = expected(item)
            calls.check(item, number, events)
            assert (error is None) == (status == "ok"), item
            assert isinstance(error, asyncio.CancelledError) == (status == "cancelled"), item
            tried += 1
    tally("G6 sequences, by single nodes", tried)


@pytest.mark.parametrize("retried", ["fail", "timeout"])
def test_an_error_that_is_not_worth_another_attempt_gets_none(
    retried: str, counts: range, tally: Callable[[str, int], None]
) -> None:
    """Retry(on=…), a class or a function: the first other error is the last attempt."""
    tried = 0
    on: Any = (
        (ValueError, AwaitedCancelledError)
        if retried == "fail"
        else lambda error: isinstance(error, TimeoutError)
    )
    for attempts in counts:
        for item in sequences(attempts):
            calls = Calls()
            events, _ = calls.play(Follows(calls, item, retry=Retry(attempts=attempts, on=on)))
            calls.check(item, expected(item, (retried,))[1], events)
            tried += 1
    tally("G6 sequences, by single nodes", tried)


def settled(attempts: int) -> list[Ends]:
    """Return the sequences that end without a cancellation."""
    return [item for item in sequences(attempts) if expected(item)[0] != "cancelled"]


@pytest.mark.parametrize("workers", [1, 3, 2000])
@pytest.mark.parametrize("kind", [FollowMany, ManyFallBack])
@pytest.mark.parametrize("where", ["batch", "stage"])
def test_attempts_are_counted_for_each_item_by_itself(
    where: str,
    kind: type[FollowMany],
    workers: int,
    counts: range,
    tally: Callable[[str, int], None],
) -> None:
    """All sequences at once, in one batch: none of them uses up the attempts of another."""
    tried = 0
    for attempts in counts:
        items = settled(attempts)
        calls = Calls()
        node = kind(calls, items, max_retries=attempts, wait=1, max_workers=workers)
        source = ParallelSource(items)
        events, error = calls.play(node if where == "batch" else source | node)
        assert error is None
        by_item: dict[int, list[Any]] = {}
        for event in events:
            by_item.setdefault(getattr(event, "item", -1), []).append(event)
        for index, item in enumerate(items):
            status, number = expected(item)
            calls.check(item, number, by_item[index], index)
            result = node.results[index]
            if status == "ok" or kind is ManyFallBack:
                assert result == item
            else:
                assert isinstance(result, Outcome)
                assert (result.status, result.attempts) == (status, number)
            fell_back = kind is ManyFallBack and status != "ok"
            assert calls.fallbacks.get(item, []) == ([attempts] if fell_back else []), item
        tried += len(items)
    tally("G6 sequences, by items of batches and pipelines", tried)


class ParallelSource(Node[Any, Any]):
    """The first stage of a pipeline: it gives the items."""

    def __init__(self, items: Sequence[Ends]) -> None:
        super().__init__()
        self.items = items

    def prep(self, _: Any) -> Sequence[Ends]:
        return self.items


@pytest.mark.parametrize("at_once", [1, 3, 2000])
def test_attempts_of_a_node_in_many_rounds_at_once_are_counted_for_each(
    at_once: int, counts: range, tally: Callable[[str, int], None]
) -> None:
    """The same node object runs in all rounds: what it counts is not on the node."""
    tried = 0
    for attempts in counts:
        calls = Calls()
        rounds = Rounds(
            FallsBack(calls, max_retries=attempts, wait=1), max_workers=at_once, on_error="collect"
        )
        rounds.items = settled(attempts)
        _, error = calls.play(rounds)
        assert error is None
        for item in rounds.items:
            status, number = expected(item)
            assert calls.attempts[item] == list(range(1, number + 1)), item
            assert calls.fallbacks.get(item, []) == ([] if status == "ok" else [attempts]), item
        tried += len(rounds.items)
    tally("G6 sequences, by rounds", tried)


@pytest.mark.parametrize("cancels", ["outside", "hidden"])
def test_an_item_that_is_cancelled_is_not_tried_again(
    cancels: str, counts: range, tally: Callable[[str, int], None]
) -> None:
    """Nor are those in flight with it, which are cancelled too; no fallback is called for any."""
    tried = 0
    for attempts in counts:
        for item in sequences(attempts):
            status, number = expected(item)
            if status != "cancelled":
                continue
            others = [("timeout",) * MOST, ("timeout",) * (MOST + 1)]  # in flight all the time
            calls = Calls(cancels)
            node = ManyFallBack(calls, [others[0], item, others[1]], max_retries=MOST)
            events, error = calls.play(Graph(node))
            assert isinstance(error, asyncio.CancelledError), item
            calls.check(item, number, events, 1)
            assert not calls.fallbacks, item
            for index, other in ((0, others[0]), (2, others[1])):
                if other in calls.attempts:
                    calls.check(other, len(calls.attempts[other]), events, index)
                    assert len(calls.attempts[other]) <= item[:number].count("timeout") + 1
            tried += 1
    tally("G6 sequences, by items that are cancelled", tried)
