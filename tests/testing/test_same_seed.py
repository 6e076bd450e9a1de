"""The same seed is the same trace, in any process."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from kaygraph.testing.simulation import play
from tests.children import python
from tests.guarantees.figures import cases
from tests.testing import digests, digests_of_programs
from tests.testing.graphs import SHAPES

SEEDS, SOAK_SEEDS = 1_000, 9_000


def printed(hash_seed: str, seeds: range, litter: int, program: str = digests.__file__) -> str:
    """Return what a process prints in which strings have other hashes."""
    numbers = map(str, (seeds.start, len(seeds), litter))
    done = python(program, *numbers, env={"PYTHONHASHSEED": hash_seed}, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("seeds", cases(SEEDS, size=1_000, soak=SOAK_SEEDS, programs=True))
def test_a_seed_is_the_same_trace_in_any_process(seeds: range) -> None:
    """Whatever the hashes of strings and the addresses of objects are."""
    with ThreadPoolExecutor() as threads:
        one = threads.submit(printed, "1", seeds, 0)
        other = threads.submit(printed, "4711", seeds, 100_003)
    assert one.result() == other.result()
    assert len(one.result()) == 64


@pytest.mark.proofs
def test_a_seed_of_a_program_without_a_graph_is_the_same_run_in_any_process() -> None:
    """With threads of asyncio and anyio, and with timers that are close to each other."""
    path = digests_of_programs.__file__
    one, other = (
        printed(hash_seed, range(100), litter, path)
        for hash_seed, litter in (("1", 0), ("4711", 100_003))
    )
    assert one == other
    assert len(one) == 64


def test_seeds_of_a_program_without_a_graph_differ() -> None:
    """The test above compares something; and a seed is the same run in this process."""
    runs = [digests_of_programs.digest_of(seed, 1) for seed in range(20)]
    assert len(set(runs)) == 20
    assert runs[3] == digests_of_programs.digest_of(3, 1)


@pytest.mark.parametrize("make", SHAPES, ids=lambda make: make.__name__)
def test_other_seeds_are_other_traces(make) -> None:
    """The test above compares something: a shape comes up in many orders."""
    traces = {"\n".join(play(make(), {}, seed).trace) for seed in range(1, 21)}
    assert len(traces) > 10


def test_digests_differ_where_seeds_do() -> None:
    """And are the same for the same seeds, in this process too."""
    assert digests.digest_of(0, 5) == digests.digest_of(0, 5) != digests.digest_of(1, 5)
