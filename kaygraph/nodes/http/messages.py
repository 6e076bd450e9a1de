"""HTTP requests, results and errors, as nodes see them."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from time import time
from typing import Any, TypedDict
from urllib.parse import urlencode

from yarl import URL

from ..._formatting import redacted
from ..._validation import check_flag
from ...errors import KayGraphError
from ._addresses import HTTPRequestError
from ._retry_after import seconds_asked
from ._urls import shown

Value = str | int | float | bool | None
Params = Mapping[str, Value | Sequence[Value]]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2

# They say where a request ends and the next one on its connection begins, which the body does.
_FRAMING = frozenset({"content-length", "transfer-encoding"})

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})  # RFC 9110, 9.2.2


def check_method(name: str, value: Any) -> str:
    """Return a method in upper case."""
    if not isinstance(value, str) or not value.isalpha() or not value.isascii():
        raise HTTPRequestError(f"{name} must be such as 'GET', got {value!r}")
    return value.upper()


def check_mapping(name: str, value: Any) -> dict[str, Any]:
    """Return a mapping of names to values."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise HTTPRequestError(
            f"{name} must be a mapping of names to values, got a {type(value).__name__}"
        )
    return dict(value)


def check_headers(name: str, value: Any) -> dict[str, str]:
    """Return headers, their names in lower case: one replaces another of its name."""
    for header, text in check_mapping(name, value).items():
        if not _NAME.fullmatch(header):
            raise HTTPRequestError(f"{name} holds {header!r}, which is no name of a header")
        if header.lower() in _FRAMING:
            raise HTTPRequestError(f"{name} holds {header!r}: leave it out, the body says it")
        check_line(f"{name}[{header!r}]", text)
    return {header.lower(): text for header, text in value.items()}


def check_line(name: str, value: Any) -> str:
    """Return a text that can stand in a header; errors do not show it."""
    if not isinstance(value, str):
        raise HTTPRequestError(f"{name} must be a string, got a {type(value).__name__}")
    if not value.replace("\t", " ").isprintable():  # line ends, which would begin another header
        raise HTTPRequestError(f"{name} must be one line of printable text")
    return value


class HTTPResult(TypedDict):
    """What came back.

    ``data`` is what JSON says, or text, or bytes, by the content type; None when there is none.
    ``success``: the status is below 400. ``headers`` are in lower case; ``seconds`` are those from
    the request to the end of the body, redirects included.
    """

    data: Any
    status_code: int
    success: bool
    headers: dict[str, str]
    seconds: float


class HTTPError(KayGraphError):
    """A request was made and did not end well.

    Attributes:
        repeatable: Whether the same request may be made again: it has changed nothing, or doing
            it twice is the same as once.
    """

    def __init__(self, message: str, repeatable: bool = False) -> None:
        super().__init__(message)
        self.repeatable = repeatable


class HTTPConnectionError(HTTPError):
    """There was no connection, or it was lost before the answer had come."""


class HTTPTimeoutError(HTTPConnectionError, TimeoutError):
    """The answer took longer than allowed."""


class HTTPStatusError(HTTPError):
    """The answer is not a success.

    Attributes:
        result: The answer.
        status: Its status code.
        retry_after: Seconds that the server asks to wait, or None where it does not say.
    """

    def __init__(self, message: str, result: HTTPResult, repeatable: bool = False) -> None:
        super().__init__(message, repeatable)
        self.result, self.status = result, result["status_code"]
        self.retry_after = retry_after(result["headers"])

    def __reduce__(self) -> tuple[type, tuple[object, ...], dict[str, object]]:
        return type(self), (self.args[0], self.result, self.repeatable), self.__dict__


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds an answer asks to wait, or None; see ``seconds_asked``."""
    return seconds_asked(headers, time())


def passes(status: int) -> bool:
    """Return whether a status may be another at the next attempt.

    That is: too slow (408), too early (425), too many (429), and whatever is wrong at the server.
    """
    return status in (408, 425, 429) or status >= 500


def refused_for_now(result: HTTPResult) -> bool:
    """Return whether an answer says that the request was not worked on, and may come again.

    That is 429, and a 503 that says when. Any other 503 may come from a gateway that has lost the
    server in the middle of its work.
    """
    status = result["status_code"]
    return status == 429 or (status == 503 and "retry-after" in result["headers"])


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to ask for. Its ``repr`` holds no secrets.

    Attributes:
        url: http or https; where a node has a ``url`` of its own, relative to that.
        method: That of the node by default, which is GET by default.
        headers: Beside those of the node, which they replace; kept in lower case.
        params: Of the query, beside those in ``url``; None leaves one out, a list repeats it.
        json: The body, as JSON; None for no body.
        data: The body, as text or bytes, or as a mapping for a form.
        idempotency_key: Sent as Idempotency-Key: by it the server knows a request again.
        repeatable: Whether it may be made again when it may have been heard; by default, where
            the method is idempotent or there is an ``idempotency_key``.
    """

    url: str = ""
    method: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Params = field(default_factory=dict)
    json: Any = None
    data: str | bytes | Params | None = None
    idempotency_key: str | None = None
    repeatable: bool | None = None

    def __post_init__(self) -> None:
        def keep(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)  # it is frozen for others

        if isinstance(self.url, URL):
            keep("url", str(self.url))
        if not isinstance(self.url, str):
            raise HTTPRequestError(f"url must be a string, got a {type(self.url).__name__}")
        if self.method is not None:
            keep("method", check_method("method", self.method))
        keep("headers", check_headers("headers", self.headers))
        keep("params", check_mapping("params", self.params))
        if self.json is not None and self.data is not None:
            raise HTTPRequestError("a request has json= or data=, not both")
        if not isinstance(self.data, str | bytes | Mapping | None):
            kind = type(self.data).__name__
            raise HTTPRequestError(
                f"data must be text, bytes or a mapping for a form, got a {kind}"
            )
        if self.idempotency_key is not None:
            check_line("idempotency_key", self.idempotency_key)
        if self.repeatable is not None:
            check_flag("repeatable", self.repeatable)

    @staticmethod
    def of(url: str) -> "Request":
        """Return the request for a URL: there is nothing in it to be checked yet."""
        return _made({**_UNSAID, "url": url, "headers": {}, "params": {}})

    def completed(self, method: str, headers: Mapping[str, str], params: Params) -> "Request":
        """Return this request, with what its node says where it says nothing itself."""
        said: dict[str, Any] = {"method": self.method or check_method("method", method)}
        if headers:
            said["headers"] = {**check_headers("headers", headers), **self.headers}
        if params:
            said["params"] = {**check_mapping("params", params), **self.params}
        return _made({**vars(self), **said}) if type(self) is Request else replace(self, **said)

    def __repr__(self) -> str:
        return self.asking(self.url)

    def asking(self, url: object) -> str:
        """Return how errors name this request, when it goes to ``url``."""
        return f"<{self.verb} {redacted(shown(url))}>"

    @property
    def verb(self) -> str:
        return self.method or "GET"

    @property
    def may_be_repeated(self) -> bool:
        if self.repeatable is not None:
            return self.repeatable
        return self.verb in IDEMPOTENT or self.idempotency_key is not None

    @property
    def has_body(self) -> bool:
        return self.json is not None or self.data is not None

    def body(self) -> tuple[bytes, str] | None:
        """Return the body as it is sent, and its content type; None when there is none."""
        if self.json is not None:
            return _encoded("json", _json(self.json)), "application/json"
        if isinstance(self.data, Mapping):
            form = urlencode(_pairs("data", self.data))
            return form.encode(), "application/x-www-form-urlencoded"
        if isinstance(self.data, str):
            return _encoded("data", self.data), "text/plain; charset=utf-8"
        return None if self.data is None else (self.data, "application/octet-stream")

    def query(self) -> list[tuple[str, str]]:
        """Return ``params`` as they are sent."""
        return _pairs("params", self.params)


_UNSAID = {one.name: one.default for one in fields(Request) if one.default_factory is MISSING}


def _made(said: dict[str, Any]) -> Request:
    """Return a request of what has been checked already: once an item is enough."""
    request = object.__new__(Request)
    vars(request).update(said)
    return request


def _encoded(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise HTTPRequestError(f"{name} cannot be sent as UTF-8: {error.reason}") from None


def _json(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise HTTPRequestError(f"json= cannot be written as JSON: {error}") from error


def _pairs(what: str, values: Params) -> list[tuple[str, str]]:
    pairs = []
    for name, value in values.items():
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, bool):
                pairs.append((name, str(one).lower()))
            elif isinstance(one, str | int | float):
                _encoded(f"{what}[{name!r}]", name + str(one))
                pairs.append((name, str(one)))
            elif one is not None:
                kind = type(one).__name__
                raise HTTPRequestError(f"{what}[{name!r}] must be text or a number, got a {kind}")
    return pairs
