"""The sessions of a run, over aiohttp."""

import asyncio
from functools import partial
from typing import NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver

from ...run.lifespan import Held
from ._addresses import Origin, PublicResolver
from ._timing import FACTORY, IS_REPLACED, Connection, Timer
from .auth import Tokens


class SessionKey(NamedTuple):
    """What identifies a session: nodes that name the same origin share one in a run.

    Attributes:
        trusted: The origin that the program itself names, which may be private.
    """

    allow_private: bool
    trusted: Origin | None


class Session(Held["Session"]):
    """An HTTP session, its timer, and the tokens that were fetched in it."""

    http: aiohttp.ClientSession
    timer: Timer

    def __init__(self, key: SessionKey) -> None:
        self.key = key
        self.tokens = Tokens()

    def open(self) -> "Session":
        allow_private, trusted = self.key
        named = set() if trusted is None else {trusted[1:]}
        resolver = None if allow_private else PublicResolver(named)
        self.http = _session(resolver)
        if not hasattr(self.http, RETRIES):
            self.http.detach()
            self.http = _session(resolver, keep_alive=False)
        setattr(self.http, RETRIES, False)
        self.timer = Timer(asyncio.get_running_loop())
        return self

    async def close(self) -> None:
        self.timer.close()
        connector = self.http.connector
        self.http.detach()  # it counts as closed, even if the wait for its sockets is cancelled
        if connector is not None:
            await connector.close()


# An attempt is one request: on a connection that it has kept, aiohttp repeats a request when the
# server has closed it. The switch is private (aiohttp 3.14), and no public one does the same.
# If a later aiohttp lacks it, no connection is kept: none can be stale, and only time is
# lost. A test reports when that happens.
RETRIES = "_retry_connection"


# aiohttp's limits are 8 KiB and 128; security policies and lists of links are longer. Browsers and
# curl accept about 300 KiB in all.
MAX_HEADER = 64 * 1024
MAX_HEADERS = 256


def _session(resolver: AbstractResolver | None, keep_alive: bool = True) -> aiohttp.ClientSession:
    # max_workers limits how many connections there are.
    connector = aiohttp.TCPConnector(limit=0, resolver=resolver, force_close=not keep_alive)
    if IS_REPLACED and hasattr(connector, FACTORY):
        setattr(connector, FACTORY, partial(Connection, asyncio.get_running_loop()))
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),  # cookies of one item are not for the next
        auto_decompress=False,  # done in pieces, see _decoding
        headers={"Accept-Encoding": "gzip, deflate", "User-Agent": "kaygraph"},
        max_field_size=MAX_HEADER,
        max_headers=MAX_HEADERS,
    )
