"""docs/concepts/small.md names faults and promises that exist; test_readme.py runs its programs."""

import re
from pathlib import Path

import pytest

from tests.planted.bugs import BUGS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "concepts" / "small.md").read_text(encoding="utf-8")
TABLE = PAGE[PAGE.index("## Every kind of failure") :]
PROMISED = re.findall(r"^\| (G\d+) \|", (DOCS / "guarantees.md").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", re.findall(r'"(.+?)"', TABLE))
def test_fault_is_planted(name: str) -> None:
    """What the table calls planted is, under that name."""
    assert name in {bug.name for bug in BUGS}


@pytest.mark.parametrize("promise", sorted(set(re.findall(r"\bG\d+\b", TABLE))))
def test_promise_is_made(promise: str) -> None:
    """The table names rows of what kaygraph promises."""
    assert promise in PROMISED
