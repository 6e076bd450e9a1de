"""What the patterns use: real servers on this machine, and a folder; gone afterwards.

==================  ================================================================================
Address             How it behaves
==================  ================================================================================
``/reliable``       answers at once: ``{"service": "reliable", "calls": n}``
``/flaky``          503 for two calls of three
``/broken``         500, always
``/slow``           does not answer while the world lasts
``/hook``           takes webhooks, each idempotency key once, and answers 503 the first time
``/chat``           takes chat messages as Slack does
``/2010-04-01/…``   takes text messages as Twilio does
==================  ================================================================================

The mail server listens next to them. ``received`` contains what was delivered, by channel. People,
places, companies and profiles are those of the examples' own service, at ``services``.
"""

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from examples.services import Services

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class World:
    """Servers and a folder, from ``async with World() as world`` to its end.

    Args:
        seed: The seed of the examples' own service.

    Attributes:
        url: The address of the servers above, without a trailing slash.
        services: The address of the examples' own service.
        smtp_port: The port of the mail server, on 127.0.0.1.
        folder: An empty folder.
        received: What was delivered, by channel: "hook", "chat", "sms", "mail".
        calls: How often each path was requested.
    """

    url: str
    services: str
    smtp_port: int
    folder: Path

    def __init__(self, seed: int = 7) -> None:
        self._seed = seed
        self.received: dict[str, list[Any]] = {"hook": [], "chat": [], "sms": [], "mail": []}
        self.calls: Counter[str] = Counter()
        self._keys: set[str] = set()
        self._end = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.folder = Path(tempfile.mkdtemp(prefix="kaygraph-"))
            stack.callback(shutil.rmtree, self.folder)
            self.services = (await stack.enter_async_context(Services(self._seed))).url.rstrip("/")
            await self._serve_http(stack)
            await self._serve_mail(stack)
            stack.callback(self._end.set)  # first of all: end the waits for /slow
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.aclose()

    async def _serve_http(self, stack: AsyncExitStack) -> None:
        app = web.Application()
        handlers: dict[str, Handler] = {
            "/reliable": self._reliable,
            "/flaky": self._flaky,
            "/broken": self._broken,
            "/slow": self._slow,
            "/hook": self._hook,
            "/chat": self._chat,
            "/2010-04-01/Accounts/{account}/Messages.json": self._sms,
        }
        for path, handler in handlers.items():
            app.router.add_route("*", path, handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def _serve_mail(self, stack: AsyncExitStack) -> None:
        from aiosmtpd.smtp import SMTP  # only here is mail received

        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SMTP(self, hostname="localhost"), "127.0.0.1", 0)
        stack.push_async_callback(server.wait_closed)
        stack.callback(server.close)
        self.smtp_port = server.sockets[0].getsockname()[1]

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Accept a mail; the name is aiosmtpd's."""
        self.received["mail"].append((envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"

    async def _reliable(self, request: web.Request) -> web.Response:
        self.calls["/reliable"] += 1
        return web.json_response({"service": "reliable", "calls": self.calls["/reliable"]})

    async def _flaky(self, request: web.Request) -> web.Response:
        self.calls["/flaky"] += 1
        if self.calls["/flaky"] % 3:
            return web.json_response({"error": "come back"}, status=503)
        return web.json_response({"service": "flaky", "calls": self.calls["/flaky"]})

    async def _broken(self, request: web.Request) -> web.Response:
        self.calls["/broken"] += 1
        return web.json_response({"error": "always"}, status=500)

    async def _slow(self, request: web.Request) -> web.Response:
        self.calls["/slow"] += 1
        await self._end.wait()
        return web.json_response({"service": "slow"})

    async def _hook(self, request: web.Request) -> web.Response:
        key = request.headers.get("Idempotency-Key", "")
        self.calls["/hook"] += 1
        if key in self._keys:
            return web.json_response({"ok": True})
        self._keys.add(key)
        self.received["hook"].append(await request.json())
        return web.json_response({"error": "accepted, but the answer is lost"}, status=503)

    async def _chat(self, request: web.Request) -> web.Response:
        self.received["chat"].append((await request.json())["text"])
        return web.Response(text="ok")

    async def _sms(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.received["sms"].append((form["To"], form["Body"]))
        return web.json_response({"sid": "SM1", "status": "queued"}, status=201)
