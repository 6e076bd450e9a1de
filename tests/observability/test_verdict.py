"""What a report says of a run in one sentence, from figures made by hand."""

from typing import Any

import pytest

from kaygraph.observability.figures import RoundFigures
from kaygraph.observability.verdict import Measured, verdict_on
from kaygraph.types import NodeFigures


def node(name: str = "Work", *, items: int = 100, **figures: Any) -> NodeFigures:
    made = NodeFigures(name, runs=1, wall_s=10, **figures)
    made.items["ok"] = items
    return made


def said(
    *nodes: NodeFigures,
    cpu_s: float = 0.1,
    loop_cpu_s: float = 0.1,
    ready_s: float = 0,
    cores: int = 4,
) -> str:
    return verdict_on(Measured(10, cpu_s, loop_cpu_s, ready_s, cores, nodes))


CPU = {"work_s": 40.0, "peak": 4, "longest_s": 0.5}


@pytest.mark.parametrize(
    ("figures", "process", "words"),
    [
        ((node(cpu_s=38, memory=10**8, **CPU),), {}, "all 4 cores are busy: more workers will not"),
        ((node(cpu_s=9, **CPU),), {"cpu_s": 9, "cores": 1}, "the core is busy: more workers"),
        ((node(cpu_s=9, **CPU),), {"cpu_s": 9}, "run_in='process' for Work uses all 4 cores"),
        ((node(cpu_s=9, items=10**6, **CPU),), {"cpu_s": 9}, "put many into one and then"),
        ((node(**CPU),), {"cpu_s": 9, "loop_cpu_s": 9}, "put that into a 'def exec'"),
        ((node(items=10**6, **CPU),), {"cpu_s": 9, "loop_cpu_s": 9}, "many into one will help"),
        ((node(**CPU),), {"cpu_s": 9}, "threads outside of exec are computing"),
    ],
)
def test_a_busy_processor_is_what_a_run_waits_for(figures: Any, process: Any, words: str) -> None:
    """Processes help where threads take turns; nothing helps where all cores are busy."""
    assert words in said(*figures, **process)


def test_a_busy_machine_does_not_hide_that_a_run_computes() -> None:
    """The loop's thread has waited for a processor as long as it had one."""
    figures = node(cpu_s=4.5, **CPU)
    assert "all of its 4 workers do" in said(figures, cpu_s=4.6)
    assert "run_in='process' for Work" in said(figures, cpu_s=4.6, loop_cpu_s=0.2, ready_s=0.2)


def test_processes_that_take_longer_to_start_than_to_work_gain_nothing() -> None:
    """Whatever else could be said of so short a run."""
    starts = node(items=4, work_s=0.1, start_s=12, memory=10**8, peak=4)
    assert said(starts).startswith("Starting the worker processes of Work takes longer")
    assert "Starting" not in said(node(work_s=39, start_s=3, memory=10**8, peak=4))


def test_a_short_run_gains_nothing_from_processes() -> None:
    """They take time to start."""
    short = Measured(0.5, 0.5, 0, 0, 4, [node(cpu_s=0.45, **CPU)])
    assert verdict_on(short).endswith("a run as short as this gains nothing from processes")
    assert verdict_on(short._replace(wall_s=0.01)) == ""


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("rate", "its rate: only a higher rate="),
        ("limit_by", "its keys: only a higher max_per_key="),
        ("max_workers", "the permits of a graph around it: a higher max_workers= there"),
    ],
)
def test_a_line_is_named_by_the_setting_that_makes_it(setting: str, words: str) -> None:
    """More workers would only make it longer."""
    waits = node(work_s=20, peak=4, queued_for={setting: 20})
    assert said(waits).startswith(f"Work mostly waits for {words}")
    hardly = node(work_s=39, peak=4, queued_for={setting: 1})
    assert "in line" not in said(hardly)


def stage(name: str, workers: int, busy: float, starved: float, **figures: Any) -> NodeFigures:
    return node(
        name, stage_workers=workers, busy_s=busy, starved_s=starved, stage_items=100, **figures
    )


def test_the_busiest_stage_is_reported_with_the_workers_that_it_needs() -> None:
    """Until the next one is the slowest."""
    parse, store = stage("parse", 2, 19, 1, work_s=19), stage("store", 1, 5, 5, work_s=5)
    assert said(parse, store) == (
        "parse is busy 95% of the time: max_workers=4 for it will help, then store is the slowest"
    )
    assert said(parse).endswith("more workers for it will help")
    source = stage("read", 1, 10, 0, items=0)
    assert said(source, parse).startswith("read is busy 100% of the time with giving items")


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (node(work_s=39, peak=4, longest_s=0.5), "all of its 4 workers do: more will help"),
        (node(work_s=15, peak=4, longest_s=0.5), "More than 2 workers for Work will not help"),
        (node(work_s=15, peak=4, longest_s=9), "One item of Work takes 9.0 s of 10.0 s"),
        (
            node(items=12, work_s=25, peak=4, longest_s=3),
            "The 12 items of Work take 3 turns, at most",
        ),
        (node(work_s=39, peak=100, longest_s=0.5), "All 100 items of Work run at once"),
        (
            node(work_s=39, peak=4, memory=1, cpu_s=20),
            "others use too: more workers will not",
        ),
    ],
)
def test_the_workers_of_a_batch_are_too_few_or_too_many(batch: NodeFigures, words: str) -> None:
    """By how many of them had an item, on average."""
    assert words in said(batch, cores=16 if batch.peak == 100 else 4)


@pytest.mark.parametrize(
    ("wall_s", "words"),
    [
        (38, "All 4 rounds of each that may run at once do: a higher max_workers= for it will"),
        (15, "More than 2 rounds of each at once will not help: on average 1.5 were running"),
    ],
)
def test_rounds_at_once_are_judged_as_workers_are(wall_s: float, words: str) -> None:
    """A graph that runs many times at once, each time on something else."""
    inner = node("each/ask", work_s=wall_s / 2, peak=4)
    rounds = [RoundFigures("", 1, 10, peak=1), RoundFigures("each", 100, wall_s, peak=4)]
    assert words in verdict_on(Measured(10, 0.1, 0.1, 0, 4, [inner], rounds))
    few = [RoundFigures("each", 8, wall_s=25, peak=4)]
    assert "The 8 rounds of each take 2 turns" in verdict_on(
        Measured(10, 0.1, 0.1, 0, 4, [inner], few)
    )


def test_nodes_one_after_another_are_described_by_the_longest() -> None:
    """Nothing runs at once there."""
    assert said(node("a", items=1, work_s=2, peak=1), node("b", items=1, work_s=8, peak=1)) == (
        "Most of the time goes into b: 8.0 s in exec of 10.0 s"
    )
    assert said(node(items=1)) == ""
