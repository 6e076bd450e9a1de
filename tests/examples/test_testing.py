"""The pages of the test kit, run as they stand."""

import inspect
from collections.abc import Callable

import pytest

from examples import testing

MOST_LINES = 50  # a screen has them


@pytest.mark.parametrize("page", testing.PAGES, ids=lambda page: page.__name__)
def test_page_runs_and_says_what_it_found(
    page: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each checks itself; what it prints is not empty."""
    page()
    assert capsys.readouterr().out.strip()


@pytest.mark.proofs
def test_main_shows_every_page(capsys: pytest.CaptureFixture[str]) -> None:
    """In order, each under its name."""
    testing.main()
    shown = capsys.readouterr().out
    places = [shown.index(f"== {page.__name__}: ") for page in testing.PAGES]
    assert places == sorted(places)


@pytest.mark.proofs
def test_exploring_finds_the_lost_booking(capsys: pytest.CaptureFixture[str]) -> None:
    """And shows the order in which it is lost, and that the other way of writing holds."""
    testing.exploring()
    shown = capsys.readouterr().out
    assert "seeds break it; the shortest:" in shown
    assert "shared: {'seats': 9}" in shown
    assert "written in post: none of 1000 seeds breaks it" in shown


def test_a_page_is_read_without_scrolling() -> None:
    """From one heading to the next."""
    text = inspect.getsource(testing)
    pages = text.split("\n# --- ")[1:]
    assert len(pages) == len(testing.PAGES)
    assert all(len(page.splitlines()) <= MOST_LINES for page in pages)
