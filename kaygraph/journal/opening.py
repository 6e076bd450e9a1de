"""The store that an address names."""

import os
from urllib.parse import unquote

from ..errors import closest
from .memory import MemoryStore
from .store import Store

SCHEMES = ("sqlite", "postgresql", "postgres")


def open_store(
    address: str | os.PathLike[str], *, durable: bool = False, create: bool = True
) -> Store:
    """Open the store at an address, creating it if there is none.

    Args:
        address: The path of a SQLite file, ``sqlite:///relative.db``, ``sqlite:////absolute.db``,
            ``postgresql://user:password@host/name``, or ``:memory:`` for a store that ends with the
            process.
        durable: For SQLite: whether to wait until data is on the disk. By default, the operating
            system has it: a loss of power may lose the last rows, a killed process loses none.
        create: Whether to create a missing file or missing tables; otherwise that is an error.
    """
    text = os.fspath(address)
    if not isinstance(text, str):
        raise TypeError(f"the address of a journal must be a string or a path, got {address!r}")
    if text == ":memory:":
        return MemoryStore()
    scheme, colon, rest = text.partition("://")
    if colon and scheme in ("postgresql", "postgres"):
        from .postgres import PostgresStore

        return PostgresStore(text, durable=durable, create=create)
    if colon and scheme != "sqlite":
        raise ValueError(
            "the address of a journal must be the path of a file, or begin with 'sqlite:///' or "
            f"'postgresql://'; got {scheme + colon!r}.{closest(scheme, SCHEMES)}"
        )
    path = unquote(rest.removeprefix("/")) if colon else text
    if not path or (colon and not rest.startswith("/")):
        raise ValueError(
            "the address of a SQLite journal must be the path of a file, as in 'runs.db', "
            "'sqlite:///runs.db' or 'sqlite:////srv/runs.db'"
        )
    from .sqlite import SQLiteStore  # not every process has or needs sqlite3

    return SQLiteStore(path, durable=durable, create=create)
