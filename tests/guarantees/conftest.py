"""Counts that can be quoted: what the tests of the promises have tried, at the end of a session."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.guarantees.figures import TALLY


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Callable[[str, int], None]:
    """``tally("G1 points", 5)``: shown at the end of the session, and in the test's report."""

    def add(what: str, count: int) -> None:
        TALLY[what] += count
        record_property(what, count)

    return add


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if TALLY:
        terminalreporter.section("promises")
        for name, count in sorted(TALLY.items()):
            terminalreporter.write_line(f"{name}: {count:,}")
