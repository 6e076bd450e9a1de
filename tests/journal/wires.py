"""A connection to PostgreSQL that is lost in the middle of an operation."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, quote, urlsplit


class Wire:
    """A socket in front of the server's, which loses what it is set to lose, and then closes.

    Attributes:
        lose: "request": the next one does not reach the server. "answer": the next one is carried
            out, and its answer does not come back. "silence": nothing comes back, nobody hangs up.
        after: How many of them come through before that.
        lost: Is set when that has happened.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        self._there = f"{query['host'][0]}/.s.PGSQL.{query.get('port', ['5432'])[0]}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.lose, self.after = "", 0
        self.lost = threading.Event()
        port = self._listener.getsockname()[1]
        options = "".join(f"&options={quote(value)}" for value in query.get("options", ()))
        self.url = (
            f"postgresql://{parts.netloc}127.0.0.1:{port}{parts.path}?sslmode=disable{options}"
        )
        self._thread = threading.Thread(target=self._accept)
        self._threads: list[threading.Thread] = []
        self._ends: list[socket.socket] = []
        self._thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.socket(socket.AF_UNIX)
                there.connect(self._there)
                self._ends += [here, there]
                thread = threading.Thread(target=self._pass, args=(here, there))
                self._threads.append(thread)
                thread.start()

    def _pass(self, here: socket.socket, there: socket.socket) -> None:
        with here, there, suppress(OSError):
            while True:
                for end in select.select([here, there], [], [])[0]:
                    data = end.recv(65536)
                    what = "request" if end is here else "answer"
                    if not data:
                        return
                    if self.lose == "silence":
                        self.lost.set()
                        continue
                    if self.lose == what and self.after:
                        self.after -= 1
                    elif self.lose == what:
                        self.lose = ""
                        self.lost.set()
                        return
                    (there if end is here else here).sendall(data)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


@contextmanager
def wired(url: str) -> Iterator[Wire]:
    wire = Wire(url)
    try:
        yield wire
    finally:
        wire.close()
