"""Map-reduce on a cluster: what ``map`` gives stays there."""

import asyncio
import os
import random
import signal
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kaygraph import (
    Journal,
    MapReduceNode,
    NodeDefinitionError,
    Remote,
    RunReport,
    WorkerDiedError,
)
from kaygraph.groups.grouping import Part, Several, divided, scattered
from kaygraph.groups.shuffle import FAN_IN, Phases
from tests.executors.cluster import TestCluster, cluster_of
from tests.executors.test_references import bytes_received, keys_of, until_freed
from tests.groups.shuffling import (
    MB,
    ByApart,
    CannotCombine,
    Counts,
    CountsByLength,
    CountsInPlace,
    CountsLater,
    DropsRare,
    FailsAtSome,
    KillsOnce,
    Large,
    Lists,
    Shuffles,
    Slowly,
)

pytest.importorskip("distributed")
from kaygraph.executors.dask import Dask

pytestmark = pytest.mark.anyio


@pytest.fixture
def dask(dask_cluster: TestCluster) -> Dask:
    return Dask(dask_cluster.address)


async def results_of(node: MapReduceNode, **settings: Any) -> Any:
    shared: dict[str, Any] = {}
    await node.run_async(shared, **settings)
    return shared["results"]


def texts(number: int) -> list[str]:
    """Return so many texts of a few words each, always the same."""
    chance = random.Random(number)
    return [" ".join(chance.choices("abcdefgh", k=chance.randrange(6))) for _ in range(number)]


def counted(lines: Any) -> Counter[str]:
    return Counter(word for line in lines for word in line.split())


KEYS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([1.0, 2.5, True, None, "", "a", "b", "\udc80", b"a", (1, "a"), (1.0, "a")]),
    st.frozensets(st.sampled_from("ab")),
)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    items=st.lists(st.lists(st.tuples(KEYS, st.integers(0, 99)), max_size=8), max_size=40),
    partitions=st.integers(1, 4),
)
def test_any_map_reduce_comes_to_what_plain_python_does(
    dask: Dask, items: Any, partitions: int
) -> None:
    """Whatever its keys are, and however many partitions there are."""
    expected = defaultdict(list)
    for key, value in (pair for item in items for pair in item):
        expected[key].append(value)
    node = Lists(items, run_in=dask, partitions=partitions)
    results = asyncio.run(results_of(node))
    assert results == {key: sorted(values) for key, values in expected.items()}


@pytest.mark.parametrize("kind", [Counts, CountsInPlace, CountsLater, CountsByLength])
async def test_words_are_counted(dask: Dask, kind: Any) -> None:
    """However the hooks are written; of so many texts that parts are merged again and again."""
    lines = texts(3 * FAN_IN * FAN_IN if kind is Counts else 100)
    assert await results_of(kind(lines, run_in=dask, partitions=3)) == counted(lines)


async def test_items_may_come_from_a_generator(dask: Dask) -> None:
    """It is read as it is worked on."""
    lines = texts(50)
    assert await results_of(Counts((line for line in lines), run_in=dask)) == counted(lines)


async def test_no_items_come_to_nothing(dask: Dask) -> None:
    """As elsewhere."""
    assert await results_of(Counts([], run_in=dask)) == {}
    assert await results_of(Counts(["", ""], run_in=dask)) == {}


async def test_reduce_may_drop_keys(dask: Dask) -> None:
    """They are left out."""
    assert await results_of(DropsRare(["a b a", "c"], run_in=dask)) == {"a": 2}


async def test_items_and_partitions_are_accounted_for(dask: Dask) -> None:
    """With their attempts, and what was skipped; merging is not an item."""
    report = RunReport()
    node = FailsAtSome(
        ["a", "bad", *["b c"] * 100], run_in=dask, max_retries=2, on_error="skip", partitions=2
    )
    assert await results_of(node, observers=[report]) == {"a": 1, "b": 100, "c": 100}
    nodes = {name: (+of.items, of.retries) for name, of in report.nodes.items()}
    assert nodes == {
        "FailsAtSome/map": (Counter(ok=101, skipped=1), 102),
        "FailsAtSome/reduce": (Counter(ok=2), 0),
    }


async def test_more_than_four_items_are_mapped_at_once(dask: Dask) -> None:
    """Unless somebody says how many."""
    wide, narrow = RunReport(), RunReport()
    await results_of(Counts(texts(400), run_in=dask), observers=[wide])
    await results_of(Counts(texts(40), run_in=dask, map_workers=3), observers=[narrow])
    assert wide.nodes["Counts/map"].peak > 10
    assert narrow.nodes["Counts/map"].peak == 3


@pytest.mark.parametrize("on_error", ["raise", "skip"])
async def test_error_of_combine_is_raised_whenever_it_is_called(dask: Dask, on_error: str) -> None:
    """What it was to combine would be missing otherwise."""
    node = CannotCombine(["a"] * 2 * FAN_IN, run_in=dask, on_error=on_error)
    with pytest.raises((ZeroDivisionError, ExceptionGroup)):
        await results_of(node)


async def test_equal_keys_in_different_partitions_are_refused(dask: Dask) -> None:
    """It says what to define."""
    with pytest.raises(NodeDefinitionError, match=r"define partition\(self, key\)"):
        await results_of(ByApart(range(50), run_in=dask, partitions=4))


def test_parts_that_are_merged_stay_as_they_are() -> None:
    """They may be merged again, where a call is lost with its worker."""
    parts = [Remote(Part(["a"], [Several([1, 2])])), Remote(Part(["a", "b"], [3, 4]))]
    merge = Phases(Lists()).merge
    first, second = (merge.exec(parts).value for _ in range(2))
    assert first == second == Part(["a", "b"], [[1, 2, 3], 4])


def test_few_keys_fall_apart() -> None:
    """Also those whose checksums have a common factor."""
    part = Part(list("abc"), [1, 1, 1])
    assert sum(1 for one in divided(part, 32, scattered) if one.keys) == 3


# --- where it is ----------------------------------------------------------------------------------


async def test_what_is_shuffled_does_not_go_through_the_program(
    dask: Dask, dask_cluster: TestCluster
) -> None:
    """Twenty megabytes, of which it sees the sums; in the end, nothing is left of them."""
    received: list[int] = []

    class Measured(Shuffles):
        def post(self, shared: Any, _: Any, results: Any) -> None:
            received.append(bytes_received())
            shared["results"] = results

    class LargeMeasured(Measured, Large):
        def prep(self, shared: Any) -> Any:
            received.append(bytes_received())
            return super().prep(shared)

    results = await results_of(LargeMeasured(list(range(20)), run_in=dask, partitions=4))
    assert results == dict.fromkeys(range(4), 5 * MB)
    assert received[1] - received[0] < 500_000
    await until_freed(dask_cluster)


async def test_journal_has_what_map_gives(dask: Dask, tmp_path: Path) -> None:
    """It is recorded item by item, and for that comes to the program."""
    lines = texts(20)
    path = tmp_path / "journal.db"
    assert await results_of(Counts(lines, run_in=dask), journal=Journal(path, run="a")) == counted(
        lines
    )


# --- when a worker dies ---------------------------------------------------------------------------


@pytest.mark.proofs
async def test_what_was_lost_is_mapped_again(tmp_path: Path) -> None:
    """And counted again; the only worker had all that there was."""
    lines, report = texts(40), RunReport()
    with cluster_of(1) as cluster:
        place = Dask(cluster.address, no_workers_after=60)
        node = KillsOnce(lines, str(tmp_path / "killed"), run_in=place, max_retries=3)
        assert await results_of(node, observers=[report]) == counted(lines)
        assert await keys_of(cluster) == []
    assert report.nodes["KillsOnce/map"].items == {"ok": 2 * len(lines)}


@pytest.mark.proofs
@pytest.mark.parametrize(
    ("kind", "attempts", "said"),
    [
        (iter, 3, "are not mapped: give them as a list"),
        (list, 1, "ended while it worked on an item"),
    ],
)
async def test_what_cannot_be_mapped_again_is_an_error(
    tmp_path: Path, kind: Any, attempts: int, said: str
) -> None:
    """A source that is used up, or as many attempts as there may be."""
    with cluster_of(1) as cluster:
        place = Dask(cluster.address, no_workers_after=60)
        node = KillsOnce(
            kind(texts(40)), str(tmp_path / "k"), run_in=place, max_retries=attempts, partitions=1
        )
        with pytest.raises(WorkerDiedError) as raised:
            await results_of(node)
    assert said in "\n".join([str(raised.value), *raised.value.__notes__])


async def kill_workers(folder: Path, times: int, seed: int) -> None:
    """Kill workers that have done something, at seeded moments."""
    chance, killed = random.Random(seed), set[str]()
    while len(killed) < times:
        await asyncio.sleep(chance.uniform(0.1, 0.5))
        pids = sorted(
            pid for pid in set(os.listdir(folder)) - killed if (folder / pid).stat().st_size > 20
        )
        if len(pids) > 1:
            pid = chance.choice(pids)
            os.kill(int(pid), signal.SIGKILL)
            killed.add(pid)


@pytest.mark.proofs
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(3))
async def test_workers_are_killed_at_any_moment(tmp_path: Path, seed: int) -> None:
    """Each value is in the results once, whatever had been done with it."""
    items = [[(number % 60, number)] for number in range(600)]
    with cluster_of(3) as cluster:
        place = Dask(cluster.address, no_workers_after=60)
        killing = asyncio.ensure_future(kill_workers(tmp_path, 4, seed))
        node = Slowly(items, str(tmp_path), run_in=place, max_retries=20, partitions=6)
        results = await results_of(node)
        killing.cancel()
        assert cluster.kept == []
    assert results == {key: list(range(key, 600, 60)) for key in range(60)}
