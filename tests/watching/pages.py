"""A run with a page, and a client of that page, for the tests."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

from kaygraph import Node, ParallelBatchNode, Watch
from kaygraph.types import RunTask


class Held(Node):
    """Runs until it is let go."""

    def __init__(self, name: str = "Held") -> None:
        self.name = name
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def exec(self, _: Any) -> None:
        self.begun.set()
        await self.go_on.wait()


class Items(ParallelBatchNode):
    """Does nothing with as many items as ``shared["items"]`` says."""

    def prep(self, shared: Any) -> Any:
        return range(shared["items"])

    async def exec(self, item: int) -> int:
        return item


class Page:
    """A run that goes on, its page, and a client of it."""

    def __init__(self, watch: Watch, run: RunTask, client: aiohttp.ClientSession) -> None:
        assert watch.address is not None
        self.watch, self.run, self.client, self.address = watch, run, client, watch.address

    async def ask(self, path: str, method: str = "GET", **settings: Any) -> "Answer":
        async with self.client.request(method, self.address + path, **settings) as answer:
            return Answer(answer.status, answer.headers, await answer.text(), answer.cookies)

    async def json(self, path: str, **settings: Any) -> Any:
        answer = await self.ask(path, **settings)
        assert answer.status == 200, answer.text
        return json.loads(answer.text)

    async def id(self) -> str:
        found: str = (await self.json("state"))["state"]["run"]
        return found

    @asynccontextmanager
    async def stream(self) -> AsyncIterator["Stream"]:
        async with self.client.get(f"{self.address}events/{await self.id()}") as answer:
            assert answer.status == 200
            yield Stream(answer)


class Answer:
    """What the page has answered."""

    def __init__(self, status: int, headers: Any, text: str, cookies: Any) -> None:
        self.status, self.headers, self.text, self.cookies = status, headers, text, cookies


class Stream:
    """Reads server-sent events."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.shown: dict[str, Any] = {"nodes": {}}

    async def next(self) -> tuple[str, Any]:
        """Return the name of the next event, and what it says."""
        name = "message"
        while line := (await self.answer.content.readline()).decode():
            if line.startswith("event: "):
                name = line[7:].strip()
            elif line.startswith("data: "):
                return name, json.loads(line[6:])
        return "closed", None

    async def until(self, holds: Any) -> Any:
        """Read, and return what the page would show then, until something holds for that."""
        async with asyncio.timeout(60):
            while True:
                name, changes = await self.next()
                assert name == "message", f"{name} came first; last: {self.shown}"
                nodes = {**self.shown["nodes"], **changes.get("nodes", {})}
                self.shown = {**self.shown, **changes, "nodes": nodes}
                if holds(self.shown):
                    return self.shown


@asynccontextmanager
async def watched(
    node: Any, shared: Any = None, run_with: Any = None, /, **settings: Any
) -> AsyncIterator[Page]:
    """Run something with a page; what still runs at the end of the block is cancelled.

    ``run_with``: further settings of the run; ``settings``: those of the page.
    """
    watch = Watch(**settings)
    headers = {} if watch.token is None else {"Authorization": f"Bearer {watch.token}"}
    jar = aiohttp.DummyCookieJar()
    run = node.launch({} if shared is None else shared, watch=watch, **(run_with or {}))
    try:
        async with aiohttp.ClientSession(headers=headers, cookie_jar=jar) as client:
            async with asyncio.timeout(30):
                while watch.address is None and not run.done():  # noqa: ASYNC110
                    await asyncio.sleep(0)
            yield Page(watch, run, client)
    finally:
        run.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await run
        watch.close()
