"""The same seed is the same traffic, in any process."""

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from kaygraph.testing import simulate
from tests.children import python
from tests.testing.network.test_http import two_customers

SEEDS = 30


def digest() -> str:
    """Return a digest of what two customers of a shop met with several seeds, and when."""
    found = hashlib.sha256()
    for seed in range(SEEDS):
        run = simulate(lambda _: two_customers(safe=True), seed=seed)
        found.update(f"{run.seconds!r} {run.steps} {run.trace}".encode())
    return found.hexdigest()


@pytest.mark.proofs
def test_a_seed_is_the_same_traffic_in_any_process() -> None:
    """Whatever the hashes of strings are, which decide the order of sets."""

    def printed(hash_seed: str) -> str:
        return python(__file__, env={"PYTHONHASHSEED": hash_seed}, check=True).stdout.strip()

    with ThreadPoolExecutor() as threads:
        one, other = threads.map(printed, ("1", "4711"))
    assert one == other
    assert len(one) == 64


def test_other_seeds_are_other_traffic() -> None:
    """The test above compares something, and so it does in this process."""
    assert digest() == digest()
    times = {simulate(lambda _: two_customers(safe=True), seed=n).seconds for n in range(10)}
    assert len(times) == 10


if __name__ == "__main__":
    sys.stdout.write(digest())
