"""URLs are sent as they were given, wherever they come from."""

from typing import Any

import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

from kaygraph.nodes import (
    SMS,
    APIKey,
    ChatNode,
    ClientCredentials,
    Cursor,
    HTTPConnectionError,
    HTTPLines,
    HTTPNode,
    HTTPPages,
    HTTPRequestError,
    HTTPStatusError,
    ParallelHTTPNode,
    RESTNode,
    Webhook,
)
from kaygraph.nodes.http._addresses import _checked, joined, parsed
from kaygraph.nodes.http._urls import (
    as_given,
    as_safe,
    from_header,
    resolved,
    shown,
    with_query,
    without,
)
from tests.servers import echo, free_port, in_turn, redirect, reply, saying, serving, speaking

pytestmark = pytest.mark.anyio

SIGNED = "/a%2Fb/%7Ec+d;v=1:2?t=application%2Fgzip&k=%7E%21&plus=a+b%2bc&X-Sig=a%2Fb%3D%3d&e&f="


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_what_is_encoded_is_sent_byte_for_byte() -> None:
    """From a node's setting, from data, relative to the node's address or not, in a batch."""
    async with serving(echo) as site:
        base = site.url.rstrip("/")
        shared: dict[str, Any] = {"item": SIGNED, "all": [SIGNED, base + SIGNED]}
        await HTTPNode(base + SIGNED).run_async({})
        await HTTPNode(site.url, reads="item").run_async(shared)
        await HTTPNode(reads="item", allow_private=True).run_async({"item": base + SIGNED})
        await HTTPNode(reads="item", allow_private=True).run_async({"item": {"url": base + SIGNED}})
        await ParallelHTTPNode(site.url, reads="all").run_async(shared)
        await HTTPLines(base + SIGNED, on_error="skip").run_async({})
    assert [request.raw_path for request in site.asked] == [SIGNED] * 7


async def test_a_redirect_is_followed_byte_for_byte() -> None:
    """Whether its Location is whole or not."""
    for whole in (False, True):
        async with serving(echo) as there:
            location = there.url.rstrip("/") + SIGNED if whole else SIGNED
            async with serving(in_turn(redirect(location), echo)) as site:
                await HTTPNode(site.url, allow_private=True).run_async({})
            assert [*site.asked[1:], *there.asked][0].raw_path == SIGNED


@pytest.mark.parametrize("in_body", [False, True])
async def test_a_next_page_is_asked_for_byte_for_byte(in_body: bool) -> None:
    """Whether a header names it or the body does."""

    async def page(request: web.BaseRequest) -> web.Response:
        link = SIGNED if request.path == "/" else ""
        headers = {"Link": f'<{link}>; rel="next"'} if link and not in_body else {}
        return web.json_response({"items": [1], "next": link}, headers=headers)

    pagination = Cursor("next", param=None) if in_body else None
    async with serving(page) as site:
        await HTTPPages(site.url, pagination, items="items").run_async({})
    assert [request.raw_path for request in site.asked] == ["/", SIGNED]


async def test_params_are_added_to_a_query_that_stays_as_it_is() -> None:
    """Those of the node and of a request; a repeated key is in the query once."""
    async with serving(echo) as site:
        url = site.url.rstrip("/") + SIGNED
        await HTTPNode(url, params={"a": "x/y z+"}).run_async({})
        await HTTPNode(url + "&%6Bey=old", auth=APIKey("k+1", param="key")).run_async({})
    assert site.asked[0].raw_path == SIGNED + "&a=x/y+z%2B"
    assert site.asked[1].raw_path == SIGNED + "&key=k%2B1"


async def test_the_base_of_an_api_stays_as_it_is() -> None:
    """And a value in a path is encoded whole."""
    async with serving(echo) as site:
        await RESTNode(site.url + "a%2Fb/~c", "users/{id}", reads="id").run_async({"id": "x/~%y"})
    assert site.asked[0].raw_path == "/a%2Fb/~c/users/x%2F~%25y"


async def test_every_node_that_asks_sends_its_address_as_it_is() -> None:
    """Webhooks, language models, text messages, and where tokens come from."""
    token = {"access_token": "t", "token_type": "bearer"}
    async with serving(reply(token)) as site:
        url = site.url.rstrip("/")
        auth = ClientCredentials(url + "/t%2Fk?v=%7E", "me", "s3cret")
        await HTTPNode(site.url + "x?y=%2F", auth=auth).run_async({})
        await Webhook(url + SIGNED, reads="text").run_async({"text": "Hello"})
        sms = SMS("AC1", "t", "+4790000000", to="+4790000001", url=url + "/a%2Fb", reads="text")
        await sms.run_async({"text": "Hello"})
    assert [request.raw_path for request in site.asked] == [
        "/t%2Fk?v=%7E", "/x?y=%2F", SIGNED, "/a%2Fb/2010-04-01/Accounts/AC1/Messages.json",
    ]  # fmt: skip
    async with serving(reply({"choices": [{"message": {"content": "ok"}}]})) as site:
        model = ChatNode(site.url + "a%2Fb?api-version=%7E1", "tiny", reads="text")
        await model.run_async({"text": "Hello"})
    assert site.asked[0].raw_path == "/a%2Fb/chat/completions?api-version=%7E1"


async def test_a_secret_address_is_hidden_however_it_is_encoded() -> None:
    """No error of a webhook shows its path or its query, also where the server repeats it."""
    path = "/hooks/T0p%2DSecret%2Fkey?sig=aBcDe%7Efgh&x=s3cret%5Fvalue"

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(text=f"no hook at {request.raw_path}", status=400)

    async with serving(answer) as site:
        with pytest.raises(HTTPStatusError, match="no hook at") as caught:
            await Webhook(site.url.rstrip("/") + path, reads="text").run_async({"text": "Hello"})
    for secret in ("Secret", "aBcDe", "s3cret", "%2Fkey"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("http://host", "http://host/"),
        ("HTTP://HOST/X", "http://host/X"),
        ("http://host/a b?c d", "http://host/a%20b?c%20d"),
        ("http://host/ü?ä=€", "http://host/%C3%BC?%C3%A4=%E2%82%AC"),
        ("http://bücher.example/ü", "http://xn--bcher-kva.example/%C3%BC"),
        ("http://host/100%?q=50%&r=%zz", "http://host/100%25?q=50%25&r=%25zz"),
        ("http://host/%a/%2?%f&%", "http://host/%25a/%252?%25f&%25"),
        ("http://host/%e2%82%ac%2f", "http://host/%e2%82%ac%2f"),
        ("http://host/?f[a]={b}|c\\d^`\"<>", "http://host/?f%5Ba%5D=%7Bb%7D%7Cc%5Cd%5E%60%22%3C%3E"),
        ("http://host/a'(b)*!$,;=:@~?/?'(b)*!$,;=:@~", "http://host/a'(b)*!$,;=:@~?/?'(b)*!$,;=:@~"),
        ("http://host/a//b/./c/../d", "http://host/a//b/d"),
        ("http://host/../..", "http://host/"),
        ("http://host/x#part?no", "http://host/x"),
        (" http://host/a\n", "http://host/a"),
        ("http://host:80/?", "http://host/"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_as_it_is_is_encoded(text: str, sent: str) -> None:
    """Nothing else changes."""
    assert str(as_given(text)) == sent
    assert str(as_given(sent)) == sent


# RFC 3986, 5.4; a fragment is not sent.
REFERENCES = {
    "g": "/b/c/g", "./g": "/b/c/g", "g/": "/b/c/g/", "/g": "/g", "?y": "/b/c/d;p?y",
    "g?y": "/b/c/g?y", "#s": "/b/c/d;p?q", "g#s": "/b/c/g", ";x": "/b/c/;x", "": "/b/c/d;p?q",
    ".": "/b/c/", "./": "/b/c/", "..": "/b/", "../": "/b/", "../g": "/b/g", "../..": "/",
    "../../g": "/g", "../../../g": "/g", "/./g": "/g", "/../g": "/g", "g.": "/b/c/g.",
    ".g": "/b/c/.g", "./../g": "/b/g", "./g/.": "/b/c/g/", "g/./h": "/b/c/g/h",
    "g/../h": "/b/c/h", "g;x=1/./y": "/b/c/g;x=1/y", "g?y/./x": "/b/c/g?y/./x",
    "g?y/../x": "/b/c/g?y/../x", "http:g": "/b/c/g", "//g/ä": "//g/%C3%A4", "http://g": "//g/",
    "%2e%2E/%2f": "/b/c/%2e%2E/%2f", "x y": "/b/c/x%20y",
}  # fmt: skip


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_reference_is_resolved(reference: str) -> None:
    """As RFC 3986 says, and with its encoding."""
    there = REFERENCES[reference]
    expected = f"http:{there}" if there.startswith("//") else f"http://a{there}"
    assert str(resolved(as_given("http://a/b/c/d;p?q"), reference)) == expected


ORIGINS = st.sampled_from(
    ["http://host", "https://HOST.example:443", "http://127.0.0.1:8080", "http://127.1", "",
     "http://host:", "http://host:99999", "http://a..b", "http://-", "http://host:80", "//other",
     "ftp://host", "http://h@host"]
)  # fmt: skip
PLACES = st.lists(
    st.sampled_from(["/", "a", "b.c", ".", "..", "%2F", "%", "é", " ", "?", "#", ":"])
)


@given(ORIGINS, PLACES)
@example("http://host", ["/", "?"])
@example("", ["/", "a", "/", "b.c", "?", "a", "/", ".", ".", "/", "%2F"])
def test_a_url_is_the_same_whether_it_has_to_be_looked_at_closely_or_not(
    origin: str, places: list[str]
) -> None:
    """In every part of it, alone and from a base; invalid ones are refused alike."""
    text, base = origin + "".join(places), as_given("http://host:8080/a/b?c")
    for fast, slow in (
        (lambda: parsed(text), lambda: _checked(as_given(text), text)),
        (lambda: joined(base, text), lambda: _checked(resolved(base, text), text)),
    ):
        try:
            expected = slow()
        except ValueError:
            with pytest.raises(HTTPRequestError):
                fast()
            continue
        found = fast()
        assert (str(found), found) == (str(expected), expected)
        for part in ("scheme", "raw_authority", "host", "port", "raw_path", "raw_query_string"):
            assert getattr(found, part) == getattr(expected, part)


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"])))
def test_a_url_that_was_encoded_stays(text: str) -> None:
    """What was sent once is sent the same again, and its host is the same."""
    try:
        url = as_given(f"https://host/{text}")
    except ValueError:
        return
    assert str(as_given(str(url))) == str(url)
    assert (url.host, url.scheme) == ("host", "https")


@pytest.mark.parametrize(
    ("base", "url", "asked"),
    [
        ("https://h/a", "http://h/b?c=%2F", "https://h/b?c=%2F"),
        ("https://h/a", "https://h/b", "https://h/b"),
        ("https://h/a", "http://other/b", "http://other/b"),
        ("https://h/a", "http://h:8080/b", "http://h:8080/b"),
        ("https://h:8443/a", "http://h/b", "http://h/b"),
        ("http://h/a", "http://h/b", "http://h/b"),
        ("http://h/a", "https://h/b", "https://h/b"),
    ],
)  # fmt: skip
def test_a_next_page_of_the_same_host_stays_with_https(base: str, url: str, asked: str) -> None:
    """Servers behind a proxy do not know that they were asked over it."""
    assert str(as_safe(as_given(base), as_given(url))) == asked


def test_the_names_of_a_query_can_be_taken_out() -> None:
    """However they are encoded; all else stays as it is, relative or not."""
    assert without("/a?b=%7e&p%61ge=2&c#f", {"page"}) == "/a?b=%7e&c#f"
    assert without("?page=1", {"page"}) == ""
    assert str(with_query(as_given("http://h/?a=%7E&b"), [], {"b"})) == "http://h/?a=%7E"


async def test_bytes_of_a_header_that_are_no_text_are_sent_as_they_came() -> None:
    """Old servers write Latin-1 into a Location."""
    head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\n"
    async with speaking(saying(head + b"Location: /caf\xe9?a=%2F\r\n\r\n")) as site:
        with pytest.raises(HTTPRequestError, match=r"/caf%E9\?a="):
            await HTTPNode(site.url, max_redirects=1).run_async({})
    assert site.asked[1].split()[1] == b"/caf%E9?a=%2F"
    assert from_header("/ü\udce9") == "/ü%E9"


@pytest.mark.parametrize("name", ["api_key", "api%5Fkey", "%61pi_key"])
async def test_a_secret_in_a_url_is_hidden_however_its_name_is_encoded(name: str) -> None:
    """In errors of every kind."""
    path = f"?{name}=s3cret"
    async with serving(reply(b"", 404)) as site:
        with pytest.raises(HTTPStatusError) as caught:
            await HTTPNode(site.url + path, raise_for_status=True).run_async({})
    assert "s3cret" not in str(caught.value)
    url = f"http://127.0.0.1:{await free_port()}/{path}"
    with pytest.raises(HTTPConnectionError) as lost:
        await HTTPNode(url, max_retries=1).run_async({})
    assert "s3cret" not in str(lost.value)
    with pytest.raises(HTTPRequestError) as refused:
        HTTPNode("ftp://host/" + path)
    assert "s3cret" not in str(refused.value)
    assert "s3cret" not in shown(f"/x{path}").replace("api_key=s3cret", "")
