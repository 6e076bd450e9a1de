"""The allowed addresses: for a URL from data, only public ones.

An address is checked where the connection is made, so that nothing can change between the check
and the use: every answer of the name service, and literals, for which there is no lookup.
"""

import re
import socket
from collections.abc import Collection
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from ..._formatting import redacted
from ...errors import KayGraphError
from .._quoted import value_text
from ._urls import as_given, plain, resolved, shown

Origin = tuple[str, str, int]  # scheme, host, port

_NAME = re.compile(r"(?:[\w-]{1,63}\.)*[\w-]{1,63}\.?", re.ASCII)
_HEXADECIMAL = re.compile("0x[0-9a-f]*")

_NAT64 = ip_network("64:ff9b::/96")  # RFC 6052: the last four bytes are an IPv4 address
_UNICAST = ip_network("2000::/3")  # IANA's range of public IPv6 addresses
# What the standard library considers public, or did before Python 3.11.10: addresses for special
# use (RFC 6890), of which some clouds serve secrets at 192.0.0.192, and Azure at the other.
_SPECIAL = (ip_network("192.0.0.0/24"), ip_network("168.63.129.16/32"))


class HTTPRequestError(KayGraphError, ValueError):
    """A request that is not made, because it is invalid or not allowed."""


class AddressRefusedError(HTTPRequestError):
    """A URL leads to an address that is not public."""


def origin_of(url: URL) -> Origin:
    """Return what two addresses must share to trust one another (RFC 6454)."""
    return url.scheme, (url.host or "").lower().rstrip("."), url.port or 0


def parsed(text: object) -> URL:
    """Return an address that can be requested: http or https, with a host, without a user.

    What is already encoded in it is left unchanged.

    Raises:
        HTTPRequestError: It is not such an address.
    """
    if not isinstance(text, str | URL):
        raise HTTPRequestError(f"a URL must be like 'https://host/path', got {_shown(text)}")
    known = _known(None, text) if isinstance(text, str) else None
    if known is not None:
        return known
    try:
        str(text).encode()  # yarl would leave out what is not text
        url = as_given(str(text))
    except (ValueError, UnicodeError) as error:
        raise _no_url(text, error) from None
    return _checked(url, text)


def joined(base: URL, reference: str) -> URL:
    """Return the target of a URL that is relative to another.

    Raises:
        HTTPRequestError: The target cannot be requested.
    """
    known = _known(base, reference)
    if known is not None:
        return known
    try:
        reference.encode()  # yarl would leave out what is not text
        url = resolved(base, reference)
    except (ValueError, UnicodeError) as error:
        raise _no_url(reference, error) from None
    return _checked(url, reference)


def _known(base: URL | None, text: str) -> URL | None:
    """Return the target of a text whose origin needs only one check."""
    parts = plain(text)
    if parts is None:
        return None
    origin, path, query = parts
    if origin is not None:
        named = _at_origin(origin)
    elif base is not None:
        named = base.scheme, base.raw_authority
    else:
        named = None
    if named is None:
        return None
    return URL.build(
        scheme=named[0], authority=named[1], path=path, query_string=query, encoded=True
    )


@lru_cache(maxsize=256)
def _at_origin(origin: str) -> tuple[str, str] | None:
    """Return scheme and authority of an origin, or None if it is not one."""
    try:
        url = _checked(as_given(f"{origin}/"), origin)
    except ValueError:
        return None
    return url.scheme, url.raw_authority


def _checked(url: URL, text: object) -> URL:
    try:
        port = url.port  # raises for one out of range
    except ValueError as error:
        raise _no_url(text, error) from None
    if url.scheme not in ("http", "https") or not url.host or not port:
        raise HTTPRequestError(
            f"a URL must begin with http:// or https:// and a host, got {_shown(text)}"
        )
    if ":" not in url.host and not _NAME.fullmatch(str(url.raw_host)):
        raise HTTPRequestError(
            f"{_shown(text)} is not a URL: its host is neither a name nor an address"
        )
    if url.user is not None or url.password is not None:
        raise HTTPRequestError(
            f"{_shown(text)} contains a user: leave it out and pass auth=Basic(user, password)"
        )
    return url


def _no_url(text: object, error: Exception) -> HTTPRequestError:
    return HTTPRequestError(f"{_shown(text)} is not a URL: {redacted(str(error))}")


def _shown(text: object) -> str:
    return redacted(repr(shown(text))) if isinstance(text, str | URL) else value_text(text)


def is_public(address: str) -> bool:
    """Return whether an IP address is reachable by anyone, so that a request reveals nothing."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        inner = _within(ip)
        if inner is None:
            return ip.is_global and ip in _UNICAST
        ip = inner
    return ip.is_global and not ip.is_multicast and not any(ip in some for some in _SPECIAL)


def _within(ip: IPv6Address) -> IPv4Address | None:
    """Return the address that an IPv6 address leads to, which decides; None: the address itself."""
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour


def literal(host: str) -> bool:
    """Return whether a host is read as an IP address, so that no resolver is involved.

    Names do not end in a number; one that does is taken for an address, as in 127.1, 0x7f.0.0.1 or
    2130706433 (WHATWG URL, "ends in a number").
    """
    last = host.lower().rstrip(".").rpartition(".")[2]
    return ":" in host or last.isdigit() or _HEXADECIMAL.fullmatch(last) is not None


def refused(host: str, address: str) -> AddressRefusedError:
    leads = "is" if host == address else f"leads to {address}, which is"
    return AddressRefusedError(
        f"{host} {leads} not a public address. To allow it for URLs from data: allow_private=True"
    )


def check_literal(url: URL) -> None:
    """Raise an AddressRefusedError if the host is an IP address that is not public."""
    host = url.host or ""
    if literal(host) and not is_public(host):
        raise refused(host, host)


class PublicResolver(AbstractResolver):
    """Resolves to public addresses only, except for the hosts that the program itself names.

    One answer that is not public refuses them all: the name's owner must not get to choose.
    """

    def __init__(self, trusted: Collection[tuple[str, int]]) -> None:
        self._resolver, self._trusted = ThreadedResolver(), trusted

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answers = await self._resolver.resolve(host, port, family)
        if (host.lower().rstrip("."), port) not in self._trusted:
            for answer in answers:
                if not is_public(answer["host"]):
                    raise refused(host, answer["host"])
        return answers

    async def close(self, *_: Any) -> None:
        await self._resolver.close()
