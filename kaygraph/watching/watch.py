"""``Watch``: what ``watch=`` takes, and how long its page is there."""

import asyncio
import atexit
import os
import secrets
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from .._validation import check_flag, check_name
from ..journal.journal import Journal
from .addresses import is_loopback
from .hub import Hub
from .watched import WatchedRun

if TYPE_CHECKING:
    from .server import Server

MOST_RUNS = 20  # that are shown when they are over
CLOSING_S = 2.0  # for which a server is waited for
LEAST_TOKEN = 8  # characters


class Watch:
    """A page in the browser that shows runs while they go on, and why they wait.

    ``graph.run(shared, watch=True)`` is ``watch=Watch()``, ``watch=8765`` is ``Watch(8765)``. A
    line on standard error says the address. The page is there as long as a run goes on that has
    it; a page that is open then shows how it has ended. In a ``with`` it is there until the end of
    the block, for all runs within:

        with Watch(8765) as page:
            graph.run(first, watch=page)
            graph.run(second, watch=page)
            page.wait()

    Args:
        port: Where it listens; 0: at any port that is free; None: nowhere, for ``save`` alone.
        host: The address it listens on. By default it is reached from this machine alone.
        token: Who looks has to know it. Where ``host`` is not this machine, and with ``control``,
            one is made by default; the address on standard error has it.
        names: Names of this machine by which the page is reached, besides its addresses.
        control: Whether the page may drain a run, and answer what runs of the journal wait for.
        journal: Whose runs are listed; by default that of the run.
        keep_open: Whether the page stays when the run is over, until ``close()`` or the end of the
            process.
        save: Where to write the page of the finished run: one HTML file that needs no server.
    """

    def __init__(
        self,
        port: int | None = 0,
        *,
        host: str = "127.0.0.1",
        token: str | None = None,
        names: Iterable[str] = (),
        control: bool = False,
        journal: Journal | None = None,
        keep_open: bool = False,
        save: str | os.PathLike[str] | None = None,
    ) -> None:
        self.port, self.host = _checked_port(port), _checked_host(host)
        if token is not None and not isinstance(token, str):
            raise TypeError(f"a token is a string; got {type(token).__name__}")  # not the token
        if token is not None and len(token) < LEAST_TOKEN:
            raise ValueError(f"a token has at least {LEAST_TOKEN} characters; got {len(token)}")
        if journal is not None and not isinstance(journal, Journal):
            raise TypeError(
                f'journal is a Journal, as in Watch(journal=Journal("runs.db")); got {journal!r}'
            )
        self.control = check_flag("control", control)
        self.keep_open = check_flag("keep_open", keep_open)
        self.save_to = None if save is None else _checked_path(save)
        needs = control or not is_loopback(host)
        self.token = secrets.token_urlsafe(24) if token is None and needs else token
        self.journal = journal
        self._names = [names] if isinstance(names, str) else list(names)
        for name in self._names:
            check_name("a name in names", name)
        self._lock = Lock()
        self._runs: list[WatchedRun] = []
        self._going_on = 0
        self._entered = False
        self._server: Server | None = None
        self._over = Event()

    def __repr__(self) -> str:
        return f"<Watch {self.address or 'that is not open'}>"

    @property
    def address(self) -> str | None:
        """Where the page is, without its token; None while it is not there."""
        server = self._server
        if server is None:
            return None
        host = self.host
        if host in ("0.0.0.0", "::"):
            import socket  # loads where it is used

            host = socket.gethostname()
        return f"http://{f'[{host}]' if ':' in host else host}:{server.port}/"

    def __enter__(self) -> Self:
        with self._lock:
            self._entered = True
            self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self) -> None:
        """Wait until the page is closed, by another thread, or by Ctrl-C, which ends here."""
        with suppress(KeyboardInterrupt):
            self._over.wait()

    def close(self) -> None:
        """End the page; open ones go on to show what they have."""
        with self._lock:
            self._entered, server, self._server = False, self._server, None
            self._over.set()
        if server is not None:
            server.stop()
            server.join(CLOSING_S)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page of the newest run as one HTML file that needs no server.

        Raises:
            ValueError: There has been no run.
        """
        if not self._runs:
            raise ValueError("there is no run to save: it is saved when one has begun")
        Path(path).write_text(self._runs[-1].page(), encoding="utf-8")

    # --- for runs ---------------------------------------------------------------------------------

    def watching(self, node: Any, run: Any, journal: Any) -> WatchedRun:
        """Return the observer of a run that is about to begin; for the engine."""
        if self.journal is None and isinstance(journal, Journal):
            self.journal = journal
        return WatchedRun(self, node, run)

    def begun(self, run: WatchedRun) -> None:
        """Show a run; the page is opened where it is not yet."""
        with self._lock:
            self._going_on += 1
            over = [one for one in self._runs if one.over]
            for one in over[: max(0, len(self._runs) - MOST_RUNS)]:
                self._runs.remove(one)
            self._runs.append(run)
            try:
                self._open()
            except BaseException:
                self._going_on -= 1
                self._runs.remove(run)
                raise

    async def ended(self, run: WatchedRun) -> None:
        """Show how a run has ended; close the page where nothing else needs it."""
        with self._lock:
            self._going_on -= 1
            server = self._server
            if server is None:
                return
            stays = self._going_on or self.keep_open or self._entered
            if not stays:
                self._server = None
        if stays:
            server.call(run.hub.end)
        else:
            server.stop()
            await asyncio.wrap_future(server.ended)
            server.join(CLOSING_S)  # its thread has nothing left to do
            self._over.set()

    def hubs(self) -> list[Hub]:
        """Return what looks at the runs, for the server."""
        return [run.hub for run in tuple(self._runs)]

    def _open(self) -> None:
        """Begin to serve, unless that goes on, and say where."""
        if self._server is not None or self.port is None:
            return
        from .guard import Guard  # load aiohttp, where it is used
        from .routes import Routes
        from .server import Server

        guard = Guard(self.host, self._names, self.token)
        routes = Routes(self)
        server = Server(lambda: routes.application(guard), self.host, self.port, self._end_all)
        server.start()
        guard.port = server.port
        self._server = server
        self._over.clear()
        atexit.register(self.close)
        token = "" if self.token is None else f"?token={quote(self.token, safe='')}"
        print(f"kaygraph: watch at {self.address}{token}", file=sys.stderr, flush=True)

    def _end_all(self) -> None:
        for hub in self.hubs():
            hub.end()


def _checked_port(port: Any) -> int | None:
    if port is True:
        return 0
    if port is None or (type(port) is int and 0 <= port < 1 << 16):
        return port
    raise ValueError(f"a port is a number up to 65535, or 0 for any that is free; got {port!r}")


def _checked_host(host: Any) -> str:
    if isinstance(host, str) and host:
        return host
    raise ValueError(
        "host is an address to listen on, as in '127.0.0.1', or '0.0.0.0' for all of this machine; "
        f"got {host!r}"
    )


def _checked_path(path: str | os.PathLike[str]) -> Path:
    found = Path(path)
    if not found.parent.is_dir():
        raise ValueError(f"there is no folder {str(found.parent)!r} to save the page in")
    if found.is_dir():
        raise ValueError(f"save is a file, as in 'run.html'; {str(found)!r} is a folder")
    return found
