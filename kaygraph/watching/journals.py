"""The runs of a journal, and the answers that they wait for."""

import asyncio
import json
from math import inf
from time import monotonic
from typing import Any, Protocol

from aiohttp import web

from .._addresses import shown
from ..errors import (
    AlreadyAnsweredError,
    JournalError,
    RunUnknownError,
    WaitUnknownError,
)
from ..journal.journal import Journal
from .view import clean, plain

MOST_RUNS = 200
FRESH_S = 1.0
LONGEST_QUESTION = 10_000  # characters


class Source(Protocol):
    """The server's interface to a Watch."""

    control: bool
    journal: Journal | None


class Recorded:
    """What the page shows of a journal; read in threads, since a store blocks."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._reading = asyncio.Lock()
        self._listed: dict[str, Any] = {}
        self._read_at = -inf

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/journal", self._runs)
        router.add_get("/journal/{run}", self._run)
        if self._source.control:
            router.add_post("/journal/{run}/answer", self._answer)

    @property
    def _journal(self) -> Journal:
        """It may come with a later run, when the page is already open."""
        if self._source.journal is None:
            raise web.HTTPNotFound(text="there is no journal here\n")
        return self._source.journal

    async def _runs(self, _: web.Request) -> web.Response:
        async with self._reading:  # requests of all tabs within a second share one query
            if monotonic() - self._read_at > FRESH_S:
                self._listed = await self._read(self._all)
                self._read_at = monotonic()
        return web.json_response(self._listed)

    async def _run(self, request: web.Request) -> web.Response:
        return web.json_response(await self._read(self._one, request.match_info["run"]))

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            answer = await request.json()
            name, value = answer["name"], answer["value"]
            if not isinstance(name, str):
                raise TypeError
        except (ValueError, TypeError, LookupError, RecursionError, web.RequestPayloadError):
            raise web.HTTPBadRequest(
                text='an answer is JSON: {"name": the id of the wait, "value": the answer}'
            ) from None
        await self._read(self._journal.answer, request.match_info["run"], name, value)
        return web.json_response({})

    def _all(self) -> dict[str, Any]:
        runs = self._journal.runs()
        return {
            "address": clean(shown(self._journal.address)),
            "runs": [_info(run) for run in runs[:MOST_RUNS]],
            "more": max(0, len(runs) - MOST_RUNS),
        }

    def _one(self, run: str) -> dict[str, Any]:
        record = self._journal.show(run)
        return {
            **_info(record.info),
            "nodes": plain([{name: getattr(one, name) for name in _NODE} for one in record.nodes]),
            "waits": [
                {
                    "id": one.id,
                    "name": clean(one.name),
                    "ask": _shown(one.ask),
                    "schema": one.schema,
                    "asked": one.asked,
                    "until": one.until,
                }
                for one in record.waits
            ],
        }

    async def _read(self, call: Any, *arguments: Any) -> Any:
        try:
            return await asyncio.to_thread(call, *arguments)
        except (RunUnknownError, WaitUnknownError) as error:
            raise web.HTTPNotFound(text=clean(str(error))) from None
        except AlreadyAnsweredError as error:
            raise web.HTTPConflict(text=clean(str(error))) from None
        except (ValueError, TypeError) as error:
            raise web.HTTPBadRequest(text=clean(str(error))) from None
        except JournalError as error:
            raise web.HTTPServiceUnavailable(text=clean(str(error))) from None


_NODE = ("name", "results", "failed", "dropped", "attempts", "seconds", "errors")
_INFO = ("run", "graph", "status", "created", "updated", "action", "error")


def _info(info: Any) -> dict[str, Any]:
    facts = {name: getattr(info, name) for name in _INFO}
    return {
        name: clean(value) if isinstance(value, str) and name != "run" else value
        for name, value in facts.items()
    }


def _shown(ask: Any) -> str | None:
    """Return the question as text."""
    if ask is None:
        return None
    question = ask if isinstance(ask, str) else json.dumps(ask, indent=1, ensure_ascii=False)
    return clean(question, LONGEST_QUESTION)
