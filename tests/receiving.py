"""Receivers of messages on the loopback: a web server and a mail server, with faults to order."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class Received(NamedTuple):
    """A received request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return self.headers["Idempotency-Key"]


class Receiver:
    """A web server that does the same key once.

    ``faults`` are for the next requests, one each: an ``web.Response`` instead of the answer,
    "reset" (the connection is reset before anything is done), "lost" (after it is done), "slow"
    (no answer until ``released``), None (none).
    """

    def __init__(self) -> None:
        self.url = ""
        self.received: list[Received] = []
        self.done: dict[str, bytes] = {}
        self.faults: list[Any] = []
        self.answers: Any = "ok"
        self.came, self.released = asyncio.Event(), asyncio.Event()

    @property
    def keys(self) -> list[str]:
        return [one.key for one in self.received]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.received.append(Received(request.path_qs, request.headers, body))
        self.came.set()
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, web.Response):
            return fault
        if fault == "slow":
            await self.released.wait()
        if fault != "reset":
            self.done.setdefault(self.received[-1].key, body)
        if fault in ("reset", "lost"):
            assert request.transport is not None
            request.transport.abort()
        if isinstance(self.answers, str):
            return web.Response(text=self.answers)
        return web.json_response(self.answers, status=201)


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """Start a web server on a port that the system picks."""
    receiving = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiving.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        receiving.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield receiving
    finally:
        receiving.released.set()
        await runner.cleanup()


class Mailbox:
    """A mail server's handler.

    ``faults`` are for the next mails, one each: an answer such as "451 later", "drop" (the
    connection is cut before anything is done), "lost" (after it), "slow" (no answer until
    ``released``), None (none). ``refused`` are answers to recipients, of each the next ones.
    """

    def __init__(self) -> None:
        self.port = 0
        self.mails: list[Envelope] = []
        self.connections: list[Any] = []
        self.carriers: list[Any] = []  # the connection of each mail, refused ones included
        self.users: list[str] = []
        self.goodbyes = 0
        self.silent = False  # after a goodbye
        self.over_tls: list[bool] = []
        self.faults: list[str | None] = []
        self.refused: dict[str, list[str]] = {}
        self.came, self.released = asyncio.Event(), asyncio.Event()
        self.gone = asyncio.Event()

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.refused.get(address):
            return self.refused[address].pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        self.came.set()
        self.carriers.append(server)
        self.over_tls.append(session.ssl is not None)
        fault = self.faults.pop(0) if self.faults else None
        if fault == "slow":
            await self.released.wait()
        if fault == "drop":
            server.transport.abort()
        elif fault in (None, "lost", "slow"):
            self.mails.append(envelope)
        else:
            return fault
        if fault == "lost":
            server.transport.abort()
        return "250 OK"

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.goodbyes += 1
        if self.silent:
            await self.released.wait()
        return "221 Bye"

    def authenticated(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        known = isinstance(data, LoginPassword) and data.password == b"open sesame"
        if known:
            self.users.append(data.login.decode())
        return AuthResult(success=known, handled=False)


class Server(SMTP):
    """A connection of the mail server; it tells when it begins and ends."""

    def connection_made(self, transport: Any) -> None:
        if self.transport is None:  # and not that STARTTLS goes on with it
            self.event_handler.connections.append(self)
        super().connection_made(transport)

    def connection_lost(self, error: Any) -> None:
        super().connection_lost(error)
        self.event_handler.gone.set()


@asynccontextmanager
async def mailbox(
    tls: ssl.SSLContext | None = None, implicit: bool = False, port: int = 0, **options: Any
) -> AsyncIterator[Mailbox]:
    """Start a mail server on a port that the system picks, with STARTTLS where there is ``tls``."""
    box = Mailbox()
    loop = asyncio.get_running_loop()
    if tls is not None and not implicit:
        options |= {"tls_context": tls, "require_starttls": True}

    def serve() -> Server:
        return Server(
            box, hostname="localhost", loop=loop, authenticator=box.authenticated, **options
        )

    server = await loop.create_server(serve, "127.0.0.1", port, ssl=tls if implicit else None)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        box.released.set()
        server.close()
        for connection in box.connections:
            if connection.transport is not None:
                connection.transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0)
