"""Real databases for the tests: a SQLite file, a PostgreSQL server, and a way to it that is cut."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from kaygraph.nodes import Database, SQLExecute

POSTGRES = os.environ.get("KAYGRAPH_TEST_POSTGRES")
SCRIPT = Path(__file__).parent.parent / ".ci" / "postgres"

_schemas = count()

needs_postgres = pytest.mark.skipif(
    not POSTGRES, reason="KAYGRAPH_TEST_POSTGRES does not name a server; .ci/postgres starts one"
)


def postgres(**settings: Any) -> Database:
    """Return the server's database, or skip the test."""
    if not POSTGRES:
        pytest.skip("KAYGRAPH_TEST_POSTGRES does not name a server; .ci/postgres starts one")
    return Database(POSTGRES, **settings)


@contextmanager
def schema() -> Iterator[str]:
    """A schema of one's own in the server's database, as a url, or skip the test."""
    url, name = postgres().url, f"kaygraph_{os.getpid()}_{next(_schemas)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    try:
        yield f"{url}&options=-csearch_path%3D{name}"
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA {name} CASCADE")


def placeholder(database: Database, name: str) -> str:
    return f":{name}" if database.is_sqlite else f"%({name})s"


async def query(database: Database, *statements: str) -> Any:
    """Run statements and return the result."""
    shared: dict[str, Any] = {}
    await SQLExecute(database, *statements, writes="result").run_async(shared)
    return shared["result"]


async def connections(database: Database, but: int = 0) -> list[Any]:
    """Return the server's connections to the database, without the one that asks."""
    rows: list[Any] = await query(
        database,
        "SELECT pid, state, query FROM pg_stat_activity WHERE datname = current_database() "
        f"AND backend_type = 'client backend' AND pid NOT IN (pg_backend_pid(), {but})",
    )
    return rows


async def until_no_connections(database: Database) -> list[Any]:
    """Return what is left of them, when the server has had its time to see that they ended."""
    for _ in range(100):
        left = await connections(database)
        if not left:
            return []
        await asyncio.sleep(0.02)
    return left


@contextmanager
def server() -> Iterator[tuple[str, Any]]:
    """Start a PostgreSQL server of one's own; yield its url and a function that stops or starts it.

    The function blocks; call it from a thread.
    """
    with TemporaryDirectory() as folder:

        def control(action: str) -> str:
            done = subprocess.run(
                [SCRIPT, action, folder], check=True, stdout=subprocess.PIPE, timeout=60
            )
            return done.stdout.decode().strip()

        try:
            yield control("start"), control
        finally:
            control("stop")


@contextmanager
def pooler(*settings: str) -> Iterator[tuple[str, Any]]:
    """Start a server and PgBouncer in front of it, or skip the test; yield a url and a function.

    The url has {} where the mode of the pool goes; the function stops or starts the server.
    """
    with server() as (url, control):
        folder = Path(parse_qs(urlsplit(url).query)["host"][0]).parent
        done = subprocess.run(
            [SCRIPT, "start-pooler", folder, *settings],  # it may have to be installed
            check=True,
            capture_output=True,
            timeout=100,
        )
        url = done.stdout.decode().strip()
        if not url:
            pytest.skip(done.stderr.decode().strip())
        try:
            yield url, control
        finally:
            subprocess.run([SCRIPT, "stop-pooler", folder], check=True, timeout=60)


class Proxy:
    """A port on loopback that leads to the server, until it is cut, closed or made silent."""

    def __init__(self, database: Database) -> None:
        parts = urlsplit(database.url)
        self._socket = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
        self._login = parts.netloc
        self._name = parts.path
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.port = 0
        self.accepted = 0
        self.silent = False
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"postgresql://{self._login}127.0.0.1:{self.port}{self._name}?sslmode=disable"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Take no more connections; those that there are go on."""
        assert self._server is not None
        self._server.close()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there = None
        try:
            here, there = await asyncio.open_unix_connection(self._socket)
            self._writers |= {writer, there}
            await asyncio.gather(self._pass(reader, there), self._pass(here, writer))
        finally:
            self._tasks.discard(task)
            for end in (writer, there):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if not self.silent:
                    writer.write(data)
                    await writer.drain()
        writer.transport.abort()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def proxied(database: Database) -> AsyncIterator[Proxy]:
    proxy = Proxy(database)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
