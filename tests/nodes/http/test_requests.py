"""HTTPNode and ParallelHTTPNode: requests and results, with a real server."""

import asyncio
import copy
import io
import pickle
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from kaygraph import (
    AttemptTimeoutError,
    BatchGraph,
    CircuitBreaker,
    CircuitOpenError,
    Graph,
    ParallelBatchNode,
    RateLimit,
    Retry,
    RunReport,
)
from kaygraph.nodes import (
    Bearer,
    HTTPConnectionError,
    HTTPError,
    HTTPNode,
    HTTPStatusError,
    HTTPTimeoutError,
    ParallelHTTPNode,
    Request,
    RESTNode,
)
from kaygraph.nodes.errors import MissingInputError
from kaygraph.testing import assert_accounted, capture_events
from tests.servers import Answer, echo, in_turn, reply, serving

pytestmark = pytest.mark.anyio


async def asked(item: Any = None, **settings: Any) -> Any:
    """Return what a server sees of a request."""
    async with serving(echo) as site:
        shared: dict[str, Any] = {"item": item}
        node = HTTPNode(site.url, reads="item", writes="result", **settings)
        await node.run_async(shared)
        return shared["result"]["data"]


async def answered(answer: Answer, **settings: Any) -> Any:
    """Return the result that a node makes of an answer."""
    async with serving(answer) as site:
        shared: dict[str, Any] = {}
        await HTTPNode(site.url, writes="result", **settings).run_async(shared)
        return shared["result"]


# What is asked


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "post", "PURGE"]
)
async def test_any_method_may_be_used(method: str) -> None:
    """In the node or in the request, which takes precedence."""
    assert (await asked(method=method))["method"] == method.upper()
    assert (await asked({"method": method}, method="TRACE"))["method"] == method.upper()


async def test_head_has_no_body() -> None:
    """There are only headers."""
    result = await answered(echo, method="HEAD")
    assert (result["data"], result["status_code"]) == (None, 200)
    assert int(result["headers"]["content-length"]) > 0


@pytest.mark.parametrize(
    ("params", "query"),
    [
        ({"a": 1, "b": 2.5, "c": "x y&=ü", "d": True}, "a=1&b=2.5&c=x y&=ü&d=true"),
        ({"a": ["x", 1, None], "b": None, "c": (), "d": ""}, "a=x&a=1&d="),
        ({}, ""),
    ],
)  # fmt: skip
async def test_params_make_the_query(params: Any, query: str) -> None:
    """Quoted as must be; None leaves one out, and a list repeats it."""
    for got in (await asked(params=params), await asked({"params": params})):
        assert "&".join(f"{name}={value}" for name, value in got["query"]) == query


async def test_params_are_added_to_those_of_the_url_and_of_the_node() -> None:
    """Those of a request replace those of the node; the URL keeps its own."""
    got = await asked({"url": "?u=0&a=0", "params": {"b": 2}}, params={"a": 1, "b": 1})
    assert got["query"] == [["u", "0"], ["a", "0"], ["a", "1"], ["b", "2"]]


async def test_headers_are_added_to_those_of_the_node() -> None:
    """Those of a request replace those of the node, however they are written."""
    settings = {"headers": {"X-A": "node", "ACCEPT": "node", "X-B": "node"}}
    got = (await asked({"headers": {"x-a": "item", "Accept": "item"}}, **settings))["headers"]
    assert (got["x-a"], got["accept"], got["x-b"]) == ("item", "item", "node")


async def test_the_question_is_printed() -> None:
    """Only supported encodings, and the user agent; both can be set."""
    got = (await asked())["headers"]
    assert (got["accept-encoding"], got["user-agent"]) == ("gzip, deflate", "kaygraph")
    got = (await asked(headers={"user-agent": "me/1"}))["headers"]
    assert got["user-agent"] == "me/1"


@pytest.mark.parametrize("value", [{"a": [1, None, "ü"]}, [], {}, 0, False, "", "text", 1.5])
async def test_json_is_sent_as_json(value: Any) -> None:
    """Even an empty one; None means no body."""
    import json

    got = await asked({"method": "POST", "json": value})
    assert json.loads(got["body"]) == value
    assert got["headers"]["content-type"] == "application/json"


async def test_the_type_of_the_body_may_be_set() -> None:
    """However the header is written, it is sent once."""
    for name in ("Content-Type", "content-type"):
        async with serving(echo) as site:
            item = {"json": {}, "headers": {name: "application/vnd.x+json"}}
            await HTTPNode(site.url, method="POST", reads="item").run_async({"item": item})
        assert site.asked[0].headers.getall("Content-Type") == ["application/vnd.x+json"]


@pytest.mark.parametrize(
    ("data", "body", "kind"),
    [
        ({"a": "x y", "b": "ü&=", "c": 1, "d": ["1", "2"]}, "a=x+y&b=%C3%BC%26%3D&c=1&d=1&d=2",
         "application/x-www-form-urlencoded"),
        ("text ü", "text ü", "text/plain; charset=utf-8"),
        (b"\x01bytes", "\x01bytes", "application/octet-stream"),
        ("", "", "text/plain; charset=utf-8"),
    ],
)  # fmt: skip
async def test_data_are_a_form_text_or_bytes(data: Any, body: str, kind: str) -> None:
    """Each with its type."""
    got = await asked({"method": "POST", "data": data})
    assert (got["body"], got["headers"]["content-type"]) == (body, kind)


async def test_a_large_body_is_sent_whole() -> None:
    """More than a megabyte, of JSON and of bytes, and again at the second attempt."""
    text = "x" * 3_000_000
    async with serving(in_turn(reply(None, 503), reply(None), reply(None))) as site:
        node = ParallelHTTPNode(
            site.url, method="PUT", reads="items", wait=0, max_workers=1, name="Puts"
        )
        await node.run_async({"items": [{"json": text}, {"data": text.encode()}]})
    assert [len(body) for body in site.bodies] == [3_000_002, 3_000_002, 3_000_000]


async def test_a_key_of_idempotency_is_the_same_at_every_attempt() -> None:
    """By it the server knows a request again."""
    async with serving(in_turn(reply(None, 500), reply(None, 500), reply(None))) as site:
        node = HTTPNode(site.url, method="POST", reads="item", wait=0)
        await node.run_async({"item": {"json": 1, "idempotency_key": "k1"}})
    assert [request.headers["Idempotency-Key"] for request in site.asked] == ["k1"] * 3


@pytest.mark.parametrize(
    ("base", "url", "path"),
    [
        ("", "", "/"), ("", "users", "/users"), ("api/v1", "users", "/api/users"),
        ("api/v1/", "users", "/api/v1/users"), ("api/v1/", "/users", "/users"),
        ("api/v1/", "../users", "/api/users"), ("api?x=1", "", "/api?x=1"),
        ("api/v1/", "?a=1", "/api/v1/?a=1"), ("", "a b/ü", "/a%20b/%C3%BC"),
        ("", "a%2Fb", "/a%2Fb"), ("", "x#part", "/x"),
    ],
)  # fmt: skip
async def test_the_url_of_a_request_is_relative_to_that_of_the_node(
    base: str, url: str, path: str
) -> None:
    """As a link on a page is."""
    async with serving(echo) as site:
        node = HTTPNode(site.url + base, reads="url")
        await node.run_async({"url": url})
    assert site.asked[0].raw_path == path


# What is a request


@pytest.mark.parametrize("make", [str, URL, Request, dict])
async def test_a_request_is_a_url_a_mapping_or_a_request(make: Any) -> None:
    """They mean the same."""
    url = "/there?a=1"
    item = make(url=url) if make in (Request, dict) else make(url)
    if make is URL:
        item = {"url": item}
    got = await asked(item)
    assert (got["path"], got["query"]) == ("/there", [["a", "1"]])


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ({"ulr": "/x"}, r"a request has no 'ulr'; it has: url, method.*Did you mean 'url'\?"),
        ({"header": {}}, r"Did you mean 'headers'\?"),
        ({1: 2}, "a request has no 1"),
        ({"json": {}, "data": "x"}, "json= or data=, not both"),
        (7, "a request must be a URL, a mapping .* got a int"),
        (["/a", "/b"], "got a list"),
        (b"/x", "got a bytes"),
        ({"url": 7}, "url must be a string, got a int"),
        ({"url": None}, "url must be a string, got a NoneType"),
        ({"url": "http://u:s3cret@h/"}, r"contains a user"),
        ({"url": "http://[::1"}, "is not a URL"),
        ({"url": "/a\ud800"}, "is not a URL"),
        ({"url": "ftp://h/"}, "must begin with http"),
        ({"url": "http://a b/"}, "its host is neither a name nor"),
        ({"method": "GET /"}, "method must be a method such as 'GET'"),
        ({"method": ""}, "method must be a method such as 'GET'"),
        ({"method": 7}, "method must be a method such as 'GET'"),
        ({"headers": None}, "headers must be a mapping of names to values, got a NoneType"),
        ({"headers": [("a", "b")]}, "headers must be a mapping"),
        ({"headers": {"X-A": "s3cret\r\nX-B: 1"}}, r"headers\['X-A'\] must be one line"),
        ({"headers": {"X-A": "s3cret\nX-B: 1"}}, r"headers\['X-A'\] must be one line"),
        ({"headers": {"X-A": "s3cret\x00"}}, r"must be one line of printable text"),
        ({"headers": {"X-A": "s3cret\ud800"}}, r"must be one line of printable text"),
        ({"headers": {"X-A\r\nX-B": "s3cret"}}, "is not a valid header name"),
        ({"headers": {"X A": "s3cret"}}, "'X A', which is not a valid header name"),
        ({"headers": {"X-A:": "s3cret"}}, "which is not a valid header name"),
        ({"headers": {"": "s3cret"}}, "which is not a valid header name"),
        ({"headers": {"Content-Length": "3"}}, "'Content-Length': leave it out, the body sets it"),
        ({"headers": {"transfer-Encoding": "chunked"}}, "leave it out, the body sets it"),
        ({"headers": {"X-A": 7}}, r"headers\['X-A'\] must be a string, got a int"),
        ({"idempotency_key": "s3cret\r\nX: 1"}, "idempotency_key must be one line"),
        ({"idempotency_key": 7}, "idempotency_key must be a string"),
        ({"params": "a=1"}, "params must be a mapping"),
        ({"params": {1: 2}}, "params must be a mapping"),
        ({"params": {"a": {"b": "s3cret"}}}, r"params\['a'\] must be text or a number, got a dict"),
        ({"params": {"a": [b"s3cret"]}}, r"params\['a'\] must be text or a number, got a bytes"),
        (
            {"params": {"a": "s3cret\ud800"}},
            r"params\['a'\] cannot be sent as UTF-8: surrogates not allowed",
        ),
        ({"data": 7}, "data must be text, bytes or a mapping for a form, got a int"),
        ({"data": io.BytesIO(b"s3cret")}, "data must be text, bytes or a mapping"),
        ({"data": {"a": object()}}, r"data\['a'\] must be text or a number, got a object"),
        ({"data": "s3cret\ud800"}, "data cannot be sent as UTF-8"),
        ({"json": {"a": object()}}, "cannot be written as JSON: Object of type object"),
        ({"json": float("nan")}, "cannot be written as JSON"),
        ({"json": "s3cret\ud800"}, "json cannot be sent as UTF-8"),
        ({"repeatable": "no"}, "repeatable must be True or False"),
    ],
)
async def test_what_is_no_request_is_an_error_at_once(item: Any, says: str) -> None:
    """It says what is wrong and what is expected, shows no secret, and is not retried."""
    async with serving(echo) as site:
        node = HTTPNode(site.url, method="POST", reads="item")
        report = RunReport()
        with pytest.raises(ValueError, match=f"(?s){says}") as caught:
            await node.run_async({"item": item}, observers=[report])
        assert site.connections == 0
    assert report.retries == 0
    assert "s3cret" not in f"{caught.value!r} {caught.value}"


def test_a_request_can_be_compared_copied_and_shown() -> None:
    """It is a value, and its ``repr`` is short and holds no secret."""
    request = Request(url="http://h/?token=s3cret&a=1", method="post", headers={"X": "s3cret"})
    assert request == copy.deepcopy(request) == pickle.loads(pickle.dumps(request))
    assert repr(request) == "<POST http://h/?token=***&a=1>"
    assert repr(Request(url="/x")) == "<GET /x>"
    assert not Request(method="PATCH").may_be_repeated
    assert Request(headers=CIMultiDict({"X-A": "1"})).headers == {"x-a": "1"}


# What comes back


async def test_a_result_has_five_fields() -> None:
    """``{data, status_code, success, headers, seconds}``."""

    async def slow(_: web.BaseRequest) -> web.Response:
        await asyncio.sleep(0.02)
        response = web.json_response({"a": 1}, status=201, headers={"X-Thing": "b"})
        response.headers.add("X-Thing", "c")
        return response

    result = await answered(slow)
    assert set(result) == {"data", "status_code", "success", "headers", "seconds"}
    assert (result["data"], result["status_code"], result["success"]) == ({"a": 1}, 201, True)
    assert result["headers"]["x-thing"] == "b, c"
    assert 0.02 <= result["seconds"] < 5
    assert type(result["headers"]) is dict


@pytest.mark.parametrize(
    ("body", "kind", "data"),
    [
        (b'{"a": 1}', "application/json", {"a": 1}),
        (b'{"a": 1}', "application/problem+json; charset=utf-8", {"a": 1}),
        (b'{"a": 1}', "text/json", {"a": 1}),
        (b'{"a": 1}', "Application/X-JSON", {"a": 1}),
        (b'{"a": 1}', "application/vnd.api+json;charset=UTF8", {"a": 1}),
        (b"null", "application/json", None),
        (b" \r\n", "application/json", None),
        ('["ü"]'.encode("latin-1"), "application/json; charset=iso-8859-1", ["ü"]),
        ('["ü"]'.encode("utf-16"), 'application/json; charset="utf-16"', ["ü"]),
        ('["ü"]'.encode(), "application/json; charset=iso-8859-1", ["ü"]),
        ("\ufeffüx".encode(), "text/csv", "üx"),
        ("\ufeffüx".encode(), "text/csv; charset=UTF-8", "üx"),
        (b"text", "text/plain; charset=idna", "text"),
        (b"text", "text/plain; charset=zlib", "text"),
        (b"text", "text/plain; charset=undefined", "text"),
        ("\ufeff[1]".encode(), "application/json", [1]),
        (b"", "application/json", None),
        ("tüxt".encode(), "text/plain", "tüxt"),
        ("tüxt".encode("latin-1"), "text/html; charset=iso-8859-1", "tüxt"),
        (b"t\xfcxt", "text/plain", "t\ufffdxt"),
        (b"text", "text/plain; charset=nonsense", "text"),
        (b"<a/>", "application/xml; charset=utf-8", "<a/>"),
        (b"\x00\xff", "image/png", b"\x00\xff"),
        (b"\x00\xff", "application/octet-stream", b"\x00\xff"),
        (b"", "text/plain", None),
    ],
)
async def test_the_type_of_an_answer_decides_what_its_data_are(
    body: bytes, kind: str, data: Any
) -> None:
    """JSON, text or bytes; None if there is none."""
    result = await answered(reply(body, headers={"Content-Type": kind}))
    assert result["data"] == data
    assert type(result["data"]) is type(data)


@pytest.mark.parametrize("status", [200, 201, 204, 206, 299, 304, 399, 400, 404, 410, 499])
@pytest.mark.parametrize("raises", [False, True])
async def test_a_status_below_400_is_a_success(status: int, raises: bool) -> None:
    """All others are results, too, or errors on request."""
    if status >= 400 and raises:
        with pytest.raises(HTTPStatusError, match=f"<GET http://.*> answered {status}") as caught:
            await answered(reply({"why": 1}, status), raise_for_status=True)
        assert caught.value.result["data"] == {"why": 1}
        assert (caught.value.status, caught.value.repeatable) == (status, False)
        return
    result = await answered(reply(b"", status), raise_for_status=raises)
    assert (result["status_code"], result["success"]) == (status, status < 400)


@pytest.mark.parametrize("kind", ["application/json", "text/html", "application/octet-stream"])
async def test_what_an_answer_without_success_says_is_text_where_it_is_no_json(kind: str) -> None:
    """Whatever a proxy in between calls it."""
    headers = {"Content-Type": kind}
    result = await answered(reply(b"<h1>Bad gateway</h1>", 502, headers), wait=0)
    assert result["data"] == "<h1>Bad gateway</h1>"


async def test_json_that_is_none_is_an_error() -> None:
    """A success with unreadable data is not a success."""
    with pytest.raises(HTTPError.__mro__[1], match="with JSON that cannot be read"):
        await answered(reply(b"<html>", headers={"Content-Type": "application/json"}))


def test_errors_can_be_sent_to_another_process() -> None:
    """With everything that they contain."""
    result: Any = {"data": 1, "status_code": 503, "success": False, "headers": {}, "seconds": 0.1}
    error = HTTPStatusError("text", result, True)
    for one in (error, HTTPTimeoutError("text", True), HTTPConnectionError("text"), HTTPError("a")):
        back = pickle.loads(pickle.dumps(one))
        assert (str(back), vars(back)) == (str(one), vars(one))
        assert repr(one) == f"{type(one).__name__}({str(one)!r})"


# Nodes in graphs and pipelines


async def test_keys_to_read_and_write_are_settings() -> None:
    """A missing key is an error that names the existing ones."""
    with pytest.raises(MissingInputError, match=r"Did you mean 'urls'\?"):
        await ParallelHTTPNode(reads="ulrs").run_async({"urls": []})


async def test_a_node_is_a_stage_of_a_pipeline() -> None:
    """It makes a request for each item, and its results move on, in order."""

    class Numbers(ParallelBatchNode[int, str]):
        def prep(self, _: Any) -> range:
            return range(20)

        async def exec(self, number: int) -> str:
            return f"/{number}"

    class Paths(ParallelBatchNode[Any, str]):
        async def exec(self, result: Any) -> str:
            return str(result["data"]["path"])

        def post(self, shared: Any, _: Any, report: Any) -> None:
            shared["paths"] = report.results

    async with serving(echo) as site:
        asking = ParallelHTTPNode(site.url, max_workers=4)
        shared: dict[str, Any] = {}
        with capture_events() as events:
            await (Numbers() | asking | Paths()).run_async(shared)
    assert shared["paths"] == [f"/{number}" for number in range(20)]
    assert site.most <= 4
    assert_accounted(events)


async def test_a_node_is_the_first_and_the_last_stage_of_a_pipeline() -> None:
    """It reads its items and writes its results by the given keys."""
    async with serving(echo) as site:
        first = ParallelHTTPNode(site.url, reads="urls")

        class Next(ParallelBatchNode[Any, Any]):
            async def exec(self, result: Any) -> Any:
                return {"url": result["data"]["path"] + "x"}

        last = ParallelHTTPNode(site.url, writes="found")
        shared: dict[str, Any] = {"urls": ["/a", "/b"]}
        await (first | Next() | last).run_async(shared)
    assert [result["data"]["path"] for result in shared["found"]] == ["/ax", "/bx"]


async def test_a_failed_item_does_not_stop_the_others_on_request() -> None:
    """Each is an outcome in its place."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return await reply(None, 404 if request.path == "/2" else 200)(request)

    async with serving(answer) as site:
        node = ParallelHTTPNode(
            site.url, reads="urls", writes="found", raise_for_status=True, on_error="collect"
        )
        shared: dict[str, Any] = {"urls": [f"/{number}" for number in range(5)]}
        await node.run_async(shared)
    assert [getattr(one, "status", "ok") for one in shared["found"]] == [
        "ok", "ok", "failed", "ok", "ok",
    ]  # fmt: skip
    assert isinstance(shared["found"][2].error, HTTPStatusError)


@pytest.mark.parametrize("workers", [1, 3, 10])
async def test_no_more_run_at_once_than_are_allowed(workers: int) -> None:
    """Seen from the server; and as many as are allowed do."""
    full = asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if site.running == workers:
            full.set()
        await full.wait()
        await asyncio.sleep(0)
        return await echo(request)

    async with serving(answer) as site:
        node = ParallelHTTPNode(site.url, reads="items", max_workers=workers)
        async with asyncio.timeout(10):
            await node.run_async({"items": [None] * 30})
    assert site.most == workers


async def test_more_than_a_hundred_run_at_once() -> None:
    """No limit of the underlying library gets in the way."""
    full = asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if site.running == 250:
            full.set()
        await full.wait()
        return await echo(request)

    async with serving(answer) as site:
        node = ParallelHTTPNode(site.url, reads="items", max_workers=250, connect_timeout=None)
        async with asyncio.timeout(30):
            await node.run_async({"items": [None] * 250})
    assert site.most == 250


async def test_a_rate_is_kept_also_by_attempts() -> None:
    """Each request counts, as the server sees it."""
    now = asyncio.get_running_loop().time
    times: list[float] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        times.append(now())
        return await reply(None, 503 if len(times) % 2 else 200)(request)

    async with serving(answer) as site:
        node = ParallelHTTPNode(
            site.url, reads="items", wait=0, max_workers=1, rate=RateLimit(1, per=0.1)
        )
        begun = now()
        await node.run_async({"items": [None] * 3})
    assert len(times) == 6
    assert all(at >= begun + 0.1 * number for number, at in enumerate(times))


async def test_requests_that_are_to_come_later_do_not_hold_up_the_others() -> None:
    """Two answers of 429 with a Retry-After of a minute, for a node of two workers."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        busy = request.path in ("/0", "/1")
        headers = {"Retry-After": "60"} if busy else {}
        return web.json_response({}, status=429 if busy else 200, headers=headers)

    done: list[Any] = []
    async with serving(answer) as site:
        node = ParallelHTTPNode(site.url, reads="urls", max_workers=2)
        outcomes = node.stream({"urls": [str(number) for number in range(12)]})
        async for outcome in outcomes:
            done.append(outcome.item)
            if len(done) == 10:
                break
        await outcomes.aclose()
    assert sorted(done, key=int) == [str(number) for number in range(2, 12)]


async def test_a_breaker_leaves_a_server_alone_that_fails() -> None:
    """Answers of 500 are failures to it, though they are results to the graph."""
    async with serving(reply(None, 500)) as site:
        node = HTTPNode(
            site.url, max_retries=1, breaker=CircuitBreaker(3), writes="result"
        )  # fmt: skip
        shared: dict[str, Any] = {}
        for _ in range(3):
            await node.run_async(shared)
            assert shared["result"]["status_code"] == 500
        with pytest.raises(CircuitOpenError):
            await node.run_async(shared)
    assert len(site.asked) == 3


async def test_a_timeout_of_the_node_ends_an_attempt() -> None:
    """It is that of every node, and leaves nothing open."""

    async def hang(_: web.BaseRequest) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(hang) as site:
        with pytest.raises(AttemptTimeoutError):
            await HTTPNode(site.url, timeout=0.2, max_retries=1).run_async({})
        await site.left_alone()
        with pytest.raises(AttemptTimeoutError):
            await HTTPNode(site.url, deadline=0.2).run_async({})
        await site.left_alone()


async def test_a_node_leads_on_in_a_graph() -> None:
    """``post`` of a subclass decides by the result."""
    async with serving(in_turn(reply(None, 404), echo)) as site:

        class Look(HTTPNode):
            def post(self, shared: Any, prep_res: Any, result: Any, /) -> str:
                return "found" if result["success"] else "missing"

        look, again = Look(site.url), HTTPNode(site.url, writes="result", name="Again")
        _ = look - "missing" >> again
        shared: dict[str, Any] = {}
        await Graph(look).run_async(shared)
    assert shared["result"]["success"]


# Settings


async def test_settings_may_be_class_attributes() -> None:
    """A constructor's stand above them."""

    class Post(HTTPNode):
        method = "post"
        headers = {"X-A": "class"}  # noqa: RUF012
        params = {"p": 1}  # noqa: RUF012
        auth = Bearer("t0k")
        writes = "result"
        reads = "body"

        def prep(self, shared: Any, /) -> Any:
            return {"json": super().prep(shared)}

    async with serving(echo) as site:
        shared: dict[str, Any] = {"body": [1]}
        await Post(site.url).run_async(shared)
        got = shared["result"]["data"]
        assert (got["method"], got["body"], got["query"]) == ("POST", "[1]", [["p", "1"]])
        assert (got["headers"]["x-a"], got["headers"]["authorization"]) == ("class", "Bearer t0k")
        await Post(site.url, method="PUT", headers={"x-a": "own"}).run_async(shared)
        assert shared["result"]["data"]["method"] == "PUT"
        assert shared["result"]["data"]["headers"]["x-a"] == "own"


@pytest.mark.parametrize("how", ["keyword", "class", "attribute"])
async def test_params_that_are_read_are_those_of_the_round(how: str) -> None:
    """As on every node; those that are set go into the query, however they are set."""

    class User(HTTPNode):
        def prep(self, shared: Any, /) -> Any:
            return f"users/{self.params['id']}"

    class Old(User):
        params = {"v": 1}  # noqa: RUF012

    class Rounds(BatchGraph):
        def prep(self, shared: Any, /) -> Any:
            return [{"id": id} for id in (7, 8)]

    async with serving(echo) as site:
        node = Old(site.url) if how == "class" else User(site.url)
        if how == "keyword":
            node = User(site.url, params={"v": 1})
        if how == "attribute":
            node.params = {"v": 1}
        assert node.params == {}
        await Rounds(node).run_async({})
    assert sorted(request.raw_path for request in site.asked) == ["/users/7?v=1", "/users/8?v=1"]


async def test_the_path_of_an_api_is_filled_from_the_round() -> None:
    """Each round asks for its own."""

    class User(RESTNode):
        def prep(self, shared: Any, /) -> Any:
            return self.params["id"]

        def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
            shared[self.params["id"]] = exec_res["data"]["path"]

    class Rounds(BatchGraph):
        def prep(self, shared: Any, /) -> Any:
            return [{"id": id} for id in (7, 8)]

    async with serving(echo) as site:
        node = User(site.url, "users/{id}")
        await Rounds(node, max_workers=2).run_async(shared := {})
    assert shared == {7: "/users/7", 8: "/users/8"}


async def test_a_subclass_may_make_its_requests_itself() -> None:
    """``prep`` returns one, or for a batch yields them as they are needed."""
    async with serving(echo) as site:

        class Pages(ParallelHTTPNode):
            url = site.url
            writes = "found"

            async def prep(self, shared: Any, /) -> Any:
                for number in range(3):
                    yield {"params": {"page": number}}

        shared: dict[str, Any] = {}
        await Pages().run_async(shared)
    assert [one["data"]["query"] for one in shared["found"]] == [
        [["page", str(number)]] for number in range(3)
    ]


SETTINGS: Mapping[str, tuple[Any, str]] = {
    "url": ("ftp://host/", "must begin with http"),
    "method": ("GET /", "method must be a method such as 'GET'"),
    "headers": ({"X-A": "s3cret\r\nX-B: 1"}, r"headers\['X-A'\] must be one line"),
    "params": (7, "params must be a mapping of names to values, got a int"),
    "allow_private": ("yes", "allow_private must be True or False"),
    "connect_timeout": (0, "connect_timeout must be more than 0 seconds"),
    "read_timeout": (-1, "read_timeout must be a number of seconds"),
    "total_timeout": ("1", "total_timeout must be a number of seconds"),
    "max_bytes": (0, "max_bytes must be at least 1"),
    "max_depth": (0, "max_depth must be at least 1"),
    "max_redirects": (-1, "max_redirects must be at least"),
    "ssl_context": (False, "ssl_context must be an ssl.SSLContext"),
    "raise_for_status": (1, "raise_for_status must be True or False"),
    "max_retries": (0, "max_retries must be at least 1"),
    "wait": (-1, "wait must be a number of seconds"),
    "retry": (3, "retry must be a Retry"),
    "run_in": ("thread", "run_in must be 'loop': what this node holds open"),
    "reads": (7, "reads must be a key of the shared store"),
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("kind", [HTTPNode, ParallelHTTPNode])
def test_a_setting_that_cannot_be_is_refused_at_once(kind: Any, name: str) -> None:
    """In the constructor, as an attribute and in a class; secrets are not shown."""
    value, says = SETTINGS[name]
    with pytest.raises(ValueError, match=says) as caught:
        kind(**{name: value})
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ValueError, match=says):
        setattr(kind(), name, value)
    with pytest.raises(ValueError, match=says):
        type("Wrong", (kind,), {name: value})


@pytest.mark.parametrize(
    ("name", "hint"),
    [("header", "headers"), ("retries", "max_retries"), ("total_timeuot", "total_timeout")],
)
@pytest.mark.parametrize("kind", [HTTPNode, ParallelHTTPNode])
def test_an_unknown_setting_is_refused_with_a_hint(kind: Any, name: str, hint: str) -> None:
    """The error comes where it is written."""
    with pytest.raises(TypeError, match=f"unknown setting '{name}'.*Did you mean '{hint}'"):
        kind("http://h/", **{name: 1})


def test_limits_may_be_taken_away() -> None:
    """None means no limit, where that is allowed."""
    node = HTTPNode(
        connect_timeout=None, read_timeout=None, total_timeout=None, max_bytes=None, max_redirects=0
    )
    assert node.client_settings.max_bytes is None


def test_limits_are_finite_by_default() -> None:
    """Of all that comes from outside."""
    settings = HTTPNode().client_settings
    assert (settings.connect_timeout, settings.read_timeout, settings.total_timeout) == (10, 30, 60)
    assert (settings.max_bytes, settings.max_depth, settings.max_redirects) == (16 << 20, 100, 5)
    assert not settings.allow_private


def test_the_repr_of_a_node_is_its_name() -> None:
    """It shows no setting, and so no secret."""
    node = HTTPNode("http://h/?token=s3cret", name="Ask", headers={"X": "s3cret"})
    assert repr(node) == "<HTTPNode 'Ask'>"


async def test_the_data_alone_are_the_result_where_that_is_asked_for() -> None:
    """result="data" leaves out the rest, and a status from 400 is an error."""

    async def answer(request: web.Request) -> web.Response:
        status = int(request.query["status"])
        return web.json_response({"status": status}, status=status)

    async with serving(answer) as site:
        node = HTTPNode(site.url, reads="params", writes="found", result="data")
        await node.run_async(shared := {"params": {"params": {"status": 200}}})
        assert shared["found"] == {"status": 200}
        with pytest.raises(HTTPStatusError, match="answered 404"):
            await node.run_async({"params": {"params": {"status": 404}}})
    with pytest.raises(ValueError, match="result must be one of 'answer', 'data'"):
        HTTPNode(site.url, result="date")  # type: ignore[arg-type]


async def test_the_address_may_be_known_to_the_run_alone() -> None:
    """url_of reads it from the store; it is trusted as the one of the constructor, with auth."""

    class Ask(HTTPNode):
        auth = Bearer("t0k")

        def url_of(self, shared: Any, /) -> str:
            return str(shared["service"])

    async with serving(echo) as site:
        await Ask(reads="path", writes="answer").run_async(
            shared := {"service": site.url, "path": "where"}
        )
    assert shared["answer"]["status_code"] == 200
    assert site.asked[0].headers["Authorization"] == "Bearer t0k"


def test_max_retries_leaves_the_rest_of_the_classes_retry() -> None:
    """It says how often, and nothing of when and what."""

    class Ask(HTTPNode):
        retry = Retry(attempts=5, wait=7.0, on=KeyError)

    node = Ask(max_retries=2)
    assert node.retry is not None
    assert (node.retry.attempts, node.retry.wait, node.retry.on) == (2, 7.0, KeyError)
