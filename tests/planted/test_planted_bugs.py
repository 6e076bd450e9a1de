"""The test kit finds what is planted: a check passes, and fails as soon as there is a bug.

Every run looks whether the bugs can still be planted; the proofs let the checks find them.

``python -m tests.planted`` shows which of all checks find which bugs.
"""

import gc
from contextlib import suppress
from pathlib import Path

import pytest

from tests.guarantees.test_g1_nothing_left import ALL
from tests.planted.bugs import BUGS, CHECKS
from tests.planted.planting import Bug, Check, patched


@pytest.mark.proofs
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_check_passes_where_no_bug_is_planted(check: Check) -> None:
    """What finds bugs does not find any in kaygraph as it is."""
    check()


@pytest.mark.proofs
# Broken runs leave coroutines that nobody awaits.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "_"))
def test_planted_bug_is_caught(bug: Bug) -> None:
    """The same check fails, and for the reason that it should."""
    with bug.planted(), pytest.raises(AssertionError, match=bug.says):
        bug.check()
    gc.collect()  # here, and not in the midst of another test


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "_"))
def test_bug_can_be_planted(bug: Bug) -> None:
    """The lines that it changes stand where it looks for them."""
    with bug.planted():
        pass


def test_bugs_have_names_of_their_own() -> None:
    """A bug is planted in other processes by its name."""
    assert len({bug.name for bug in BUGS}) == len(BUGS)


def test_the_page_of_the_guarantees_counts_them() -> None:
    """docs/guarantees.md says how many faults there are, and how many shapes of runs."""
    page = (Path(__file__).parents[2] / "docs" / "guarantees.md").read_text("utf-8")
    assert f" {len(BUGS)} faults planted " in page
    assert f" Runs of {len(ALL)} shapes " in page


# --- planting itself ------------------------------------------------------------------------------


def double(number: int) -> int:
    result = number
    result += number
    return result


def test_a_bug_is_there_for_as_long_as_it_is_planted() -> None:
    """Afterwards the function is the real one again, whatever has happened meanwhile."""
    bug = Bug("added once", test_bugs_have_names_of_their_own, "", {double: "- result += number"})
    original = double.__code__
    with suppress(KeyError), bug.planted():
        assert double(2) == 2
        raise KeyError
    assert double.__code__ is original
    assert double(2) == 4


@pytest.mark.parametrize("diff", ["- result *= number", "- number", "  result = number\n- result"])
def test_a_diff_that_fits_no_longer_is_refused(diff: str) -> None:
    """Nothing is planted in a mechanism that has become another one."""
    with pytest.raises(ValueError, match="double has these lines 0 times"):
        patched(double, diff)


def test_a_diff_that_fits_twice_is_refused() -> None:
    """It must say which place it means."""

    def twice(number: int) -> int:
        number += 1
        number += 1
        return number

    with pytest.raises(ValueError, match="2 times"):
        patched(twice, "- number += 1")
