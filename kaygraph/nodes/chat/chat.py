"""Nodes that call a language model."""

import asyncio
import re
from collections.abc import Awaitable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, ClassVar, TypedDict, Unpack

from ..._validation import check_flag, check_name
from ...batch.batch import ParallelBatchNode
from ...node.facts import resource_of
from ...node.node import Node
from ...node.settings import Checks
from ...run.saying import say
from ...run.spans import TRACED
from ...streams.report import StageReport
from .._json import decode
from .._quoted import secrets_of
from .._store import StoreParallelSettings, StoreSettings, configure
from ..http._content import as_json
from ..http._decoding import HTTPBodyError, HTTPSizeError
from ..http.answer import Answer
from ..http.asking import Asking, ClientSettings, check_mapping, check_text, keyed
from ..http.client import EVENT_STREAM, UNCOMPRESSED
from ..http.messages import HTTPConnectionError, HTTPResult, HTTPStatusError, Request, passes
from ._completion import (
    PROMPT_CHECKS,
    ChatFormatError,
    ChatReply,
    Completion,
    complaint_of,
    error_of,
    is_final,
    prompt_of,
)
from ._schema import check_schema, fitting
from ._tracing import answered, asked, name_of

PATH = "/chat/completions"
OWN = {"url", "model"}
UNDECLARED = frozenset({"text/plain", "application/octet-stream"})  # no type is declared


class ChatFields(TypedDict, total=False):
    """The settings of a ChatNode, in addition to ``url``, ``model`` and the HTTP settings."""

    system: str | None
    temperature: float | None
    max_tokens: int | None
    schema: dict[str, Any] | None
    schema_name: str
    streaming: bool
    options: Mapping[str, Any]


# Fields that have their own settings, and fields whose answers a ChatReply cannot represent.
SAID = frozenset(ChatFields.__annotations__) | {"model", "messages", "stream", "response_format"}
UNSUPPORTED = frozenset({"n", "tools", "tool_choice", "functions", "function_call"})


class ChatNodeSettings(StoreSettings, ClientSettings, ChatFields, total=False):
    """The settings of a ChatNode, in addition to ``url`` and ``model``."""


class ParallelChatSettings(StoreParallelSettings, ClientSettings, ChatFields, total=False):
    """The settings of a ParallelChatNode, in addition to ``url`` and ``model``."""


def check_system(name: str, value: Any) -> Any:
    return None if value is None else check_text(name, value)


def check_schema_name(name: str, value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        raise ValueError(
            f"{name} must be up to 64 letters, digits, '_' and '-' (ASCII), got {value!r}"
        )
    return value


def check_options(name: str, value: Any) -> Any:
    for field in check_mapping(name, value):
        if field in SAID | UNSUPPORTED:
            why = "is not supported" if field in UNSUPPORTED else "has a setting of its own"
            raise ValueError(
                f"{name} must be additional fields of the request, as in {{'top_p': 0.9}}; "
                f"{field!r} {why}"
            )
    return dict(value)


CHAT_CHECKS: Checks = {
    "model": check_name,
    "system": check_system,
    **PROMPT_CHECKS,
    "schema": check_schema,
    "schema_name": check_schema_name,
    "streaming": check_flag,
    "options": check_options,
}


class Chatting(Asking):
    """Makes requests from prompts, and replies from answers."""

    model: str | None = None
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    schema: dict[str, Any] | None = None
    schema_name = "answer"
    streaming = False
    options: Mapping[str, Any] = {}
    read_timeout: float | None = 120.0
    total_timeout: float | None = 600.0
    _checks: ClassVar[Checks] = CHAT_CHECKS

    def request(self, item: Any, /) -> Request:
        """Return the request for a prompt."""
        prompt = prompt_of(item)
        if self.system is not None:
            prompt["messages"] = [{"role": "system", "content": self.system}, *prompt["messages"]]
        body = {
            "model": self.model,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            **prompt,
        }
        if self.schema is not None:
            json_schema = {"name": self.schema_name, "strict": True, "schema": self.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": json_schema}
        if self.streaming:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        body = {
            name: value for name, value in (body | {**self.options}).items() if value is not None
        }
        # Asking again is safe: whatever the first request did, it changed nothing.
        return Request(
            url=_address(self.url or ""),
            method="POST",
            headers={**(UNCOMPRESSED if self.streaming else {}), **self.headers},
            json=body,
            repeatable=True,
        )

    async def exec(self, item: Any, /) -> ChatReply:
        """Ask, and return the reply.

        Raises:
            HTTPStatusError: The server refused; the message has its reason.
            HTTPConnectionError: There was no answer, or it was interrupted, or late.
            ChatFormatError: The answer does not follow the protocol, or does not fit the schema.
            ChatRefusedError: The model refused to answer.
            HTTPRequestError: The item is not a prompt.
        """
        request, traced = keyed(self.request(item)), TRACED.get()
        if traced is None:
            reply = await self._reply(item, request)
        else:
            attributes = asked(request)
            with traced.call(name_of(attributes), attributes) as span:
                reply = await self._reply(item, request)
                span.set_attributes(answered(reply))
        if self.schema is None:
            return reply
        if reply.finish_reason == "length":
            text = "the answer was cut off within its JSON: raise max_tokens"
            raise ChatFormatError(text, repeatable=False)
        return replace(reply, data=fitting(reply.text, self.schema, self.max_depth))

    async def _reply(self, item: Any, request: Request) -> ChatReply:
        completion = Completion(secrets_of(self.auth))
        began = asyncio.get_running_loop().time()
        try:
            async with resource_of(self).open(request) as answer:
                if answer.success and self._streams(answer.content_type):
                    await self._read_stream(item, answer, completion)
                else:
                    result = await answer.result(self.max_depth, began)
                    if not result["success"]:
                        raise self._refused(request, result)
                    await self._take(item, as_json(result["data"], self.max_depth), completion)
        except HTTPConnectionError:
            # An answer with a finish reason is complete, however its connection ends.
            if not self.streaming or completion.finish_reason is None:
                raise
        except HTTPBodyError as error:
            again = not isinstance(error, HTTPSizeError)
            raise ChatFormatError(str(error), again) from error
        return completion.reply()

    def _streams(self, content_type: str) -> bool:
        return content_type == EVENT_STREAM or (self.streaming and content_type in UNDECLARED)

    async def _read_stream(self, item: Any, answer: Answer, completion: Completion) -> None:
        async with aclosing(answer.events()) as pieces:
            async for event in pieces:
                data = event.data.strip()
                if data == b"[DONE]":
                    return
                if not data:
                    continue
                try:
                    chunk = decode(data, self.max_depth)
                except ValueError as error:
                    if event.type != "error":
                        text = f"a piece of the answer is not JSON: {error}"
                        raise ChatFormatError(text) from error
                    chunk = data.decode("utf-8", "replace")
                if event.type == "error" and not error_of(chunk):
                    chunk = {"error": chunk or "without a reason"}
                if chunk is not None:
                    await self._take(item, chunk, completion)
        if completion.finish_reason is None:  # not every server sends [DONE]
            text = f"{answer!r}, but ended early"
            raise HTTPConnectionError(text, repeatable=True)

    async def _take(self, item: Any, chunk: Any, completion: Completion) -> None:
        text = completion.add(chunk)
        if text:
            if self.streaming:
                say(self, text)
            received = self.receive(item, text)
            if received is not None:
                await received

    def _refused(self, request: Request, result: HTTPResult) -> HTTPStatusError:
        """Return the error for an unsuccessful answer, in which the server may repeat a key."""
        status, data = result["status_code"], result["data"]
        complaint = complaint_of(data, secrets_of(self.auth))
        result = {**result, "data": complaint}
        again = passes(status) and not is_final(data)
        return HTTPStatusError(f"{request!r} answered {status}: {complaint!r}", result, again)

    def receive(self, item: Any, text: str, /) -> Awaitable[None] | None:
        """Called with each piece of an answer as it arrives; with the whole if not ``streaming``.

        It may be written ``async def``: then the next piece is read after it returns. A retry
        (``self.attempt`` is above 1) starts the answer again: discard
        what was received for the item before.
        """
        return None

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Write the answer: its text, or with a schema its data."""
        return super().post(shared, prep_res, self._answers(exec_res))

    def _answers(self, result: Any) -> Any:
        if isinstance(result, StageReport):
            return replace(result, results=self._answers(result.results))
        if isinstance(result, list):
            return [self._answers(one) for one in result]
        if isinstance(result, ChatReply):
            return result.text if self.schema is None else result.data
        return result  # a replacement for a failed item


def _address(url: str) -> str:
    """Return the URL to call, for an API's address; its query (a version) is kept."""
    base, mark, query = url.partition("?")
    base = base.rstrip("/")
    return f"{base if base.endswith(PATH) else base + PATH}{mark}{query}"


def _configure(node: Chatting, url: str | None, model: str | None, settings: Any) -> None:
    configure(node, {"url": url, "model": model}, settings)
    if node.url is None or node.model is None:
        kind = type(node).__name__
        raise TypeError(
            f"a {kind} needs {kind}(url, model), as in 'http://127.0.0.1:8080/v1', 'phi'"
        )


class ChatNode(Chatting, Node[Any, ChatReply]):
    """Calls a language model, over any API with OpenAI's ``/v1/chat/completions``.

    What ``prep`` returns (or ``shared[reads]`` holds) is a prompt: a text; a list of messages
    such as ``{"role": "user", "content": "Hello"}``; or ``{"messages": [...]}``, which may contain
    its own ``temperature`` and ``max_tokens``. ``exec`` returns a ChatReply; ``writes`` gets
    its text, or with a ``schema`` its data (an overridden ``post`` gets the whole reply).

    408, 425, 429, statuses from 500, lost connections, and answers that do not follow the protocol
    or do not fit the schema are retried, up to four attempts in all, after the time in Retry-After.
    Not retried are other refusals (a bad key, an unknown model), those of the model itself, and
    JSON that was cut off at ``max_tokens``; nor an error within an answer of status 200, unless it
    says that it is temporary. Text that was cut off is a reply: see ``finish_reason``. Tools are
    not supported.

    Args:
        url: The API, such as ``https://host/v1``; set by the program, so it may be private.
        model: The model.
        system: A system message to put before each prompt.
        temperature: From 0 to 2; by default, the server's own.
        max_tokens: The most tokens of an answer; by default, the server's own.
        schema: A JSON schema: the server is asked to follow it, and the answer is checked. It
            needs the extra ``chat``.
        schema_name: The name of the schema in the request; by default, ``answer``.
        streaming: Whether the answer is sent as it is written. Each piece is sent to the observers
            of the run, as by ``say``, and to ``receive``; ``read_timeout`` applies between pieces.
            The server is asked not to compress. The reply is the same.
        options: Additional fields of the request, such as ``{"top_p": 0.9}``; None omits one.
        auth: ``Bearer(key)``, or ``APIKey(key, header="api-key")``. It is never shown.
        headers: Headers of each request.
        rate: A RateLimit counts tokens with ``weight=tokens_of``.
        read_timeout: Seconds between pieces of the answer; by default, 120.
        total_timeout: Seconds for one whole attempt; by default, 600.
        max_bytes: The largest answer, and so the longest line of a stream; by default, 16 MiB.
        reads, writes: Keys of the shared store.

    The other settings are those of HTTPNode and Node.
    """

    _accepts: ClassVar[frozenset[str]] = frozenset(ChatNodeSettings.__annotations__) | OWN

    def __init__(
        self,
        url: str | None = None,
        model: str | None = None,
        **settings: Unpack[ChatNodeSettings],
    ) -> None:
        _configure(self, url, model, settings)


class ParallelChatNode(Chatting, ParallelBatchNode[Any, ChatReply]):
    """Calls a language model many times at once: for the prompts that ``prep`` returns (or
    ``shared[reads]`` holds).

    ``exec`` returns a ChatReply for each, in the order of the prompts; ``writes`` gets the list of
    their texts or data. As a stage of a pipeline it takes a prompt and emits a ChatReply; if the
    next stage is one, too, its prompt is the text of that reply.

    The settings are those of ChatNode and ParallelBatchNode.
    """

    _accepts: ClassVar[frozenset[str]] = frozenset(ParallelChatSettings.__annotations__) | OWN

    def __init__(
        self,
        url: str | None = None,
        model: str | None = None,
        **settings: Unpack[ParallelChatSettings],
    ) -> None:
        _configure(self, url, model, settings)
