"""The routes of the page's server."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any, Protocol

from aiohttp import web

from .._formatting import redacted
from ..journal.journal import Journal
from .files import read, template
from .guard import Guard, add_headers
from .hub import MOST_READERS, Hub
from .journals import Recorded
from .view import plain

STALLED_S = 30.0  # for which a reader may read nothing
MOST_BODY = 1 << 20
MOST_SENT = 1 << 16  # bytes that the system buffers of a stream; Linux doubles it


class Source(Protocol):
    """What is shown."""

    control: bool
    journal: Journal | None

    def hubs(self) -> Sequence[Hub]:
        """Return the hubs of all known runs, the newest last."""


class Routes:
    """The pages of one server."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def application(self, guard: Guard) -> web.Application:
        app = web.Application(middlewares=[guard.checked], client_max_size=MOST_BODY)
        app.on_response_prepare.append(add_headers)
        router = app.router
        for path, name, kind in (
            ("/", "page.html", "text/html"),
            ("/page.css", "page.css", "text/css"),
            ("/page.js", "page.js", "text/javascript"),
        ):
            router.add_get(path, _file(name, kind))
        router.add_get("/template", self._template)
        router.add_get("/state", self._state)
        router.add_get("/snapshot", self._snapshot)
        router.add_get("/explain", self._explain)
        router.add_get("/drawing/{run}", self._drawing)
        router.add_get("/events/{run}", self._events, allow_head=False)
        if self._source.control:
            router.add_post("/drain/{run}", self._drain)
        Recorded(self._source).add_to(router)
        return app

    def _hub(self, run: str | None) -> Hub | None:
        """Return the hub of a run, by its id; without one, that of the newest run."""
        hubs = self._source.hubs()
        if run is None:
            return hubs[-1] if hubs else None
        return next((hub for hub in hubs if hub.shown.id == run), None)

    def _asked_for(self, request: web.Request) -> Hub:
        hub = self._hub(request.query.get("run"))
        if hub is None:
            raise web.HTTPNotFound(text="there is no such run here\n")
        return hub

    async def _template(self, _: web.Request) -> web.Response:
        return web.Response(text=template(), content_type="text/plain")

    async def _state(self, request: web.Request) -> web.Response:
        """Respond with everything that the page shows, and what it may do."""
        hub = self._hub(request.query.get("run")) or self._hub(None)
        facts: dict[str, Any] = {
            "control": self._source.control,
            "journal": self._source.journal is not None,
            "runs": [
                {"run": one.shown.id, "name": one.shown.name, "over": one.over}
                for one in self._source.hubs()
            ],
        }
        if hub is not None:
            facts |= {"state": await hub.state(), "over": hub.over}
        return web.json_response(facts)

    async def _snapshot(self, request: web.Request) -> web.Response:
        return web.json_response(plain(await self._asked_for(request).snapshot()))

    async def _explain(self, request: web.Request) -> web.Response:
        snapshot = await self._asked_for(request).snapshot()
        return web.Response(text=redacted(snapshot.explain()) + "\n")

    async def _drawing(self, request: web.Request) -> web.Response:
        hub = self._hub(request.match_info["run"])
        if hub is None:
            raise web.HTTPNotFound(text="there is no such run here\n")
        text = hub.shown.drawing(request.query.get("direction") == "TB")
        return web.Response(text=text, content_type="image/svg+xml")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Respond with the changes, until the run is over."""
        hub = self._hub(request.match_info["run"])
        if hub is None or hub.over:  # 204: a browser must not ask again
            return web.Response(status=204)
        if hub.readers >= MOST_READERS:
            raise web.HTTPServiceUnavailable(text="there are too many readers\n")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        _bound(request)
        stream = hub.stream()
        try:
            async for message in stream:
                async with asyncio.timeout(STALLED_S):
                    await response.write(message)
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            await stream.aclose()
        return response

    async def _drain(self, request: web.Request) -> web.Response:
        hub = self._hub(request.match_info["run"])
        if hub is None or hub.shown.drain is None:
            raise web.HTTPNotFound(text="there is no such run here\n")
        if hub.over:
            raise web.HTTPConflict(text="the run is over\n")
        hub.shown.drain()
        return web.json_response({})


def _bound(request: web.Request) -> None:
    """Limit what the system buffers for a reader that does not read; it would be megabytes."""
    transport = request.transport
    made = None if transport is None else transport.get_extra_info("socket")
    if made is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST_SENT)


def _file(name: str, kind: str) -> Any:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=read(name), content_type=kind)

    return answer
