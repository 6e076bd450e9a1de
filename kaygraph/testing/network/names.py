"""Names, addresses and ports of a simulated network: every name has an address of its own."""

import ipaddress
import socket
from typing import Any

Address = tuple[Any, ...]  # host and port, and two numbers more for IPv6
AddressInfo = tuple[int, int, int, str, Address]

_SERVICES = {"http": 80, "https": 443}
_ANY = {"0.0.0.0", "::"}

FIRST_PORT = 49_152  # of those that are given to who asks for port 0


class Names:
    """Gives every name an address: "localhost" is 127.0.0.1, others are 10.0.0.1, 10.0.0.2, …"""

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}
        self._ports = FIRST_PORT

    def next_port(self) -> int:
        self._ports += 1
        return self._ports - 1

    def look_up(
        self, host: Any, port: Any, family: int = 0, kind: int = 0, proto: int = 0, flags: int = 0
    ) -> list[AddressInfo]:
        """Return what ``socket.getaddrinfo`` returns: one address, of IPv4 if any will do.

        Raises:
            socket.gaierror: Only a numeric address was allowed, or it is of another family.
        """
        host = host.decode() if isinstance(host, bytes) else host
        if not host:
            any_host = flags & socket.AI_PASSIVE
            six = family == socket.AF_INET6
            host = ("::" if six else "0.0.0.0") if any_host else ("::1" if six else "127.0.0.1")
        address = self._address(host.partition("%")[0], family, flags)
        version = socket.AF_INET6 if ":" in address else socket.AF_INET
        if family not in (0, version):
            raise socket.gaierror(socket.EAI_NONAME, f"{host} has no address of this family")
        kind = kind or socket.SOCK_STREAM
        number = _port(port)
        where = (address, number, 0, 0) if version == socket.AF_INET6 else (address, number)
        protocol = socket.IPPROTO_UDP if kind == socket.SOCK_DGRAM else socket.IPPROTO_TCP
        return [(version, socket.SocketKind(kind), proto or protocol, "", where)]

    def name_of(self, address: str) -> str:
        """Return the name that has an address, or the address."""
        if is_loopback(address):
            return "localhost"
        return next((name for name, own in self._addresses.items() if own == address), address)

    def _address(self, host: str, family: int, flags: int) -> str:
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            if flags & socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, f"{host} is not an address") from None
        six = family == socket.AF_INET6
        if host.rstrip(".").lower() == "localhost":
            return "::1" if six else "127.0.0.1"
        known = self._addresses
        name = host.rstrip(".").lower()
        # IPv6 is for who asks for nothing else, and has the same number at its end.
        number = known.setdefault(name, f"10.0.{len(known) // 250}.{len(known) % 250 + 1}")
        return str(ipaddress.ip_address(f"fd00::{number}")) if six else number


def _port(port: Any) -> int:
    if port is None:
        return 0
    text = port.decode() if isinstance(port, bytes) else str(port)
    if text in _SERVICES:
        return _SERVICES[text]
    if not text.isdigit():
        raise socket.gaierror(socket.EAI_SERVICE, f"unknown service {text!r}")
    return int(text)


def is_any(host: str) -> bool:
    """Return whether a server at this address takes connections to all addresses."""
    return host in _ANY


def is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback
