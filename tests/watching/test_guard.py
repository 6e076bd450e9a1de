"""Who is answered by the page's server, and who is not."""

import asyncio
from collections.abc import Mapping

import pytest
from yarl import URL

from kaygraph import Graph, Watch
from kaygraph.watching.addresses import is_loopback
from tests.watching.pages import Held, watched

pytestmark = pytest.mark.anyio

PATHS = ("", "page.js", "page.css", "template", "state", "snapshot", "explain", "drawing/1")
OTHERS = ("events/1", "journal", "no/such/path")


@pytest.mark.parametrize("path", [*PATHS, *OTHERS])
@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "a@localhost", "10.1.2.3"],
)
async def test_a_foreign_host_is_misdirected_on_every_route(path: str, host: str) -> None:
    """A name that somebody has pointed to this machine is none of its names."""
    async with watched(Held()) as page:
        answer = await page.ask(path, headers={"Host": host})
        assert answer.status == 421 or (host == "" and answer.status == 400)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost:1", "LOCALHOST", "127.0.0.2:80", "[::1]:9"]
)
async def test_names_of_this_machine_are_answered_also_through_a_tunnel(host: str) -> None:
    """A port may be another one: that of an SSH tunnel, say."""
    async with watched(Held()) as page:
        assert (await page.ask("state", headers={"Host": host})).status == 200


@pytest.mark.parametrize("path", [*PATHS, *OTHERS])
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "file://"]
)
async def test_another_origin_is_refused_on_every_route(path: str, origin: str) -> None:
    """Not even another server of this machine may ask."""
    async with watched(Held()) as page:
        assert (await page.ask(path, headers={"Origin": origin})).status == 403


async def test_its_own_origin_is_answered() -> None:
    """A browser says it where the page itself asks."""
    async with watched(Held()) as page:
        origin = page.address.rstrip("/")
        assert (await page.ask("state", headers={"Origin": origin})).status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_only_the_page_itself_can_be_opened_from_another_site(site: str) -> None:
    """A link leads to the page, but nothing of it can be a part of another page."""
    async with watched(Held()) as page:
        headers = {"Sec-Fetch-Site": site}
        assert (await page.ask("", headers=headers)).status == 200
        for path in PATHS[1:]:
            assert (await page.ask(path, headers=headers)).status == 403


async def test_every_answer_tells_browsers_to_be_careful() -> None:
    """Also those that refuse."""
    async with watched(Held()) as page:
        refused = [await page.ask("", headers={"Host": "evil.example"}), await page.ask("nothing")]
        for answer in [await page.ask(path) for path in PATHS[:7]] + refused:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


NO_HEADER: Mapping[str, str] = {"Authorization": ""}


@pytest.mark.parametrize("path", [*PATHS, *OTHERS])
async def test_without_the_token_nothing_is_answered(path: str) -> None:
    """No route is left out, whatever is given in its place."""
    async with watched(Held(), token="a-token-of-mine") as page:
        for wrong in ("", "Bearer", "Bearer a-token-of-min", "Basic a-token-of-mine", "Bearer ä"):
            answer = await page.ask(path, headers={"Authorization": wrong})
            assert answer.status == 401
        assert (await page.ask(f"{path}?token=wrong", headers=NO_HEADER)).status == 401


async def test_the_token_of_the_address_becomes_a_cookie() -> None:
    """A script cannot read the cookie, and no other site has it sent."""
    async with watched(Held(), token="a-token-of-mine") as page:
        answer = await page.ask("?token=a-token-of-mine", headers=NO_HEADER)
        assert answer.status == 200
        (cookie,) = answer.cookies.values()
        assert cookie["httponly"]
        assert cookie["samesite"] == "Strict"
        assert str(page.watch._server.port) in cookie.key
        sent = {**NO_HEADER, "Cookie": f"{cookie.key}={cookie.coded_value}"}
        assert (await page.ask("state", headers=sent)).status == 200
        wrong = {**NO_HEADER, "Cookie": f"{cookie.key}=something-else"}
        assert (await page.ask("state", headers=wrong)).status == 401


async def test_the_token_in_an_address_counts_for_the_page_alone() -> None:
    """It stands in no address that is asked often."""
    async with watched(Held(), token="a-token-of-mine") as page:
        assert (await page.ask("state?token=a-token-of-mine", headers=NO_HEADER)).status == 401


def test_another_address_and_control_have_a_token() -> None:
    """Reaching the machine remotely, or changing a run, requires a token."""
    assert Watch().token is None
    tokens = [Watch(host="0.0.0.0").token, Watch(host="::").token, Watch(control=True).token]
    assert all(token is not None and len(token) >= 32 for token in tokens)
    assert len(set(tokens)) == 3
    assert Watch(host="0.0.0.0", token="my own token").token == "my own token"
    with pytest.raises(ValueError, match="at least 8 characters"):
        Watch(token="short")


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("box", False)],
)
def test_addresses_of_this_machine_are_known(host: str, local: bool) -> None:
    """A name may lead anywhere."""
    assert is_loopback(host) is local


async def test_a_name_of_the_machine_can_be_given() -> None:
    """For a proxy, say."""
    async with watched(Held(), names=["box.local"]) as page:
        assert (await page.ask("state", headers={"Host": "Box.local"})).status == 200
        assert (await page.ask("state", headers={"Host": "fox.local"})).status == 421


@pytest.mark.parametrize("path", ["drain/1", "journal/1/answer", "state"])
async def test_a_page_that_may_only_look_changes_nothing(path: str) -> None:
    """There are no such routes."""
    async with watched(Held()) as page:
        origin = {"Origin": page.address.rstrip("/")}
        assert (await page.ask(path, "POST", headers=origin)).status in (404, 405)
        assert not page.run.draining


async def test_a_change_needs_the_token_and_the_page_itself() -> None:
    """A cookie alone is not enough: a browser sends it."""
    async with watched(Graph(Held()), control=True) as page:
        path, token = f"drain/{await page.id()}", page.watch.token
        assert (await page.ask(path, "POST", headers=NO_HEADER)).status == 403
        cookie = {**NO_HEADER, "Cookie": f"kaygraph-{page.watch._server.port}={token}"}
        assert (await page.ask(path, "POST", headers=cookie)).status == 403
        foreign = {**cookie, "Origin": "https://evil.example"}
        assert (await page.ask(path, "POST", headers=foreign)).status == 403
        assert not page.run.draining
        own = {**cookie, "Origin": page.address.rstrip("/")}
        assert (await page.ask(path, "POST", headers=own)).status == 200


async def test_on_all_addresses_it_answers_by_address_and_to_the_token_alone() -> None:
    """A name that is not its own is still refused: an address cannot be pointed here by others."""
    async with watched(Held(), host="0.0.0.0") as page:
        page.address = f"http://127.0.0.1:{page.watch._server.port}/"
        assert page.watch.token is not None
        assert (await page.ask("state")).status == 200
        assert (await page.ask("state", headers=NO_HEADER)).status == 401
        assert (await page.ask("state", headers={"Host": "10.1.2.3:80"})).status == 200
        assert (await page.ask("state", headers={"Host": "evil.example"})).status == 421


@pytest.mark.parametrize(
    "request_of",
    [
        b"GET / HTTP/1.1\r\nNo colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
async def test_what_is_not_a_request_is_answered_and_not_logged(
    request_of: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody on the machine could fill the log of the program with it."""
    async with watched(Held()) as page:
        reader, writer = await asyncio.open_connection("127.0.0.1", URL(page.address).port)
        writer.write(request_of)
        assert (await reader.readline()).split()[1] in (b"400", b"421")
        await reader.read()
        writer.close()
        await writer.wait_closed()
    assert caplog.records == []
