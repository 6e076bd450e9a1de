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

# They say where a request ends and the next one on its connection begins; the body decides that.
_FRAMING = frozenset({"content-length", "transfer-encoding"})

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})  # RFC 9110, 9.2.2


def check_method(name: str, value: Any) -> str:
    """Return a method in upper case."""
    if not isinstance(value, str) or not value.isalpha() or not value.isascii():
        raise HTTPRequestError(f"{name} must be a method such as 'GET', got {value!r}")
    return value.upper()


def check_mapping(name: str, value: Any) -> dict[str, Any]:
    """Return a mapping of names to values."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise HTTPRequestError(
            f"{name} must be a mapping of names to values, got a {type(value).__name__}"
        )
    return dict(value)


def check_headers(name: str, value: Any) -> dict[str, str]:
    """Return headers with their names in lower case; later ones replace earlier ones."""
    for header, text in check_mapping(name, value).items():
        if not _NAME.fullmatch(header):
            raise HTTPRequestError(f"{name} contains {header!r}, which is not a valid header name")
        if header.lower() in _FRAMING:
            raise HTTPRequestError(f"{name} contains {header!r}: leave it out, the body sets it")
        check_line(f"{name}[{header!r}]", text)
    return {header.lower(): text for header, text in value.items()}


def check_line(name: str, value: Any) -> str:
    """Return a text that is valid in a header; errors do not show it."""
    if not isinstance(value, str):
        raise HTTPRequestError(f"{name} must be a string, got a {type(value).__name__}")
    if not value.replace("\t", " ").isprintable():  # line ends would begin another header
        raise HTTPRequestError(f"{name} must be one line of printable text")
    return value


class HTTPResult(TypedDict):
    """The answer to a request.

    ``data`` is JSON, text or bytes, depending on the content type; None if there is none.
    ``success``: the status is below 400. ``headers`` are in lower case; ``seconds`` is the time
    from the request to the end of the body, redirects included.
    """

    data: Any
    status_code: int
    success: bool
    headers: dict[str, str]
    seconds: float


class HTTPError(KayGraphError):
    """A request was made and failed.

    Attributes:
        repeatable: Whether the request may be repeated: it has changed nothing, or doing
            it twice has the same effect as once.
    """

    def __init__(self, message: str, repeatable: bool = False) -> None:
        super().__init__(message)
        self.repeatable = repeatable


class HTTPConnectionError(HTTPError):
    """There was no connection, or it was lost before the answer arrived."""


class HTTPTimeoutError(HTTPConnectionError, TimeoutError):
    """The answer took longer than allowed."""


class HTTPStatusError(HTTPError):
    """The answer is not a success.

    Attributes:
        result: The answer.
        status: Its status code.
        retry_after: Seconds that the server asks to wait, or None if it does not say.
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
    """Return whether a status may differ at the next attempt.

    That is: too slow (408), too early (425), too many (429), and all server errors.
    """
    return status in (408, 425, 429) or status >= 500


def refused_for_now(result: HTTPResult) -> bool:
    """Return whether an answer says that the request was not processed, and may be repeated.

    These are 429, and a 503 with a time. Any other 503 may come from a gateway that lost the
    server while it was working.
    """
    status = result["status_code"]
    return status == 429 or (status == 503 and "retry-after" in result["headers"])


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request to make. Its ``repr`` contains no secrets.

    Attributes:
        url: http or https; relative to the node's ``url``, if it has one.
        method: By default, that of the node, which is GET by default.
        headers: In addition to those of the node, which they override; kept in lower case.
        params: Of the query, in addition to those in ``url``; None omits one, a list repeats it.
        json: The body, as JSON; None for no body.
        data: The body, as text or bytes, or as a mapping for a form.
        idempotency_key: Sent as Idempotency-Key, by which the server recognises a request.
        repeatable: Whether it may be repeated when it may have arrived; by default, if
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
            object.__setattr__(self, name, value)  # the class is frozen for others

        if isinstance(self.url, URL):
            keep("url", str(self.url))
        if not isinstance(self.url, str):
            raise HTTPRequestError(f"url must be a string, got a {type(self.url).__name__}")
        if self.method is not None:
            keep("method", check_method("method", self.method))
        keep("headers", check_headers("headers", self.headers))
        keep("params", check_mapping("params", self.params))
        if self.json is not None and self.data is not None:
            raise HTTPRequestError("a request takes json= or data=, not both")
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
        """Return the request for a URL: it contains nothing that needs a check yet."""
        return _made({**_DEFAULTS, "url": url, "headers": {}, "params": {}})

    def completed(self, method: str, headers: Mapping[str, str], params: Params) -> "Request":
        """Return this request, completed with the settings of its node."""
        values: dict[str, Any] = {"method": self.method or check_method("method", method)}
        if headers:
            values["headers"] = {**check_headers("headers", headers), **self.headers}
        if params:
            values["params"] = {**check_mapping("params", params), **self.params}
        return _made({**vars(self), **values}) if type(self) is Request else replace(self, **values)

    def __repr__(self) -> str:
        return self.asking(self.url)

    def asking(self, url: object) -> str:
        """Return the name of this request in errors, when it goes to ``url``."""
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
        """Return the body to send, and its content type; None if there is none."""
        if self.json is not None:
            return _encoded("json", _json(self.json)), "application/json"
        if isinstance(self.data, Mapping):
            form = urlencode(_pairs("data", self.data))
            return form.encode(), "application/x-www-form-urlencoded"
        if isinstance(self.data, str):
            return _encoded("data", self.data), "text/plain; charset=utf-8"
        return None if self.data is None else (self.data, "application/octet-stream")

    def query(self) -> list[tuple[str, str]]:
        """Return ``params`` in the form in which they are sent."""
        return _pairs("params", self.params)


_DEFAULTS = {one.name: one.default for one in fields(Request) if one.default_factory is MISSING}


def _made(values: dict[str, Any]) -> Request:
    """Return a request made of checked values: checking once per item is enough."""
    request = object.__new__(Request)
    vars(request).update(values)
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
