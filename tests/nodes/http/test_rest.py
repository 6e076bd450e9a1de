"""RESTNode: a path with places to fill, and JSON both ways; against a real server."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from kaygraph import RunReport
from kaygraph.nodes import (
    APIKey,
    HTTPBodyError,
    HTTPConnectionError,
    HTTPRequestError,
    HTTPStatusError,
    Request,
    RESTNode,
)
from tests.servers import echo, in_turn, reply, saying, serving, speaking

pytestmark = pytest.mark.anyio


async def asked(item: Any, path: str = "", base: str = "api", **options: Any) -> Any:
    """Return what a server sees of a call."""
    async with serving(echo) as site:
        shared: dict[str, Any] = {"item": item}
        node = RESTNode(site.url + base, path, reads="item", writes="result", **options)
        await node.run_async(shared)
        return shared["result"]["data"]


@pytest.mark.parametrize(
    ("base", "path", "item", "seen"),
    [
        ("api", "users/{id}", {"id": 7}, "/api/users/7"),
        ("api/", "/users/{id}", {"id": "seven"}, "/api/users/seven"),
        ("api", "users/{id}", 7, "/api/users/7"),
        ("api", "users/{id}", "a/b?c#d%2F ü", "/api/users/a%2Fb%3Fc%23d%252F%20%C3%BC"),
        ("api", "{a}/{b}", {"a": 1, "b": 2.5}, "/api/1/2.5"),
        ("api", "{a}/x/{a}", 3, "/api/3/x/3"),
        ("api", "users", None, "/api/users"),
        ("api", "users/", None, "/api/users/"),
        ("api", "", None, "/api"),
        ("", "", None, "/"),
        ("", "users", {}, "/users"),
        ("api", "search?q={q}", "a&b=c", "/api/search?q=a%26b%3Dc"),
    ],
)
async def test_the_places_of_a_path_are_filled(base: str, path: str, item: Any, seen: str) -> None:
    """From a mapping, or from one value where there is one place; quoted."""
    async with serving(echo) as site:
        await RESTNode(site.url + base, path, reads="item").run_async({"item": item})
    assert site.asked[0].raw_path == seen


@given(st.text(min_size=1, max_size=20))
@settings(max_examples=300)
def test_a_value_is_one_segment_and_never_more(value: str) -> None:
    """Whatever it contains, it neither ends the path nor leaves it; or it is refused."""
    node = RESTNode("http://host/api/", "users/{id}/posts")
    try:
        request = node.request({"id": value})
    except HTTPRequestError:
        assert value in (".", "..")
        return
    url = URL(request.url)
    assert url.raw_path.startswith("/api/users/")
    assert url.raw_path.endswith("/posts")
    assert url.raw_path.count("/") == 4
    assert (url.host, url.raw_query_string, url.raw_fragment) == ("host", "", "")
    assert url.parts[3] == value.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_what_is_left_over_is_the_body(method: str) -> None:
    """The values in the path are not in it; if nothing is left over there is none."""
    got = await asked({"id": 7, "name": "x"}, "users/{id}", method=method)
    assert (got["path"], got["body"], got["query"]) == ("/api/users/7", '{"name": "x"}', [])
    assert got["headers"]["content-type"] == "application/json"
    got = await asked({"id": 7}, "users/{id}", method=method)
    assert got["body"] == ""
    got = await asked({}, "users", method=method)
    assert got["body"] == "{}"


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
async def test_what_is_left_over_is_the_query_where_there_is_no_body(method: str) -> None:
    """Besides the params of the node."""
    got = await asked(
        {"id": 7, "page": 2, "tag": ["a", "b"]}, "users/{id}", method=method, params={"size": 9}
    )
    assert (got["path"], got["body"]) == ("/api/users/7", "")
    assert got["query"] == [["size", "9"], ["page", "2"], ["tag", "a"], ["tag", "b"]]


async def test_a_request_is_taken_as_it_is() -> None:
    """With all fields of a Request; its URL is relative to the node's."""
    request = Request(url="/other", method="PUT", json=[1], idempotency_key="k")
    got = await asked(request, "users/{id}")
    assert (got["path"], got["method"], got["body"]) == ("/other", "PUT", "[1]")
    assert got["headers"]["idempotency-key"] == "k"


@pytest.mark.parametrize(
    ("path", "item", "says"),
    [
        ("users/{id}", {}, "needs 'id' for its path 'users/{id}'; there are nothing"),
        ("users/{id}", {"uid": 1}, "needs 'id' for its path 'users/{id}'; there are 'uid'"),
        ("{a}/{b}", 7, "takes a mapping with 'a', 'b', got a int"),
        ("{a}/{b}", None, "needs 'a', 'b'"),
        ("users", 7, "takes a mapping with nothing, got a int"),
        ("users/{id}", {"id": None}, "'id' must be text or a number, got a NoneType"),
        ("users/{id}", {"id": True}, "'id' must be text or a number, got a bool"),
        ("users/{id}", {"id": ["s3cret"]}, "'id' must be text or a number, got a list"),
        ("users/{id}", {"id": ""}, "'id' must be valid in a path, got ''"),
        ("users/{id}", {"id": ".."}, r"must be valid in a path, got '\.\.'"),
        ("users/{id}", ".", r"must be valid in a path, got '\.'"),
    ],
)
async def test_what_does_not_fit_the_path_is_an_error_at_once(
    path: str, item: Any, says: str
) -> None:
    """It says what is missing, and nothing is sent."""
    async with serving(echo) as site:
        report = RunReport()
        with pytest.raises(HTTPRequestError, match=says) as caught:
            await RESTNode(site.url, path, reads="item").run_async(
                {"item": item}, observers=[report]
            )
        assert site.connections == 0
    assert report.retries == 0
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("users/{}", "names in braces"),
        ("users/{0}", "names in braces"),
        ("users/{a.__class__}", "names in braces"),
        ("users/{a[0]}", "names in braces"),
        ("users/{a!r}", "names in braces"),
        ("users/{a:05d}", "names in braces"),
        ("users/{id", "path is 'users/{id'"),
        ("users/id}", "path is 'users/id}'"),
        (7, "path must be a string"),
    ],
)
def test_a_path_that_cannot_be_filled_is_refused_at_once(path: Any, says: str) -> None:
    """Where it is written: in the constructor or in a class."""
    with pytest.raises(ValueError, match=says):
        RESTNode("http://h/", path)
    with pytest.raises(ValueError, match=says):
        type("Wrong", (RESTNode,), {"path": path})


@pytest.mark.parametrize("url", ["http://h/api?a=1", "http://h/api#part", "h/api", ""])
def test_an_api_that_no_path_can_be_added_to_is_refused(url: str) -> None:
    """Its query would swallow the path."""
    with pytest.raises(HTTPRequestError, match=r"params=|must begin with http"):
        RESTNode(url)


async def test_a_node_without_an_api_says_what_it_needs() -> None:
    """A subclass may give it."""
    with pytest.raises(HTTPRequestError, match="'RESTNode' needs a url, as in"):
        await RESTNode(path="users").run_async({})


async def test_settings_may_be_class_attributes() -> None:
    """A class is an endpoint."""
    async with serving(echo) as site:

        class User(RESTNode):
            url = f"{site.url}api"
            path = "users/{id}"
            auth = APIKey("k1")
            reads = "id"
            writes = "user"

        shared: dict[str, Any] = {"id": 7}
        await User().run_async(shared)
    got = shared["user"]["data"]
    assert (got["path"], got["headers"]["x-api-key"]) == ("/api/users/7", "k1")


@pytest.mark.parametrize("kind", ["text/html", "text/plain; charset=utf-8", "image/png", "x"])
@pytest.mark.parametrize("data", [{"a": "ü"}, [1]])
async def test_json_that_does_not_say_so_is_json(kind: str, data: Any) -> None:
    """Many servers send it as a page for people."""
    body = json.dumps(data, ensure_ascii=False).encode()
    async with serving(reply(b"\xef\xbb\xbf" + body, headers={"Content-Type": kind})) as site:
        await RESTNode(site.url, writes="got", result="data").run_async(shared := {})
        assert shared == {"got": data}


@pytest.mark.parametrize("body", [b"ok", b"12", b'"text"', b"{", b"[1", b"null"])
async def test_text_that_is_no_object_is_no_json(body: bytes) -> None:
    """A word that could be JSON is not parsed unless it is declared so."""
    async with serving(reply(body, headers={"Content-Type": "text/plain"})) as site:
        with pytest.raises(HTTPBodyError, match="answered text/plain, not JSON"):
            await RESTNode(site.url).run_async({})


@pytest.mark.parametrize("kind", ["text/html", "application/octet-stream", "application/xml"])
async def test_a_success_that_is_no_json_is_an_error(kind: str) -> None:
    """It is a page for people, or another address; it is not tried again."""
    async with serving(reply(b"<html>", headers={"Content-Type": kind})) as site:
        with pytest.raises(HTTPBodyError, match=rf"answered {kind}, not JSON: is 'http.*' the add"):
            await RESTNode(site.url).run_async({})
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    ("body", "status", "kind", "data"),
    [
        (b"", 204, "text/html", None),
        (b"", 200, "text/html", None),
        (b"[1]", 200, "application/vnd.api+json", [1]),
        (b"null", 200, "application/json", None),
        (b"<h1>no</h1>", 404, "text/html", "<h1>no</h1>"),
        (b"<h1>no</h1>", 503, "text/html", "<h1>no</h1>"),
    ],
)
async def test_what_is_empty_or_no_success_need_not_be_json(
    body: bytes, status: int, kind: str, data: Any
) -> None:
    """It is a result."""
    async with serving(reply(body, status, {"Content-Type": kind})) as site:
        shared: dict[str, Any] = {}
        await RESTNode(site.url, writes="result", wait=0).run_async(shared)
    assert (shared["result"]["data"], shared["result"]["status_code"]) == (data, status)


async def test_faults_are_those_of_every_node_over_http() -> None:
    """Retries, errors and status are the same."""
    async with serving(in_turn(reply(None, 500), echo)) as site:
        await RESTNode(site.url, wait=0).run_async({})
        assert len(site.asked) == 2
        site.answer = reply(None, 404)
        with pytest.raises(HTTPStatusError, match="answered 404"):
            await RESTNode(site.url, raise_for_status=True).run_async({})
    async with speaking(saying(then="reset")) as raw:
        with pytest.raises(HTTPConnectionError):
            await RESTNode(raw.url, method="POST", wait=0).run_async({})
    assert len(raw.asked) == 1


def test_an_unknown_setting_is_refused_with_a_hint() -> None:
    """The error comes where it is written."""
    with pytest.raises(TypeError, match=r"unknown setting 'paht'.*Did you mean 'path'"):
        RESTNode("http://h/", paht="users")  # type: ignore[call-arg]
