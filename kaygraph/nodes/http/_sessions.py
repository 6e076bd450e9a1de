"""The sessions of a run, over aiohttp."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler

from ._addresses import Origin, PublicResolver
from ._timing import FACTORY, REPLACED, Connection, Timer
from .auth import Tokens


@dataclass(frozen=True)
class Sessions:
    """The key of a session: nodes that name the same origin share one in a run.

    Attributes:
        trusted: The origin that the program names itself, which may be private.
    """

    allow_private: bool
    trusted: Origin | None

    @asynccontextmanager
    async def lifespan(self, shared: Any, /) -> "AsyncIterator[Session]":
        named = set() if self.trusted is None else {self.trusted[1:]}
        resolver = None if self.allow_private else PublicResolver(named)
        session = _session(resolver)
        if not hasattr(session, RETRIES):
            await session.close()
            session = _session(resolver, keep_alive=False)
        setattr(session, RETRIES, False)
        timer = Timer(asyncio.get_running_loop())
        async with session:
            try:
                yield Session(session, timer)
            finally:
                timer.close()


# An attempt is one request: on a connection that it has kept, aiohttp makes a request twice when
# the server has closed it. The switch is private (aiohttp 3.14), and no public one does the same.
# Where a later aiohttp does not have it, no connection is kept: none can be stale, and all that is
# lost is time. A test says when that is so.
RETRIES = "_retry_connection"


# aiohttp stops at 8 KiB and 128; security policies and lists of links are longer. Browsers and curl
# take about 300 KiB in all.
MAX_HEADER = 64 * 1024
MAX_HEADERS = 256


def _session(resolver: AbstractResolver | None, keep_alive: bool = True) -> aiohttp.ClientSession:
    # How many connections there are at once is for max_workers to say.
    connector = aiohttp.TCPConnector(limit=0, resolver=resolver, force_close=not keep_alive)
    if hasattr(connector, FACTORY) and all(hasattr(ResponseHandler, name) for name in REPLACED):
        setattr(connector, FACTORY, partial(Connection, asyncio.get_running_loop()))
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),  # what one item is told is not for the next
        auto_decompress=False,  # done in pieces, see _decoding
        headers={"Accept-Encoding": "gzip, deflate", "User-Agent": "kaygraph"},
        max_field_size=MAX_HEADER,
        max_headers=MAX_HEADERS,
    )


class Session:
    """An HTTP session, its timer, and the tokens that were fetched in it."""

    def __init__(self, session: aiohttp.ClientSession, timer: Timer) -> None:
        self.http, self.timer = session, timer
        self.tokens = Tokens()
