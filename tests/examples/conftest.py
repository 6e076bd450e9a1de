"""The service of the examples, running, and a session to ask it with."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from examples.services import Services


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    async with Services(seed=7) as running:
        yield running


@pytest.fixture
async def session(services: Services) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(services.url, connector=connector) as opened:
        yield opened
