"""Sockets in memory, which asyncio's own transports and servers use like any others."""

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol

from .names import Address, Names, is_any, is_loopback
from .settings import Network
from .wires import Chance, Wire

FIRST_NUMBER = 1_000_000  # of the file descriptors: no process has so many files


class Listening(Protocol):
    """What is called when a socket may have become readable or writable."""

    def __call__(self, number: int, /) -> None: ...


class Sockets:
    """All sockets of one simulation, and the addresses where they listen."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, settings: Network, seed: int, changed: Listening
    ) -> None:
        self.loop, self.changed, self.names = loop, changed, Names()
        self._settings, self._seed = settings, seed
        self._made = self._connections = 0
        self.open: dict[int, SimulatedSocket] = {}
        self.bound: dict[tuple[int, str, int], SimulatedSocket] = {}
        self.lookups = Chance(settings, seed, 0)

    def number(self, made: "SimulatedSocket") -> int:
        self._made += 1
        self.open[FIRST_NUMBER + self._made] = made
        return FIRST_NUMBER + self._made

    def chance(self) -> Chance:
        self._connections += 1
        return Chance(self._settings, self._seed, self._connections)

    def bind(self, made: "SimulatedSocket", host: str, port: int) -> tuple[int, str, int]:
        """Give a socket its address; a port of its own where the port is 0."""
        family = int(made.family)
        taken = [(own, number) for kind, own, number in self.bound if kind == family]
        if port == 0:
            port = self.names.next_port()
        elif any(
            number == port and (own == host or is_any(own) or is_any(host)) for own, number in taken
        ):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        place = family, host, port
        self.bound[place] = made
        return place

    def listener(self, family: int, host: str, port: int) -> "SimulatedSocket | None":
        """Return the socket that listens at an address, or None."""
        hosts = [host, "::" if family == socket.AF_INET6 else "0.0.0.0"]
        found = (self.bound.get((family, own, port)) for own in hosts)
        return next((one for one in found if one is not None and one.listening), None)


class SimulatedSocket(socket.socket):
    """A TCP socket in memory that never blocks: it raises BlockingIOError where it would."""

    def __init__(self, sockets: Sockets, family: int = -1, kind: int = -1, proto: int = -1) -> None:
        # The real constructor is not called: it would open a file.
        self._io_refs, self._closed = 0, False
        self._sockets = sockets
        self._family = socket.AddressFamily(socket.AF_INET if family == -1 else family)
        self._kind = socket.SocketKind(socket.SOCK_STREAM if kind == -1 else kind)
        self._proto = max(proto, 0)
        inet = self._family in (socket.AF_INET, socket.AF_INET6)
        if not inet or self._kind != socket.SOCK_STREAM:
            raise NotImplementedError(
                "a simulation has TCP over IPv4 and IPv6, and no other sockets: give the code a "
                "stand-in for its service, or run it on a real loop"
            )
        self._number = sockets.number(self)
        self._timeout: float | None = None
        self._options: dict[tuple[int, int], Any] = {}
        self._place: tuple[int, str, int] | None = None
        self._local: Address | None = None
        self._peer: Address | None = None
        self._backlog: deque[SimulatedSocket] = deque()
        self._most_waiting = 0
        self.listening = False
        self._out: Wire | None = None
        self._in: Wire | None = None
        self._connected = self._ended = self._shut = False
        self._data = bytearray()
        self._error: int = 0

    # --- what the loop asks ---------------------------------------------------------------------

    def changed(self) -> None:
        self._sockets.changed(self._number)

    @property
    def readable(self) -> bool:
        return bool(self._data or self._ended or self._error or self._backlog)

    @property
    def writable(self) -> bool:
        if self._error:
            return True
        return self._connected and self._out is not None and (self._shut or self._out.room > 0)

    def arrived(self, segment: bytes | None) -> None:
        """A segment has come from the other end: see ``Wire``."""
        assert self._in is not None
        if segment is None:
            self._error, self._connected = errno.ECONNRESET, False
            self._data.clear()
        elif self._closed:
            self._in.read(len(segment))
            if segment and self._out is not None:
                self._out.reset()
        elif segment:
            self._data += segment
        else:
            self._ended = True
        self.changed()

    # --- connections ----------------------------------------------------------------------------

    def bind(self, address: Any) -> None:
        infos = self._sockets.names.look_up(
            address[0], address[1], self._family, flags=socket.AI_PASSIVE
        )
        host = infos[0][4][0]
        self._place = self._sockets.bind(self, host, infos[0][4][1])
        self._local = (host, self._place[2], *infos[0][4][2:])

    def listen(self, backlog: int = 100, /) -> None:
        if self._place is None:
            self.bind(("", 0))
        self.listening, self._most_waiting = True, max(backlog, 1)

    def accept(self) -> tuple[socket.socket, Any]:
        if not self._backlog:
            self._would_block("accept()")
        taken = self._backlog.popleft()
        return taken, taken.getpeername()

    def connect(self, address: Any) -> None:
        """Begin to connect; the socket becomes writable when it is connected, or has failed."""
        if self._timeout != 0:
            self._would_block("connect()")
        if self._connected or self._in is not None:
            raise OSError(errno.EISCONN, os.strerror(errno.EISCONN))
        names, chance = self._sockets.names, self._sockets.chance()
        peer = names.look_up(address[0], address[1], self._family)[0][4]
        if is_any(peer[0]):  # stands for this machine, as on Linux
            peer = ("127.0.0.1" if len(peer) == 2 else "::1", *peer[1:])
        if self._local is None or is_any(self._local[0]):
            own = peer[0] if not is_loopback(peer[0]) else ("127.0.0.1", "::1")[len(peer) > 2]
            port = names.next_port() if self._local is None else self._local[1]
            self._local = (own, port, *peer[2:])
        self._peer = peer
        self._sockets.loop.call_later(chance.latency(), self._knock, chance)
        raise BlockingIOError(errno.EINPROGRESS, os.strerror(errno.EINPROGRESS))

    def _knock(self, chance: Chance) -> None:
        """The request for a connection has come to where a server may listen."""
        assert self._peer is not None
        if self._closed:
            return
        server = self._sockets.listener(self._family, self._peer[0], self._peer[1])
        full = server is not None and len(server._backlog) >= server._most_waiting
        if server is None or full or chance.refused:
            self._sockets.loop.call_later(chance.latency(), self._established, errno.ECONNREFUSED)
            return
        other = SimulatedSocket(self._sockets, self._family, self._kind, self._proto)
        other._local, other._peer = self._peer, self._local
        loop = self._sockets.loop
        self._out = other._in = Wire(loop, chance, self, other)
        self._in = other._out = Wire(loop, chance, other, self)
        other._connected = True
        server._backlog.append(other)
        server.changed()
        loop.call_later(chance.latency(), self._established, 0)

    def _established(self, error: int) -> None:
        self._error = self._error or error
        self._connected = not self._error and not self._closed
        self.changed()

    # --- data -----------------------------------------------------------------------------------

    def recv(self, count: int, flags: int = 0, /) -> bytes:
        self._check()
        if not self._data:
            if self._ended:
                return b""
            self._would_block("recv()")
        taken = bytes(self._data[:count])
        if not flags & socket.MSG_PEEK:
            del self._data[:count]
            assert self._in is not None
            self._in.read(len(taken))
        return taken

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        view = memoryview(buffer).cast("B")
        taken = self.recv(nbytes or len(view), flags)
        view[: len(taken)] = taken
        return len(taken)

    def send(self, data: Any, flags: int = 0, /) -> int:
        self._check()
        if self._shut:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        if self._out is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        sent = bytes(memoryview(data).cast("B")[: self._out.room])
        if not sent and len(data):
            self._would_block("send()")
        if sent:
            self._out.send(sent)
        return len(sent)

    def sendmsg(self, buffers: Any, *_: Any) -> int:
        return self.send(b"".join(bytes(memoryview(part).cast("B")) for part in buffers))

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        if self.send(data) < len(data):
            self._would_block("sendall()")

    def shutdown(self, how: int, /) -> None:
        if self._out is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            self._ended = True
        if how in (socket.SHUT_WR, socket.SHUT_RDWR) and not self._shut:
            self._shut = True
            self._out.end()
        self.changed()

    def close(self) -> None:
        if self._closed:
            return
        self._closed, self._connected = True, False
        self._sockets.open.pop(self._number, None)
        if self._place is not None and self._sockets.bound.get(self._place) is self:
            del self._sockets.bound[self._place]
        self.listening = False
        for waiting in self._backlog:
            waiting._reset()
        if self._data or (self._out is not None and self._error):
            self._reset()
        elif self._out is not None and not self._shut:
            self._shut = True
            self._out.end()

    def _reset(self) -> None:
        """End the connection at once: the other side gets a ConnectionResetError."""
        self._closed = True
        self._sockets.open.pop(self._number, None)
        if self._out is not None and not self._error:
            self._out.reset()

    def _check(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if self._error:
            raise OSError(self._error, os.strerror(self._error))

    def _would_block(self, call: str) -> NoReturn:
        if self._timeout == 0:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        raise NotImplementedError(
            f"{call} of a socket that blocks would stop the clock of the simulation: call "
            "setblocking(False) and use the loop's methods, or asyncio.open_connection()"
        )

    # --- all the rest that is asked of a socket ---------------------------------------------------

    @property
    def family(self) -> socket.AddressFamily:
        return self._family

    @property
    def type(self) -> socket.SocketKind:
        return self._kind

    @property
    def proto(self) -> int:
        return self._proto

    @property
    def timeout(self) -> float | None:
        return self._timeout

    def fileno(self) -> int:
        return -1 if self._closed else self._number

    def setblocking(self, flag: bool, /) -> None:
        self._timeout = None if flag else 0.0

    def settimeout(self, value: float | None, /) -> None:
        self._timeout = value

    def gettimeout(self) -> float | None:
        return self._timeout

    def getblocking(self) -> bool:
        return self._timeout != 0

    def getsockname(self) -> Any:
        self._check_open()
        any_host = "::" if self._family == socket.AF_INET6 else "0.0.0.0"
        return self._local or (any_host, 0, *((0, 0) if any_host == "::" else ()))

    def getpeername(self) -> Any:
        self._check_open()
        if self._peer is None or self._out is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self._peer

    def _check_open(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def setsockopt(self, level: int, name: int, value: Any, *_: Any) -> None:
        self._options[level, name] = value

    def getsockopt(self, level: int, name: int, *_: Any) -> Any:
        if (level, name) == (socket.SOL_SOCKET, socket.SO_ERROR):
            return self._error
        return self._options.get((level, name), 0)

    def detach(self) -> NoReturn:
        raise NotImplementedError("a socket of a simulation has no file to detach")

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self._local} → {self._peer}"
        return f"<SimulatedSocket {state}>"


_real = socket.socket


class _Kind(type):
    """Sockets that were made before, or elsewhere, are instances too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _real)


class SocketOrSimulated(_real, metaclass=_Kind):
    """What stands for ``socket.socket`` while simulations run: their coroutines get one in memory.

    Others get a real one: threads, loops of their own, and who brings the number of a file.
    """

    def __new__(cls, *args: Any, **settings: Any) -> Any:
        # Imported here, `SocketOrSimulated` may have subclasses, such as that of TLS: real ones.
        sockets = getattr(asyncio._get_running_loop(), "sockets", None)
        files = len(args) > 3 or settings.get("fileno") is not None
        if cls is not SocketOrSimulated or sockets is None or files:
            return super().__new__(cls)
        kind = settings.get("type", args[1] if len(args) > 1 else -1)
        family = settings.get("family", args[0] if args else -1)
        proto = settings.get("proto", args[2] if len(args) > 2 else -1)
        return SimulatedSocket(sockets, family, kind, proto)


@contextmanager
def simulated_sockets() -> Iterator[None]:
    """Give the coroutines of simulations sockets in memory, also to libraries that make them."""
    before = socket.socket
    socket.socket = SocketOrSimulated  # type: ignore[misc]
    try:
        yield
    finally:
        socket.socket = before  # type: ignore[misc]
