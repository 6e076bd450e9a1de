"""The store that an address names."""

import os
from pathlib import Path

import pytest

from kaygraph.journal.memory import MemoryStore
from kaygraph.journal.opening import open_store
from kaygraph.journal.sqlite import SQLiteStore


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}"])
@pytest.mark.parametrize("folder", ["", "{}/"])
def test_a_path_and_a_url_name_a_sqlite_file(
    form: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative or absolute, as for the nodes that work on databases."""
    monkeypatch.chdir(tmp_path)
    store = open_store(form.format(folder.format(tmp_path) + "runs.db"))
    assert isinstance(store, SQLiteStore)
    assert store.path == tmp_path / "runs.db"
    store.close()


def test_a_path_object_and_escapes_are_taken(tmp_path: Path) -> None:
    """A url can name any file."""
    for address in (tmp_path / "my runs.db", f"sqlite:///{tmp_path}/my%20runs.db"):
        store = open_store(address)
        assert isinstance(store, SQLiteStore)
        assert store.path == tmp_path / "my runs.db"
        store.close()
    assert os.listdir(tmp_path) == ["my runs.db"]


def test_memory_is_an_address_too() -> None:
    """Each opening gives a different store."""
    assert isinstance(open_store(":memory:"), MemoryStore)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("mysql://host/runs", "got 'mysql://'"),
        ("sqllite:///runs.db", "got 'sqllite://'. Did you mean 'sqlite'"),
        ("sqlite://runs.db", "as in 'runs.db'"),
        ("sqlite:///", "as in 'runs.db'"),
        ("", "as in 'runs.db'"),
    ],
)
def test_another_address_is_refused(address: str, text: str) -> None:
    """With a similar valid one."""
    with pytest.raises(ValueError, match=text):
        open_store(address)


def test_bytes_are_no_address() -> None:
    """The message says what is valid."""
    with pytest.raises(TypeError, match=r"a string or a path, got b'runs\.db'"):
        open_store(b"runs.db")  # type: ignore[arg-type]
