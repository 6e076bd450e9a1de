"""The run report: its arithmetic from hand-made events, and its figures from real runs."""

import asyncio
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaygraph import (
    AttemptStarted,
    BatchGraph,
    Drop,
    Graph,
    ItemFailed,
    ItemFinished,
    ItemRetried,
    ItemStarted,
    Node,
    NodeFinished,
    NodeStarted,
    ParallelBatchNode,
    RunFinished,
    RunReport,
    RunStarted,
    StageFinished,
    StageStarted,
)
from kaygraph.events import Usage
from kaygraph.testing import simulate
from tests.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


def report_of(*events: Any) -> RunReport:
    report = RunReport()
    for event in events:
        report(event)
    return report


ERROR = ValueError("x")
RUN = [
    RunStarted("Flow", 100),
    NodeStarted("a", 100),
    ItemStarted("a", 100, 0, 0),
    ItemStarted("a", 100, 1, 1),
    ItemRetried("a", 102, 1, 1, 1, ERROR, 0),
    ItemFinished("a", 104, 0, 0, 1, 4),
    ItemStarted("a", 104, 2, 0),
    ItemFailed("a", 106, 1, 1, 2, 6, "failed", ERROR),
    ItemFailed("a", 108, 2, 0, 1, 4, "timed_out", ERROR),
    NodeFinished("a", 108, 8, None, None),
    NodeStarted("b", 108),
    ItemStarted("b", 108, 0, 0),
    ItemFinished("b", 110, 0, 0, 1, 2),
    NodeFinished("b", 110, 2, None, None),
    RunFinished("Flow", 110, 10, None, None),
]


def test_the_arithmetic_of_a_run() -> None:
    """Wall, time in exec, and how many calls there were at once; no speedup without a baseline."""
    report = report_of(*RUN)
    assert report.wall_s == 10
    assert report.work_s == 4 + 6 + 4 + 2
    assert report.mean_in_flight == pytest.approx(1.6)
    assert report.peak_in_flight == 2
    assert report.speedup is None
    assert report.retries == 1
    assert report.items == {"ok": 2, "failed": 1, "skipped": 0, "cancelled": 0, "timed_out": 1}
    assert report.bottleneck == "a"


@pytest.mark.parametrize("baseline", [25, report_of(RunFinished("Flow", 25, 25, None, None))])
def test_a_speedup_is_against_a_run_with_one_worker(baseline: Any) -> None:
    """Given as its report, or as its seconds."""
    report = RunReport(baseline=baseline)
    assert report.speedup is None  # nothing has run
    for event in RUN:
        report(event)
    assert report.speedup == pytest.approx(2.5)
    assert report.to_dict()["speedup"] == 2.5
    assert "speedup: 2.50, against 25.000 s with one worker" in str(report)


def test_a_report_without_a_run_says_so() -> None:
    """Printed, in a notebook, and as a baseline."""
    report = RunReport()
    message = "no run yet: pass this report to a run, as in graph.run(shared, observers=[report])"
    assert str(report) == message
    shown = report._repr_mimebundle_()
    assert shown["text/plain"] == message
    assert message in shown["text/html"]
    with pytest.raises(ValueError, match=r"^baseline has no run yet: pass this report to a run"):
        RunReport(baseline=report)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"baseline": "25"}, "baseline must be the RunReport of another run, or its wall time"),
        ({"baseline": True}, "baseline must be the RunReport of another run, or its wall time"),
        ({"baseline": 0}, "baseline must be more than 0 seconds"),
        ({"timeline": 3}, "timeline must be True or False, got 3"),
    ],
)
def test_a_wrong_setting_is_refused(settings: Any, message: str) -> None:
    """Before the run, not when the report is printed."""
    with pytest.raises((TypeError, ValueError), match=message):
        RunReport(**settings)


def test_the_figures_of_a_node() -> None:
    """Runs, wall, time in exec, peak, retries, and what each worker did."""
    node = report_of(*RUN).nodes["a"]
    assert (node.runs, node.wall_s, node.work_s, node.peak, node.retries) == (1, 8, 14, 2, 1)
    assert node.longest_s == 6
    load = {number: (w.items, w.work_s) for number, w in node.workers.items()}
    assert load == {0: (2, 8), 1: (1, 6)}


def test_what_items_took_adds_up() -> None:
    """Processor time, time in line by what was waited for, and the most memory."""
    used = [
        Usage(1, 2, "rate", 0.5, 0),
        Usage(2, 3, "limit_by", 0, 7_000_000),
        Usage(0, 1, "rate", 0, 5_000_000),
    ]
    starts = [ItemStarted("a", 0, n, 0) for n in range(3)]
    ends = [ItemFinished("a", 9, n, 0, 1, 4, usage) for n, usage in enumerate(used)]
    node = report_of(*starts, *ends).nodes["a"]
    assert (node.cpu_s, node.pickup_s, node.memory) == (3, 0.5, 7_000_000)
    assert (node.queued_s, node.queued_for) == (6, {"rate": 3, "limit_by": 3})
    assert str(node) == (
        "     3 items  peak 3  in exec 12.000 s, CPU 3.000 s, waiting for rate/limit_by 6.000 s, "
        "memory 7 MB"
    )


def test_the_keys_of_the_report_as_data() -> None:
    """Those that scripts read; all of it is JSON."""
    data = report_of(*RUN).to_dict()
    assert {
        "wall_s": 10,
        "work_s": 16,
        "mean_in_flight": 1.6,
        "speedup": None,
        "baseline_s": None,
        "peak_in_flight": 2,
        "items": {"ok": 2, "failed": 1, "skipped": 0, "cancelled": 0, "timed_out": 1},
        "retries": 1,
        "cpu_s": 0,
        "loop_cpu_s": 0,
        "worker_cpu_s": 0,
        "memory": 0,
    }.items() <= data.items()
    assert data["verdict"] == report_of(*RUN).verdict
    assert [node["name"] for node in data["nodes"]] == ["a", "b"]
    assert json.loads(json.dumps(data)) == data


def test_the_report_as_text() -> None:
    """The figures a person wants, a line for each node that worked, and the verdict."""
    report = report_of(*RUN)
    first, second, third, *rows, last = str(report).splitlines()
    assert first == "Flow: 10.000 s; calls of exec at once: 1.6 on average, 2 at most"
    assert second == "items: 2 ok, 1 failed, 0 skipped, 1 timed out; retries: 1"
    assert third.startswith("processor: 0.000 s, of which the event loop 0.000 s; memory: ")
    assert [row.split()[0] for row in rows] == ["a", "b"]
    assert last == report.verdict


def test_an_empty_report_divides_by_nothing() -> None:
    """Before any run the figures are zero, and it can be printed."""
    report = RunReport(baseline=1)
    assert (report.mean_in_flight, report.speedup, report.bottleneck) == (0, None, None)
    assert report.verdict == ""
    assert report.to_dict()["nodes"] == []
    assert str(report).startswith("no run yet")


STAGES = [
    StageStarted("p/read", 0, 1),
    StageStarted("p/parse", 0, 4),
    StageStarted("p/store", 0, 1),
    StageFinished("p/read", 10, 1, 50, 2, 0, 8),
    StageFinished("p/parse", 10, 4, 50, 36, 4, 0),
    StageFinished("p/store", 10, 1, 50, 5, 5, 0),
]


def test_the_bottleneck_is_the_stage_with_the_most_work_per_worker() -> None:
    """Not the one with the most work: four workers share theirs."""
    report = report_of(*STAGES)
    assert report.bottleneck == "p/parse"
    assert report.advised_workers == {"p/parse": 8}  # 36 s over 8 are less than 5 s
    assert "busy 90%, starved 10%, blocked 0%" in str(report)


def test_a_stages_figures_as_data() -> None:
    """Workers, items, and the shares of their time that they were busy, starved and blocked."""
    row = report_of(*STAGES).to_dict()["nodes"][1]
    assert (row["name"], row["workers"], row["stage_items"]) == ("p/parse", 4, 50)
    assert (row["busy"], row["starved"], row["blocked"]) == (0.9, 0.1, 0)


def test_an_item_between_attempts_is_not_in_flight() -> None:
    """It is one of those that are submitted; it may end there, or go on."""
    report = report_of(
        ItemStarted("a", 0, 0, 0),
        ItemStarted("a", 0, 1, 1),
        ItemRetried("a", 1, 0, 0, 1, ERROR, 5),
        ItemRetried("a", 1, 1, 1, 1, ERROR, 5),
        ItemStarted("a", 1, 2, 2),
    )
    node = report.nodes["a"]
    assert (node.in_flight, node.waiting, node.peak, report.submitted) == (1, 2, 2, 3)
    for event in (
        ItemFailed("a", 2, 1, 1, 1, 1, "cancelled", ERROR, waiting=True),
        AttemptStarted("a", 6, 0, 0, 2),
        ItemFinished("a", 7, 0, 0, 2, 2),
    ):
        report(event)
    assert (node.in_flight, node.waiting, report.submitted) == (1, 0, 3)
    assert (report.peak_in_flight, sum(report.items.values())) == (2, 2)


def test_the_same_item_in_several_rounds_counts_each_time() -> None:
    """Two rounds at once run item 0 of the same node: two are in flight, and two end."""
    twice = [ItemStarted("a", 0, 0, 0)] * 2 + [ItemFinished("a", 1, 0, 0, 1, 1)] * 2
    report = report_of(*twice * 5)
    assert report.peak_in_flight == 2
    assert report.nodes["a"].peak == 2
    assert report.items["ok"] == 10


def test_an_item_that_ended_without_starting_takes_nobodys_place() -> None:
    """Cancelled before its permit: it is counted, and who is in flight stays so."""
    report = report_of(
        ItemStarted("a", 0, 0, 0),
        ItemFailed("a", 1, 1, 1, 0, 0, "cancelled", ERROR),
        ItemStarted("a", 1, 2, 1),
        ItemFinished("a", 2, 0, 0, 1, 2),
        ItemFinished("a", 2, 2, 1, 1, 1),
    )
    assert report.peak_in_flight == 2
    assert report.items["cancelled"] == 1


def test_a_node_that_waits_for_its_parts_adds_no_work_of_its_own() -> None:
    """Two items with two parts each: work, peak and bottleneck are those of the parts."""
    wholes = [ItemStarted("g/whole", 0, index, index, whole=True) for index in range(2)]
    starts = [ItemStarted(f"g/whole/{part}", 0, 0, 0) for part in "aabb"]
    report = report_of(RunStarted("g", 0), *wholes, *starts)
    assert report.submitted == 6
    ends = [ItemFinished(f"g/whole/{part}", 3, 0, 0, 1, 3) for part in "aabb"]
    ends += [ItemFinished("g/whole", 3, index, index, 1, 3) for index in range(2)]
    for event in (*ends, RunFinished("g", 3, 3, None, None)):
        report(event)
    assert (report.peak_in_flight, report.work_s, report.mean_in_flight) == (4, 12, 4)
    assert report.bottleneck == "g/whole/a"
    assert report.items["ok"] == report.submitted == 6
    whole = report.nodes["g/whole"]
    assert (whole.work_s, whole.longest_s) == (0, 3)
    assert str(whole).endswith("its parts follow")


@given(st.integers(1, 5), st.integers(0, 40), st.integers())
def test_the_peak_is_the_most_that_were_between_start_and_end(
    nodes: int, items: int, seed: int
) -> None:
    """For any order of starts and ends."""
    choices, report, flying, most = random.Random(seed), RunReport(), list[Any](), 0
    for item in range(items):
        if flying and choices.random() < 0.5:
            node, ended = flying.pop(choices.randrange(len(flying)))
            report(ItemFinished(node, 0, ended, 0, 1, 1))
        node = f"n{choices.randrange(nodes)}"
        flying.append((node, item))
        report(ItemStarted(node, 0, item, 0))
        most = max(most, len(flying))
    assert report.peak_in_flight == most


class Batch(ParallelBatchNode[Any, Any]):
    def prep(self, _: Any) -> range:
        return range(12)

    async def exec(self, item: int) -> None:
        await asyncio.sleep(1)
        if item % 4 == 1:
            raise ValueError
        if item % 4 == 2:
            raise Drop
        if item == 3:
            await asyncio.sleep(100)


async def test_a_real_run_reports_what_it_did() -> None:
    """Twelve items by four workers, on a clock that shows exactly how long they take."""
    report = RunReport()
    node = Batch(max_workers=4, on_error="collect", max_retries=2, timeout=3)
    await Graph(node, name="Flow").run_async({}, observers=[report])
    assert report.items == {"ok": 5, "failed": 3, "skipped": 3, "cancelled": 0, "timed_out": 1}
    assert report.retries == 3 + 1
    assert report.work_s == pytest.approx(5 * 1 + 3 * 2 + 3 * 1 + 2 * 3)
    assert report.wall_s == pytest.approx(asyncio.get_running_loop().time())
    assert report.peak_in_flight == 4
    assert report.mean_in_flight == pytest.approx(report.work_s / report.wall_s)
    assert sum(worker.items for worker in report.nodes["Batch"].workers.values()) == 12


async def test_rounds_at_once_do_not_raise_the_peak_for_ever() -> None:
    """A BatchGraph that runs two rounds at once has two in flight, to the end."""

    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{"n": n} for n in range(20)]

    class Wait(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            await asyncio.sleep(1 + self.params["n"] % 3)

    report = RunReport()
    await Rounds(Wait(), max_workers=2).run_async({}, observers=[report])
    assert report.peak_in_flight == 2
    assert report.items["ok"] == 20


async def test_a_report_may_watch_several_runs() -> None:
    """Times and items add up."""
    report = RunReport()
    for _ in range(2):
        await Batch(on_error="skip", timeout=3).run_async({}, observers=[report])
    assert sum(report.items.values()) == 24
    assert report.wall_s == pytest.approx(asyncio.get_running_loop().time())


async def test_items_between_attempts_leave_the_peak_to_those_at_work() -> None:
    """Two at once per key, all first attempts fail: never more than two are in exec."""

    class Fails(ParallelBatchNode[Any, Any]):
        max_retries = 2
        wait = 1
        max_per_key = 2
        at_once = most = 0

        def prep(self, _: Any) -> range:
            return range(8)

        def limit_by(self, _: int) -> int:
            return 0

        async def exec(self, item: int) -> None:
            Fails.at_once += 1
            Fails.most = max(Fails.most, Fails.at_once)
            try:
                await asyncio.sleep(0.25)
            finally:
                Fails.at_once -= 1
            if self.attempt == 1:
                raise OSError(item)

    report = RunReport()
    await Fails(max_workers=8).run_async({}, observers=[report])
    assert (
        (report.peak_in_flight, report.retries, report.items["ok"])
        == (Fails.most, 8, 8)
        == (2, 8, 8)
    )
    assert report.nodes["Fails"].queued_for.keys() == {"limit_by"}


@pytest.mark.parametrize("waits", ["for their next attempt", "for a key"])
def test_workers_that_stood_in_are_no_workers_more(waits: str) -> None:
    """Of four workers' items a third wait: the report and its verdict know of four workers."""

    class Busy(ParallelBatchNode[int, None]):
        max_workers = 4

        def prep(self, _: Any) -> Any:
            return range(60)

        async def exec(self, item: int) -> None:
            await asyncio.sleep(1)
            if waits == "for their next attempt" and item % 3 == 0 and self.attempt == 1:
                raise LookupError

    settings: Any = {"max_retries": 2, "wait": 10}
    if waits == "for a key":
        settings = {"limit_by": lambda item: item % 7 or item}
    run = simulate(Graph(Busy(**settings)), {})
    (row,) = run.report.to_dict()["nodes"]
    assert row["workers"] == 4
    assert "max_workers=8" in run.report.verdict or "of 4 had an item" in run.report.verdict


async def test_a_run_on_a_virtual_clock_is_not_measured_by_the_machines() -> None:
    """Its report is the same each time."""

    class InThread(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(3)

        def exec(self, item: int) -> int:
            return sum(range(10_000))

    report = RunReport()
    await InThread().run_async({}, observers=[report])
    assert (report.cpu_s, report.loop_cpu_s, report.memory) == (0, 0, 0)
    assert report.nodes["InThread"].cpu_s == 0


# --- for other programs ---------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "reports.md").read_text(encoding="utf-8")


async def test_json_has_the_keys_that_the_page_names() -> None:
    """And no others: readers have to know them."""
    report = RunReport(baseline=9.0)
    for event in [*RUN, *STAGES]:
        report(event)
    data = json.loads(report.to_json(indent=2))
    assert data == report.to_dict()
    table = PAGE[PAGE.index("| key | value |") : PAGE.index("Each of `nodes` has")]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert list(data) == [key for row in rows for key in re.findall("`([a-z_]+)`", row)]
    text = PAGE[PAGE.index("Each of `nodes` has") : PAGE.index("Keys may be added")]
    keys = {key for node in data["nodes"] for key in node}
    assert keys | {"cached", "limit", "nodes"} == set(re.findall("`([a-z_]+)`", text))


async def test_json_holds_any_name() -> None:
    """Also one that is no valid Unicode."""
    name = "caf\udce9"
    report = report_of(RunStarted(name, 0), RunFinished(name, 1, 1, None, None))
    assert json.loads(report.to_json())["name"] == name
    assert report.to_json().isascii()
    assert "\udce9" not in report.to_svg()


def test_secrets_in_names_are_hidden() -> None:
    """In the text, the table, the JSON and the timeline: all of them are sent on."""

    class Pages(ParallelBatchNode[Any, Any]):
        def prep(self, shared: Any) -> Any:
            return range(3)

        async def exec(self, page: Any) -> Any:
            return page

    report = RunReport()
    Graph(Pages(name="password=hunter2"), name="token=8xK2").run(observers=[report])
    shown = [report.to_json(), report.to_svg(), *report._repr_mimebundle_().values()]
    assert not re.search("hunter2|8xK2", "\n".join(shown))
    assert "password=***" in str(report)
