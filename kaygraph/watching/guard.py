"""Access control: checked before anything else, on every route."""

import hmac
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import urlsplit

from aiohttp import web

from .addresses import is_loopback

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

UNAUTHORIZED = "the page needs its token: open the address that the program printed\n"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Guard:
    """Refuses requests from other sites' pages, for unknown host names, and without the token.

    A page of another site can make a browser send requests here: its Origin shows that. It can also
    point its own name to this machine (DNS rebinding): then the Host is that name, not an address.

    Args:
        host: The address to listen on.
        names: Further names by which the page is reached.
        token: Required for access; None if everybody on this machine may look.
    """

    def __init__(self, host: str, names: Iterable[str], token: str | None) -> None:
        self._names = {"localhost", host.lower(), *(name.lower() for name in names)}
        self._local = is_loopback(host)
        if not self._local:
            self._names.add(socket.gethostname().lower())
        self._token = token
        self.port = 0  # cookies ignore ports: their names differ for each server

    @web.middleware
    async def checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request, or refuse it."""
        host = request.headers.get("Host", "")
        if not self._is_ours(host):
            raise web.HTTPMisdirectedRequest(text="the requested host is not this server\n")
        origin = request.headers.get("Origin")
        if origin is not None and not _is_same(origin, host):
            raise web.HTTPForbidden(text="requests from pages of other sites are refused\n")
        site = request.headers.get("Sec-Fetch-Site", "none")
        opened = request.method == "GET" and request.path == "/"  # for example by a link
        if site not in ("none", "same-origin") and not opened:
            raise web.HTTPForbidden(text="requests from pages of other sites are refused\n")
        by_header = self._knows(_bearer(request))
        if request.method not in ("GET", "HEAD") and origin is None and not by_header:
            raise web.HTTPForbidden(text="the request does not come from the page itself\n")
        by_address = opened and self._knows(request.query.get("token"))
        known = by_header or by_address or self._knows(request.cookies.get(self._cookie))
        if self._token is not None and not known:
            raise web.HTTPUnauthorized(text=UNAUTHORIZED)
        response = await handler(request)
        if by_address:
            assert self._token is not None
            response.set_cookie(
                self._cookie, self._token, httponly=True, samesite="Strict", path="/"
            )
        return response

    @property
    def _cookie(self) -> str:
        return f"kaygraph-{self.port}"

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
            if not name or "@" in host or "/" in host:
                return False
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # An address is not a name that others could point here.
        return address.is_loopback or not self._local

    def _knows(self, given: str | None) -> bool:
        if self._token is None or given is None:
            return False
        return hmac.compare_digest(given.encode(errors="replace"), self._token.encode())


def _is_same(origin: str, host: str) -> bool:
    scheme, _, rest = origin.partition("://")
    return scheme in ("http", "https") and rest.lower() == host.lower()


def _bearer(request: web.Request) -> str | None:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add security headers to every response."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
