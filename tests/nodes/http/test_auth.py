"""How a request is authenticated, and that nobody else gets the credentials."""

import asyncio
import traceback
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from kaygraph import Graph, RunReport
from kaygraph.nodes import (
    AddressRefusedError,
    APIKey,
    AuthError,
    Basic,
    Bearer,
    ClientCredentials,
    HTTPConnectionError,
    HTTPNode,
    HTTPRequestError,
    HTTPTimeoutError,
    ParallelHTTPNode,
    Request,
)
from kaygraph.nodes.http.auth import EARLY_S, Tokens
from kaygraph.nodes.types import Auth
from kaygraph.testing import capture_events, run_virtually
from tests.servers import (
    Site,
    echo,
    free_port,
    in_turn,
    redirect,
    reply,
    saying,
    serving,
    speaking,
    unanswered,
)

pytestmark = pytest.mark.anyio


async def asked_with(auth: Auth, **settings: Any) -> Any:
    """Return what a server sees of a request."""
    async with serving(echo) as site:
        shared: dict[str, Any] = {}
        await HTTPNode(site.url, auth=auth, writes="result", **settings).run_async(shared)
        return shared["result"]["data"]


# Each kind


async def test_a_bearer_token_is_sent() -> None:
    """As RFC 6750 says."""
    assert (await asked_with(Bearer("t0k")))["headers"]["authorization"] == "Bearer t0k"


@pytest.mark.parametrize("password", ["pass:word", "pässwörd", ""])
async def test_user_and_password_are_sent_in_utf_8(password: str) -> None:
    """As RFC 7617 says; a password may hold a colon."""
    if not password:
        with pytest.raises(ValueError, match="the password of Basic is empty"):
            Basic("user", password)
        return
    sent = (await asked_with(Basic("user", password)))["headers"]["authorization"]
    assert sent == "Basic " + b64encode(f"user:{password}".encode()).decode()


async def test_a_key_is_sent_in_a_header_or_in_the_query() -> None:
    """Never in both."""
    asked = await asked_with(APIKey("k1"))
    assert (asked["headers"]["x-api-key"], asked["query"]) == ("k1", [])
    asked = await asked_with(APIKey("k2", header="X-Other"), params={"a": 1})
    assert (asked["headers"]["x-other"], asked["query"]) == ("k2", [["a", "1"]])
    asked = await asked_with(APIKey("k 3&", param="key"), params={"a": 1})
    assert asked["query"] == [["a", "1"], ["key", "k 3&"]]
    assert "x-api-key" not in asked["headers"]


async def test_what_auth_says_stands_above_a_header_of_the_same_name() -> None:
    """However it is written: there is one Authorization."""
    for name in ("Authorization", "authorization", "AUTHORIZATION"):
        asked = await asked_with(Bearer("t0k"), headers={name: "other"})
        assert asked["headers"]["authorization"] == "Bearer t0k"


async def test_a_kind_of_ones_own_is_a_class() -> None:
    """It gets the headers and the address, and returns them."""

    class Signed(Auth):
        async def added(self, headers: Any, url: Any, tokens: Any, post: Any) -> Any:
            return {**headers, "x-signature": str(len(url.path))}, url

    assert (await asked_with(Signed()))["headers"]["x-signature"] == "1"
    with pytest.raises(TypeError, match=r"abstract.*added"):
        Auth()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Bearer(None), "the token of Bearer must be a string, got a NoneType"),  # type: ignore[arg-type]
        (lambda: Bearer(""), "the token of Bearer is empty"),
        (lambda: Bearer("s3cret\n"), "the token of Bearer must be one line"),
        (lambda: Bearer("s3cret\r\nX-Injected: 1"), "must be one line"),
        (lambda: Basic(None, "s3cret"), "the user of Basic must be a string"),  # type: ignore[arg-type]
        (lambda: Basic("us:er", "s3cret"), "must not contain ':'"),
        (lambda: APIKey("s3cret\n"), "the key of APIKey must be one line"),
        (lambda: APIKey("s3cret", header="X Key"), "'X Key', which is not a valid header name"),
        (lambda: APIKey("s3cret", header="X\r\nY"), "which is not a valid header name"),
        (lambda: ClientCredentials("nowhere", "me", "s3cret"), "a URL must begin with http"),
        (lambda: ClientCredentials("http://u:s3cret@h/", "me", "s3cret"), "contains a user"),
        (lambda: ClientCredentials("http://h/", "me", None), "client_secret .* got a NoneType"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_secret_is_refused_at_once(make: Callable[[], Any], says: str) -> None:
    """An unset variable, or the line end of a file: the error does not show the secret."""
    with pytest.raises(ValueError, match=says) as caught:
        make()
    assert "s3cret" not in str(caught.value)


def test_credentials_need_an_address_that_they_are_for() -> None:
    """Data may lead anywhere: the error comes when the node is created."""
    with pytest.raises(HTTPRequestError, match=r"auth= of 'HTTPNode' needs url="):
        HTTPNode(auth=Bearer("t0k"), reads="url", allow_private=True)


def test_auth_that_is_none_of_them_is_refused() -> None:
    """A token alone does not say how to send it."""
    with pytest.raises(ValueError, match=r"auth must be Bearer\(token\).*got a str"):
        HTTPNode("http://h/", auth="t0k")  # type: ignore[arg-type]


# Client credentials


class TokenServer:
    """Gives out tokens: t1, t2, … and answers an API for which the latest is good."""

    def __init__(self, seconds: Any = None, latest_only: bool = False) -> None:
        self.given = 0
        self.seconds = seconds
        self.latest_only = latest_only
        self.forms: list[Any] = []
        self.headers: list[Any] = []
        self.refused = 0

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token":
            self.forms.append(dict(await request.post()))
            self.headers.append(request.headers)
            self.given += 1
            token: dict[str, Any] = {"access_token": f"t{self.given}", "token_type": "Bearer"}
            if self.seconds is not None:
                token["expires_in"] = self.seconds
            return web.json_response(token)
        token = request.headers.get("Authorization", "")
        if self.latest_only and token != f"Bearer t{self.given}":
            self.refused += 1
            return web.json_response({"error": "expired"}, status=401)
        return web.json_response(token)


def credentials(site: Site, **settings: Any) -> ClientCredentials:
    return ClientCredentials(f"{site.url}token", "me", "s3cret", **settings)


async def test_one_token_is_fetched_for_many_requests_at_once() -> None:
    """Those that come while it is on its way wait for it, also at other nodes of the run."""
    server = TokenServer(3600)
    async with serving(server) as site:
        first, second = (
            ParallelHTTPNode(
                site.url, auth=credentials(site), reads="items", writes=key, max_workers=50
            )
            for key in ("a", "b")
        )
        first >> second
        shared: dict[str, Any] = {"items": [None] * 50}
        await Graph(first).run_async(shared)
    assert server.given == 1
    assert {result["data"] for result in shared["a"] + shared["b"]} == {"Bearer t1"}


async def test_a_token_is_asked_for_as_rfc_6749_says() -> None:
    """A form, and the client as Basic; scope and more if they are set."""
    server = TokenServer()
    async with serving(server) as site:
        auth = credentials(site, scope="read write", extra={"audience": "x"})
        await HTTPNode(site.url, auth=auth).run_async({})
    assert server.forms == [
        {"grant_type": "client_credentials", "scope": "read write", "audience": "x"}
    ]
    assert server.headers[0]["authorization"] == "Basic " + b64encode(b"me:s3cret").decode()
    assert server.headers[0]["content-type"] == "application/x-www-form-urlencoded"


async def test_a_token_may_come_as_text() -> None:
    """JSON is requested, and parsed even if the answer is not declared as such."""

    async def answer(request: web.BaseRequest) -> web.Response:
        if request.path == "/token":
            assert request.headers["Accept"] == "application/json"
            return web.Response(text='{"access_token": "t1"}', content_type="text/html")
        return web.json_response(request.headers["Authorization"])

    async with serving(answer) as site:
        await HTTPNode(site.url, auth=credentials(site), writes="got").run_async(shared := {})
    assert shared["got"]["data"] == "Bearer t1"


async def test_a_token_that_is_refused_is_renewed_once() -> None:
    """An answer of 401 costs one new token, and the request is made again with it."""
    server = TokenServer(latest_only=True)
    async with serving(server) as site:
        node = HTTPNode(
            site.url, auth=credentials(site), method="POST", reads="item", writes="result"
        )
        other = HTTPNode(site.url, auth=credentials(site), method="POST", writes="second")

        class Revoke(HTTPNode):
            async def exec(self, item: Any, /) -> Any:
                server.given = 7  # the next is t8, and t1 is good no more

        revoke = Revoke(site.url)
        node >> revoke >> other
        shared: dict[str, Any] = {"item": {"json": 1}}
        await Graph(node).run_async(shared)
    assert shared["result"]["data"] == "Bearer t1"
    assert shared["second"]["data"] == "Bearer t8"
    assert server.refused == 1


async def test_a_server_that_refuses_every_token_is_believed_in_the_end() -> None:
    """Two tokens and two requests, and 401 is the result."""

    async def refuse(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token":
            return await tokens(request)
        return web.json_response({"error": "no"}, status=401)

    tokens = TokenServer()
    async with serving(refuse) as site:
        shared: dict[str, Any] = {}
        await HTTPNode(site.url, auth=credentials(site), writes="result").run_async(shared)
    assert shared["result"]["status_code"] == 401
    assert tokens.given == 2
    assert len(site.asked) == 4


async def test_many_that_are_refused_at_once_renew_the_token_once() -> None:
    """A request refused with an old one uses the existing new one."""
    server = TokenServer(latest_only=True)
    held = asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token" or request.path == "/first":
            return await server(request)
        if site.running < 20 and server.given == 1:
            await held.wait()
        server.given = max(server.given, 2)
        held.set()
        return await server(request)

    async with serving(answer) as site:
        node = ParallelHTTPNode(
            site.url, auth=credentials(site), reads="items", writes="found", max_workers=20
        )
        shared: dict[str, Any] = {"items": ["/x"] * 20}
        await node.run_async(shared)
    assert {result["data"] for result in shared["found"]} == {"Bearer t3"}
    assert server.refused == 20
    assert server.given == 3
    assert len(server.forms) == 2


async def test_basic_and_bearer_are_not_tried_again_at_401() -> None:
    """There is no other token to try."""
    async with serving(reply({"error": "no"}, 401)) as site:
        for auth in (Bearer("t"), Basic("a", "b"), APIKey("k")):
            await HTTPNode(site.url, auth=auth).run_async({})
    assert len(site.asked) == 3


class Fetched:
    """Gives tokens good for so many seconds, and counts them."""

    def __init__(self, seconds: Any) -> None:
        self.seconds = seconds
        self.times: list[float] = []

    async def __call__(self, url: str, form: Any, headers: Any) -> tuple[int, Any]:
        self.times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0)
        token = {"access_token": f"t{len(self.times)}"}
        return 200, token if self.seconds is None else {**token, "expires_in": self.seconds}


@pytest.mark.parametrize(
    ("seconds", "good_for"),
    [(3600, 3600 - EARLY_S), (60, 60 - EARLY_S), (40, 20), (2, 1), (0.5, 0.25), (0, 0), (-5, 0)],
)
def test_a_token_is_renewed_before_its_end(seconds: float, good_for: float) -> None:
    """Half a minute before, or at half its time; on a virtual clock."""

    async def play() -> None:
        tokens, post = Tokens(), Fetched(seconds)
        auth = ClientCredentials("http://h/token", "me", "s3cret")
        assert await tokens.token(auth, post) == "t1"
        if good_for:
            await asyncio.sleep(good_for - 0.01)
            assert await tokens.token(auth, post) == "t1"
        await asyncio.sleep(0.02)
        both = await asyncio.gather(tokens.token(auth, post), tokens.token(auth, post))
        assert both == (["t2", "t2"] if good_for else ["t2", "t3"])

    run_virtually(play())


@pytest.mark.parametrize("seconds", [None, "3600", True, float("nan"), [1]])
def test_a_token_without_an_end_is_kept_until_it_is_refused(seconds: Any) -> None:
    """An unreadable lifetime counts as missing."""

    async def play() -> None:
        tokens, post = Tokens(), Fetched(seconds)
        auth = ClientCredentials("http://h/token", "me", "s3cret")
        assert await tokens.token(auth, post) == "t1"
        await asyncio.sleep(1e6)
        assert await tokens.token(auth, post) == "t1"
        assert not tokens.forget(Bearer("t1"), {"authorization": "Bearer t1"})
        assert tokens.forget(auth, {"authorization": "Bearer old"})
        assert await tokens.token(auth, post) == "t1"
        assert tokens.forget(auth, {"authorization": "Bearer t1"})
        assert await tokens.token(auth, post) == "t2"

    run_virtually(play())


def test_a_fetch_that_is_cancelled_is_made_by_the_next() -> None:
    """Its waiters do not wait forever."""

    async def play() -> None:
        tokens, begun = Tokens(), asyncio.Event()
        auth = ClientCredentials("http://h/token", "me", "s3cret")

        async def hangs(*_: Any) -> Any:
            begun.set()
            await asyncio.Event().wait()

        first = asyncio.ensure_future(tokens.token(auth, hangs))
        await begun.wait()
        second = asyncio.ensure_future(tokens.token(auth, Fetched(60)))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == "t1"

    run_virtually(play())


@pytest.mark.parametrize(
    ("status", "body", "says", "attempts"),
    [
        (400, {"error": "invalid_scope"}, r"answered 400 \(invalid_scope\)", 1),
        (401, {"error": "invalid_client", "error_description": "s3cret"}, r"answered 401", 1),
        (401, {"error": "<b>s3cret</b>"}, r"answered 401\b", 1),
        (403, "no", r"answered 403", 1),
        (200, {"token": "s3cret"}, r"answered 200", 1),
        (200, {"access_token": 7}, r"answered 200", 1),
        (200, {"access_token": "s3cret\r\nX-Injected: 1"}, r"answered 200", 1),
        (200, ["s3cret"], r"answered 200", 1),
        (500, {"error": "oops"}, r"answered 500 \(oops\)", 3),
        (503, None, r"answered 503", 3),
        (429, {}, r"answered 429", 3),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_token_that_is_not_given_is_an_error(
    status: int, body: Any, says: str, attempts: int, method: str
) -> None:
    """It is never taken for the answer of the API; what may pass is tried again."""
    async with serving(reply(body, status)) as tokens, serving(echo) as site:
        node = HTTPNode(
            site.url, auth=credentials(tokens), method=method, max_retries=3, wait=0, writes="x"
        )
        shared: dict[str, Any] = {}
        with pytest.raises(AuthError, match=f"no token for client 'me': the server {says}") as got:
            await node.run_async(shared)
    assert len(tokens.asked) == attempts
    assert site.asked == []
    assert "x" not in shared
    assert "s3cret" not in "".join(traceback.format_exception(got.value))


async def test_a_token_server_that_recovers_gives_the_answer() -> None:
    """Its faults are passed over like those of the API."""
    server = TokenServer()
    faults = in_turn(reply(None, 500), reply(None, 503), server)
    async with serving(faults) as tokens, serving(echo) as site:
        shared: dict[str, Any] = {}
        node = HTTPNode(site.url, auth=credentials(tokens), writes="result", wait=0)
        await node.run_async(shared)
    assert shared["result"]["data"]["headers"]["authorization"] == "Bearer t1"
    assert len(site.asked) == 1


async def test_a_token_server_that_is_not_there_is_a_connection_error() -> None:
    """It says which address could not be reached."""
    port = await free_port()
    async with serving(echo) as site:
        auth = ClientCredentials(f"http://127.0.0.1:{port}/token", "me", "s3cret")
        node = HTTPNode(site.url, auth=auth, wait=0)
        with pytest.raises(HTTPConnectionError, match=f"POST http://127.0.0.1:{port}/token"):
            await node.run_async({})
    assert site.asked == []


async def test_a_token_server_does_not_lead_elsewhere() -> None:
    """Client and secret stay where they belong."""
    async with serving(echo) as other, serving(redirect(other.url, 307)) as tokens:
        node = HTTPNode(tokens.url, auth=credentials(tokens), allow_private=True)
        with pytest.raises(HTTPRequestError, match="max_redirects=0"):
            await node.run_async({})
    assert other.asked == []


async def test_a_token_server_may_be_private_and_data_may_not_ask_it() -> None:
    """The program names it for tokens; a URL from data does not get there."""
    server = TokenServer()
    async with serving(server) as tokens, serving(echo) as site:
        node = ParallelHTTPNode(
            site.url, auth=credentials(tokens), reads="urls", writes="found", on_error="collect",
            max_workers=1,
        )  # fmt: skip
        shared: dict[str, Any] = {"urls": [None, f"{tokens.url}admin"]}
        await node.run_async(shared)
    assert shared["found"][0]["data"]["headers"]["authorization"] == "Bearer t1"
    assert isinstance(shared["found"][1].error, AddressRefusedError)
    assert [request.path for request in tokens.asked] == ["/token"]


async def test_a_token_belongs_to_a_run() -> None:
    """The node object keeps nothing: another run asks for another."""
    server = TokenServer(3600)
    async with serving(server) as site:
        node = HTTPNode(site.url, auth=credentials(site))
        await node.run_async({})
        await node.run_async({})
    assert server.given == 2


# Secrets stay secret


SECRETS = {
    "bearer": Bearer("s3cretB"),
    "basic": Basic("me", "s3cretB"),
    "header": APIKey("s3cretB"),
    "query": APIKey("s3cretB", param="appid"),
    "token": None,
}
HEADERS = {"Authorization": "ApiKey s3cretH", "X-Custom": "s3cretH"}
BODY = {"json": {"password": "s3cretJ"}, "params": {"token": "s3cretP"}}
KNOWN = ("s3cret", b64encode(b"me:s3cretB").decode()[:-3])
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def text_of(error: BaseException) -> str:
    """Return all that a program would print of an error, and of those that led to it."""
    texts = ["".join(traceback.format_exception(error)), repr(error), str(error)]
    texts += getattr(error, "__notes__", [])
    seen = error
    while seen.__cause__ is not None:
        seen = seen.__cause__
        texts += [repr(seen), str(seen)]
    return "\n".join(texts)


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize(
    "talk",
    [
        saying(then="reset"),
        saying(then="silence"),
        saying(b"garbage\r\n\r\n"),
        saying(OK + b"Content-Length: 9\r\n\r\n["),
        saying(OK + b"Content-Length: 5\r\n\r\n[[[[["),
        saying(OK + b"Content-Encoding: br\r\n\r\n["),
        saying(OK + b"X: " + b"x" * 100_000 + b"\r\n\r\n"),
        saying(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nX-Echo: s3cret\r\n\r\n"),
        saying(b"HTTP/1.1 404 No\r\nContent-Length: 6\r\n\r\ns3cret"),
        saying(b"HTTP/1.1 302 No\r\nContent-Length: 0\r\nLocation: http://10.0.0.1/\r\n\r\n"),
        saying(b"HTTP/1.1 302 No\r\nLocation: http://h:bad/?token=s3cret\r\n\r\n"),
        saying(b"HTTP/1.1 302 No\r\nLocation: http://u:s3cret@h/\r\n\r\n"),
        None,
    ],
)
async def test_no_secret_is_in_the_error_of_a_failure(kind: str, talk: Any) -> None:
    """Neither in the error, its notes and its traceback, nor in events and reports."""
    async with serving(reply({"access_token": "s3cretT"})) as tokens:
        auth = SECRETS[kind] or credentials(tokens)
        async with speaking(talk or saying()) as site:
            url = site.url if talk else f"http://127.0.0.1:{await free_port()}/"
            single = HTTPNode(
                url, auth=auth, headers=HEADERS, reads="item", wait=0, max_retries=2,
                read_timeout=0.1, raise_for_status=True,
            )  # fmt: skip
            batch = ParallelHTTPNode(
                url, auth=auth, headers=HEADERS, reads="items", wait=0, max_retries=2,
                read_timeout=0.1, raise_for_status=True,
            )  # fmt: skip
            for node in (single, batch):
                report = RunReport()
                items = [{"url": "/?api_key=s3cretU", **BODY}, Request(url="/?sig=s3cretU", **BODY)]
                shared = {"item": items[0], "items": items}
                with (
                    capture_events() as events,
                    pytest.raises(Exception, match=r"\S") as caught,
                ):
                    await node.run_async(shared, observers=[report])
                texts = [text_of(caught.value), repr(node), repr(auth), repr(events), str(report)]
                texts += [repr(report.to_dict()), repr(items[1])]
                for event in events:
                    failed = getattr(event, "error", None)
                    texts += [repr(event), str(event), text_of(failed) if failed else ""]
                everything = "\n".join(texts)
                assert not [
                    line for line in everything.split("\n") if any(k in line for k in KNOWN)
                ]


async def test_no_secret_is_in_the_error_of_a_failed_connection() -> None:
    """A key in the query has any name, and goes to the address that is asked."""
    with unanswered() as url:
        node = HTTPNode(url, auth=SECRETS["query"], connect_timeout=0.05, max_retries=1)
        with pytest.raises(HTTPTimeoutError, match="no connection in time") as caught:
            await node.run_async({})
    assert "s3cret" not in text_of(caught.value)


@pytest.mark.parametrize("kind", ["bearer", "basic", "header", "query"])
def test_no_secret_stands_in_a_repr(kind: str) -> None:
    """Neither in that of an auth, nor in those of nodes and requests."""
    auth = SECRETS[kind]
    assert auth is not None
    shown = [auth, HTTPNode("http://h/", auth=auth, headers=HEADERS), [auth], {"a": auth}]
    shown += [ClientCredentials("http://h/", "me", "s3cret", extra={"assertion": "s3cret"})]
    shown += [Request(url="http://h/?token=s3cret", headers=HEADERS, **BODY)]  # type: ignore[arg-type]
    assert "s3cret" not in repr(shown)


def test_headers_of_ones_own_need_an_address_that_they_are_for() -> None:
    """Like credentials: what is not secret may go wherever a URL from data leads."""
    with pytest.raises(HTTPRequestError, match=r"headers\['x-secret'\] of 'HTTPNode' needs url="):
        HTTPNode(headers={"X-Secret": "s3cret"}, reads="url")
    HTTPNode(headers={"Accept-Language": "no", "User-Agent": "me"}, reads="url")


async def test_params_of_the_node_do_not_go_to_another_origin() -> None:
    """A key in the query is for the address that the program names, be it only in the run."""

    class Named(HTTPNode):
        def url_of(self, shared: Any, /) -> str:
            return str(shared["home"])

    async with serving(echo) as home, serving(echo) as away:
        settings: Any = {"params": {"k": "s3cret"}, "reads": "url", "allow_private": True}
        for node in (HTTPNode(home.url, **settings), Named(**settings)):
            for url in ("there", f"{away.url}there"):
                asked = {"url": url, "params": {"q": 1}}
                await node.run_async({"home": home.url, "url": asked})
    assert [dict(one.query) for one in home.asked] == [{"k": "s3cret", "q": "1"}] * 2
    assert [dict(one.query) for one in away.asked] == [{"q": "1"}] * 2


async def test_a_401_elsewhere_is_not_answered_with_a_new_token() -> None:
    """After a redirect away there were no credentials, so there are none to renew."""
    async with serving(reply(None, 401)) as away:

        async def home(request: web.BaseRequest) -> web.StreamResponse:
            if request.path == "/token":
                return web.json_response({"access_token": "t1"})
            return web.Response(status=307, headers={"Location": away.url})

        async with serving(home) as site:
            auth = ClientCredentials(f"{site.url}token", "me", "s3cret")
            node = HTTPNode(site.url, method="POST", auth=auth, reads="r", allow_private=True)
            await node.run_async({"r": {"json": 1}})
    assert len(away.asked) == 1
