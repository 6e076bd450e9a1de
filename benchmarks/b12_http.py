"""B12: small JSON over HTTP, from a server in its own process: what the client costs."""

import asyncio
import atexit
import multiprocessing
from collections.abc import Iterator
from functools import cache
from multiprocessing.connection import Connection
from typing import Any

import aiohttp

from kaygraph.nodes import ParallelHTTPNode, RESTNode

from .harness import Case

AT_ONCE = 100
TIMEOUT_S = 60.0


def serve(answer: Connection) -> None:
    """Answer each GET of ``/items/{number}`` with a small object, until the process is ended."""
    from aiohttp import web

    async def item(request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        return web.json_response({"id": number, "name": f"item {number}", "tags": ["a", "b"]})

    async def main() -> None:
        application = web.Application()
        application.router.add_get("/items/{number}", item)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        answer.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


@cache
def address() -> str:
    """Start the server on first use, and return its address."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    atexit.register(server.terminate)
    return f"http://127.0.0.1:{ours.recv()}/items"


def check(answers: list[Any]) -> None:
    assert [answer["id"] for answer in answers] == list(range(len(answers)))


async def by_hand(numbers: range) -> None:
    """One session and as many tasks as requests at once, which share an iterator."""
    url, answers, rest = address(), [None] * len(numbers), iter(numbers)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)

    async def ask() -> None:
        for number in rest:
            async with session.get(f"{url}/{number}") as response:
                answers[number] = await response.json()

    async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(ask())
    check(answers)


async def parallel_node(numbers: range) -> None:
    url = address()
    node = ParallelHTTPNode(url, max_workers=AT_ONCE, result="data", reads="urls", writes="answers")
    shared: dict[str, Any] = {"urls": [f"{url}/{number}" for number in numbers]}
    await node.run_async(shared)
    check(shared["answers"])


async def sessions_by_hand(numbers: range) -> None:
    """A session for each request, one after another."""
    url, answers = address(), []
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    for number in numbers:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{url}/{number}") as response,
        ):
            answers.append(await response.json())
    check(answers)


async def rest_node(numbers: range) -> None:
    """A run for each request, each with its own session."""
    node = RESTNode(address(), "{number}", result="data", reads="number", writes="answer")
    answers = []
    for number in numbers:
        shared: dict[str, Any] = {"number": number}
        await node.run_async(shared)
        answers.append(shared["answer"])
    check(answers)


def cases(size: int) -> Iterator[Case]:
    many, some = range(2_000 // size), range(200 // size)
    yield Case(
        name="B12",
        what="GETs of a small JSON, 100 at once, ParallelHTTPNode; aiohttp, one session",
        operations=len(many),
        floor=lambda: by_hand(many),
        ours=lambda: parallel_node(many),
        target=1.15,
    )
    yield Case(
        name="B12-rest",
        what="a run of a RESTNode each; aiohttp, a session each",
        operations=len(some),
        floor=lambda: sessions_by_hand(some),
        ours=lambda: rest_node(some),
        target=1.2,
    )
