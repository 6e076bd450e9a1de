"""The same seed is the same trace, in any process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kaygraph.testing.simulation import play
from tests.guarantees.figures import part_size, parts, seeds_of
from tests.testing import digests
from tests.testing.graphs import SHAPES

ROOT = Path(__file__).parent.parent.parent
SEEDS = part_size(1000, 1)


def started(hash_seed: str, seeds: range, litter: int) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    numbers = map(str, (seeds.start, len(seeds), litter))
    command = [sys.executable, str(Path(digests.__file__)), *numbers]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("part", parts(1, soak=9))
def test_a_seed_is_the_same_trace_in_any_process(part: int) -> None:
    """Whatever the hashes of strings and the addresses of objects are."""
    seeds = seeds_of(part, SEEDS)
    processes = [started("1", seeds, 0), started("4711", seeds, 100_003)]
    printed = [process.communicate()[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert printed[0] == printed[1]
    assert len(printed[0]) == 64


@pytest.mark.parametrize("make", SHAPES, ids=lambda make: make.__name__)
def test_other_seeds_are_other_traces(make) -> None:
    """The test above compares something: a shape comes up in many orders."""
    traces = {"\n".join(play(make(), {}, seed).trace) for seed in range(1, 21)}
    assert len(traces) > 10


def test_digests_differ_where_seeds_do() -> None:
    """And are the same for the same seeds, in this process too."""
    assert digests.digest_of(0, 5) == digests.digest_of(0, 5) != digests.digest_of(1, 5)
