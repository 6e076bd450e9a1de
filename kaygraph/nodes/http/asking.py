"""The common part of HTTP nodes: settings, the session, and when to retry."""

import random
import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from ..._validation import check_choice, check_count, check_flag, check_limit, check_retry
from ...errors import AttemptTimeoutError, closest
from ...limits.retry import Retry
from ...node.facts import recorded_key, resource_of
from ...node.settings import Checks
from ...run.lifespan import Held
from .._json import MAX_DEPTH
from .._store import Stored, check_on_loop
from ._addresses import HTTPRequestError, joined, origin_of, parsed
from .auth import Auth
from .client import HARMLESS, Client, HTTPSettings, client
from .messages import HTTPError, HTTPStatusError, Params, Request, check_headers, check_method
from .messages import check_mapping as check_mapping

MAX_WAIT_S = 60.0
NEEDS_KEY = frozenset({"POST", "PATCH"})  # repeating them may repeat their effect


def worth_retrying(error: Exception) -> bool:
    """Return whether another attempt may help and does no harm.

    That is the case after 408, 425, 429, a status from 500, or a lost connection, if the request
    may be repeated (see ``Request``); not if the server asks to wait for more than a minute.
    """
    if isinstance(error, AttemptTimeoutError):
        return bool(getattr(error.__cause__, "repeatable", False))
    if not isinstance(error, HTTPError) or not error.repeatable:
        return False
    asked = error.retry_after if isinstance(error, HTTPStatusError) else None
    return asked is None or asked <= MAX_WAIT_S


def wait_for_retry(attempt: int, error: Exception) -> float:
    """Return how many seconds to wait: the time in Retry-After, or exponential with full jitter.

    A little is added to the server's time; otherwise all refused requests would return
    together.
    """
    backoff = min(MAX_WAIT_S, 0.25 * 2.0 ** (attempt - 1)) * random.random()
    asked = error.retry_after if isinstance(error, HTTPStatusError) else None
    return backoff if asked is None else asked + 0.1 * backoff


PATIENT = Retry(attempts=4, wait=wait_for_retry, on=worth_retrying)


def check_patience(name: str, value: Any) -> Any:
    """Return a Retry; unless it selects errors, it retries those that are worth it."""
    value = check_retry(name, value)
    if isinstance(value, Retry) and value.on is Exception:
        return replace(value, on=worth_retrying)
    return value


class Patient:
    """Keeps retrying only what is worth it when just ``max_retries`` and ``wait`` are set."""

    retry: Retry | None = PATIENT
    _patience: ClassVar[Retry] = PATIENT  # if a class has ``retry = None``

    def __init_subclass__(cls, **kwargs: Any) -> None:
        own = vars(cls)
        if "retry" not in own and ("max_retries" in own or "wait" in own):
            cls.retry = cls._patient(cls.retry, own.get("max_retries"), own.get("wait"))
        super().__init_subclass__(**kwargs)

    def _configure(self, max_retries: int | None, wait: float | None, settings: Any) -> None:
        if "retry" not in settings and (max_retries is not None or wait is not None):
            settings = {**settings, "retry": self._patient(self.retry, max_retries, wait)}
            max_retries = wait = None
        super()._configure(max_retries, wait, settings)  # type: ignore[misc]

    @classmethod
    def _patient(cls, retry: Retry | None, attempts: int | None, wait: float | None) -> Retry:
        retry = retry or cls._patience
        if attempts is not None:
            retry = replace(retry, attempts=check_count("max_retries", attempts))
        return retry if wait is None else replace(retry, wait=wait)


class ClientSettings(TypedDict, total=False):
    """The settings of every HTTP node."""

    headers: Mapping[str, str]
    auth: Auth | None
    allow_private: bool
    connect_timeout: float | None
    read_timeout: float | None
    total_timeout: float | None
    max_bytes: int | None
    max_depth: int
    max_redirects: int
    ssl_context: ssl.SSLContext | None


def keyed(request: Request) -> Request:
    """Return a request that a server recognises if a resumed run repeats it.

    This does not mean that another attempt may repeat it: not every server looks at the key.
    """
    if (
        request.idempotency_key is not None
        or request.verb not in NEEDS_KEY
        or "idempotency-key" in request.headers
        or (key := recorded_key()) is None
    ):
        return request
    return replace(request, idempotency_key=key, repeatable=request.may_be_repeated)


def check_url(name: str, value: Any) -> str:
    return value if isinstance(value, str) and parsed(value) else str(parsed(value))


def check_auth(name: str, value: Any) -> Any:
    if value is not None and not isinstance(value, Auth):
        raise ValueError(f"{name} must be Bearer(token), Basic(user, password), APIKey(key) or "
                         f"ClientCredentials(…), got a {type(value).__name__}")  # fmt: skip
    return value


def check_text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string, got {value!r}")
    return value


def check_count_or_none(name: str, value: Any) -> Any:
    return None if value is None else check_count(name, value)


def check_redirects(name: str, value: Any) -> Any:
    return value if value == 0 and not isinstance(value, bool) else check_count(name, value)


def check_ssl(name: str, value: Any) -> Any:
    if value is not None and not isinstance(value, ssl.SSLContext):
        raise ValueError(f"{name} must be an ssl.SSLContext, got {value!r}")
    return value


HTTP_CHECKS: Checks = {
    "run_in": check_on_loop,
    "retry": check_patience,
    "url": check_url,
    "method": check_method,
    "params": check_mapping,
    "raise_for_status": check_flag,
    "result": check_choice("answer", "data"),
    "headers": check_headers,
    "auth": check_auth,
    "allow_private": check_flag,
    "connect_timeout": check_limit,
    "read_timeout": check_limit,
    "total_timeout": check_limit,
    "max_bytes": check_count_or_none,
    "max_depth": check_count,
    "max_redirects": check_redirects,
    "ssl_context": check_ssl,
}
CLIENT = frozenset(ClientSettings.__annotations__) | {"url"}


class Asking(Patient, Stored):
    """The common part of HTTP nodes; it precedes Node in their bases.

    A subclass takes these settings, too, as keywords and as attributes.
    ``self.resource`` is a Client. The session belongs to the run: it is opened on first use,
    shared by the nodes whose ``url`` has the same origin, and closed when the run ends.
    """

    url: str | None = None
    headers: Mapping[str, str] = {}
    auth: Auth | None = None
    allow_private = False
    connect_timeout: float | None = 10.0
    read_timeout: float | None = 30.0
    total_timeout: float | None = 60.0
    max_bytes: int | None = 16 * 1024 * 1024
    max_depth = MAX_DEPTH
    max_redirects = 5
    ssl_context: ssl.SSLContext | None = None
    _accepts: ClassVar[frozenset[str]] = CLIENT | {"reads", "writes"}
    _checks: ClassVar[Checks] = HTTP_CHECKS

    def _configure(self, max_retries: int | None, wait: float | None, settings: Any) -> None:
        super()._configure(max_retries, wait, settings)
        if self.url is not None or type(self).url_of is not Asking.url_of:
            return
        own = ["auth="] if self.auth is not None else []
        own += [f"headers[{name!r}]" for name in self.headers if name not in HARMLESS]
        if own:
            raise HTTPRequestError(
                f"{own[0]} of {self.name!r} needs url=: credentials are for one address, not for "
                "addresses from data"
            )

    def _changed(self, names: Collection[str]) -> None:
        super()._changed(names)  # type: ignore[misc]
        vars(self).pop("_client_settings", None)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = {**super().__getstate__()}  # type: ignore[dict-item]
        state["_client_settings"] = None
        return state

    @property
    def client_settings(self) -> HTTPSettings:
        """The settings of requests; kept until one of the node's settings changes."""
        known: HTTPSettings | None = vars(self).get("_client_settings")
        if known is None:
            settings = {one.name: getattr(self, one.name) for one in fields(HTTPSettings)}
            known = vars(self)["_client_settings"] = HTTPSettings(**settings)
        return known

    def lifespan(self, shared: Any, /) -> AbstractAsyncContextManager[Client]:
        around = super().lifespan(shared)  # type: ignore[misc]  # for a pattern, that of its parts
        asks = Asks(self, shared)
        return asks if isinstance(around, nullcontext) else _within(around, asks)

    def url_of(self, shared: Any, /) -> str | None:
        """Return the address for a run: ``url``. Override it if only the run knows it."""
        return self.url


class Asks(Held[Client]):
    """The client of a node for a run."""

    def __init__(self, node: Asking, shared: Any) -> None:
        self._node, self._shared = node, shared

    def open(self) -> Client:
        settings, url = self._node.client_settings, self._node.url_of(self._shared)
        return client(settings if url == settings.url else replace(settings, url=url))


@asynccontextmanager
async def _within(around: AbstractAsyncContextManager[Any], asks: Asks) -> AsyncIterator[Client]:
    async with around, asks as asking:
        yield asking


class Requesting(Asking):
    """Makes a request from what ``prep`` returns, or from an item."""

    method = "GET"
    _params: Params = {}  # noqa: RUF012 - of the query; never changed

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "params" in vars(cls):  # a setting; reading it gives that of the round
            cls._params = vars(cls)["params"]
            del cls.params

    if TYPE_CHECKING:
        params: Mapping[str, Any]
    else:

        @property
        def params(self):
            """The parameters of the BatchGraph round that runs this node; empty outside of one."""
            return super().params

        @params.setter
        def params(self, value):
            vars(self)["params"] = value

    def request(self, item: Any, /) -> Request:
        """Return the request for an item, with the node's own settings."""
        request = _as_request(item)
        ours: Params = vars(self).get("params", self._params) or {}
        if ours and self._is_elsewhere(request.url):
            ours = {}
        return request.completed(self.method, self.headers, ours)

    def _is_elsewhere(self, url: str) -> bool:
        """Return whether a URL from data leads away from the node's own, which gets ``params``."""
        if type(self).url_of is not Asking.url_of:  # only the run knows it
            base = resource_of(self).base
        else:
            base = None if self.url is None else parsed(self.url)
        return bool(base and url) and origin_of(joined(base, url)) != origin_of(base)


def _as_request(item: Any) -> Request:
    if isinstance(item, Request):
        return item
    if item is None or isinstance(item, str):
        return Request.of(item or "")
    if isinstance(item, Mapping):
        known = [one.name for one in fields(Request)]
        for name in item:
            if name not in known:
                raise HTTPRequestError(
                    f"a request has no {name!r}; it has: {', '.join(known)}.{closest(name, known)}"
                )
        return Request(**item)
    raise HTTPRequestError(
        f"a request must be a URL, a mapping such as {{'url': …, 'params': …}}, or a Request; "
        f"got a {type(item).__name__}"
    )
