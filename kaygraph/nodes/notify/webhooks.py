"""Channels over HTTP: a general webhook, and one for chats."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

from yarl import URL

from ..._formatting import HIDDEN
from ..._validation import check_count, check_flag
from ...errors import KayGraphError
from ...node.facts import resource_of
from ...node.settings import Checks
from .._quoted import quoted, secrets_of
from .._store import StoreSettings, configure
from ..http._addresses import HTTPRequestError, parsed
from ..http._decoding import HTTPBodyError
from ..http.asking import Asking, ClientSettings
from ..http.messages import HTTPResult, HTTPStatusError, Request, passes, refused_for_now
from .channels import Channel, Delivery, escaped, shortened
from .notify import Message

SHOWN = 400  # characters of an error, which may contain a page of the server


class ChannelSettings(StoreSettings, ClientSettings, total=False):
    """The settings of a channel over HTTP."""

    idempotent: bool


class Posting(Asking, Channel):
    """Delivers by an HTTP request. The path and the query of ``url`` may be secrets: no error
    contains them.

    Attributes:
        idempotent: Whether sending the same key twice does no harm. If not, a request is
            repeated only if it was certainly not processed.
    """

    url: str | None = None
    idempotent = True
    max_redirects = 0  # a redirected POST may arrive as a GET, and deliver nothing

    _accepts: ClassVar[frozenset[str]] = frozenset({*ChannelSettings.__annotations__, "url"})
    _checks: ClassVar[Checks] = {"idempotent": check_flag}

    async def posted(self, message: Message, **body: Any) -> HTTPResult:
        """Make the request and return its answer.

        Raises:
            HTTPError: It has not been delivered.
        """
        request = Request(
            method="POST",
            headers=self.headers,
            idempotency_key=message.key,
            repeatable=self.idempotent,
            **body,
        )
        now = asyncio.get_running_loop().time
        began = now()
        try:
            async with resource_of(self).open(request) as answer:
                result: HTTPResult
                try:
                    result = await answer.result(self.max_depth, began)
                except HTTPBodyError:
                    result = {
                        "data": None,
                        "status_code": answer.status_code,
                        "success": answer.success,
                        "headers": answer.headers,
                        "seconds": now() - began,
                    }
                    if not self._delivers(result):  # its status decides, whatever follows
                        raise
            if not self._delivers(result):
                again = refused_for_now(result) or (passes(answer.status_code) and self.idempotent)
                raise HTTPStatusError(f"{answer!r}{self._said(result)}", result, again)
        except KayGraphError as error:
            error.args = (_without(str(self.url), str(error))[:SHOWN], *error.args[1:])
            raise
        return result

    def _delivers(self, result: HTTPResult) -> bool:
        return 200 <= result["status_code"] < 300 and self.accepts(result)

    def accepts(self, result: HTTPResult, /) -> bool:
        """Return whether an answer with a status from 200 to 299 says that it is delivered."""
        return True

    def _said(self, result: HTTPResult) -> str:
        """Return the text of an answer, in one line without the secrets of ``auth``."""
        data = result["data"]
        if isinstance(data, Mapping):
            data = ", ".join(str(data[one]) for one in ("code", "message", "error") if one in data)
        return "" if data is None else f": {escaped(quoted(str(data), secrets_of(self.auth)))}"


def _without(url: str, text: str) -> str:
    """Remove the path and the query of an address from a text, whole and in parts."""
    for address in (parsed(url), URL(url)):  # as sent, and as displayed
        for part in (address.raw_path_qs, address.path_qs, address.raw_path, address.path):
            if len(part) > 1:
                text = text.replace(part, f"/{HIDDEN}")
        values = [pair.partition("=")[2] for pair in address.raw_query_string.split("&")]
        for part in (*address.raw_parts, *address.parts, *values, *address.query.values()):
            if len(part) > 7:  # shorter ones are words that occur elsewhere
                text = text.replace(part, HIDDEN)
    return text


def check_secret_url(name: str, value: Any) -> str:
    try:
        return str(parsed(value))
    except HTTPRequestError:
        pass
    raise HTTPRequestError(
        f"{name} must be an address that begins with http:// or https:// and a host, without a "
        "user; the given value is not shown, as it may be a secret"
    )


class Webhook(Posting):
    """Posts a message as JSON: ``{"key": …, "text": …, "subject": …, "data": …}``.

    It is delivered when the answer has a status from 200 to 299. 408, 425, 429, statuses from 500
    and lost connections are retried, up to four attempts in all. ``Idempotency-Key`` is sent with
    each attempt.

    Args:
        url: The address; errors, events and reports show only its host.
        headers: Sent with each request.
        auth: Bearer, Basic, APIKey or ClientCredentials.
        idempotent: See Posting; by default, True.

    The other settings are those of HTTPNode and Node.
    """

    _checks: ClassVar[Checks] = {"url": check_secret_url}

    def __init__(self, url: str | None = None, **settings: Unpack[ChannelSettings]) -> None:
        configure(self, {"url": url}, settings)
        if self.url is None:
            raise TypeError(f"{type(self).__name__} needs the address to post to")

    def body(self, message: Message, /) -> Any:
        """Return the value to post as JSON. Override it to change the format."""
        return {
            "key": message.key,
            "text": message.text,
            "subject": message.subject,
            "data": dict(message.data),
        }

    async def exec(self, message: Message, /) -> Delivery:
        """Post it."""
        message = self.taken(message)
        await self.posted(message, json=self.body(message))
        return Delivery(message.key)


class ChatSettings(ChannelSettings, total=False):
    """The settings of a ChatWebhook, in addition to its address."""

    max_length: int


class ChatWebhook(Webhook):
    """Posts a message to a chat, over a webhook like Slack's: ``{"text": …}``, answered "ok".

    ``&``, ``<`` and ``>`` are escaped, so that a text cannot notify people (``<!channel>``) or hide
    a link. A text longer than ``max_length`` is cut.

    Args:
        url: The webhook: anyone who knows it can post there.
        max_length: Characters, as sent; by default, 4000.

    The other settings are those of Webhook.
    """

    max_length = 4000

    _accepts: ClassVar[frozenset[str]] = Webhook._accepts | {"max_length"}
    _checks: ClassVar[Checks] = {"max_length": check_count}

    def __init__(self, url: str | None = None, **settings: Unpack[ChatSettings]) -> None:
        super().__init__(url, **settings)  # type: ignore[misc]

    def body(self, message: Message, /) -> Any:
        text = message.plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        short = shortened(text, self.max_length)
        if short != text:  # if an entity was cut in two, its rest goes, too
            short = re.sub("&[a-z]*…$", "…", short)
        return {"text": short}

    def accepts(self, result: HTTPResult, /) -> bool:
        data = result["data"]
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data)
        return text.strip().lower() == "ok"
