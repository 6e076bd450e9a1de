"""Addresses as they may be shown."""

from pathlib import Path

import pytest

from kaygraph import Cache, Journal
from kaygraph._addresses import shown

SECRET = "postgresql://ann:s3cret@db.example:5432/shop?password=s3cret"


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("runs.db", "runs.db"),
        (Path("runs.db"), "runs.db"),
        ("sqlite:////srv/runs.db", "sqlite:////srv/runs.db"),
        (SECRET, "postgresql://ann@db.example:5432/shop"),
        ("postgres://db/shop", "postgresql://db/shop"),
        ("postgresql://ann:s3@cret@db/shop", "postgresql://…"),
    ],
)
def test_an_address_is_shown_without_its_password(address: str | Path, text: str) -> None:
    """Nor what cannot be distinguished from one."""
    assert shown(address) == text


def test_nothing_that_has_an_address_shows_its_password() -> None:
    """Where it is printed, in a traceback, say."""
    assert repr(Journal(SECRET, run="a")) == (
        "<Journal 'postgresql://ann@db.example:5432/shop', run='a'>"
    )
    assert repr(Cache(SECRET)) == "Cache('postgresql://ann@db.example:5432/shop')"
