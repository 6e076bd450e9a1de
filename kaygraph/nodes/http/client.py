"""An HTTP client for nodes: one session per run, over aiohttp, with limits on every answer."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from types import TracebackType
from typing import Any

import aiohttp
from yarl import URL

from ...run.frame import FRAME
from .._json import MAX_DEPTH
from ._addresses import (
    AddressRefusedError,
    HTTPRequestError,
    check_literal,
    joined,
    origin_of,
    parsed,
)
from ._content import as_json
from ._sessions import Session, SessionKey
from ._timing import TotalTimeout
from ._translation import translated
from ._urls import from_header, with_query
from .answer import Answer
from .auth import Auth, Headers
from .messages import HTTPResult, HTTPStatusError, Request, passes, refused_for_now

REDIRECTS = frozenset({301, 302, 303, 307, 308})
# The only headers that go to another origin after a redirect: the others may be secrets.
HARMLESS = frozenset({"accept", "accept-encoding", "accept-language", "content-type", "user-agent"})
# For streamed bodies: a compressing proxy may hold back the last bytes.
UNCOMPRESSED = {"accept-encoding": "identity"}
EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True, kw_only=True)
class HTTPSettings:
    """The settings of requests; see ``HTTPNode`` for each."""

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

    @cached_property
    def base(self) -> URL | None:
        return None if self.url is None else parsed(self.url)

    @cached_property
    def session_key(self) -> SessionKey:
        return SessionKey(self.allow_private, None if self.base is None else origin_of(self.base))

    @cached_property
    def timeout(self) -> aiohttp.ClientTimeout:
        """The timeouts that aiohttp handles; ``total_timeout`` is ours."""
        return aiohttp.ClientTimeout(
            total=None, connect=self.connect_timeout, sock_read=self.read_timeout
        )


def client(settings: HTTPSettings) -> "Client":
    """Return a client for the current run; its session is shared and closed with the run."""
    key = settings.session_key
    return Client(FRAME.get().run.hold(key, lambda: Session(key)), settings)


class Exchange:
    """A request and its answer, from making it until ``async with`` is left.

    Errors of aiohttp that occur meanwhile are raised as ours.
    """

    __slots__ = ("_client", "_request", "_response", "_url")

    def __init__(self, client: "Client", request: Request, url: URL) -> None:
        self._client, self._request, self._url = client, request, url
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> Answer:
        client, request, url = self._client, self._request, self._url
        limit = client.limit(request, url)
        try:
            with limit:
                self._response = response = await client.answered(request, url)
            return Answer(response, request, url, client.max_bytes, limit)
        except BaseException as error:
            if self._response is not None:
                self._response.close()
            self._translate(error, answering=False)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        response = self._response
        # A complete answer has released its connection, but a server may answer while the
        # request's body is still being sent.
        if response is not None and (self._request.has_body or not response.closed):
            try:
                await released(response)
            except BaseException as other:
                self._translate(other, answering=True)
                raise
        if error is not None:
            self._translate(error, answering=True)

    def _translate(self, error: BaseException, answering: bool) -> None:
        """Raise our error in place of one of aiohttp's, from within its handler."""
        request, url = self._request, self._url
        if isinstance(error, AddressRefusedError):
            # The resolver's error is shared by all that wait for a name: each gets its own.
            raise AddressRefusedError(f"{request.asking(url)}: {error}") from None
        if isinstance(error, asyncio.CancelledError):
            # It may be the timeout= of an attempt: we decide whether another may follow.
            error.repeatable = request.may_be_repeated  # type: ignore[attr-defined]
        elif isinstance(error, aiohttp.ClientError):
            raise translated(error, request, url, answering) from None


async def released(response: aiohttp.ClientResponse) -> None:
    """Release the connection of an answer, when the request has been sent or is abandoned."""
    async with response:
        pass


class Client:
    """Makes requests over the run's session, with a node's settings.

    Attributes:
        base: What the addresses of requests are relative to, or None.
    """

    def __init__(self, session: Session, settings: HTTPSettings) -> None:
        self._session, self._settings = session, settings
        self.base, self.max_bytes = settings.base, settings.max_bytes

    async def ask(self, request: Request, raise_for_status: bool = False) -> HTTPResult:
        """Make a request and return the whole answer, as ``asked``."""
        return (await self.asked(request, raise_for_status))[0]

    async def asked(
        self, request: Request, raise_for_status: bool = False
    ) -> tuple[HTTPResult, URL]:
        """Make a request and return the whole answer, whatever its status, and its final address.

        Raises:
            HTTPStatusError: 408, 425, 429 or a status from 500: a retry may help. With
                ``raise_for_status``, any status from 400.
            HTTPConnectionError: There was no answer, or not in time.
            HTTPBodyError: The answer is too large, or is not what it claims to be.
            HTTPRequestError: The request is invalid or not allowed.
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

    def open(self, request: Request) -> "Exchange":
        """Make a request: ``async with`` yields its answer, whose body can be read as it arrives.

        Raises:
            Those of ``ask``, except HTTPStatusError.
        """
        return Exchange(self, request, self.url_of(request))

    def limit(self, request: Request, url: URL) -> TotalTimeout:
        """Return the ``total_timeout`` of a request that begins now."""
        return TotalTimeout(self._session.timer, self._settings.total_timeout, request, url)

    def url_of(self, request: Request) -> URL:
        """Return the address of a request, with its query.

        Raises:
            HTTPRequestError: It is not a valid one.
        """
        if self.base is None:
            url = parsed(request.url)
        else:
            url = joined(self.base, request.url) if request.url else self.base
        return with_query(url, request.query()) if request.params else url

    async def answered(self, request: Request, url: URL) -> aiohttp.ClientResponse:
        """Follow redirects; their targets are checked like any address from data."""
        session, settings, auth = self._session, self._settings, self._settings.auth
        home = settings.session_key.trusted or origin_of(url)
        public_only = not settings.allow_private
        method, headers, body = request.verb, dict(request.headers), request.body()
        if request.idempotency_key is not None:
            headers["idempotency-key"] = request.idempotency_key
        if body is not None:
            headers.setdefault("content-type", body[1])
        redirects, renewed, at_home = 0, False, True
        while True:
            here = origin_of(url)
            at_home = at_home and here == home
            if not at_home:
                headers = {name: headers[name] for name in HARMLESS & headers.keys()}
            if public_only and (self.base is None or here != home):
                check_literal(url)
            sent, asked = headers, url
            if auth is not None and at_home:
                sent, asked = await auth.added(headers, url, session.tokens, self._post)
            response = await session.http.request(
                method, asked, headers=sent, data=body and BytesIO(body[0]), allow_redirects=False,
                timeout=settings.timeout, ssl=settings.ssl_context or True,
            )  # fmt: skip
            if response.status == 401 and auth is not None and at_home and not renewed:
                renewed = True
                if session.tokens.forget(auth, sent):
                    await released(response)
                    continue
            location = response.headers.get("Location") if response.status in REDIRECTS else None
            if not location:
                return response
            await released(response)
            redirects += 1
            if redirects > settings.max_redirects:
                raise HTTPRequestError(
                    f"{request.asking(url)} was redirected more than "
                    f"max_redirects={settings.max_redirects} times: request the final "
                    "address, or raise max_redirects"
                )
            url = joined(url, from_header(location))
            if response.status == 303 or (response.status < 303 and method == "POST"):
                method, body = "HEAD" if method == "HEAD" else "GET", None
                # These describe the body (RFC 9110, 15.4).
                headers = {name: headers[name] for name in headers if name[:8] != "content-"}

    async def _post(self, url: str, form: Mapping[str, str], headers: Headers) -> tuple[int, Any]:
        settings = replace(self._settings, url=url, auth=None, max_redirects=0)
        request = Request(method="POST", data=form, headers=headers, repeatable=True)
        try:
            result = await client(settings).ask(request)
        except HTTPStatusError as error:
            result = error.result
        return result["status_code"], as_json(result["data"], settings.max_depth)
