"""The client of a run: what it sends, how it fails, what it leaves; against real servers."""

import asyncio
import gzip
import os
import shutil
import socket
import ssl
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from kaygraph import AttemptTimeoutError, Graph, Retry
from kaygraph.events import ItemRetried
from kaygraph.nodes import (
    APIKey,
    Basic,
    Bearer,
    HTTPBodyError,
    HTTPConnectionError,
    HTTPNode,
    HTTPRequestError,
    HTTPStatusError,
    HTTPTimeoutError,
    ParallelHTTPNode,
)
from kaygraph.nodes._json import decode
from kaygraph.nodes.http._sessions import RETRIES
from kaygraph.nodes.http.asking import wait_for_retry, worth_retrying
from kaygraph.nodes.http.messages import retry_after
from kaygraph.testing import capture_events
from tests.children import ran
from tests.servers import (
    RawSite,
    echo,
    free_port,
    in_turn,
    redirect,
    reply,
    reset,
    saying,
    serving,
    speaking,
    unanswered,
)

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
TWO = OK + b"Content-Length: 2\r\n\r\n{}"


async def result_of(node: Any, item: Any = None) -> Any:
    """Run a node for one request and return its result."""
    shared: dict[str, Any] = {"item": item}
    node.reads, node.writes = "item", "result"
    await node.run_async(shared)
    return shared["result"]


# How often a request is made


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
async def test_a_connection_that_is_reset_is_tried_again(method: str) -> None:
    """Four times in all, and each is one request at the server."""
    async with speaking(saying(then="reset")) as site:
        with pytest.raises(HTTPConnectionError) as caught:
            await result_of(HTTPNode(site.url, method=method, wait=0))
    assert len(site.asked) == 4
    assert caught.value.__notes__ == ["in node 'HTTPNode', attempt 4 of 4"]


@pytest.mark.parametrize("pieces", [(), (b"HTTP/1.1 200",), (OK,)])
async def test_a_connection_that_closes_before_the_answer_is_tried_again(pieces: Any) -> None:
    """Wherever in the head it closes."""
    async with speaking(saying(*pieces)) as site:
        with pytest.raises(HTTPConnectionError):
            await result_of(HTTPNode(site.url, max_retries=2, wait=0))
    assert len(site.asked) == 2


@pytest.mark.parametrize(
    "head", [OK + b"Content-Length: 9\r\n\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\n"]
)
@pytest.mark.parametrize("then", ["close", "reset"])
async def test_a_body_that_breaks_off_is_never_taken_for_a_whole_one(
    head: bytes, then: str
) -> None:
    """It is retried, and the error says what happened."""
    async with speaking(saying(head + b"[1]", then=then)) as site:
        with pytest.raises(HTTPConnectionError, match="was interrupted"):
            await result_of(HTTPNode(site.url, max_retries=3, wait=0))
    assert len(site.asked) == 3


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408, 425])
async def test_a_server_that_recovers_gives_its_answer(status: int) -> None:
    """What comes in the end is the result, and nothing of what came before."""
    answers = in_turn(reply({"no": 1}, status), reply({"no": 2}, status), reply({"yes": 3}))
    async with serving(answers) as site:
        result = await result_of(HTTPNode(site.url, wait=0))
    assert (result["data"], result["status_code"], result["success"]) == ({"yes": 3}, 200, True)
    assert len(site.asked) == 3


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_server_that_does_not_recover_gives_its_last_answer(status: int) -> None:
    """It is a result without success, or with ``raise_for_status`` an error."""
    async with serving(reply({"sorry": True}, status)) as site:
        result = await result_of(HTTPNode(site.url, wait=0))
        assert (result["data"], result["status_code"]) == ({"sorry": True}, status)
        assert not result["success"]
        assert len(site.asked) == 4
        with pytest.raises(HTTPStatusError, match=f"answered {status}") as caught:
            await result_of(HTTPNode(site.url, wait=0, raise_for_status=True))
        assert caught.value.status == status
        assert caught.value.result["data"] == {"sorry": True}
    assert len(site.asked) == 8


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
@pytest.mark.parametrize("raises", [False, True])
async def test_a_mistake_of_ours_is_not_tried_again(status: int, raises: bool) -> None:
    """Another attempt would get the same answer."""
    async with serving(reply({"error": "x"}, status)) as site:
        node = HTTPNode(site.url, wait=0, raise_for_status=raises)
        if raises:
            with pytest.raises(HTTPStatusError, match=f"answered {status}"):
                await result_of(node)
        else:
            assert (await result_of(node))["status_code"] == status
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    ("request_", "attempts"),
    [
        ({}, 1),
        ({"method": "PATCH"}, 1),
        ({"idempotency_key": "k1"}, 3),
        ({"repeatable": True}, 3),
        ({"method": "GET", "repeatable": False}, 1),
        ({"method": "PUT"}, 3),
    ],
)
@pytest.mark.parametrize("fault", ["reset", "500", "timeout", "cut"])
async def test_a_post_is_not_repeated_unless_it_may_be(
    request_: dict[str, Any], attempts: int, fault: str
) -> None:
    """If it may have arrived, only what is recognisable or harmless is sent again."""
    talk = {
        "reset": saying(then="reset"),
        "500": saying(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"),
        "timeout": saying(then="silence"),
        "cut": saying(OK + b"Content-Length: 9\r\n\r\n{"),
    }[fault]
    async with speaking(talk) as site:
        node = HTTPNode(
            site.url, method="POST", max_retries=3, wait=0, read_timeout=0.2, raise_for_status=True
        )
        with pytest.raises((HTTPConnectionError, HTTPStatusError)):
            await result_of(node, {"json": {"a": 1}, **request_})
    assert len(site.asked) == attempts
    assert len(set(site.asked)) == 1  # each says the same


@pytest.mark.parametrize(("status", "headers"), [(429, {}), (503, {"Retry-After": "0"})])
async def test_a_post_that_was_not_worked_on_is_made_again(
    status: int, headers: dict[str, str]
) -> None:
    """The server says that it has not begun."""
    async with serving(in_turn(reply(None, status, headers=headers), echo)) as site:
        result = await result_of(HTTPNode(site.url, method="POST", wait=0), {"json": [1]})
    assert result["data"]["body"] == "[1]"
    assert site.bodies == [b"[1]", b"[1]"]


async def test_a_post_that_a_gateway_may_have_passed_on_is_not_made_again() -> None:
    """A 503 without a time may be that of a server lost in the middle of its work."""
    async with serving(in_turn(reply(None, 503), echo)) as site:
        result = await result_of(HTTPNode(site.url, method="POST", wait=0), {"json": [1]})
    assert result["status_code"] == 503
    assert site.bodies == [b"[1]"]


async def test_a_post_that_never_arrived_is_made_again() -> None:
    """A connection that was refused has carried nothing."""
    port = await free_port()
    node = HTTPNode(f"http://127.0.0.1:{port}/", method="POST", wait=0)
    with (
        capture_events() as events,
        pytest.raises(HTTPConnectionError, match="no connection: Connection refused"),
    ):
        await result_of(node)
    assert len([event for event in events if isinstance(event, ItemRetried)]) == 3


async def test_a_request_on_a_kept_connection_is_made_once_an_attempt() -> None:
    """A server that drops requests has received as many as were made."""

    def talk(site: RawSite) -> Any:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await site.read_request(reader)
            writer.write(TWO)
            await site.read_request(reader)
            reset(writer)

        return speak

    async with speaking(talk) as site:
        node = ParallelHTTPNode(
            site.url, reads="urls", writes="found", max_workers=1, max_retries=1,
            on_error="collect",
        )  # fmt: skip
        shared: dict[str, Any] = {"urls": ["/a", {"url": "/b", "repeatable": False}]}
        await node.run_async(shared)
    assert [request.split()[1] for request in site.asked] == [b"/a", b"/b"]
    assert type(shared["found"][1].error) is HTTPConnectionError


async def test_aiohttp_has_the_switch_that_keeps_it_from_asking_twice() -> None:
    """Where it has gone, look for another: until then each request has a connection of its own."""
    async with aiohttp.ClientSession() as session:
        assert getattr(session, RETRIES) is True


async def test_without_that_switch_no_connection_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could be stale is not used, so that nothing is asked twice."""
    monkeypatch.setattr("kaygraph.nodes.http._sessions.RETRIES", "_gone")
    async with serving(echo) as site:
        node = ParallelHTTPNode(site.url, reads="urls", method="POST", max_workers=1)
        await node.run_async({"urls": ["/a", "/b", "/c"]})
    assert (len(site.asked), site.connections) == (3, 3)


@pytest.mark.parametrize(
    ("settings", "attempts"),
    [
        ({"max_retries": 3, "wait": 0}, 3),
        ({"retry": Retry(attempts=3)}, 3),
        ({"wait": 0}, 4),
        ({"max_retries": 1}, 1),
    ],
)
@pytest.mark.parametrize("as_class", [False, True])
async def test_settings_of_retries_do_not_change_what_is_tried_again(
    settings: dict[str, Any], attempts: int, as_class: bool
) -> None:
    """Setting more attempts does not allow a POST to be made twice."""
    async with speaking(saying(then="reset")) as site:
        for method, most in (("POST", 1), ("GET", attempts)):
            site.asked.clear()
            node = HTTPNode(site.url, method=method, **({} if as_class else settings))
            if as_class:
                node = type("Asks", (HTTPNode,), settings)(site.url, method=method)
            with pytest.raises(HTTPConnectionError):
                await result_of(node)
            assert len(site.asked) == most


async def test_a_retry_that_says_what_to_try_again_stands() -> None:
    """The user who sets ``on`` decides."""
    async with speaking(saying(then="reset")) as site:
        node = HTTPNode(site.url, method="POST", retry=Retry(attempts=3, on=HTTPConnectionError))
        with pytest.raises(HTTPConnectionError):
            await result_of(node)
    assert len(site.asked) == 3


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (" 7 ", 7.0),
        ("120", 120.0),
        ("", None),
        ("-5", None),
        ("1.5", 1.5),
        ("soon", None),
        ("\uff17", None),
        ("9" * 400, float("inf")),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 99999999999 07:28:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    """What cannot be read is as if it were not there; a date that is over asks for no wait."""
    assert retry_after({"retry-after": text}) == seconds


def test_retry_after_as_a_date_is_counted_from_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the server's date that counts."""
    monkeypatch.setattr("kaygraph.nodes.http.messages.time", lambda: 1_000_000.0)
    assert retry_after({"retry-after": formatdate(1_000_030.0, usegmt=True)}) == 30.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        # RFC 9110, 5.6.7: the three ways to write a date
        ({"retry-after": "Sun, 06 Nov 1994 08:50:07 GMT"}, 30.0),
        ({"retry-after": "Sunday, 06-Nov-94 08:50:07 GMT"}, 30.0),
        ({"retry-after": "Sun Nov  6 08:50:07 1994"}, 30.0),
        ({"retry-after": "Sunday, 06-Nov-43 08:49:37 GMT"}, 1_546_300_800.0),
        ({"retry-after": "Sunday, 06-Nov-44 08:49:37 GMT"}, 1_577_923_200.0),
        ({"retry-after": "Sunday, 06-Nov-45 08:49:37 GMT"}, 0.0),
        # counted from the server's own clock, unless that is absurd
        ({"retry-after": "Sun, 06 Nov 1994 08:50:07 GMT",
          "date": "Sun, 06 Nov 1994 08:50:00 GMT"}, 7.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:50:07 GMT",
          "date": "Thu, 01 Jan 1970 00:00:00 GMT"}, 30.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:50:07 GMT", "date": "now"}, 30.0),
        ({"retry-after": "3, 5 ,4"}, 5.0),
        ({"retry-after": "2", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "2", "retry-after-ms": "soon"}, 2.0),
        ({"retry-after": "5; soon"}, None),
        ({"retry-after": "1994-11-06T08:50:07Z"}, None),
        ({"retry-after": ","}, None),
        ({}, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_retry_after_is_read_in_every_form(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], seconds: float | None, zone: str
) -> None:
    """Wherever in the world the program runs."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        monkeypatch.setattr("kaygraph.nodes.http.messages.time", lambda: 784_111_777.0)
        assert retry_after(headers) == seconds
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("as_date", [False, True])
async def test_the_server_says_how_long_to_wait(as_date: bool) -> None:
    """Retry-After decides the wait, with a little added; the run is cancelled and does not wait."""
    text = formatdate(time.time() + 41, usegmt=True) if as_date else "40"
    async with serving(reply(None, 429, {"Retry-After": text})) as site:
        waits = []
        run = HTTPNode(site.url).run_async

        def noted(event: Any) -> None:
            if isinstance(event, ItemRetried):
                waits.append(event.wait_s)
                task.cancel()

        task = asyncio.ensure_future(run({}, observers=[noted]))
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(waits) == 1
    assert 38 <= waits[0] <= 42


async def test_a_server_that_asks_for_too_long_a_wait_is_not_waited_for() -> None:
    """More than a minute is for the caller to decide: the answer is returned immediately."""
    async with serving(reply(None, 503, {"Retry-After": "61"})) as site:
        result = await result_of(HTTPNode(site.url))
    assert result["status_code"] == 503
    assert len(site.asked) == 1


def test_waits_grow_and_are_jittered() -> None:
    """Full jitter below a bound that doubles, up to a minute."""
    error = HTTPConnectionError("x", True)
    for attempt, bound in ((1, 0.25), (2, 0.5), (3, 1.0), (30, 60.0)):
        waits = [wait_for_retry(attempt, error) for _ in range(200)]
        assert all(0 <= wait <= bound for wait in waits)
        assert max(waits) - min(waits) > bound / 2
    asked = HTTPStatusError(
        "x",
        {
            "data": None,
            "status_code": 429,
            "success": False,
            "seconds": 0.1,
            "headers": {"retry-after": "5"},
        },
        True,
    )
    waits = [wait_for_retry(3, asked) for _ in range(200)]
    assert all(5 <= wait <= 5.1 for wait in waits)
    assert len(set(waits)) > 1  # or those who were refused together would come back together


def test_only_errors_that_say_so_are_worth_another_attempt() -> None:
    """A mistake in a program is not made twice."""
    assert worth_retrying(HTTPConnectionError("x", True))
    assert not worth_retrying(HTTPConnectionError("x"))
    assert not worth_retrying(HTTPBodyError("x"))
    assert not worth_retrying(ValueError("x"))


# Time


async def test_an_answer_that_stops_is_given_up() -> None:
    """One byte and then silence is not an answer."""
    async with speaking(saying(OK + b"Content-Length: 9\r\n\r\n{", then="silence")) as site:
        node = HTTPNode(site.url, read_timeout=0.2, max_retries=2, wait=0)
        with pytest.raises(HTTPTimeoutError, match="the answer stopped") as caught:
            await result_of(node)
    assert len(site.asked) == 2
    assert isinstance(caught.value, TimeoutError)


async def test_a_server_that_says_nothing_is_given_up() -> None:
    """The wait for the first byte is one between pieces as well."""
    async with speaking(saying(then="silence")) as site:
        with pytest.raises(HTTPTimeoutError, match="the answer stopped"):
            await result_of(HTTPNode(site.url, read_timeout=0.2, max_retries=1))


async def test_an_answer_that_drips_is_given_up_in_the_end() -> None:
    """A piece now and then keeps ``read_timeout`` quiet; ``total_timeout`` is for all of it."""

    def talk(site: RawSite) -> Any:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await site.read_request(reader)
            writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n")
            while not reader.at_eof():
                writer.write(b"1\r\n \r\n")
                await writer.drain()
                await asyncio.sleep(0.01)

        return speak

    async with speaking(talk) as site:
        node = HTTPNode(site.url, read_timeout=5, total_timeout=0.2, max_retries=2, wait=0)
        with pytest.raises(HTTPTimeoutError, match=r"took longer than total_timeout=0\.2"):
            await result_of(node)
    assert len(site.asked) == 2  # the time is for each attempt


async def test_redirects_share_one_total_timeout() -> None:
    """Each hop is quick, and all of them are not."""

    async def slow(request: web.BaseRequest) -> web.Response:
        await asyncio.sleep(0.05)
        return web.Response(status=302, headers={"Location": "/"})

    async with serving(slow) as site:
        node = HTTPNode(site.url, total_timeout=0.2, max_redirects=1000, max_retries=1)
        with pytest.raises(HTTPTimeoutError, match="total_timeout"):
            await result_of(node)
    assert len(site.asked) < 6


async def test_a_connection_that_does_not_come_is_given_up() -> None:
    """A server with a full queue does not answer; nothing arrived, so even a POST is repeated."""
    with unanswered() as url, capture_events() as events:
        node = HTTPNode(url, method="POST", connect_timeout=0.1, max_retries=2, wait=0)
        with pytest.raises(HTTPTimeoutError, match="no connection in time"):
            await result_of(node)
    assert len([event for event in events if isinstance(event, ItemRetried)]) == 1


@pytest.mark.parametrize(
    ("request_", "attempts"), [({"method": "GET"}, 2), ({}, 1), ({"idempotency_key": "k"}, 2)]
)
async def test_a_timeout_of_the_node_is_tried_again_where_the_request_may_be_repeated(
    request_: dict[str, Any], attempts: int
) -> None:
    """What a timed-out attempt has sent may have arrived."""
    async with speaking(saying(then="silence")) as site:
        node = HTTPNode(site.url, method="POST", timeout=0.2, max_retries=2, wait=0)
        with pytest.raises(AttemptTimeoutError):
            await result_of(node, request_)
    assert len(site.asked) == attempts


async def test_a_name_service_that_does_not_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``connect_timeout`` holds for the name as well."""
    answered = threading.Event()

    def getaddrinfo(*_: Any, **__: Any) -> Any:
        answered.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        node = HTTPNode("http://slow.example/", connect_timeout=0.1, max_retries=1)
        async with asyncio.timeout(5):
            with pytest.raises(HTTPTimeoutError, match="no connection in time"):
                await result_of(node)
    finally:
        answered.set()


async def test_a_name_that_does_not_exist_is_a_connection_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is one of the errors of HTTP, and tried again."""

    def getaddrinfo(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(HTTPConnectionError, match=r"nowhere\.example.*no such name"):
        await result_of(HTTPNode("http://nowhere.example/", max_retries=2, wait=0))


# Bodies


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", gzip.compress(b'{"a": 1}')),
        ("gzip", gzip.compress(b'{"a"') + gzip.compress(b": 1}")),
        ("deflate", zlib.compress(b'{"a": 1}')),
        ("deflate", zlib.compress(b'{"a": 1}')[2:-4]),
        ("identity", b'{"a": 1}'),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_compressed_answer_is_decompressed(
    encoding: str, data: bytes, chunked: bool
) -> None:
    """However it is compressed, and however it comes: byte by byte as well."""
    head = OK + f"Content-Encoding: {encoding}\r\n".encode()
    if chunked:
        pieces = [b"1\r\n%c\r\n" % byte for byte in data]
        answer = [head + b"Transfer-Encoding: chunked\r\n\r\n", *pieces, b"0\r\n\r\n"]
    else:
        answer = [head + b"Content-Length: %d\r\n\r\n" % len(data), data]
    async with speaking(saying(*answer)) as site:
        result = await result_of(HTTPNode(site.url))
    assert result["data"] == {"a": 1}


@pytest.mark.parametrize(
    ("encoding", "data", "says"),
    [
        ("gzip", gzip.compress(b'{"a": 1}')[:-3], "ends in the middle of its gzip"),
        ("gzip", b"{}", "is not gzip"),
        ("br", b"{}", "encoded with 'br', which was not requested"),
    ],
)
async def test_a_body_that_is_not_what_it_says_is_an_error_at_once(
    encoding: str, data: bytes, says: str
) -> None:
    """Another attempt would get the same."""
    async with serving(reply(data, headers={"Content-Encoding": encoding})) as site:
        with pytest.raises(HTTPBodyError, match=says):
            await result_of(HTTPNode(site.url))
    assert len(site.asked) == 1


@pytest.mark.parametrize("compress", [False, True])
async def test_a_body_that_is_too_large_is_an_error(compress: bool) -> None:
    """What counts is what comes out; as much as is allowed is allowed."""
    data = b"x" * 1000
    sent = gzip.compress(data) if compress else data
    headers = {"Content-Encoding": "gzip"} if compress else {}
    async with serving(reply(sent, headers=headers)) as site:
        assert (await result_of(HTTPNode(site.url, max_bytes=1000)))["data"] == data
        with pytest.raises(HTTPBodyError, match="larger than max_bytes=999"):
            await result_of(HTTPNode(site.url, max_bytes=999))


@pytest.mark.parametrize("status", [200, 500])
async def test_a_gzip_bomb_takes_no_more_memory_than_is_allowed(status: int) -> None:
    """It is given up when it has grown to ``max_bytes``, whatever the status of the answer."""
    bomb = gzip.compress(b"\0" * (32 * 1024 * 1024), 9) * 16  # half a gigabyte, in half a megabyte
    headers = {"Content-Encoding": "gzip"}
    async with serving(reply(bomb, status, headers, content_type="text/plain")) as site:
        tracemalloc.start()
        try:
            with pytest.raises(HTTPBodyError, match="larger than max_bytes=4194304"):
                await result_of(HTTPNode(site.url, max_bytes=4 * 1024 * 1024))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 20 * 1024 * 1024


async def test_an_endless_body_is_given_up_when_it_is_too_large() -> None:
    """The rest is not read: the server sees the connection close."""
    closed = asyncio.Event()

    def talk(site: RawSite) -> Any:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await site.read_request(reader)
            writer.write(OK + b"\r\n")
            try:
                while True:
                    writer.write(b" " * 65536)
                    await writer.drain()
            finally:
                closed.set()

        return speak

    async with speaking(talk) as site:
        with pytest.raises(HTTPBodyError, match="max_bytes=1000000"):
            await result_of(HTTPNode(site.url, max_bytes=1_000_000))
        async with asyncio.timeout(5):
            await closed.wait()


async def test_json_that_is_too_deep_is_an_error_in_little_time() -> None:
    """It is not even decoded; the allowed depth is a setting."""
    deep = b"[" * 500 + b"]" * 500
    async with serving(reply(deep, content_type="application/json")) as site:
        with pytest.raises(HTTPBodyError, match="nested deeper than 100 levels"):
            await result_of(HTTPNode(site.url))
        with pytest.raises(HTTPBodyError, match="nested deeper than 499 levels"):
            await result_of(HTTPNode(site.url, max_depth=499))
        result = await result_of(HTTPNode(site.url, max_depth=500))
    depth, data = 0, result["data"]
    while isinstance(data, list):
        depth, data = depth + 1, data[0] if data else None
    assert depth == 500


async def test_large_json_is_decoded_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop is free meanwhile: the thread is one of the run's, which ends with it."""
    threads = []

    def decoding(*args: Any) -> Any:
        threads.append(threading.current_thread())
        return decode(*args)

    monkeypatch.setattr("kaygraph.nodes.http.answer.decode", decoding)
    data = list(range(100_000))
    async with serving(in_turn(reply([1]), reply(data))) as site:
        assert (await result_of(HTTPNode(site.url)))["data"] == [1]
        assert (await result_of(HTTPNode(site.url)))["data"] == data
        site.answer = reply(b"[" * 300_000, content_type="application/json")
        with pytest.raises(HTTPBodyError, match="deeper than 100"):
            await result_of(HTTPNode(site.url))
    assert threads[0] is threading.current_thread()
    assert not any(thread.is_alive() for thread in threads[1:])
    assert [thread.name.partition("_")[0] for thread in threads[1:]] == ["kaygraph"] * 2


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        OK + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
async def test_an_answer_that_is_no_http_is_a_connection_error(answer: bytes) -> None:
    """Whatever a server says, a node fails with an error of HTTP."""
    async with speaking(saying(answer)) as site:
        with pytest.raises(HTTPConnectionError):
            await result_of(HTTPNode(site.url, max_retries=1))


# Headers


@pytest.mark.parametrize(
    "headers", [b"X-Policy: " + b"a" * 60_000, b"\r\n".join([b"Set-Cookie: a=b"] * 200)]
)
async def test_headers_may_be_long_and_many(headers: bytes) -> None:
    """As those of large sites are."""
    async with speaking(saying(OK + b"Content-Length: 1\r\n" + headers + b"\r\n\r\n1")) as site:
        assert (await result_of(HTTPNode(site.url)))["data"] == 1


@pytest.mark.parametrize("headers", [b"X-Policy: " + b"a" * 70_000, b"\r\n".join([b"X: 1"] * 300)])
async def test_headers_are_limited(headers: bytes) -> None:
    """They are held in memory."""
    async with speaking(saying(OK + b"Content-Length: 1\r\n" + headers + b"\r\n\r\n1")) as site:
        with pytest.raises(HTTPConnectionError, match=r"more than 65536|Too many headers"):
            await result_of(HTTPNode(site.url, max_retries=1))


async def test_headers_are_text_whatever_their_bytes_are() -> None:
    """In UTF-8, else in Latin-1; in an address they stay bytes."""
    headers = b"X-A: caf\xe9\r\nX-B: \xe2\x82\xac\r\nLink: </\xe9>; rel=x\r\nContent-Length: 0\r\n"
    async with speaking(saying(OK + headers + b"\r\n")) as site:
        got = (await result_of(HTTPNode(site.url)))["headers"]
    assert (got["x-a"], got["x-b"], got["link"]) == ("café", "€", "</%E9>; rel=x")


# Redirects


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "GET", "GET"), (302, "GET", "GET"), (303, "GET", "GET"), (307, "GET", "GET"),
        (301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"), (303, "PUT", "GET"),
        (301, "PUT", "PUT"), (302, "DELETE", "DELETE"), (307, "POST", "POST"),
        (308, "POST", "POST"), (308, "PATCH", "PATCH"), (303, "HEAD", "HEAD"),
    ],
)  # fmt: skip
async def test_a_redirect_keeps_or_changes_the_method(status: int, method: str, then: str) -> None:
    """As RFC 9110 (15.4) and browsers do; the body goes with the method, and so does its type."""
    async with serving(in_turn(redirect("/there?x=1", status), echo)) as site:
        body = {} if method in ("GET", "HEAD") else {"json": {"a": 1}}
        headers = {"Content-Language": "en"} if body else {}
        await result_of(HTTPNode(site.url, method=method), {**body, "headers": headers})
    last = site.asked[-1]
    assert (last.method, last.raw_path) == (then, "/there?x=1")
    kept = method == then and bool(body)
    assert site.bodies[-1] == (b'{"a": 1}' if kept else b"")
    assert ("Content-Type" in last.headers) == ("Content-Language" in last.headers) == kept


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("next", "/a/next"), ("/next", "/next"), ("../next", "/next"), ("?b=2", "/a/x?b=2"),
        ("./", "/a/"), ("/a%20b", "/a%20b"), ("/ü", "/%C3%BC"), ("/x#part", "/x"),
    ],
)  # fmt: skip
async def test_a_redirect_may_be_relative(location: str, path: str) -> None:
    """It is relative to the address that answered."""
    async with serving(in_turn(redirect(location), echo)) as site:
        await result_of(HTTPNode(site.url), "/a/x?a=1")
    assert site.asked[-1].raw_path == path


async def test_a_loop_of_redirects_ends() -> None:
    """After as many as are allowed, and is not tried again."""
    async with serving(redirect("/")) as site:
        with pytest.raises(HTTPRequestError, match="more than max_redirects=5 times"):
            await result_of(HTTPNode(site.url))
        assert len(site.asked) == 6
        with pytest.raises(HTTPRequestError, match="more than max_redirects=0 times"):
            await result_of(HTTPNode(site.url, max_redirects=0))
    assert len(site.asked) == 7


async def test_as_many_redirects_as_are_allowed_are_followed() -> None:
    """And the result is that of the last answer."""
    async with serving(in_turn(*[redirect(f"/{n}") for n in range(5)], reply("there"))) as site:
        assert (await result_of(HTTPNode(site.url)))["data"] == "there"


@pytest.mark.parametrize("status", [300, 304, 302])
@pytest.mark.parametrize("headers", [{}, {"Location": ""}])
async def test_a_redirect_that_leads_nowhere_is_a_result(
    status: int, headers: dict[str, str]
) -> None:
    """Without a Location there is nothing to follow."""
    async with serving(reply(b"", status, headers)) as site:
        result = await result_of(HTTPNode(site.url))
    assert (result["status_code"], result["data"]) == (status, None)


@pytest.mark.parametrize("location", ["http://[::1", "http://host:99999/", "http://a..b/"])
async def test_a_redirect_to_what_is_no_url_is_an_error(location: str) -> None:
    """It names what came, and the answer is not tried again."""
    async with serving(redirect(location)) as site:
        with pytest.raises(HTTPRequestError, match="is not a URL"):
            await result_of(HTTPNode(site.url))
    assert len(site.asked) == 1


SECRET_HEADERS = {
    "Authorization": "Bearer s3cret-1",
    "Cookie": "session=s3cret-2",
    "X-Api-Key": "s3cret-3",
    "Proxy-Authorization": "s3cret-4",
    "X-Anything": "s3cret-5",
}


@pytest.mark.parametrize("auth", [Bearer("s3cret"), Basic("me", "s3cret"), APIKey("s3cret"),
                                  APIKey("s3cret", param="k")])  # fmt: skip
async def test_credentials_do_not_go_to_another_origin(auth: Any) -> None:
    """Another port is one; only headers that are not secret are sent there."""
    async with serving(echo) as other, serving(redirect(other.url, 307)) as site:
        headers = {**SECRET_HEADERS, "Accept": "text/x", "Accept-Language": "de"}
        node = HTTPNode(site.url, auth=auth, headers=headers, method="POST", allow_private=True)
        result = await result_of(node, {"json": [1], "idempotency_key": "s3cret-6"})
    assert "cret" in str(site.asked[0].headers) + site.asked[0].raw_path
    assert "cret" not in str(result["data"])
    assert result["data"]["headers"]["accept"] == "text/x"
    assert result["data"]["headers"]["accept-language"] == "de"
    assert result["data"]["body"] == "[1]"


async def test_credentials_that_were_left_out_do_not_come_back() -> None:
    """A redirect away and back comes from the other site."""
    async with serving(echo) as site, serving(redirect(site.url)) as other:
        site.answer = in_turn(redirect(other.url), echo)
        node = HTTPNode(site.url, auth=Bearer("s3cret"), headers=SECRET_HEADERS, allow_private=True)
        result = await result_of(node)
    assert len(site.asked) == 2
    assert "cret" not in str(result["data"])


async def test_a_redirect_within_the_origin_keeps_credentials() -> None:
    """It is the same server."""
    async with serving(in_turn(redirect("/there"), echo)) as site:
        node = HTTPNode(site.url, auth=Bearer("s3cret"), headers={"X-Other": "1"})
        result = await result_of(node)
    assert result["data"]["headers"]["authorization"] == "Bearer s3cret"
    assert result["data"]["headers"]["x-other"] == "1"


async def test_credentials_do_not_go_to_what_data_name() -> None:
    """An item's own address gets neither ``auth`` nor ``headers`` of the node."""
    async with serving(echo) as other, serving(echo) as site:
        node = HTTPNode(site.url, auth=Bearer("s3cret"), headers=SECRET_HEADERS, allow_private=True)
        result = await result_of(node, other.url)
        assert "cret" not in str(result["data"])
        assert "s3cret" in str(await result_of(node, "/own"))


async def test_cookies_of_one_answer_are_not_sent_with_the_next_request() -> None:
    """Cookies of one item are not sent for another."""
    async with serving(in_turn(reply(1, headers={"Set-Cookie": "a=b; Path=/"}), echo)) as site:
        # Under a name: cookies of a numeric address are never kept.
        url = f"http://localhost:{site.port}/"
        node = ParallelHTTPNode(url, reads="items", writes="found", max_workers=1)
        shared: dict[str, Any] = {"items": [None, None]}
        await node.run_async(shared)
    assert "cookie" not in shared["found"][1]["data"]["headers"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, and its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=loopback -addext subjectAltName=IP:127.0.0.1 -keyout both.pem -out cert.pem"
    )
    ran(*command.split(), cwd=path.parent, check=True)
    with path.open("a") as both:
        both.write((path.parent / "cert.pem").read_text())
    return path


def tls(certificate: Path, server: bool) -> ssl.SSLContext:
    if not server:
        return ssl.create_default_context(cafile=str(certificate.parent / "cert.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


async def test_credentials_do_not_go_from_https_to_http(certificate: Path) -> None:
    """They would be read on the way."""
    async with (
        serving(echo) as plain,
        serving(redirect(plain.url), tls(certificate, True)) as site,
    ):
        node = HTTPNode(
            site.url, auth=Bearer("s3cret"), headers=SECRET_HEADERS, allow_private=True,
            ssl_context=tls(certificate, False),
        )  # fmt: skip
        result = await result_of(node)
    assert "s3cret" in str(site.asked[0].headers)
    assert "cret" not in str(result["data"])


async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    """Unless the program brings what vouches for it; it is not tried again."""
    async with serving(echo, tls(certificate, True)) as site:
        with (
            capture_events() as events,
            pytest.raises(HTTPConnectionError, match="certificate verify failed"),
        ):
            await result_of(HTTPNode(site.url))
        assert not any(isinstance(event, ItemRetried) for event in events)
        node = HTTPNode(site.url, ssl_context=tls(certificate, False))
        assert (await result_of(node))["success"]


# What a run holds open


class Watched(HTTPNode):
    """Keeps the session of its last run."""

    session: Any = None

    async def exec(self, item: Any, /) -> Any:
        Watched.session = self.resource._session.http
        return await super().exec(item)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def server_tasks() -> set[Any]:
    return {task for task in asyncio.all_tasks() if "RequestHandler" in repr(task.get_coro())}


async def test_the_nodes_of_a_run_share_a_session_and_its_connections() -> None:
    """Requests one after another use one connection; a second run opens its own."""
    async with serving(echo) as site:
        first, second = HTTPNode(site.url), HTTPNode(site.url)
        batch = ParallelHTTPNode(site.url, reads="items", max_workers=1)
        first >> batch >> second
        for runs in (1, 2):
            await Graph(first).run_async({"items": [None] * 5})
            await site.left_alone()
            assert len(site.asked) == 7 * runs
            assert site.connections == runs


async def test_requests_at_once_have_a_connection_each_and_no_more() -> None:
    """Connections are reused by later requests."""
    async with serving(echo) as site:
        node = ParallelHTTPNode(site.url, reads="items", max_workers=5)
        await node.run_async({"items": [None] * 50})
    assert site.most <= 5
    assert site.connections <= 5


@pytest.mark.parametrize("end", ["success", "failure", "cancellation"])
async def test_the_session_is_closed_with_the_run_however_it_ends(end: str) -> None:
    """The server sees the connections close, and no file is left open."""
    begun = asyncio.Event()

    async def wait(_: web.BaseRequest) -> web.Response:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    answer = {"success": echo, "failure": reply(None, 404), "cancellation": wait}[end]
    async with serving(in_turn(echo, answer)) as site:
        before, tasks = open_files(), asyncio.all_tasks()
        first, second = Watched(site.url), Watched(site.url, raise_for_status=True)
        first >> second
        task = asyncio.ensure_future(Graph(first).run_async({}))
        if end == "cancellation":
            await begun.wait()
            task.cancel()
        expected = {"failure": HTTPStatusError, "cancellation": asyncio.CancelledError}
        if end in expected:
            with pytest.raises(expected[end]):
                await task
        else:
            await task
        assert Watched.session.closed
        assert len(site.asked) == 2
        await site.left_alone()
        assert open_files() <= before
        assert asyncio.all_tasks() - tasks <= server_tasks()


async def test_a_lost_answer_does_not_leave_its_connection() -> None:
    """Neither one that broke off nor one that was too large comes back into the pool."""
    async with serving(in_turn(reply(b"x" * 1_000_000), echo)) as site:
        node = ParallelHTTPNode(
            site.url, reads="items", writes="found", max_workers=1, max_bytes=10_000,
            on_error="collect",
        )  # fmt: skip
        shared: dict[str, Any] = {"items": ["/large", "/small"]}
        await node.run_async(shared)
        assert isinstance(shared["found"][0].error, HTTPBodyError)
        assert shared["found"][1]["data"]["path"] == "/small"
        await site.left_alone()


def test_a_second_run_in_another_loop_works() -> None:
    """The node object is the same; nothing of it belongs to the first loop."""
    node = HTTPNode(method="POST", reads="item", writes="result", headers={"User-Agent": "b"})

    async def main() -> Any:
        async with serving(echo) as site:
            node.url = site.url
            return await result_of(node, {"json": 1})

    assert [asyncio.run(main())["data"]["body"] for _ in range(3)] == ["1"] * 3


def test_a_run_without_a_loop_works() -> None:
    """``run`` has its own loop, here next to the one in which the server runs."""

    async def main() -> Any:
        async with serving(echo) as site:
            shared: dict[str, Any] = {}
            node = HTTPNode(site.url, writes="result")
            await asyncio.to_thread(node.run, shared)
            return shared["result"]

    assert asyncio.run(main())["success"]


async def test_runs_at_once_of_the_same_node_do_not_mix() -> None:
    """Each has its own session and its own items."""
    async with serving(echo) as site:
        node = HTTPNode(site.url, reads="item", writes="result")
        shareds: list[dict[str, Any]] = [{"item": f"/{number}"} for number in range(10)]
        await asyncio.gather(*[node.run_async(shared) for shared in shareds])
        paths = [shared["result"]["data"]["path"] for shared in shareds]
    assert paths == [f"/{number}" for number in range(10)]


async def test_nodes_that_trust_other_addresses_do_not_share_a_session() -> None:
    """What one may ask is not for another."""
    async with serving(echo) as site, serving(echo) as other:
        first = Watched(site.url)
        second = HTTPNode(reads="url", name="Second")
        first >> second
        with pytest.raises(HTTPRequestError, match="not a public address"):
            await Graph(first).run_async({"url": site.url})
        with pytest.raises(HTTPRequestError, match="not a public address"):
            await Graph(first).run_async({"url": other.url})


def cancelled_everywhere(make: Callable[[str], Any], answers: Callable[[], Any]) -> int:
    """Run a node with a real server, cancelled one step of the loop later each time, until it
    ends by itself; return how often it was."""

    async def main(step: int) -> bool:
        async with serving(answers()) as site:
            before = open_files()
            task = asyncio.ensure_future(make(site.url))
            loop = asyncio.get_running_loop()
            left = step

            def tick() -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    task.cancel()
                elif not task.done():
                    loop.call_soon(tick)

            loop.call_soon(tick)
            await asyncio.wait([task])
            assert asyncio.all_tasks() - {asyncio.current_task()} <= server_tasks()
            await site.left_alone()
            assert open_files() <= before
            if not task.cancelled():
                task.result()
            return task.cancelled()

    step = 1
    while asyncio.run(main(step)):
        step += 1
    return step - 1


def test_a_run_that_is_cancelled_at_any_step_leaves_nothing() -> None:
    """No task, no socket, no session, wherever it stood: connecting, sending, reading."""

    async def run(url: str) -> None:
        node = ParallelHTTPNode(url, reads="items", writes="found", wait=0)
        await node.run_async({"items": ["/a", {"url": "/b", "method": "POST", "json": [1]}]})

    def answers() -> Any:
        large = reply({"rows": list(range(2000))})
        return in_turn(reply(None, 503), redirect("/c", 307), large)

    assert cancelled_everywhere(run, answers) > 20
