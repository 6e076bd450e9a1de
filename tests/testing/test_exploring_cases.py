"""``--explore`` with the tests of unittest.IsolatedAsyncioTestCase."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CASES = """
import asyncio
import contextvars
import unittest

NAME = contextvars.ContextVar("NAME")


class Bank(unittest.IsolatedAsyncioTestCase):
    seen = []

    @classmethod
    def setUpClass(cls):
        cls.seen.append("class")

    def setUp(self):
        NAME.set("savings")

    async def asyncSetUp(self):
        self.balance = 100
        self.loop = asyncio.get_running_loop()
        self.addAsyncCleanup(asyncio.sleep, 1)

    async def asyncTearDown(self):
        assert asyncio.get_running_loop() is self.loop
        self.seen.append("ended")

    async def withdraw(self, amount, later):
        await asyncio.sleep(later)
        if self.balance >= amount:
            await asyncio.sleep(0.01)
            self.balance -= amount

    async def test_racy(self):
        await asyncio.gather(self.withdraw(80, 0), self.withdraw(50, 0.0105))
        self.assertGreaterEqual(self.balance, 0)

    async def test_correct(self):
        assert NAME.get() == "savings"
        await asyncio.gather(self.withdraw(60, 0), self.withdraw(40, 0.0105))
        for part in range(2):
            with self.subTest(part=part):
                self.assertEqual(self.balance, 0)

    async def test_fails_in_a_part(self):
        with self.subTest("first"):
            self.fail("in the first part")

    async def test_skipped(self):
        self.skipTest("not here")

    @unittest.expectedFailure
    async def test_known(self):
        self.fail()

    def test_plain(self):
        assert self.seen[0] == "class" and self.seen.count("class") == 1
        assert self.seen.count("ended") > 50
"""


def test_cases_are_explored_with_what_they_set_up(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each seed has a case of its own, which is set up and torn down on the simulation's loop."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    path: Path = pytester.makepyfile(CASES)
    found = pytester.runpytest_inprocess(
        "-p", "kaygraph.testing.plugin", "-p", "no:cacheprovider", "--explore", "100",
        "--explore-order", "any", path,
    )  # fmt: skip
    found.assert_outcomes(passed=2, failed=2, skipped=1, xfailed=1)
    text = found.stdout.str()
    assert "of 100 seeds break it; to repeat the shortest" in text
    assert "came before timer of" in text
    assert "in the first part" in text
