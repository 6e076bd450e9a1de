"""A server that speaks the protocol of ``/v1/chat/completions``, on a loopback port.

What it answers is written down by a test: one answer a request, in that order; the last stands for
all that follow. What it is asked is checked as such servers check it, and kept.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


@dataclass(frozen=True)
class Says:
    """The model's answer; streamed, in pieces of a word, where that is asked for."""

    text: str | None
    finish_reason: str | None = "stop"
    refusal: str | None = None
    breaks_off_after: int | None = None  # pieces, then the connection is lost
    done: bool = True  # whether a stream ends with [DONE]
    hold: asyncio.Event | None = None  # what is waited for after the first piece


@dataclass(frozen=True)
class Fails:
    """An answer without success."""

    status: int
    message: str = "out of order"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sends:
    """A body as it stands, whatever it is."""

    body: str
    content_type: str = "application/json"


@dataclass(frozen=True)
class Waits:
    """No answer, until the event is set."""

    event: asyncio.Event


Answer = Says | Fails | Sends | Waits


class ChatServer:
    """``async with ChatServer(Says("Hello")) as server:`` then ask ``server.url``.

    Attributes:
        url: The API's address.
        bodies: What was asked, in the order in which it came.
        headers: With which headers.
    """

    def __init__(self, *answers: Answer, key: str | None = None) -> None:
        self.answers, self.key = answers, key
        self.bodies: list[Any] = []
        self.headers: list[Mapping[str, str]] = []

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0]
        self.url = f"http://{host}:{port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append({k.lower(): v for k, v in request.headers.items()})
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        sent = request.headers.get("api-key", bearer)
        if self.key is not None and sent != self.key:
            return _failure(401, f"Incorrect API key provided: {sent}. Ask for another.")
        if wrong := wrong_in(body):
            return _failure(400, wrong)
        answer = self.answers[min(len(self.bodies), len(self.answers)) - 1]
        if isinstance(answer, Waits):
            await answer.event.wait()
            answer = Says("late")
        if isinstance(answer, Fails):
            return _failure(answer.status, answer.message, answer.headers)
        if isinstance(answer, Sends):
            return web.Response(text=answer.body, content_type=answer.content_type)
        if body.get("stream"):
            return await self._stream(request, body, answer)
        if answer.breaks_off_after is not None:
            request.transport.abort()  # type: ignore[union-attr]
        message = {"role": "assistant", "content": answer.text, "refusal": answer.refusal}
        choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
        return web.json_response(
            {**_head("chat.completion", body), "choices": [choice], "usage": USAGE}
        )

    async def _stream(
        self, request: web.Request, body: Mapping[str, Any], answer: Says
    ) -> web.StreamResponse:
        head = _head("chat.completion.chunk", body)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)

        async def send(data: Any) -> None:
            text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
            event = f"data: {text}\n\n".encode()
            # In two parts, in the middle of a character where there is one.
            middle = next((at for at, byte in enumerate(event) if byte > 0x7F), 3) + 1
            await response.write(event[:middle])
            await response.write(event[middle:])

        async def send_choice(delta: Mapping[str, Any], finish_reason: str | None = None) -> None:
            choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
            await send({**head, "choices": [choice], "usage": None})

        await response.write(b": a comment keeps the connection open\n\n")
        if answer.refusal is not None:
            await send_choice({"role": "assistant", "refusal": answer.refusal})
        pieces = re.findall(r"\s*\S+|\s+$", answer.text or "")
        for number, piece in enumerate(pieces):
            if number == answer.breaks_off_after:
                request.transport.abort()  # type: ignore[union-attr]
                return response
            await send_choice({"role": "assistant", "content": piece} if not number else
                              {"content": piece})  # fmt: skip
            if answer.hold is not None:
                await answer.hold.wait()
        if answer.finish_reason is not None:
            await send_choice({}, answer.finish_reason)
        if (body.get("stream_options") or {}).get("include_usage"):
            await send({**head, "choices": [], "usage": USAGE})
        if answer.done:
            await send("[DONE]")
        return response


def wrong_in(body: Any) -> str | None:
    """Return what a server of this protocol finds wrong with a request, or None."""
    if not isinstance(body.get("model"), str):
        return "you must provide a model parameter"
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return "'messages' must be a list that is not empty"
    for message in messages:
        if message.get("role") not in ("system", "developer", "user", "assistant", "tool"):
            return f"'{message.get('role')}' is not one of the roles"
        if not isinstance(message.get("content"), str | list):
            return "'content' must be text or a list of parts"
    shape = body.get("response_format")
    if shape is not None and (
        shape["type"] != "json_schema"
        or not re.fullmatch(r"[\w-]{1,64}", shape["json_schema"]["name"])
        or shape["json_schema"]["strict"] is not True
        or not isinstance(shape["json_schema"]["schema"], dict)
    ):
        return "'response_format' is malformed"
    if "stream_options" in body and not body.get("stream"):
        return "'stream_options' goes with 'stream'"
    return None


def _head(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1_700_000_000, "model": body["model"]}


def _failure(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    error = {"message": message, "type": "error", "param": None, "code": None}
    return web.json_response({"error": error}, status=status, headers=headers)
