"""The timeline of a report: where the time went, in a bounded number of bins."""

import asyncio
import random
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaygraph import (
    Graph,
    ItemFailed,
    ItemRetried,
    Node,
    NodeFinished,
    ParallelBatchNode,
    Pipeline,
    RateLimit,
    RunFinished,
    RunReport,
    RunStarted,
)
from kaygraph.drawing.timeline import Row
from kaygraph.observability.picture import MOST_BARS, most_lanes, row_of
from kaygraph.observability.timeline import BINS, Axis, Series, Timeline
from tests.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


class Items(ParallelBatchNode[Any, Any]):
    """Each item takes a second."""

    max_workers = 2

    def __init__(self, number: int = 4, **settings: Any) -> None:
        super().__init__(**settings)
        self.number = number

    def prep(self, _: Any) -> range:
        return range(self.number)

    async def exec(self, item: int) -> int:
        await asyncio.sleep(1)
        return item


def timeline_of(report: RunReport) -> Timeline:
    assert report._timeline is not None
    return report._timeline


def row(report: RunReport, node: str) -> Row:
    return row_of(timeline_of(report), report.nodes[node])


def by_second(report: RunReport, values: Any) -> list[float]:
    """Return the mean of what there was at once, for each second of a run."""
    width = timeline_of(report).axis.width
    seconds = [0.0] * (round(report.wall_s) + 1)
    for number, value in enumerate(values):
        middle = (number + 0.5) * width
        if middle < len(seconds):
            seconds[int(middle)] += value * width
    return [round(one, 1) for one in seconds[: round(report.wall_s)]]


async def watched(node: Any, **settings: Any) -> RunReport:
    report = RunReport(**settings)
    await Graph(node).run_async({}, observers=[report])
    return report


# --- bins -----------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e5, allow_nan=False),
            st.floats(0, 1e4, allow_nan=False),
            st.floats(0, 100, allow_nan=False),
        ),
        max_size=30,
    )
)
def test_nothing_is_lost_when_bins_become_wider(spans: list[tuple[float, float, float]]) -> None:
    """Whatever comes in what order; and there are never more bins than that."""
    axis = Axis()
    series = Series(axis)
    for since, took, amount in spans:
        until = axis.since(since + took)
        series.spread(since, until, amount)
    total = sum(series.at(number) for number in range(BINS))
    assert total == pytest.approx(sum(amount for _, _, amount in spans), rel=1e-9, abs=1e-9)
    assert axis.end <= axis.width * BINS


def test_what_is_spread_lies_where_it_was() -> None:
    """Bins at the ends have their share."""
    axis = Axis()
    axis.since(BINS * 0.7)
    assert axis.width > 0.5
    series = Series(axis)
    series.spread(0.5 * axis.width, 2.25 * axis.width, 1.75)
    assert [round(series.at(number), 6) for number in range(4)] == [0.5, 1.0, 0.25, 0.0]


def test_what_lies_before_what_is_there_has_room() -> None:
    """Items end in another order than they begin in."""
    axis = Axis()
    series = Series(axis)
    at = axis.since(20.5 * axis.width)
    series.spread(at, at, 1)
    series.spread(3.5 * axis.width, 3.5 * axis.width, 2)
    assert [series.at(number) for number in (3, 4, 20)] == [2, 0, 1]


def test_bins_that_become_wider_stay_where_they_are() -> None:
    """Also when the first of them is an odd one."""
    axis = Axis()
    series = Series(axis)
    for number in (5, 6):
        at = axis.since((number + 0.5) * axis.width)
        series.spread(at, at, number)
    axis.since(axis.width * BINS)
    assert [series.at(number) for number in (1, 2, 3, 4)] == [0, 5, 6, 0]


# --- runs -----------------------------------------------------------------------------------------


async def test_each_worker_has_a_bar() -> None:
    """Which is full while it works, and empty when there is nothing left."""
    report = await watched(Items(number=3))
    tracks = row(report, "Items").tracks
    assert [by_second(report, track.work) for track in tracks] == [[1, 1], [1, 0]]
    assert all(row(report, "Items").under_way[:-1])


async def test_items_longer_than_many_bins_lie_where_they_were() -> None:
    """Not where they ended."""

    class Late(Items):
        async def exec(self, item: int) -> None:
            await asyncio.sleep(3 if item == 0 else 5)

    report = await watched(Late(number=2))
    tracks = row(report, "Late").tracks
    assert [by_second(report, track.work) for track in tracks] == [[1, 1, 1, 0, 0], [1] * 5]


async def test_of_many_workers_the_number_is_shown() -> None:
    """In one bar."""
    report = await watched(Items(max_workers=20, number=50))
    (track,) = row(report, "Items").tracks
    assert track.workers == 20
    assert by_second(report, track.work) == [20, 20, 10]


async def test_pauses_between_attempts_are_no_work() -> None:
    """And the attempts that have failed are marked."""

    class Fails(Items):
        max_retries = 2
        wait = 2.0

        async def exec(self, item: int) -> None:
            await asyncio.sleep(1)
            if item == 0 and self.attempt == 1:
                raise ValueError

    report = await watched(Fails(max_workers=1, number=1))
    (track,) = row(report, "Fails").tracks
    assert by_second(report, track.work) == [1, 0, 0, 1]
    assert by_second(report, track.paused) == [0, 1, 1, 0]
    assert [sum(track.retried), sum(track.failed)] == [1, 0]
    assert row(report, "Fails").note == "1 item, 1 retried"


async def test_pauses_of_many_workers() -> None:
    """They have one bar as well."""

    class Fails(Items):
        max_retries = 2
        wait = 2.0

        async def exec(self, item: int) -> None:
            await asyncio.sleep(1)
            if self.attempt == 1:
                raise ValueError

    report = await watched(Fails(max_workers=20, number=20))
    (track,) = row(report, "Fails").tracks
    assert by_second(report, track.work) == pytest.approx([20, 0, 0, 20], abs=0.2)
    assert by_second(report, track.paused) == pytest.approx([0, 20, 20, 0], abs=0.2)


async def test_failures_are_marked_where_they_happen() -> None:
    """On the bar of their worker."""

    class Fails(Items):
        on_error = "skip"

        async def exec(self, item: int) -> None:
            await asyncio.sleep(1)
            if item == 2:
                raise ValueError

    report = await watched(Fails())
    marks = [[n for n, one in enumerate(t.failed) if one] for t in row(report, "Fails").tracks]
    assert [len(one) for one in marks] == [1, 0]
    assert marks[0][0] * timeline_of(report).axis.width == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("line", ["rate", "cap"])
async def test_workers_in_line_are_counted(line: str) -> None:
    """Those that wait for a rate, and those that wait for permits of the graph around."""
    report = RunReport()
    if line == "rate":
        rate = RateLimit(1, 1)
        await Graph(Items(max_workers=4, rate=rate)).run_async({}, observers=[report])
        assert by_second(report, row(report, "Items").line) == [3, 2, 1, 0]
    else:
        graph = Graph([Items(name="a"), Items(name="b")], max_workers=2)
        await graph.run_async({}, observers=[report])
        lines = [by_second(report, row(report, name).line) for name in ("a", "b")]
        assert report.wall_s == pytest.approx(4)
        assert sum(map(sum, lines)) > 2


async def test_stages_have_their_shares() -> None:
    """And the time of each is seen."""

    class Slow(Items):
        async def exec(self, item: int) -> int:
            await asyncio.sleep(2)
            return item

    report = await watched(Pipeline(Items(), Slow(), name="Flow"))
    slow = row(report, "Flow/Slow")
    assert slow.shares is not None
    assert slow.note.startswith("busy ")
    assert by_second(report, slow.under_way) == [1] * 5


async def test_a_node_that_runs_its_parts_has_the_time_that_it_ran() -> None:
    """Its parts have the bars."""
    inner = Graph(Items(number=2), name="Inner")
    report = await watched(inner)
    assert row(report, "Inner").tracks == []
    assert by_second(report, row(report, "Inner").under_way) == [1]


async def test_work_on_all_bars_is_the_work_of_the_report() -> None:
    """Whatever fails, waits and is tried again."""

    class Random(ParallelBatchNode[int, int]):
        max_workers, max_retries, on_error, wait = 3, 3, "collect", 0.5

        def prep(self, _: Any) -> range:
            return range(200)

        async def exec(self, item: int) -> int:
            fate = random.Random(f"{item}, {self.attempt}")
            await asyncio.sleep(fate.random())
            if fate.random() < 0.2:
                raise ValueError(item)
            return item

    report = await watched(Random())
    width = timeline_of(report).axis.width
    drawn = sum(sum(track.work) * width for track in row(report, "Random").tracks)
    assert drawn == pytest.approx(report.work_s, rel=0.02)
    assert len(row(report, "Random").tracks) > 3  # others stand in for those that wait
    paused = sum(sum(track.paused) * width for track in row(report, "Random").tracks)
    whole = timeline_of(report)._nodes["Random"].whole["paused"]
    assert paused == pytest.approx(sum(map(whole.at, range(BINS))), rel=0.02)
    assert paused >= 0.5 * report.retries  # they stand in line for a worker's place as well


async def test_short_items_are_not_lost_between_bins() -> None:
    """Many of them end in each."""

    class Short(Items):
        async def exec(self, item: int) -> None:
            await asyncio.sleep(0.001)

    report = await watched(Short(number=5000, max_workers=3))
    width = timeline_of(report).axis.width
    drawn = sum(sum(track.work) * width for track in row(report, "Short").tracks)
    assert drawn == pytest.approx(report.work_s, rel=0.001)


async def test_rounds_that_end_in_the_same_moment_have_all_their_time() -> None:
    """Whichever of them was noted first."""
    report = RunReport()
    for event in (
        RunStarted("Flow", 100),
        NodeFinished("a", 104, 0.1, None, None),
        NodeFinished("a", 104, 3.0, None, None),
        RunFinished("Flow", 104, 4, None, None),
    ):
        report(event)
    assert by_second(report, row(report, "a").under_way) == [0, 1, 1, 1]


async def test_workers_behind_a_permit_are_counted_while_they_wait() -> None:
    """One waits for all that are idle, whose time comes with the items of others."""
    report = RunReport()
    graph = Graph(Items(name="a", max_workers=10, number=8), max_workers=2)
    await graph.run_async({}, observers=[report])
    assert by_second(report, row(report, "a").line) == [6, 6, 6, 6]


async def test_a_second_run_stands_behind_the_first() -> None:
    """As its times are added to those of the first."""
    report = RunReport()
    for name in ("a", "b"):
        await Graph(Items(name=name, number=2)).run_async({}, observers=[report])
    assert by_second(report, row(report, "a").tracks[0].work) == [1, 0]
    assert by_second(report, row(report, "b").tracks[0].work) == [0, 1]


async def test_runs_at_once_stand_in_parallel() -> None:
    """Whichever begins first."""
    report = RunReport()

    async def run(name: str, delay: float) -> None:
        await asyncio.sleep(delay)
        await Graph(Items(name=name, number=2)).run_async({}, observers=[report])

    await asyncio.gather(run("a", 0), run("b", 0.5))
    starts = [row(report, name).tracks[0].work for name in ("a", "b")]
    first = [next(n for n, one in enumerate(work) if one) for work in starts]
    assert first[0] == 0
    assert first[1] * timeline_of(report).axis.width == pytest.approx(0.5, abs=0.05)


async def test_an_item_that_is_cancelled_between_attempts_is_forgotten() -> None:
    """It does not wait for ever."""
    report, error = RunReport(), ValueError()
    for event in (
        RunStarted("Flow", 100),
        ItemRetried("a", 101, 7, 0, 1, error, 10),
        ItemFailed("a", 102, 7, 0, 1, 1.0, "cancelled", error, waiting=True),
        NodeFinished("a", 110, 10, None, error),
        RunFinished("Flow", 110, 10, None, error),
    ):
        report(event)
    assert timeline_of(report)._nodes["a"].paused == {}
    assert report.to_svg()


async def test_the_memory_is_that_of_the_bins() -> None:
    """Not of the items; ten times as many need no more."""

    class Quick(Items):
        async def exec(self, item: int) -> int:
            await asyncio.sleep(random.random())
            return item

    for number in (300, 3000):
        report = await watched(Quick(max_workers=30, number=number))
        times = timeline_of(report)._nodes["Quick"]
        lanes = [*times.lanes.values(), times.whole]
        assert len(lanes) == 13
        sizes = [len(series._values) for lane in lanes for series in lane.values()]
        assert max(sizes) <= BINS


async def test_drawing_of_a_run_that_goes_on() -> None:
    """What has ended so far is drawn."""
    report, drawings = RunReport(), list[str]()

    class Looks(Items):
        async def exec(self, item: int) -> int:
            await asyncio.sleep(1)
            if item == 3:
                drawings.append(report.to_svg())
            return item

    await Graph(Looks()).run_async({}, observers=[report])
    ElementTree.fromstring(drawings[0])
    assert "kaygraph-work" in drawings[0]


async def test_without_a_timeline_there_is_none() -> None:
    """The rest of the report is the same, and it says why there is no drawing."""
    report = await watched(Items(), timeline=False)
    assert report.items["ok"] == 4
    with pytest.raises(ValueError, match="timeline=False"):
        report.to_svg()
    assert "<svg" not in report._repr_mimebundle_()["text/html"]


def test_many_nodes_are_as_many_rows_as_can_be_looked_at() -> None:
    """Those that took most of the time."""

    class Quick(Node[Any, Any]):
        def exec(self, _: Any) -> None: ...

    chain = start = Quick(name="n0")
    for number in range(1, 80):
        chain = chain >> Quick(name=f"n{number}")  # type: ignore[assignment]
    report = RunReport()
    Graph(start).run({}, observers=[report])
    assert "and 30 more nodes" in report.to_svg()


@given(st.lists(st.integers(1, 40), max_size=50))
def test_there_are_not_more_bars_than_can_be_looked_at(workers: list[int]) -> None:
    """Nodes with many workers have one bar then, so that the drawing stays small."""
    most = most_lanes(workers)
    assert 1 <= most <= 12
    assert sum(one if one <= most else 1 for one in workers) <= MOST_BARS


def test_few_nodes_have_a_bar_for_each_worker() -> None:
    """Up to twelve."""
    assert most_lanes([12] * 10) == 12
    assert most_lanes([12] * 10 + [3]) == 11
