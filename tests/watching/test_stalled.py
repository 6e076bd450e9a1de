"""Readers that do not read, and many that do."""

import asyncio
import json
import socket
from urllib.parse import urlsplit

import pytest

from kaygraph import Graph, Node
from kaygraph.watching import routes
from tests.watching.pages import Held, watched

pytestmark = pytest.mark.anyio


class Named(Node):
    """Produces much data: a different name for each of its runs."""

    async def exec(self, _: object) -> None:
        await asyncio.sleep(0)


def asks(address: str, run: str) -> socket.socket:
    """Open a stream with small buffers, and read nothing of it."""
    parts = urlsplit(address)
    assert parts.hostname is not None
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect((parts.hostname, parts.port))
    request = f"GET /events/{run} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n"
    made.sendall(request.encode())
    return made


async def test_a_reader_that_stalls_holds_up_nobody_and_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Others read on, and the run ends as if nobody had looked."""
    monkeypatch.setattr(routes, "STALLED_S", 0.5)
    steps = [Named(name=f"Step {number} {'x' * 400}") for number in range(400)]
    last = Held("Last")
    for first, second in zip(steps, [*steps[1:], last], strict=True):
        first >> second
    async with watched(Graph(steps[0])) as page:
        await last.begun.wait()
        run = await page.id()
        (hub,) = page.watch.hubs()
        with asks(page.address, run), asks(page.address, run):
            async with page.stream() as stream, asyncio.timeout(30):
                shown = await stream.until(lambda shown: "Last" in shown["nodes"])
                assert len(json.dumps(shown)) > 100_000  # more than buffers hold
                while hub.readers > 1:  # noqa: ASYNC110 - the stalled ones
                    await asyncio.sleep(0.01)
                last.go_on.set()
                await stream.until(lambda shown: shown["state"] == "finished")
                await page.run


async def test_the_run_does_not_wait_for_readers_at_its_end() -> None:
    """A stalled one has half a second to get the end."""
    node = Held()
    async with watched(Graph(node)) as page:
        await node.begun.wait()
        with asks(page.address, await page.id()):
            (hub,) = page.watch.hubs()
            while not hub.readers:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            node.go_on.set()
            async with asyncio.timeout(10):
                await page.run


async def test_fifty_pages_get_the_end() -> None:
    """Each of them."""
    node = Held()
    async with watched(Graph(node)) as page:
        await node.begun.wait()
        run = await page.id()

        async def read() -> str:
            async with page.client.get(f"{page.address}events/{run}") as answer:
                return await answer.text()

        page.client.connector._limit = 0  # type: ignore[union-attr]
        reading = [asyncio.create_task(read()) for _ in range(50)]
        (hub,) = page.watch.hubs()
        while hub.readers < 50:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        node.go_on.set()
        texts = await asyncio.gather(*reading)
        assert all(text.endswith("event: end\ndata: {}\n\n") for text in texts)
        await page.run


async def test_too_many_readers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of another one can still be loaded."""
    monkeypatch.setattr(routes, "MOST_READERS", 1)
    async with watched(Graph(Held())) as page, page.stream() as stream:
        await stream.next()
        assert (await page.ask(f"events/{await page.id()}")).status == 503
        assert (await page.ask("")).status == 200
