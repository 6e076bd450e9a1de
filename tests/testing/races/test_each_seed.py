"""The plugin that runs the tests of public packages once per seed."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import asyncio, time, unittest
import pytest

made = []

@pytest.fixture(scope="module")
def shared():
    made.append(1)
    return made

def test_racy(shared):
    async def main():
        count = 0
        async def add():
            nonlocal count
            read = count
            await asyncio.sleep(0)
            count = read + 1
        async def later():
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await add()
        await asyncio.gather(add(), later())
        assert count == 2
    asyncio.run(main())

class TestCase(unittest.IsolatedAsyncioTestCase):
    async def test_correct(self):
        await asyncio.sleep(3600 if asyncio.get_running_loop().time() == 0 else 0.01)

def test_fixture_of_the_module_was_made_once(shared):
    assert len(made) == 1

def test_real_time():
    async def main():
        began = time.clock_gettime(time.CLOCK_MONOTONIC)
        await asyncio.sleep(0.01)
        assert time.clock_gettime(time.CLOCK_MONOTONIC) - began >= 0.01
    asyncio.run(main())

def test_broken():
    asyncio.run(asyncio.sleep(0))
    raise ValueError

def test_skipped():
    pytest.skip("not here")
"""


def results_of(pytester: pytest.Pytester, found: Path, *options: str) -> dict[str, Any]:
    pytester.syspathinsert(Path(__file__).parents[3])
    plugin = ("-p", "benchmarks.races.each_seed")
    pytester.runpytest_subprocess(*plugin, *options, "--found", found)
    lines = map(json.loads, found.read_text().splitlines())
    return {line["test"].rpartition("::")[2]: line for line in lines}


@pytest.mark.proofs
def test_every_test_runs_once_per_seed(pytester: pytest.Pytester, tmp_path: Path) -> None:
    """Unchanged, on loops of simulations; the results say which were found, and by which seed."""
    pytester.makepyfile(TESTS)
    results = results_of(pytester, tmp_path / "found.jsonl", "--each-seed", "40")
    assert {name: result["outcome"] for name, result in results.items()} == {
        "test_racy": "found in order any",
        "test_correct": "passes",
        "test_fixture_of_the_module_was_made_once": "no loop",
        "test_real_time": "not simulated",
        "test_broken": "fails as it is",
        "test_skipped": "skipped",
    }
    assert results["test_racy"]["seed"] > 0
    assert "assert 1 == 2" in results["test_racy"]["error"]
    assert results["test_correct"]["schedules"] == 80


ENDLESS = """
import asyncio

def test_one():
    asyncio.run(asyncio.sleep(0))

def test_two():
    asyncio.run(asyncio.sleep(0))
"""


@pytest.mark.proofs
def test_tests_share_the_time_that_there_is(pytester: pytest.Pytester, tmp_path: Path) -> None:
    """When there are more seeds than time, each test has some of them, in both orders."""
    pytester.makepyfile(ENDLESS)
    limits = ("--each-seed", "1000000000", "--for-seconds", "0.5")
    results = results_of(pytester, tmp_path / "found.jsonl", *limits)
    assert {name: result["outcome"] for name, result in results.items()} == {
        "test_one": "passes",
        "test_two": "passes",
    }
    assert all(4 <= result["schedules"] < 1_000_000 for result in results.values())
