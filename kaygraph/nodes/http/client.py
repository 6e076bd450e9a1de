"""An HTTP client for nodes: one session a run, over aiohttp, with limits on all that comes back."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
    suppress,
)
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import aiohttp
from yarl import URL

from ...run.frame import FRAME
from .._json import MAX_DEPTH, decode
from ._addresses import (
    AddressRefusedError,
    HTTPRequestError,
    check_literal,
    joined,
    origin_of,
    parsed,
)
from ._content import as_json, header_text, is_json, recoded, text_of
from ._decoding import HTTPBodyError, decoded
from ._events import Event, Lines, events
from ._sessions import Session, Sessions
from ._translation import translated
from ._urls import from_header, with_query
from .auth import Auth, Headers
from .messages import (
    HTTPResult,
    HTTPStatusError,
    HTTPTimeoutError,
    Request,
    passes,
    refused_for_now,
)

REDIRECTS = frozenset({301, 302, 303, 307, 308})
# All that goes to another origin than the request was made for: the others may be secrets.
HARMLESS = frozenset({"accept", "accept-encoding", "accept-language", "content-type", "user-agent"})
# For what is read as it comes: whoever compresses on the way may hold the last bytes back.
UNCOMPRESSED = {"accept-encoding": "identity"}
EVENT_STREAM = "text/event-stream"
IN_A_THREAD = 256 * 1024  # bytes of JSON whose decoding would hold the loop for long


@dataclass(frozen=True, kw_only=True)
class HTTPSettings:
    """How a node asks; see ``HTTPNode`` for what each is."""

    url: str | None = None
    auth: Auth | None = None
    allow_private: bool = False
    connect_timeout: float | None = 10.0
    read_timeout: float | None = 30.0
    total_timeout: float | None = 60.0
    max_bytes: int | None = 16 * 1024 * 1024
    max_depth: int = MAX_DEPTH
    max_redirects: int = 5
    ssl_context: ssl.SSLContext | None = None


@asynccontextmanager
async def client(settings: HTTPSettings, shared: Any) -> "AsyncIterator[Client]":
    """Open a client for the run that goes on; its session is shared and closed with the run."""
    trusted = None if settings.url is None else origin_of(parsed(settings.url))
    sessions, run = Sessions(settings.allow_private, trusted), FRAME.get().run
    await run.open(sessions, shared)
    yield Client(run.resource(sessions), settings)


class Answer:
    """An answer whose body is still on its way."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        request: Request,
        url: URL,
        most: int | None,
        late: "Callable[[], AbstractAsyncContextManager[Any]]",
    ) -> None:
        self._response, self._request, self._asked, self._most = response, request, url, most
        self._late = late
        self.status_code = response.status
        self.success = response.status < 400
        self.headers = {  # several of a name are one, RFC 9110, 5.3
            name.lower(): header_text(name.lower(), ", ".join(response.headers.getall(name)))
            for name in response.headers
        }
        self.content_type = response.content_type
        self.url = response.url

    def __repr__(self) -> str:
        return f"{self._request.asking(self._asked)} answered {self.status_code}"

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body, decompressed, in pieces of at most 64 KiB.

        Raises:
            HTTPBodyError: It is larger than ``max_bytes``, or not what it says it is.
        """
        encoding = self.headers.get("content-encoding", "")
        pieces = decoded(self._response.content.iter_any(), encoding, self._most)
        async with aclosing(pieces):
            while True:
                async with self._late():  # over no yield: it would end its reader's own work
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                yield piece

    async def read(self) -> bytes:
        """Return the whole body."""
        async with aclosing(self.chunks()) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def lines(
        self, max_line: int | None = 1024 * 1024, *, carriage_returns: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """Yield the body line by line, without the ends of the lines.

        Args:
            max_line: The most bytes of a line; None: as many as ``max_bytes``.
            carriage_returns: Whether one alone ends a line too, beside LF and CRLF.

        Raises:
            HTTPBodyError: A line is longer.
        """
        lines = Lines(max_line, carriage_returns)
        async with aclosing(self.chunks()) as chunks:
            async for chunk in chunks:
                for line in lines.feed(chunk):
                    yield line
        if last := lines.rest():
            yield last

    async def events(self, max_line: int | None = None) -> AsyncGenerator[Event, None]:
        """Yield the events of a ``text/event-stream``, each with ``data`` and ``type``.

        Raises:
            HTTPBodyError: A line is longer than ``max_line``.
        """
        async with (
            aclosing(self.lines(max_line, carriage_returns=True)) as lines,
            aclosing(events(lines)) as each,
        ):
            async for event in each:
                yield event

    async def result(self, max_depth: int, seconds: float) -> HTTPResult:
        """Read the whole body and return the result; ``seconds`` is when the request began."""
        body = await self.read()
        return {
            "data": await self._data(body, max_depth),
            "status_code": self.status_code,
            "success": self.success,
            "headers": self.headers,
            "seconds": asyncio.get_running_loop().time() - seconds,
        }

    async def _data(self, body: bytes, max_depth: int) -> Any:
        if not body:
            return None
        charset = self._response.charset
        if is_json(self.content_type):
            if not body.strip():
                return None  # some frameworks answer a space where they have nothing to say
            try:
                return await self._json(body, max_depth)
            except ValueError as error:
                other = recoded(body, charset)
                with suppress(ValueError):
                    if other is not None:
                        return await self._json(other, max_depth)
                if self.success:
                    text = f"{self!r} with JSON that cannot be read: {error}"
                    raise HTTPBodyError(text) from error
        if self.success and charset is None and not self.content_type.startswith("text/"):
            return body
        return text_of(body, charset)

    async def _json(self, body: bytes, max_depth: int) -> Any:
        if len(body) < IN_A_THREAD:
            return decode(body, max_depth)
        threads = FRAME.get().run.threads
        return await asyncio.wrap_future(threads.submit(decode, body, max_depth))


class Client:
    """Asks over the run's session, as a node's settings say.

    Attributes:
        base: What the addresses of requests are relative to, or None.
    """

    def __init__(self, session: Session, settings: HTTPSettings) -> None:
        self._session, self._settings = session, settings
        self.base = None if settings.url is None else parsed(settings.url)

    async def ask(self, request: Request, raise_for_status: bool = False) -> HTTPResult:
        """Make a request and return the whole answer, as ``asked``."""
        return (await self.asked(request, raise_for_status))[0]

    async def asked(
        self, request: Request, raise_for_status: bool = False
    ) -> tuple[HTTPResult, URL]:
        """Make a request and return the whole answer, whatever its status is, and who gave it.

        Raises:
            HTTPStatusError: 408, 425, 429 or a status from 500: another attempt may help. With
                ``raise_for_status``, any status from 400.
            HTTPConnectionError: There is no answer, or none in time.
            HTTPBodyError: The answer is too large, or is not what it says it is.
            HTTPRequestError: The request is not one, or is not allowed.
        """
        started = asyncio.get_running_loop().time()
        async with self.open(request) as answer:
            result = await answer.result(self._settings.max_depth, started)
        status = answer.status_code
        passing = passes(status)
        if passing or (raise_for_status and not answer.success):
            again = passing and (request.may_be_repeated or refused_for_now(result))
            raise HTTPStatusError(repr(answer), result, again)
        return result, answer.url

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[Answer]:
        """Make a request and give its answer, whose body can be read as it comes.

        Raises:
            As ``ask``, HTTPStatusError apart.
        """
        url, answering = self.url_of(request), False
        seconds = self._settings.total_timeout
        until = None if seconds is None else asyncio.get_running_loop().time() + seconds

        @asynccontextmanager
        async def late() -> AsyncIterator[None]:
            try:
                async with asyncio.timeout_at(until) as limit:
                    yield
            except TimeoutError:
                if not limit.expired():
                    raise
                text = f"{request.asking(url)} took longer than total_timeout={seconds}"
                raise HTTPTimeoutError(text, request.may_be_repeated) from None

        try:
            async with AsyncExitStack() as stack:
                async with late():
                    response = await stack.enter_async_context(self._answered(request, url))
                answering = True
                yield Answer(response, request, url, self._settings.max_bytes, late)
        except AddressRefusedError as error:
            # The resolver's error is one for all that wait for a name: each gets its own.
            raise AddressRefusedError(f"{request.asking(url)}: {error}") from None
        except asyncio.CancelledError as cancellation:
            # It may be the timeout= of an attempt: whether another may follow is for us to tell.
            cancellation.repeatable = request.may_be_repeated  # type: ignore[attr-defined]
            raise
        except aiohttp.ClientError as error:
            raise translated(error, request, url, answering) from None

    def url_of(self, request: Request) -> URL:
        """Return the address that a request goes to, with its query.

        Raises:
            HTTPRequestError: It is none.
        """
        if self.base is None:
            url = parsed(request.url)
        else:
            url = joined(self.base, request.url) if request.url else self.base
        return with_query(url, request.query())

    @asynccontextmanager
    async def _answered(self, request: Request, url: URL) -> AsyncIterator[aiohttp.ClientResponse]:
        """Follow redirects; where they lead is looked at like any address that comes from data."""
        auth, home = self._settings.auth, origin_of(self.base or url)
        public_only = not self._settings.allow_private
        method, headers, body = request.verb, dict(request.headers), request.body()
        if request.idempotency_key is not None:
            headers["idempotency-key"] = request.idempotency_key
        if body is not None:
            headers.setdefault("content-type", body[1])
        redirects, renewed, at_home = 0, False, True
        while True:
            at_home = at_home and origin_of(url) == home
            if not at_home:
                headers = {name: headers[name] for name in HARMLESS & headers.keys()}
            if public_only and (self.base is None or origin_of(url) != home):
                check_literal(url)
            sent, asked = headers, url
            if auth is not None and at_home:
                sent, asked = await auth.added(headers, url, self._session.tokens, self._post)
            response = await self._session.http.request(
                method, asked, headers=sent, data=body and BytesIO(body[0]), timeout=self._timeout,
                ssl=self._settings.ssl_context or True, allow_redirects=False,
            )  # fmt: skip
            async with response:
                if response.status == 401 and auth is not None and at_home and not renewed:
                    renewed = True
                    if self._session.tokens.forget(auth, sent):
                        continue
                location = response.headers.get("Location")
                if response.status not in REDIRECTS or not location:
                    yield response
                    return
            redirects += 1
            if redirects > self._settings.max_redirects:
                raise HTTPRequestError(
                    f"{request.asking(url)} was redirected more than "
                    f"max_redirects={self._settings.max_redirects} times"
                )
            url = joined(url, from_header(location))
            if response.status == 303 or (response.status < 303 and method == "POST"):
                method, body = "HEAD" if method == "HEAD" else "GET", None
                # What they say is said of the body (RFC 9110, 15.4).
                headers = {name: headers[name] for name in headers if name[:8] != "content-"}

    @property
    def _timeout(self) -> aiohttp.ClientTimeout:
        connect, read = self._settings.connect_timeout, self._settings.read_timeout
        return aiohttp.ClientTimeout(total=None, connect=connect, sock_read=read)

    async def _post(self, url: str, form: Mapping[str, str], headers: Headers) -> tuple[int, Any]:
        settings = replace(self._settings, url=url, auth=None, max_redirects=0)
        request = Request(method="POST", data=form, headers=headers, repeatable=True)
        try:
            async with client(settings, None) as asking:
                result = await asking.ask(request)
        except HTTPStatusError as error:
            result = error.result
        return result["status_code"], as_json(result["data"], settings.max_depth)
