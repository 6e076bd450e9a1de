"""Pages and lines of answers, as sources of items, from a real server on loopback."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from kaygraph import AsyncNode, Drop, Graph, ParallelBatchNode, Retry, RunReport
from kaygraph.nodes import (
    Bearer,
    Cursor,
    HTTPBodyError,
    HTTPLines,
    HTTPNode,
    HTTPPages,
    HTTPStatusError,
    HTTPTimeoutError,
    LinkHeader,
    Offset,
    PageNumber,
)
from kaygraph.testing import assert_accounted

pytestmark = pytest.mark.anyio

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
NUMBERS = list(range(25))


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """Serve a handler on a port the system picks, at every path; yield the address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/"
    finally:
        await runner.cleanup()


async def all_of(node: Any, url: str | None = None) -> Any:
    shared: dict[str, Any] = {}
    node.writes = "items"
    await node.run_async(shared)
    return shared["items"]


def slice_of(request: web.Request, size: int = 10) -> tuple[int, list[int]]:
    start = int(request.query.get("start", 0))
    return start, NUMBERS[start : start + size]


async def by_link(request: web.Request) -> web.Response:
    start, items = slice_of(request)
    links = ['</?start=0>; rel="first"']
    if start + 10 < len(NUMBERS):
        links.append(f'</?start={start + 10}&x=1,2>; title="a, b"; rel="last next"')
    response = web.json_response(items)
    for link in links:
        response.headers.add("Link", link)
    return response


async def by_cursor(request: web.Request) -> web.Response:
    start, items = slice_of(request)
    following = str(start + 10) if start + 10 < len(NUMBERS) else None
    return web.json_response({"data": {"rows": items}, "meta": {"next": following}})


async def by_offset(request: web.Request) -> web.Response:
    start, size = int(request.query["offset"]), int(request.query["limit"])
    return web.json_response(NUMBERS[start : start + size])


async def by_number(request: web.Request) -> web.Response:
    page = int(request.query["page"])
    return web.json_response(NUMBERS[10 * (page - 1) : 10 * page])


@pytest.mark.parametrize(
    ("handler", "pagination", "items"),
    [
        (by_link, LinkHeader(), ""),
        (by_cursor, Cursor("meta.next", "start"), "data.rows"),
        (by_offset, Offset(10), ""),
        (by_offset, Offset(5), ""),
        (by_number, PageNumber(), ""),
    ],
)
async def test_every_way_to_page_gives_each_item_once_and_in_order(
    handler: Handler, pagination: Any, items: str
) -> None:
    """Whatever names the next page, the items are those of the server."""
    async with serving(handler) as url:
        assert await all_of(HTTPPages(url, pagination, items=items)) == NUMBERS


async def test_a_cursor_may_be_a_whole_url() -> None:
    """Cursor(at, param=None) follows the address that the answer holds."""

    async def handler(request: web.Request) -> web.Response:
        start, items = slice_of(request)
        following = f"/more?start={start + 10}" if start + 10 < len(NUMBERS) else ""
        return web.json_response({"items": items, "next": following})

    async with serving(handler) as url:
        pages = HTTPPages(url, Cursor("next", param=None), items="items")
        assert await all_of(pages) == NUMBERS


async def test_pages_stream_into_the_next_stage_and_are_asked_for_in_their_turn() -> None:
    """The second page is not asked for before the items of the first have been taken up."""
    asked: list[str] = []
    seen: list[tuple[int, int]] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.query["page"])
        return await by_number(request)

    class Note(AsyncNode[Any, Any]):
        async def exec(self, item: int, /) -> int:
            seen.append((item, len(asked)))
            return item

    async with serving(handler) as url:
        shared: dict[str, Any] = {}
        await Graph(HTTPPages(url, PageNumber(), writes="report") | Note()).run_async(shared)
    assert [item for item, _ in seen] == NUMBERS
    assert seen[0][1] < 4
    assert shared["report"].ok == 4


async def test_the_items_are_an_async_iterable() -> None:
    """node.stream yields an outcome a page, and leaving early closes all."""
    async with serving(by_number) as url:
        node = HTTPPages(url, PageNumber())
        async for outcome in node.stream({}):
            assert outcome.value == NUMBERS[:10]
            break


async def test_a_page_that_fails_once_is_asked_for_again() -> None:
    """Retries are those of the node, per page, and no item is doubled."""
    failed: set[str] = set()

    async def handler(request: web.Request) -> web.Response:
        page = request.query["page"]
        if page not in failed:
            failed.add(page)
            return web.Response(status=503, headers={"Retry-After": "0"})
        return await by_number(request)

    async with serving(handler) as url:
        report = RunReport()
        shared: dict[str, Any] = {}
        await HTTPPages(url, PageNumber(), writes="items").run_async(shared, observers=[report])
    assert shared["items"] == NUMBERS
    assert report.retries == 4
    assert_accounted(report)


async def test_a_page_that_cannot_be_had_ends_the_run_with_its_error() -> None:
    """404 is not tried again; what it says is in the error, with the page."""

    async def handler(request: web.Request) -> web.Response:
        if request.query["page"] == "2":
            return web.Response(status=404)
        return await by_number(request)

    async with serving(handler) as url:
        with pytest.raises(HTTPStatusError, match=r"answered 404") as caught:
            await all_of(HTTPPages(url, PageNumber()))
    assert caught.value.status == 404


async def test_a_page_that_cannot_be_had_is_the_last_one_where_failures_are_borne() -> None:
    """With on_error="collect" the run ends, and an Outcome takes the place of the page."""

    async def handler(request: web.Request) -> web.Response:
        if request.query["page"] == "2":
            return web.Response(status=404)
        return await by_number(request)

    async with serving(handler) as url:
        items = await all_of(HTTPPages(url, PageNumber(), on_error="collect"))
    assert items[:10] == NUMBERS[:10]
    assert len(items) == 11
    assert items[10].status == "failed"


@pytest.mark.parametrize(
    ("answer", "match"),
    [({"rows": 5}, "no list at items='rows'"), ([1], "no list at items"), ("x", "no list")],
)
async def test_a_page_without_items_is_an_error(answer: Any, match: str) -> None:
    """If there is no list in the place of the items, the run fails and says so."""

    async def handler(request: web.Request) -> web.Response:
        return web.json_response(answer)

    async with serving(handler) as url:
        with pytest.raises(HTTPBodyError, match=match):
            await all_of(HTTPPages(url, PageNumber(), items="rows"))


async def test_a_page_that_names_itself_as_the_next_is_an_error() -> None:
    """A server that goes in a circle of one does not keep the run for ever."""

    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"items": [1], "next": "same"})

    async with serving(handler) as url:
        with pytest.raises(HTTPBodyError, match="names itself"):
            await all_of(HTTPPages(url, Cursor("next"), items="items"))


async def test_more_pages_than_allowed_are_an_error() -> None:
    """max_pages bounds a server that never comes to an end."""

    async def handler(request: web.Request) -> web.Response:
        return web.json_response([1])

    async with serving(handler) as url:
        with pytest.raises(HTTPBodyError, match="more than max_pages=3"):
            await all_of(HTTPPages(url, PageNumber(), max_pages=3))


async def test_a_next_page_elsewhere_gets_no_credentials() -> None:
    """The address of a next page is data: another origin is requested without secrets."""
    received: list[dict[str, str]] = []

    async def elsewhere(request: web.Request) -> web.Response:
        received.append(dict(request.headers))
        return web.json_response([2])

    async with serving(elsewhere) as other:

        async def home(request: web.Request) -> web.Response:
            received.append(dict(request.headers))
            return web.json_response([1], headers={"Link": f'<{other}>; rel="next"'})

        async with serving(home) as url:
            pages = HTTPPages(
                url, auth=Bearer("hush"), headers={"X-Secret": "hush"}, allow_private=True
            )
            assert await all_of(pages) == [1, 2]
            with pytest.raises(ValueError, match="not a public address"):
                await all_of(HTTPPages(url))
    assert received[0]["Authorization"] == "Bearer hush"
    assert "hush" not in str(received[1])


async def lines_of(lines: list[bytes], request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.enable_compression()
    await response.prepare(request)
    for line in lines:
        await response.write(line)
    await response.write_eof()
    return response


async def test_lines_are_items_one_by_one() -> None:
    """Each line of JSON is an item, in order, blank ones left out, the last with or without end."""
    lines = [b'{"a": 1}\n{"a"', b": 2}\r\n", b"\n", b"[3]"]
    async with serving(partial(lines_of, lines)) as url:
        assert await all_of(HTTPLines(url)) == [{"a": 1}, {"a": 2}, [3]]


async def test_a_line_that_is_not_json_is_an_item_that_fails() -> None:
    """on_error counts it; the lines after it are read."""
    lines = [b'{"a": 1}\n', b"{oops\n", b'{"a": 2}\n']
    async with serving(partial(lines_of, lines)) as url:
        assert await all_of(HTTPLines(url, on_error="skip")) == [{"a": 1}, {"a": 2}]
        with pytest.raises(HTTPBodyError, match="a line is not JSON") as caught:
            await all_of(HTTPLines(url))
    assert "item 1" in caught.value.__notes__[0]


async def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    """A line longer than max_line ends the run."""
    lines = [b"[1]\n", b"x" * 3000]
    async with serving(partial(lines_of, lines)) as url:
        with pytest.raises(HTTPBodyError, match="longer than max_line=1000 bytes"):
            await all_of(HTTPLines(url, max_line=1000))


async def test_a_stream_without_an_end_is_read_as_far_as_wanted() -> None:
    """Its reader leaves, and the server sees the connection go."""
    gone = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            number = 0
            while True:
                await response.write(json.dumps(number).encode() + b"\n")
                number += 1
                await asyncio.sleep(0)
        except ConnectionError:
            gone.set()
            raise

    class Double(ParallelBatchNode[Any, Any]):
        async def exec(self, number: int, /) -> int:
            return 2 * number

    async with serving(handler) as url:
        pipeline = HTTPLines(url) | Double(max_workers=2)
        taken = []
        async for number in pipeline.stream({}):
            taken.append(number)
            if len(taken) == 100:
                break
        assert taken == [2 * number for number in range(100)]
        async with asyncio.timeout(10):
            await gone.wait()


async def test_lines_of_an_answer_without_success_are_an_error() -> None:
    """A status from 400 is not a stream of items."""

    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"error": "no"}, status=403)

    async with serving(handler) as url:
        with pytest.raises(HTTPStatusError, match="answered 403") as caught:
            await all_of(HTTPLines(url))
    assert caught.value.result["data"] == {"error": "no"}


def test_a_wrong_pagination_is_refused_at_construction() -> None:
    """The error names what there is."""
    with pytest.raises(ValueError, match=r"LinkHeader\(\), Cursor"):
        HTTPPages("http://example.com", "cursor")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="size must be at least 1"):
        Offset(0)


async def test_lines_that_take_longer_than_total_timeout_are_an_error_of_the_node() -> None:
    """Even if the time runs out while a line is processed: nobody has cancelled the run."""

    class Slow(HTTPLines):
        async def exec(self, line: bytes, /) -> Any:
            await asyncio.sleep(0.1)
            return line

    async def lines(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"1\n" * 3)
        await asyncio.Event().wait()
        return response

    async with serving(lines) as url:
        with pytest.raises(HTTPTimeoutError, match=r"total_timeout=0\.15"):
            await Slow(url, total_timeout=0.15).run_async({})


@pytest.mark.parametrize("hook", ["fallback", "drop", "later"])
async def test_a_page_that_a_subclass_gives_up_is_the_last_one(hook: str) -> None:
    """Whatever its hooks make of it, nothing waits for the page after it; errors are their own."""

    class Pages(HTTPPages):
        async def exec(self, page: Any, /) -> AsyncIterator[Any]:
            if hook == "drop" and page.request.params["page"] == 2:
                raise Drop
            async for item in super().exec(page):
                if hook == "later" and item == 2:
                    raise ValueError("no 2")
                yield item

        if hook == "fallback":

            def exec_fallback(self, page: Any, exc: Exception, /) -> Any:
                return []

    async def page(request: web.Request) -> web.Response:
        number = int(request.query["page"])
        bad = hook == "fallback" and number == 2
        return web.json_response([number] if number < 4 else [], status=404 if bad else 200)

    async with serving(page) as url, asyncio.timeout(5):
        node = Pages(url, PageNumber(), on_error="collect")
        items = await all_of(node)
    if hook == "later":
        assert (items[0], str(items[1].error), items[2]) == (1, "no 2", 3)
    else:
        assert items == [1]


async def test_a_page_that_a_plain_coroutine_gives_up_is_the_last_one() -> None:
    """Written so, and with no attempts or limits, exec could be awaited as it is: it is not."""

    class Pages(HTTPPages):
        retry = None

        async def exec(self, page: Any, /) -> list[Any]:  # type: ignore[override]
            return [item async for item in super().exec(page)]

    async def page(request: web.Request) -> web.Response:
        number = int(request.query["page"])
        return web.json_response([number], status=200 if number < 3 else 404)

    async with serving(page) as url, asyncio.timeout(5):
        assert await all_of(Pages(url, PageNumber(), on_error="skip")) == [1, 2]


async def test_a_page_that_is_asked_for_again_leads_on_once() -> None:
    """A subclass may fail after the answer has named the next page."""
    failed = []

    class Pages(HTTPPages):
        retry = Retry(attempts=2, on=ValueError)

        async def exec(self, page: Any, /) -> AsyncIterator[Any]:
            async for item in super().exec(page):
                if item == 2 and not failed:
                    failed.append(item)
                    raise ValueError("no 2")
                yield item

    async def page(request: web.Request) -> web.Response:
        number = int(request.query["page"])
        return web.json_response([number] if number < 4 else [])

    async with serving(page) as url:
        assert await all_of(Pages(url, PageNumber())) == [1, 2, 3]
    assert failed == [2]


async def test_a_link_is_relative_to_the_page_that_names_it() -> None:
    """And not to the node's address; the query of the first page is not added again."""
    asked = []

    async def page(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        more = len(asked) == 1
        links = '</x>; rel="nextfoo", <?page=2>; rel="prev next"'
        return web.json_response([len(asked)], headers={"Link": links} if more else {})

    async with serving(page) as url:
        node = HTTPPages(url + "v1/", reads="path", params={"a": 1}, writes="items")
        shared: dict[str, Any] = {"path": "users"}
        await node.run_async(shared)
    assert (shared["items"], asked) == ([1, 2], ["/v1/users?a=1", "/v1/users?page=2"])


async def test_a_whole_line_that_is_too_long_is_an_error() -> None:
    """Its end may have come in the same piece."""

    async def lines(request: web.Request) -> web.Response:
        return web.Response(body=b"1\n" + b"2" * 50 + b"\n3\n")

    async with serving(lines) as url:
        with pytest.raises(HTTPBodyError, match="longer than max_line=20 bytes"):
            await all_of(HTTPLines(url, max_line=20))


def test_lines_have_no_end_by_default() -> None:
    """Neither in bytes nor in seconds."""
    node = HTTPLines("http://h/")
    assert (node.max_bytes, node.total_timeout) == (None, None)


async def test_lines_are_asked_for_uncompressed() -> None:
    """On a quiet stream, a compressed line may arrive late."""
    asked = []

    async def lines(request: web.Request) -> web.Response:
        asked.append(request.headers["Accept-Encoding"])
        return web.Response(body=b"1\n")

    async with serving(lines) as url:
        assert await all_of(HTTPLines(url)) == [1]
        await all_of(HTTPLines(url, headers={"accept-encoding": "gzip"}))
        await HTTPNode(url).run_async({})
    assert asked == ["identity", "gzip", "gzip, deflate"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_lines_that_are_compressed_all_the_same_come_as_they_are_sent(encoding: str) -> None:
    """Each is there when the server has flushed it, however large what came with it."""
    taken = asyncio.Semaphore(0)
    sizes = [1, 10, 64 * 1024, 64 * 1024 - 3, 200_000]

    async def lines(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Encoding": encoding})
        await response.prepare(request)
        window = zlib.MAX_WBITS | (16 if encoding == "gzip" else 0)
        stream = zlib.compressobj(wbits=window)
        for size in sizes:
            line = b'"' + b"x" * size + b'"\n'
            await response.write(stream.compress(line) + stream.flush(zlib.Z_SYNC_FLUSH))
            await taken.acquire()  # the next one only when this one has come
        await response.write(stream.flush())
        return response

    seen = []
    async with serving(lines) as url:
        async for outcome in HTTPLines(url).stream({}):
            seen.append(len(outcome.value))
            taken.release()
    assert seen == sizes


async def test_lines_of_an_event_stream_are_the_data_of_its_events() -> None:
    """With comments, types and ends of any kind; an event may have several lines."""

    async def stream(request: web.Request) -> web.Response:
        body = b': hi\r\n\r\ndata: {"n":\rdata: 1}\r\revent: x\ndata: 2\n\ndata:\n\ndata: 3\n'
        return web.Response(body=body, content_type="text/event-stream")

    async with serving(stream) as url:
        assert await all_of(HTTPLines(url)) == [{"n": 1}, 2]
        with pytest.raises(HTTPBodyError, match="longer than max_line=5 bytes"):
            await all_of(HTTPLines(url, max_line=5))
