"""Authentication of requests. No ``repr`` contains secrets."""

import asyncio
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from yarl import URL

from ._addresses import parsed
from ._urls import with_query
from .messages import HTTPError, check_headers, check_line, passes

Headers = dict[str, str]
# Posts a form with headers to a URL, and returns the status and the answer's JSON.
Post = Callable[[str, Mapping[str, str], Headers], Awaitable[tuple[int, Any]]]

EARLY_S = 30.0  # a token is renewed so long before it expires; a short one at half its time


class AuthError(HTTPError):
    """No token was received; the request that needs it was not made."""


class Auth(ABC):
    """Adds credentials to a request; they go only to the requested origin."""

    @abstractmethod
    async def added(
        self, headers: Headers, url: URL, tokens: "Tokens", post: Post
    ) -> tuple[Headers, URL]:
        """Return the headers and the address to send."""


@dataclass(frozen=True)
class Bearer(Auth):
    """``Authorization: Bearer …`` (RFC 6750)."""

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        check_secret("the token of Bearer", self.token)

    async def added(
        self, headers: Headers, url: URL, tokens: "Tokens", post: Post
    ) -> tuple[Headers, URL]:
        return {**headers, "authorization": f"Bearer {self.token}"}, url


@dataclass(frozen=True)
class Basic(Auth):
    """``Authorization: Basic …`` (RFC 7617), in UTF-8."""

    user: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        check_secret("the user of Basic", self.user)
        check_secret("the password of Basic", self.password)
        if ":" in self.user:
            raise ValueError("the user of Basic must not contain ':', which ends the user's name")

    async def added(
        self, headers: Headers, url: URL, tokens: "Tokens", post: Post
    ) -> tuple[Headers, URL]:
        return {**headers, "authorization": basic(self.user, self.password)}, url


def check_secret(name: str, value: str) -> None:
    """Refuse what is not a secret: None from an unset variable, a file's last line end."""
    if not check_line(name, value):
        raise ValueError(f"{name} is empty")


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


@dataclass(frozen=True)
class APIKey(Auth):
    """A key in a header, or in the query under the name ``param``.

    A header is better: addresses are logged everywhere on the way.
    """

    key: str = field(repr=False)
    header: str = "X-API-Key"
    param: str | None = None

    def __post_init__(self) -> None:
        check_secret("the key of APIKey", self.key)
        check_headers("header", {self.header: self.key})

    async def added(
        self, headers: Headers, url: URL, tokens: "Tokens", post: Post
    ) -> tuple[Headers, URL]:
        if self.param is not None:
            return headers, with_query(url, [(self.param, self.key)], instead_of={self.param})
        return {**headers, self.header.lower(): self.key}, url


@dataclass(frozen=True)
class ClientCredentials(Auth):
    """OAuth2 client credentials (RFC 6749, 4.4): a token for a client's id and secret.

    The token is requested on first use, once for all requests at the same time in a
    run, renewed before it expires, and once more after a 401.

    Args:
        token_url: The token endpoint.
        client_id: The id of the client.
        client_secret: The secret of the client.
        scope: The requested scope; words separated by spaces.
        extra: Additional fields of the form, such as ``{"audience": "…"}``.

    Raises:
        AuthError: From a request: no token was issued.
    """

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)

    def __post_init__(self) -> None:
        parsed(self.token_url)
        check_secret("the client_id of ClientCredentials", self.client_id)
        check_secret("the client_secret of ClientCredentials", self.client_secret)

    async def added(
        self, headers: Headers, url: URL, tokens: "Tokens", post: Post
    ) -> tuple[Headers, URL]:
        return {**headers, "authorization": f"Bearer {await tokens.token(self, post)}"}, url

    async def fetch(self, post: Post) -> tuple[str, float | None]:
        """Return a new token, and for how many seconds it is valid, if the server says so."""
        form = {"grant_type": "client_credentials", **self.extra}
        if self.scope is not None:
            form["scope"] = self.scope
        who = {
            "authorization": basic(self.client_id, self.client_secret),
            "accept": "application/json",
        }
        status, reply = await post(self.token_url, form, who)
        token = reply.get("access_token") if isinstance(reply, dict) else None
        if status != 200 or not isinstance(token, str) or not token.isprintable():
            # RFC 6749, 5.2: a short code, which is not secret
            code = reply.get("error") if isinstance(reply, dict) else None
            why = f" ({code})" if isinstance(code, str) and code.isidentifier() else ""
            raise AuthError(
                f"no token for client {self.client_id!r}: the server answered {status}{why}",
                repeatable=passes(status),
            )
        seconds = reply.get("expires_in")
        known = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        return token, float(seconds) if known else None


class Token:
    """A token and its lifetime; requests wait while it is fetched."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.value: str | None = None
        self.until: float | None = None  # on the loop's clock; None: until a 401


class Tokens:
    """The tokens of a run."""

    def __init__(self) -> None:
        self._tokens: dict[ClientCredentials, Token] = {}

    async def token(self, auth: ClientCredentials, post: Post) -> str:
        """Return a valid token."""
        token = self._tokens.setdefault(auth, Token())
        now = asyncio.get_running_loop().time
        async with token.lock:
            if token.value is None or (token.until is not None and now() >= token.until):
                token.value, seconds = await auth.fetch(post)
                early = 0.0 if seconds is None else min(EARLY_S, seconds / 2)
                token.until = None if seconds is None else now() + seconds - early
            return token.value

    def forget(self, auth: Auth, headers: Headers) -> bool:
        """Drop a refused token, unless there is a newer one; return whether there is one to try."""
        token = self._tokens.get(auth) if isinstance(auth, ClientCredentials) else None
        if token is None:
            return False
        if headers.get("authorization") == f"Bearer {token.value}":
            token.value = None
        return True
