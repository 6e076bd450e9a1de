"""Asking the service of the examples, and answering in its place."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer


async def get(session: aiohttp.ClientSession, path: str) -> tuple[int, Any]:
    async with session.get(path) as response:
        return response.status, await response.json()


@asynccontextmanager
async def answering(path: str, handler: Callable[[web.Request], Any]) -> AsyncIterator[str]:
    """A service of our own in the place of the bundled one."""
    application = web.Application()
    application.router.add_get(path, handler)
    async with TestServer(application) as server:
        yield str(server.make_url(""))
