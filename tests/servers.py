"""Real HTTP servers on loopback: some answer as they should, and some break off."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

from aiohttp import web

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _request(*parts: Any) -> web.BaseRequest:
    return web.BaseRequest(*parts, asyncio.get_running_loop(), client_max_size=1 << 30)


class Listening(web.Server):
    """Counts the connections that are accepted, and tells when all are gone."""

    def __init__(self, answer: Answer) -> None:
        # A client that disconnects is no longer answered.
        super().__init__(answer, request_factory=_request, handler_cancellation=True)
        self.accepted = self.lost = 0
        self.alone = asyncio.Event()
        self.alone.set()

    def connection_made(self, handler: Any, transport: Any) -> None:
        super().connection_made(handler, transport)
        self.accepted += 1
        self.alone.clear()

    def connection_lost(self, handler: Any, exc: Any = None) -> None:
        super().connection_lost(handler, exc)
        self.lost += 1
        if self.lost == self.accepted:
            self.alone.set()


class Site:
    """What a server was asked, and by how many at once.

    Attributes:
        url: Its address, which ends in a slash.
        asked: The requests, in the order in which they came; their bodies have been read.
        most: The most requests that were answered at the same time.
        connections: How many connections were accepted.
    """

    def __init__(self, answer: Answer) -> None:
        self.url = ""
        self.port = 0
        self.asked: list[web.BaseRequest] = []
        self.bodies: list[bytes] = []
        self.running = self.most = 0
        self.answer = answer
        self.server = Listening(self)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            self.bodies.append(await request.read())
            self.asked.append(request)
            return await self.answer(request)
        finally:
            self.running -= 1

    @property
    def connections(self) -> int:
        return self.server.accepted

    async def left_alone(self) -> None:
        """Wait until nobody is connected."""
        async with asyncio.timeout(5):
            await self.server.alone.wait()


@asynccontextmanager
async def serving(answer: Answer, context: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    """Serve on a port of loopback that the system picks, at every path."""
    site = Site(answer)
    runner = web.ServerRunner(site.server, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        site.port = runner.addresses[0][1]
        site.url = f"{'https' if context else 'http'}://127.0.0.1:{site.port}/"
        yield site
    finally:
        await runner.cleanup()


def reply(
    data: Any = None, status: int = 200, headers: dict[str, str] | None = None, **settings: Any
) -> Answer:
    """Return what answers bytes as they are, and all else as JSON."""

    async def answer(_: web.BaseRequest) -> web.Response:
        if not isinstance(data, bytes):
            settings["content_type"] = "application/json"
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        return web.Response(body=body, status=status, headers=headers, **settings)

    return answer


def in_turn(*answers: Answer) -> Answer:
    """Return what answers as each says, one after another; the last stays."""
    left = list(answers)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        now = left.pop(0) if len(left) > 1 else left[0]
        return await now(request)

    return answer


def redirect(to: str, status: int = 302) -> Answer:
    return reply(b"", status, {"Location": to})


async def echo(request: web.BaseRequest) -> web.Response:
    """Answer with what was asked."""
    asked = {
        "method": request.method,
        "path": request.raw_path.partition("?")[0],
        "query": list(request.query.items()),
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "body": (await request.read()).decode("utf-8", "replace"),
    }
    return web.json_response(asked)


class RawSite:
    """A server that sends given bytes, and keeps the requests."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.asked: list[bytes] = []

    async def read_request(self, reader: asyncio.StreamReader) -> bytes:
        """Read a request to the end of its body."""
        head = await reader.readuntil(b"\r\n\r\n")
        size = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                size = int(line.partition(b":")[2])
        request = head + await reader.readexactly(size)
        self.asked.append(request)
        return request


@asynccontextmanager
async def speaking(talk: Callable[[RawSite], Raw]) -> AsyncIterator[RawSite]:
    """Serve raw connections on a port of loopback; each ends with what ``talk`` does."""
    site = RawSite()
    speak = talk(site)
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await speak(reader, writer)
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    site.url = f"http://127.0.0.1:{site.port}/"
    try:
        yield site
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        await server.wait_closed()


def saying(*pieces: bytes, then: str = "close") -> Callable[[RawSite], Raw]:
    """Answer every request with these bytes, and then close, reset or go silent."""

    def talk(site: RawSite) -> Raw:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await site.read_request(reader)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if then == "reset":
                reset(writer)
            elif then == "silence":
                await reader.read()  # until the other side goes

        return speak

    return talk


def reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection off at once: the other side gets an RST."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextmanager
def unanswered() -> Iterator[str]:
    """Give an address at which connections stand in a line that is full."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # the line has room for one or two
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield f"http://127.0.0.1:{full.getsockname()[1]}/"


async def free_port() -> int:
    """Return a port on which nobody listens: one that was listened on until now."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
