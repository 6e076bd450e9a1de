"""Which addresses may be asked by a URL that comes from data: public ones only."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from kaygraph.nodes import AddressRefusedError, HTTPNode, HTTPRequestError, ParallelHTTPNode
from kaygraph.nodes.http._addresses import (
    PublicResolver,
    check_literal,
    is_public,
    literal,
    origin_of,
    parsed,
)
from tests.servers import in_turn, redirect, reply, serving

pytestmark = pytest.mark.anyio

PUBLIC = "93.184.215.14"

PRIVATE_LITERALS = [
    "127.0.0.1", "127.1", "127.0.1", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "2130706433",
    "017700000001", "127.0.0.1.", "127.255.255.254", "0.0.0.0", "0", "0.0.0.0.", "169.254.169.254",
    "0xa9fea9fe", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "192.0.0.192",
    "168.63.129.16", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:169.254.169.254]",
    "[0:0:0:0:0:ffff:10.0.0.1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b:1::1]",
    "[2002:7f00:1::1]", "[2002:a9fe:a9fe::]", "[2001:0:808:808::]", "[fe80::1]", "[fe80::1%25lo]",
    "[fec0::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[2001:db8::1]", "[5f00::1]",
    "\uff11\uff12\uff17.0.0.1", "127。0。0。1", "①②⑦.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("host", PRIVATE_LITERALS)
async def test_an_address_that_is_not_public_is_refused(host: str) -> None:
    """However it is written, and before anything is sent."""
    node = HTTPNode(reads="url", total_timeout=5)
    with pytest.raises(AddressRefusedError, match=r"not a public address.*allow_private=True"):
        await node.run_async({"url": f"http://{host}:9/"})


@pytest.mark.parametrize(
    "host",
    ["8.8.8.8", "[2606:4700::1111]", "[64:ff9b::8.8.8.8]", "[::ffff:8.8.8.8]", "[2002:808:808::]"],
)
def test_a_public_address_is_not_refused(host: str) -> None:
    """Also one that is carried by another."""
    check_literal(parsed(f"https://{host}/"))


@given(st.ip_addresses(v=4))
def test_an_address_is_as_public_as_what_it_carries(ip: Any) -> None:
    """The forms of IPv6 that lead to an IPv4 address are not a way around the rule."""
    number = int(ip)
    for form in (
        f"::ffff:{ip}",
        f"64:ff9b::{ip}",
        f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1",
    ):
        assert is_public(form) == is_public(str(ip))
    assert not is_public(f"::{ip}")


@given(st.integers(0, 2**32 - 1), st.sampled_from(["{}", "{:#x}", "0{:o}", "{}.", "{:#X}."]))
def test_a_number_is_read_as_an_address(number: int, form: str) -> None:
    """A socket takes one for an address, so it is refused, public or not."""
    host = form.format(number)
    assert literal(host)
    assert not is_public(host)


@pytest.mark.parametrize("host", ["localhost", "a.example", "1.example", "127.0.0.1.nip.io", "0x"])
def test_a_name_is_left_to_the_resolver(host: str) -> None:
    """What begins like an address is a name all the same."""
    assert literal(host) == (host == "0x")


@pytest.mark.parametrize("url", ["http://h/", "http://H:80/x?y", "HTTP://h.:80"])
def test_an_origin_is_scheme_host_and_port(url: str) -> None:
    """As two addresses are written they may be the same."""
    assert origin_of(parsed(url)) == ("http", "h", 80)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "must begin with http"),
        ("host/path", "must begin with http"),
        ("//host/path", "must begin with http"),
        ("http://", "must begin with http"),
        ("http:///path", "must begin with http"),
        ("ftp://host/", "must begin with http"),
        ("file:///etc/passwd", "must begin with http"),
        ("javascript:alert(1)", "must begin with http"),
        ("http://host:99999/", "is not a URL"),
        ("http://host:0/", "must begin with http"),
        ("http://[::1", "is not a URL"),
        ("http://a..b/", "is not a URL"),
        (f"http://{'a' * 64}.de/", "is not a URL"),
        ("http://\ud800/", "is not a URL"),
        ("http://user@host/", "contains a user: leave it out and pass auth=Basic"),
        ("http://user:pa@ss@host/", "contains a user"),
        ("http://:secret@host/", "contains a user"),
        ("http://%31%32%37.0.0.1/", "neither a name nor an address"),
        ("http://127.0.0.1%00/", "neither a name nor an address"),
        ("http://a b/", "neither a name nor an address"),
        ("http://host/\ud800", "is not a URL"),
        (None, "a URL must be like"),
        (b"http://host/", "a URL must be like"),
    ],
)
def test_what_is_no_address_is_refused(url: Any, says: str) -> None:
    """One error for all, which says what is expected."""
    with pytest.raises(HTTPRequestError, match=says):
        parsed(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@host/",
        "http://user:hunter2@host:bad/",
        "http://user:hun/ter2@host/",
        "ftp://user:hunter2@host/",
        "http://host:bad/?token=hunter2",
    ],
)
def test_a_refusal_does_not_show_secrets(url: str) -> None:
    """The error names the address without them."""
    with pytest.raises(HTTPRequestError) as caught:
        parsed(url)
    assert "ter2" not in str(caught.value)


class Names(AbstractResolver):
    """Answers each question with the next of some answers; the last stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.closed = False

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(hostname=host, host=ip, port=port, family=2, proto=0, flags=0)
            for ip in found
        ]

    async def close(self) -> None:
        self.closed = True


def resolving(*answers: Sequence[str], trusted: Any = ()) -> PublicResolver:
    resolver = PublicResolver(trusted)
    resolver._resolver = Names(*answers)  # type: ignore[assignment]
    return resolver


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_one_answer_that_is_not_public_refuses_them_all(place: int) -> None:
    """The owner of a name does not get to choose among its answers."""
    answers = [PUBLIC, "8.8.8.8"]
    answers.insert(place, "10.0.0.7")
    with pytest.raises(AddressRefusedError, match=r"host leads to 10\.0\.0\.7, which is not a"):
        await resolving(answers).resolve("host", 80)


async def test_a_name_that_turns_private_is_refused_from_then_on() -> None:
    """Each answer is looked at, and not the name (DNS rebinding)."""
    resolver = resolving([PUBLIC], ["127.0.0.1"])
    assert [one["host"] for one in await resolver.resolve("host", 80)] == [PUBLIC]
    with pytest.raises(AddressRefusedError, match=r"host leads to 127\.0\.0\.1"):
        await resolver.resolve("host", 80)


@pytest.mark.parametrize(
    ("host", "port", "is_refused"),
    [("Inner.", 80, False), ("inner", 80, False), ("inner", 81, True), ("x.inner", 80, True)],
)
async def test_a_host_that_the_program_names_may_be_private(
    host: str, port: int, is_refused: bool
) -> None:
    """It is that host at that port, and no other."""
    resolver = resolving(["10.0.0.7"], trusted={("inner", 80)})
    if is_refused:
        with pytest.raises(AddressRefusedError):
            await resolver.resolve(host, port)
    else:
        assert (await resolver.resolve(host, port))[0]["host"] == "10.0.0.7"


async def test_closing_closes_the_resolver_within() -> None:
    """Nothing is left of it."""
    resolver = resolving([PUBLIC])
    inner: Any = resolver._resolver
    await resolver.close()
    assert inner.closed


@pytest.fixture
def name_service(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """The answers that the system's own name service gives, one list a question."""
    known: dict[str, list[list[str]]] = {}
    ask = socket.getaddrinfo

    def answer(host: Any, port: Any, *args: Any, **settings: Any) -> Any:
        if host not in known:
            return ask(host, port, *args, **settings)
        answers = known[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        kind = socket.SOCK_STREAM
        return [(socket.AF_INET, kind, 6, "", (ip, int(port or 0))) for ip in found]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return known


@pytest.fixture
def route(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Lead connections to an address to a port of loopback, as a router would."""
    ways: dict[str, int] = {}
    connect = asyncio.SelectorEventLoop.sock_connect

    async def connect_on(self: Any, sock: Any, address: Any) -> None:
        if address[0] in ways:
            address = ("127.0.0.1", ways[address[0]])
        await connect(self, sock, address)

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", connect_on)
    return ways.__setitem__


async def test_a_name_with_a_private_answer_is_not_asked(name_service: Any) -> None:
    """A name that leads to loopback is refused, also in the middle of public answers."""
    name_service["evil.example"] = [[PUBLIC, "127.0.0.1", "8.8.8.8"]]
    async with serving(reply("inside")) as site:
        node = HTTPNode(reads="url")
        with pytest.raises(AddressRefusedError, match=r"evil\.example leads to 127\.0\.0\.1"):
            await node.run_async({"url": f"http://evil.example:{site.port}/"})
    assert site.asked == []


async def test_a_name_that_is_rebound_is_asked_where_it_was_public_and_nowhere_else(
    name_service: Any, route: Any
) -> None:
    """Between the look at a name and the connection nothing can change; later answers are new."""
    async with serving(reply("outside")) as outside, serving(reply("inside")) as inside:
        route(PUBLIC, outside.port)
        route("10.0.0.7", inside.port)
        name_service["evil.example"] = [[PUBLIC], ["10.0.0.7"]]
        url = "http://evil.example/"
        node = ParallelHTTPNode(reads="urls", writes="found", max_workers=1)
        shared: dict[str, Any] = {"urls": [url, url]}
        await node.run_async(shared)
        assert [result["data"] for result in shared["found"]] == ["outside", "outside"]
        with pytest.raises(AddressRefusedError, match=r"evil\.example leads to 10\.0\.0\.7"):
            await node.run_async(shared)
    assert inside.asked == []


async def test_a_redirect_to_a_name_with_a_private_answer_is_not_followed(
    name_service: Any, route: Any
) -> None:
    """A public address does not lead inside by a redirect."""
    name_service["evil.example"] = [[PUBLIC]]
    name_service["inner.example"] = [["127.0.0.1"]]
    async with serving(reply("inside")) as inside:
        to = f"http://inner.example:{inside.port}/"
        async with serving(redirect(to)) as outside:
            route(PUBLIC, outside.port)
            with pytest.raises(AddressRefusedError, match=r"inner\.example leads to 127\.0\.0\.1"):
                await HTTPNode(reads="url").run_async({"url": "http://evil.example/"})
    assert len(outside.asked) == 1
    assert inside.asked == []


@pytest.mark.parametrize("host", PRIVATE_LITERALS)
async def test_a_redirect_to_an_address_that_is_not_public_is_not_followed(host: str) -> None:
    """Not even from the address that the program names itself."""
    async with serving(redirect(f"http://{host}:9/")) as site:
        with pytest.raises(AddressRefusedError, match="not a public address"):
            await HTTPNode(site.url).run_async({})
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "ftp://host/", "gopher://host/", "javascript:alert(1)"]
)
async def test_a_redirect_to_what_is_not_http_is_not_followed(to: str) -> None:
    """Files least of all."""
    async with serving(redirect(to)) as site:
        with pytest.raises(HTTPRequestError, match="must begin with http"):
            await HTTPNode(site.url, allow_private=True).run_async({})


async def test_a_private_address_may_be_requested_if_allowed() -> None:
    """``allow_private`` is for programs whose data are their own."""
    async with serving(reply("inside")) as inside, serving(redirect(inside.url)) as site:
        shared: dict[str, Any] = {"urls": [inside.url, site.url]}
        node = ParallelHTTPNode(reads="urls", writes="found", allow_private=True)
        await node.run_async(shared)
        assert [result["data"] for result in shared["found"]] == ["inside", "inside"]


async def test_the_address_that_the_program_names_may_be_private_and_no_other_port_of_it() -> None:
    """Data leads to that origin and to no other on the same host."""
    async with serving(reply("named")) as named, serving(reply("other")) as other:
        node = ParallelHTTPNode(named.url, reads="urls", writes="found", on_error="collect")
        shared: dict[str, Any] = {"urls": ["/a", named.url, other.url, "//127.0.0.1:1/"]}
        await node.run_async(shared)
        found = shared["found"]
        assert [found[0]["data"], found[1]["data"]] == ["named", "named"]
        assert [type(outcome.error) for outcome in found[2:]] == [AddressRefusedError] * 2
    assert other.asked == []


async def test_each_item_of_a_refused_name_has_an_error_of_its_own(name_service: Any) -> None:
    """Those that wait for the same answer do not share an error, whose notes name one item."""
    name_service["evil.example"] = [["10.0.0.7"]]
    urls = [f"http://evil.example/{number}" for number in range(5)]
    node = ParallelHTTPNode(reads="urls", writes="found", on_error="collect")
    shared: dict[str, Any] = {"urls": urls}
    await node.run_async(shared)
    for number, outcome in enumerate(shared["found"]):
        assert urls[number] in str(outcome.error)
        assert outcome.error.__notes__[0].startswith(
            f"in node 'ParallelHTTPNode', item {number} ('{urls[number]}')"
        )


async def test_an_answer_is_looked_at_before_any_byte_is_sent(name_service: Any) -> None:
    """A refused address does not even see a connection."""
    name_service["evil.example"] = [["127.0.0.1"]]
    async with serving(in_turn(reply("x"))) as site:
        with pytest.raises(AddressRefusedError):
            await HTTPNode(reads="url").run_async({"url": f"http://evil.example:{site.port}/"})
        assert site.connections == 0


def test_a_url_of_yarl_is_a_url_as_well() -> None:
    """A parsed URL need not be converted to text."""
    assert parsed(URL("https://host/x")) == URL("https://host/x")
