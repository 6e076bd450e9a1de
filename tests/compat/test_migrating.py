"""docs/migrating.md leaves no name out; its programs are run with those of the other pages."""

import re
from pathlib import Path

import pytest

from kaygraph import compat

PAGE = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", compat.__all__)
def test_every_name_has_its_row(name: str) -> None:
    """For every old class there is the new code that replaces it."""
    names = PAGE[PAGE.index("## The names") : PAGE.index("## What is kept")]
    assert re.search(rf"^\|.*`{name}`.*\|.*\|$", names, re.MULTILINE)
    assert getattr(compat, name)
