"""HTTP over the network of a simulation: aiohttp, httpx, anyio and websockets as they are."""

import asyncio
from typing import Any

import aiohttp
import anyio
import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from kaygraph.testing import explore, simulate


def shop(safe: bool) -> web.Application:
    """Return a shop with one piece left, whose payment takes a while."""
    stock, lock = 1, asyncio.Lock()

    async def buy(_: web.Request) -> web.Response:
        nonlocal stock
        if safe:
            async with lock:
                return await checkout()
        return await checkout()

    async def checkout() -> web.Response:
        nonlocal stock
        if stock == 0:
            return web.json_response({"bought": False}, status=409)
        await asyncio.sleep(0.004)
        stock -= 1
        return web.json_response({"bought": True})

    app = web.Application()
    app.router.add_post("/buy", buy)
    return app


async def two_customers(safe: bool) -> None:
    runner = web.AppRunner(shop(safe))
    await runner.setup()
    await web.TCPSite(runner, "shop.example", 80).start()

    async def customer(begins: float) -> bool:
        await asyncio.sleep(begins)
        async with aiohttp.ClientSession() as session, session.post("http://shop.example/buy") as r:
            bought: bool = (await r.json())["bought"]
            return bought

    try:
        assert sum(await asyncio.gather(customer(0), customer(0.01))) == 1
    finally:
        await runner.cleanup()


def test_a_race_between_two_requests_is_found() -> None:
    """aiohttp's client and server run unchanged; the seed decides which request overtakes."""

    async def unsafe(_: Any) -> None:
        await two_customers(safe=False)

    async def safe(_: Any) -> None:
        await two_customers(safe=True)

    found = explore(unsafe, seeds=50)
    assert found
    assert found.failures[0].seed != 0
    correct = explore(safe, seeds=50)
    assert not correct, str(correct)


def test_a_timeout_of_the_client_takes_no_real_time() -> None:
    """A server that hangs for an hour is given up after a virtual minute."""

    async def main(_: Any) -> None:
        async def hangs(_: web.Request) -> web.Response:
            await asyncio.sleep(3600)
            return web.Response()

        app = web.Application()
        app.router.add_get("/", hangs)
        async with TestClient(TestServer(app)) as client:
            with pytest.raises(TimeoutError):
                await client.get("/", timeout=aiohttp.ClientTimeout(total=60))

    assert 60 <= simulate(main).seconds < 130


def test_websockets_of_aiohttp() -> None:
    """Messages arrive whole and in order, in any number of segments."""

    async def main(_: Any) -> None:
        async def talk(request: web.Request) -> web.WebSocketResponse:
            channel = web.WebSocketResponse()
            await channel.prepare(request)
            async for message in channel:
                await channel.send_str(message.data * 2)
            return channel

        app = web.Application()
        app.router.add_get("/", talk)
        async with TestClient(TestServer(app)) as client, client.ws_connect("/") as channel:
            for text in ("one", "two" * 1000):
                await channel.send_str(text)
                assert await channel.receive_str() == text * 2

    found = explore(main, seeds=20)
    assert not found, str(found)


def test_httpx_and_anyio() -> None:
    """They come to the same loop by other ways."""

    async def over_httpx(_: Any) -> None:
        async def hello(_: web.Request) -> web.Response:
            return web.Response(text="hello")

        app = web.Application()
        app.router.add_get("/", hello)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "api.example", 8080).start()
        async with httpx.AsyncClient() as client:
            assert (await client.get("http://api.example:8080/")).text == "hello"
        await runner.cleanup()

    async def over_anyio(_: Any) -> None:
        async def shout(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                async for part in stream:
                    await stream.send(part.upper())

        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, shout)
            async with await anyio.connect_tcp("localhost", port) as stream:
                await stream.send(b"hello")
                await stream.send_eof()
                assert b"".join([part async for part in stream]) == b"HELLO"
            group.cancel_scope.cancel()
        await listener.aclose()

    for main in (over_httpx, over_anyio):
        found = explore(main, seeds=30)
        assert not found, str(found)
