"""Races: who is asked when, who wins, and what happens to the others."""

import asyncio
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

import pytest

from kaygraph import Graph, Node
from kaygraph.patterns import RaceNode
from kaygraph.testing import DeadlockError, cancel_everywhere, explore, simulate
from tests.calls import now


class Track:
    """Candidates that note when they are asked, and when they were let go."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []
        self.left: list[tuple[str, float]] = []

    def runner(
        self, name: str, seconds: float, error: Exception | None = None
    ) -> Callable[..., Any]:
        async def run(record: Any) -> str:
            self.asked.append((name, now()))
            try:
                await asyncio.sleep(seconds)
            finally:
                self.left.append((name, now()))
            if error is not None:
                raise error
            return name

        run.__name__ = name
        return run


@pytest.fixture
def track() -> Track:
    return Track()


def raced(node: Any, record: Any = None) -> tuple[Any, float]:
    run = simulate(node, {"record": record})
    return run.shared["answer"], run.seconds


def test_a_quick_answer_asks_nobody_else(track: Track) -> None:
    """The second candidate costs nothing where the first is within the delay."""
    node = RaceNode(track.runner("a", 0.5), track.runner("b", 0.1), delay=1, writes="answer")
    assert raced(node) == ("a", 0.5)
    assert track.asked == [("a", 0.0)]


def test_a_slow_answer_is_asked_for_again_after_the_delay(track: Track) -> None:
    """The first to succeed wins; the other is cancelled, and has ended when the race has."""
    node = RaceNode(track.runner("a", 9), track.runner("b", 1), delay=0.5, writes="answer")
    assert raced(node) == ("b", 1.5)
    assert track.asked == [("a", 0.0), ("b", 0.5)]
    assert track.left == [("b", 1.5), ("a", 1.5)]


def test_the_first_may_still_win_when_the_second_runs(track: Track) -> None:
    """It is a race, and not a replacement."""
    node = RaceNode(track.runner("a", 1), track.runner("b", 1), delay=0.5, writes="answer")
    assert raced(node) == ("a", 1.0)
    assert track.left == [("a", 1.0), ("b", 1.0)]


def test_a_failure_asks_the_next_at_once(track: Track) -> None:
    """The rest of the delay is not waited for, and the delay of the third starts again."""
    runners = [track.runner("a", 1, ValueError("a")), track.runner("b", 9), track.runner("c", 1)]
    assert raced(RaceNode(*runners, delay=5, writes="answer")) == ("c", 7.0)
    assert track.asked == [("a", 0.0), ("b", 1.0), ("c", 6.0)]


def test_without_a_delay_all_are_asked_at_once(track: Track) -> None:
    """As first_of does."""
    node = RaceNode(track.runner("a", 3), track.runner("b", 2), writes="answer")
    assert raced(node) == ("b", 2.0)
    assert track.asked == [("a", 0.0), ("b", 0.0)]


def test_of_answers_in_the_same_moment_the_first_candidates_wins() -> None:
    """It does not depend on how the tasks lie in memory."""

    async def race() -> int:
        all_asked = asyncio.Event()
        asked: list[int] = []

        async def ask(number: int, _: Any) -> int:
            asked.append(number)
            if len(asked) == 8:
                all_asked.set()
            await all_asked.wait()
            return number

        return await RaceNode[int](*[partial(ask, number) for number in range(8)]).exec(None)

    assert [asyncio.run(race()) for _ in range(3)] == [0, 0, 0]


def test_an_endless_delay_waits_for_a_failure(track: Track) -> None:
    """Failover: the second is asked only when the first has failed."""
    slow = track.runner("a", 100, ValueError("a"))
    assert raced(RaceNode(slow, track.runner("b", 1), delay=inf, writes="answer")) == ("b", 101.0)


def test_an_endless_delay_sets_no_timer(track: Track) -> None:
    """What hangs for ever is seen to hang."""

    async def hangs(_: Any) -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(DeadlockError):
        simulate(RaceNode(hangs, track.runner("b", 1), delay=inf))


def test_when_all_fail_all_errors_are_kept(track: Track) -> None:
    """In the order of the candidates, not in that of the failures."""
    errors = [ValueError("a"), KeyError("b")]
    runners = [track.runner("a", 2, errors[0]), track.runner("b", 1, errors[1])]
    with pytest.raises(ExceptionGroup, match="all 2 candidates of 'RaceNode' failed") as caught:
        simulate(RaceNode(*runners))
    assert list(caught.value.exceptions) == errors
    assert errors[0].__notes__ == ["in node 'RaceNode/a'"]


def test_attempts_and_timeouts_are_each_candidates(track: Track) -> None:
    """A candidate fails when its own attempts are spent."""
    node = RaceNode(
        track.runner("a", 9),
        track.runner("b", 1),
        delay=inf,
        timeout=2,
        max_retries=2,
        writes="answer",
    )
    assert raced(node) == ("b", 5.0)
    assert [name for name, _ in track.asked] == ["a", "a", "b"]


def test_a_deadline_ends_the_race(track: Track) -> None:
    """Running candidates are cancelled and have ended."""
    node = RaceNode(track.runner("a", 9), track.runner("b", 9), delay=1, deadline=3)
    with pytest.raises(TimeoutError, match="deadline=3 s"):
        simulate(node)
    assert [at for _, at in track.left] == [3.0, 3.0]


def test_nodes_race_with_their_own_settings(track: Track) -> None:
    """Their exec gets the record; two of one name are distinct."""

    class Mirror(Node[Any, Any]):
        async def exec(self, record: Any) -> Any:
            await asyncio.sleep(record[self.timeout])
            return self.timeout

    node = RaceNode(Mirror(timeout=1), Mirror(timeout=4), reads="record", writes="answer")
    run = simulate(node, {"record": {1: 2, 4: 3}})
    assert (run.shared["answer"], run.seconds) == (4, 3.0)
    assert {"RaceNode/Mirror", "RaceNode/Mirror-2"} <= run.report.nodes.keys()


def test_a_loser_that_cannot_be_stopped_is_waited_for() -> None:
    """A thread ends by itself, and nothing is left behind."""
    import time

    def blocking(_: Any) -> str:
        time.sleep(5)
        return "late"

    async def quick(_: Any) -> str:
        await asyncio.sleep(1)
        return "quick"

    assert raced(RaceNode(blocking, quick, writes="answer")) == ("quick", 5.0)


@pytest.mark.parametrize("delay", [-1, True, "1"])
def test_a_delay_that_is_none_is_refused(delay: Any) -> None:
    """Seconds, 0 or more."""
    with pytest.raises(ValueError, match="delay must be a number of seconds"):
        RaceNode(print, delay=delay)


def test_a_race_of_nobody_is_refused() -> None:
    """With what to type."""
    with pytest.raises(TypeError, match="RaceNode needs candidates"):
        RaceNode()


def test_cancelled_anywhere_it_leaves_nothing(track: Track) -> None:
    """Nor does a second cancellation while it waits for the losers."""
    runners = [track.runner("a", 9), track.runner("b", 1, ValueError()), track.runner("c", 2)]
    graph = Graph(RaceNode(*runners, delay=1, max_retries=2, wait=1), max_workers=2)
    assert cancel_everywhere(graph, seeds=2) > 20
    assert cancel_everywhere(graph, again=1) > 20


def test_somebody_wins_in_every_interleaving(track: Track) -> None:
    """Also where an answer, a failure and the end of the delay come in the same moment."""
    runners = [track.runner("a", 2), track.runner("b", 1, ValueError()), track.runner("c", 1)]
    node = RaceNode(*runners, delay=1, writes="answer")
    exploration = explore(node, check=lambda shared: shared["answer"] in "abc", seeds=100)
    assert not exploration.failures, exploration
