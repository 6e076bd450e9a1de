"""Limits of several kinds on one node: rates, keys, permits; and what cannot be meant."""

import asyncio
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import pytest

from kaygraph import Graph, MapReduceNode, NodeDefinitionError, RateLimit
from tests.calls import Calls, after, most_in_a_window, played
from tests.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


# --- rates and permits ---


def test_several_rates_hold_at_once() -> None:
    """Two a second and three in four seconds."""
    node = Calls(range(7), rate=[RateLimit(2, per=1), RateLimit(3, per=4)])
    played(node.run_async({}))
    assert node.starts == [0, 0, 1, 4, 4, 5, 8]


def test_rates_in_whose_lines_others_wait_are_both_entered_in_the_end() -> None:
    """One needs two rates; in the line of each stands a younger one that has to wait longer."""
    first = RateLimit(10, per=10, weight=itemgetter(0))
    second = RateLimit(10, per=1, weight=itemgetter(1))

    def call(at: float, weights: tuple[int, int], *rates: RateLimit) -> tuple[float, Calls]:
        return at, Calls([weights], rate=rates)

    both = call(0.5, (1, 1), first, second)
    calls = [
        call(0, (1, 5), first, second),
        call(0.25, (0, 5), second),
        both,
        call(0.625, (10, 0), first),
        call(0.75, (0, 10), second),
    ]
    played(*(after(at, node) for at, node in calls))
    assert both[1].starts == [1]
    assert [node.starts for _, node in calls] == [[0], [0.25], [1], [11], [2]]


def test_permits_are_free_while_one_waits_for_its_rate() -> None:
    """Under a graph's only permit another node goes on, and so does another key's item."""
    slow = Calls(range(3), rate=RateLimit(1, per=10), limit_by=lambda item: "key")
    fast = Calls(range(8), 1)
    played(Graph([slow, fast], max_workers=1).run_async({}))
    assert slow.starts == [0, 10, 20]
    assert fast.starts == [0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("workers", [1, 3, 100])
def test_rate_holds_under_caps_of_a_node_and_a_graph(workers: int) -> None:
    """However many may work at once, five in three seconds begin, and no more."""
    node = Calls(range(20), 0.25, rate=RateLimit(5, per=3), max_workers=workers)
    played(Graph(node, max_workers=4).run_async({}))
    assert most_in_a_window(node.starts, 3) == 5
    assert node.starts[-1] <= 9 + 4 * 0.25


def test_call_behind_a_busy_cap_is_not_overtaken_for_ever() -> None:
    """It needs the graph's only permit and the rate, and both are never free at once by chance."""
    rate = RateLimit(1, per=1)
    others = Calls(range(30), rate=rate, max_workers=1)  # each in turn, younger than the one below
    busy, both = Calls(range(30), 0.7, max_workers=2), Calls(range(1), rate=rate)
    played(others.run_async({}), Graph([busy, both], max_workers=1).run_async({}))
    assert both.starts[0] < 10


# --- caps by key ---


class Keyed(Calls):
    """Notes the most items of a key at once, and of all keys."""

    def __init__(self, items: Any, **settings: Any) -> None:
        super().__init__(items, **settings)
        self.running: dict[Any, int] = {}
        self.most: dict[Any, int] = {}
        self.most_of_all = 0

    async def exec(self, item: Any) -> None:
        key = item[0]
        self.running[key] = self.running.get(key, 0) + 1
        self.most[key] = max(self.most.get(key, 0), self.running[key])
        self.most_of_all = max(self.most_of_all, sum(self.running.values()))
        await asyncio.sleep(1)
        self.running[key] -= 1


class ByMethod(Keyed):
    max_per_key = 2

    def limit_by(self, item: Any) -> Any:
        return item[0]


class ByFunction(Keyed):
    limit_by = itemgetter(0)
    max_per_key = 2


class ByLambda(Keyed):
    limit_by = lambda item: item[0]  # noqa: E731 - as people write it
    max_per_key = 2


class ByStatic(Keyed):
    @staticmethod
    def limit_by(item: Any) -> Any:
        return item[0]


ITEMS = ["a1", "a2", "a3", "b1", "b2", "b3", "c1", "a4", "a5"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Keyed(ITEMS, limit_by=itemgetter(0), max_per_key=2),
        lambda: ByLambda(ITEMS),
        lambda: ByMethod(ITEMS),
        lambda: ByFunction(ITEMS),
        lambda: ByStatic(ITEMS, max_per_key=2),
    ],
)
def test_so_many_of_one_key_run_at_once(make: Callable[[], Keyed]) -> None:
    """As a keyword, a method, a function on the class; keys do not wait for one another."""
    node = make()
    assert played(node.run_async({})) == 3
    assert node.most == {"a": 2, "b": 2, "c": 1}
    assert node.most_of_all == 5


def test_one_of_a_key_runs_at_once_by_default() -> None:
    """max_per_key is 1, and the graph's cap holds over all keys."""
    node = Keyed(ITEMS, limit_by=itemgetter(0))
    assert played(Graph(node, max_workers=2).run_async({})) == 5
    assert node.most == {"a": 1, "b": 1, "c": 1}
    assert node.most_of_all == 2


def test_cap_of_a_key_is_the_runs() -> None:
    """Two runs at once have one each; two walks over the node in one run share it."""
    node = Keyed(["a1", "a2"], limit_by=itemgetter(0))
    played(node.run_async({}), node.run_async({}))
    assert node.most == {"a": 2}
    node = Keyed(["a1", "a2"], limit_by=itemgetter(0))
    played(Graph([Graph(node), Graph(node)]).run_async({}))
    assert node.most == {"a": 1}


async def test_key_that_cannot_be_one_is_reported() -> None:
    """The error names the setting, what it returned, and the item."""
    node = Keyed([["a"]], limit_by=lambda item: item)
    with pytest.raises(TypeError, match=r"limit_by.*\['a'\]") as caught:
        await node.run_async({})
    assert caught.value.__notes__ == ["in node 'Keyed', item 0 (['a'])"]


# --- what cannot be meant ---


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: RateLimit(0), "calls must be a number above 0, got 0"),
        (lambda: RateLimit(True), "calls must be a number above 0, got True"),
        (lambda: RateLimit(float("nan")), "calls must be a number above 0, got nan"),
        (lambda: RateLimit(5, per=0), "per must be more than 0 seconds"),
        (lambda: RateLimit(5, per=-1), "per must be a number of seconds"),
        (lambda: RateLimit(5, per=None), "per must be a number of seconds, 0 or more, got None"),  # type: ignore[arg-type]
        (lambda: RateLimit(5, weight=6), r"an item weighs 6, and RateLimit\(5, per=1\)"),
        (lambda: RateLimit(5, weight=-1), "weight must be a number, 0 or more, got -1"),
        (lambda: RateLimit(5, weight=asyncio.sleep), "weight must be written 'def'"),  # type: ignore[arg-type]
        (lambda: Calls(rate=5), r"rate must be a RateLimit\(calls, per=seconds\)"),
        (lambda: Calls(rate=[RateLimit(5), 5]), "or a list of them, got 5"),
        (lambda: Calls(rate=[RateLimit(5)] * 2), "holds the same RateLimit twice"),
        (lambda: Calls(limit_by="host"), "limit_by must be callable"),
        (lambda: Calls(limit_by=asyncio.sleep), "limit_by must be written 'def'"),
        (lambda: Calls(max_per_key=2), "max_per_key needs limit_by="),
        (lambda: Calls(limit_by=len, max_per_key=0), "max_per_key must be at least 1, got 0"),
        (lambda: MapReduceNode(max_per_key=2), "max_per_key needs limit_by="),
    ],
)
def test_limit_that_cannot_be_meant_is_refused(make: Callable[[], Any], says: str) -> None:
    """At once, with what is wrong."""
    with pytest.raises(ValueError, match=says):
        make()


def test_limits_have_no_place_on_a_graph() -> None:
    """A class attribute that nobody would look at is refused."""
    with pytest.raises(NodeDefinitionError, match="sets rate, which it does not take"):
        type("Limited", (Graph,), {"rate": RateLimit(1)})
