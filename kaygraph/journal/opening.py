"""Which store an address names."""

import os
from urllib.parse import unquote

from ..errors import closest
from .memory import MemoryStore
from .store import Store

SCHEMES = ("sqlite", "postgresql", "postgres")


def open_store(
    address: str | os.PathLike[str], *, durable: bool = False, create: bool = True
) -> Store:
    """Open the store at an address, which is made if there is none.

    Args:
        address: The path of a SQLite file, ``sqlite:///relative.db``, ``sqlite:////absolute.db``,
            ``postgresql://user:password@host/name``, or ``:memory:`` for one that ends with the
            process.
        durable: Of SQLite: what is written is on the disk. False: the operating system has it, so
            that a loss of power may take the last rows; a killed process takes none.
        create: Make the file, or the tables, where there are none; else that is an error.
    """
    text = os.fspath(address)
    if not isinstance(text, str):
        raise TypeError(f"the address of a journal is a string or a path, got {address!r}")
    if text == ":memory:":
        return MemoryStore()
    scheme, colon, rest = text.partition("://")
    if colon and scheme in ("postgresql", "postgres"):
        from .postgres import PostgresStore

        return PostgresStore(text, durable=durable, create=create)
    if colon and scheme != "sqlite":
        raise ValueError(
            "the address of a journal is the path of a file, or begins with 'sqlite:///' or "
            f"'postgresql://'; got {scheme + colon!r}.{closest(scheme, SCHEMES)}"
        )
    path = unquote(rest.removeprefix("/")) if colon else text
    if not path or (colon and not rest.startswith("/")):
        raise ValueError(
            "the address of a SQLite journal is the path of a file, as in 'runs.db', "
            "'sqlite:///runs.db' or 'sqlite:////srv/runs.db'"
        )
    from .sqlite import SQLiteStore  # not every process has sqlite3 loaded, nor needs it

    return SQLiteStore(path, durable=durable, create=create)
