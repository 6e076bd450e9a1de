"""A loop on a virtual clock with a network in memory; the transports are asyncio's own."""

import asyncio
import socket
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Callable, Mapping
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, SelectorKey
from typing import Any, NoReturn

from .._loop import VirtualClockLoop
from .names import AddressInfo
from .settings import current_network
from .sockets import SimulatedSocket, Sockets

_REFUSED = (
    "TLS is not simulated: its keys are random, and no seed repeats them. Have the simulation use "
    "plain connections (http:// in place of https://, ssl=None)"
)


class Selector(BaseSelector):
    """Says which sockets in memory are ready. Nothing is polled: sockets tell when they change."""

    def __init__(self) -> None:
        self._keys: dict[int, SelectorKey] = {}
        self._sockets: Mapping[int, SimulatedSocket] = {}
        self.changed: dict[int, None] = {}  # in the order in which they did
        self.changes: Callable[[int], object] | None = None  # is told of each

    def watch(self, sockets: Mapping[int, SimulatedSocket]) -> None:
        self._sockets = sockets

    def note(self, number: int, /) -> None:
        """A socket may have become readable or writable."""
        self.changed[number] = None
        if self.changes is not None:
            self.changes(number)

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        number = _number(fileobj)
        if number not in self._sockets:
            raise NotImplementedError(
                f"{fileobj!r} is not a socket of this simulation: nothing else can be waited for "
                "on a virtual clock. Make the socket within the simulation, or run on a real loop"
            )
        key = self._keys[number] = SelectorKey(fileobj, number, events, data)
        self.note(number)
        return key

    def unregister(self, fileobj: Any) -> SelectorKey:
        return self._keys.pop(_number(fileobj))

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        self.unregister(fileobj)
        return self.register(fileobj, events, data)

    def get_map(self) -> Mapping[Any, SelectorKey]:
        return self._keys

    def get_key(self, fileobj: Any) -> SelectorKey:
        return self._keys[_number(fileobj)]

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Return which sockets are ready for what, in the order in which they became so."""
        found = []
        changed, self.changed = self.changed, {}
        for number in changed:
            key, made = self._keys.get(number), self._sockets.get(number)
            if key is None or made is None:
                continue
            ready = EVENT_READ * made.readable | EVENT_WRITE * made.writable
            if ready & key.events:
                found.append((key, ready & key.events))
                self.changed[number] = None  # and stays so until somebody has read or written
        return found

    def close(self) -> None:
        self._keys.clear()
        self.changed.clear()


def _number(fileobj: Any) -> int:
    number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    return int(number)


class _SelectorLoop(BaseSelectorEventLoop):
    """asyncio's loop for sockets, without its pipe to itself."""

    _selector: Selector

    def __init__(self) -> None:
        super().__init__(Selector())

    def _make_self_pipe(self) -> None:
        pass

    def _close_self_pipe(self) -> None:
        pass


class NetworkLoop(VirtualClockLoop, _SelectorLoop):
    """A loop with a virtual clock and a network of its own.

    Attributes:
        sockets: All sockets of the network; made when the first one is.
    """

    seed = 0
    _made_sockets: Sockets | None = None

    @property
    def sockets(self) -> Sockets:
        if self._made_sockets is None:
            settings, note = current_network(), self._selector.note
            self._made_sockets = Sockets(self, settings, self.seed, note)
            self._selector.watch(self._made_sockets.open)
        return self._made_sockets

    @property
    def has_sockets(self) -> bool:
        """Whether the network was ever used."""
        return self._made_sockets is not None

    def _run_once(self) -> None:
        if self._selector.changed:
            BaseSelectorEventLoop._process_events(self, self._selector.select())  # type: ignore[attr-defined]
        super()._run_once()

    def _sock_connect_cb(self, fut: Any, sock: Any, address: Any) -> None:
        # asyncio does this in a callback of the future, which a task's step may overtake here.
        self.remove_writer(sock.fileno())
        super()._sock_connect_cb(fut, sock, address)  # type: ignore[misc]

    def close_network(self) -> None:
        """Close the connections that were left open, and have their protocols hear of it."""
        if self._made_sockets is None:
            return
        for transport in list(self._transports.values()):  # type: ignore[attr-defined]
            if not transport.is_closing() or transport.get_write_buffer_size():
                transport.abort()
        while self._ready:
            self.stop()
            self.run_forever()
        for left in list(self._made_sockets.open.values()):
            left.close()

    # --- asyncio's own methods, which VirtualClockLoop refuses ------------------------------------

    add_reader = BaseSelectorEventLoop.add_reader
    add_writer = BaseSelectorEventLoop.add_writer
    remove_writer = BaseSelectorEventLoop.remove_writer
    sock_accept = BaseSelectorEventLoop.sock_accept
    sock_connect = BaseSelectorEventLoop.sock_connect
    sock_recv = BaseSelectorEventLoop.sock_recv  # type: ignore[assignment]
    sock_sendall = BaseSelectorEventLoop.sock_sendall

    async def create_connection(self, *args: Any, ssl: Any = None, **settings: Any) -> Any:
        if ssl:  # before there is a connection, which nobody would close
            raise NotImplementedError(_REFUSED)
        return await BaseSelectorEventLoop.create_connection(self, *args, **settings)

    async def create_server(self, *args: Any, ssl: Any = None, **settings: Any) -> Any:
        if ssl:
            raise NotImplementedError(_REFUSED)
        return await BaseSelectorEventLoop.create_server(self, *args, **settings)

    async def getaddrinfo(  # type: ignore[override]
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[AddressInfo]:
        """Look a name up; see ``Names``."""
        found = self.sockets.names.look_up(host, port, family, type, proto, flags)
        if host and found[0][4][0] != host:
            await asyncio.sleep(self.sockets.lookups.latency())
        return found

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        name = sockaddr[0] if flags & socket.NI_NUMERICHOST else None
        return name or self.sockets.names.name_of(sockaddr[0]), str(sockaddr[1])

    def _make_ssl_transport(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(_REFUSED)

    async def start_tls(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(_REFUSED)
