"""How one page leads to the next, at servers of every kind."""

import json
from typing import Any

import pytest
from aiohttp import web

from kaygraph.nodes import Cursor, HTTPBodyError, HTTPPages, Offset, PageNumber
from tests.servers import serving

pytestmark = pytest.mark.anyio

NUMBERS = list(range(25))


async def all_of(node: Any) -> Any:
    shared: dict[str, Any] = {}
    node.writes = "items"
    await node.run_async(shared)
    return shared["items"]


@pytest.mark.parametrize("most", [50, 100, 30])
async def test_a_server_that_gives_fewer_than_it_is_asked_for_is_read_to_its_end(most: int) -> None:
    """A page is the last one when it is empty."""
    asked = []

    async def page(request: web.BaseRequest) -> web.Response:
        asked.append(start := int(request.query["offset"]))
        size = min(most, int(request.query["limit"]))
        return web.json_response({"data": list(range(130))[start : start + size]})

    async with serving(page) as site:
        assert await all_of(HTTPPages(site.url, Offset(100), items="data")) == list(range(130))
    assert asked == [*range(0, 130, most), 130]


async def test_a_page_may_hold_more_than_was_asked_for() -> None:
    """The place moves by as many as came."""
    asked = []

    async def page(request: web.BaseRequest) -> web.Response:
        asked.append(start := int(request.query["offset"]))
        return web.json_response(NUMBERS[start : start + 20])

    async with serving(page) as site:
        assert await all_of(HTTPPages(site.url, Offset(2))) == NUMBERS
    assert asked == [0, 20, 25]


@pytest.mark.parametrize(
    ("total", "in_header", "value"),
    [
        ("meta.total", False, 25), ("meta.total", False, "25"), ("meta.total", False, 25.0),
        ("meta.count.all", False, 25), ("X-Total-Count", True, 25),
        ("X-Total-Count", True, "items 0-9/25"),
    ],
)  # fmt: skip
async def test_a_total_saves_the_request_for_an_empty_page(
    total: str, in_header: bool, value: Any
) -> None:
    """It is in the JSON or in a header; no page after the last one is requested."""
    asked = []

    async def page(request: web.BaseRequest) -> web.Response:
        asked.append(start := int(request.query["offset"]))
        meta = {"total": value, "count.all": value}
        headers = {"x-total-count": str(value)} if in_header else {}
        data = {"items": NUMBERS[start : start + 10], "meta": {} if in_header else meta}
        return web.json_response(data, headers=headers)

    async with serving(page) as site:
        pages = HTTPPages(site.url, Offset(10, total=total), items="items")
        assert await all_of(pages) == NUMBERS
    assert asked == [0, 10, 20]


@pytest.mark.parametrize("value", [None, "many", True, 1.5, -1.5])
async def test_without_a_total_an_empty_page_is_the_last(value: Any) -> None:
    """Nothing is lost where a server stops telling it."""

    async def page(request: web.BaseRequest) -> web.Response:
        start = int(request.query["offset"])
        return web.json_response({"items": NUMBERS[start : start + 10], "total": value})

    async with serving(page) as site:
        assert (
            await all_of(HTTPPages(site.url, Offset(10, total="total"), items="items")) == NUMBERS
        )


@pytest.mark.parametrize("start", [0, 1, 7, 20])
async def test_a_total_may_count_what_stands_before_the_start(start: int) -> None:
    """A later start loses nothing, and then fewer than the total are not an error."""

    async def page(request: web.BaseRequest) -> web.Response:
        first = int(request.query["offset"])
        return web.json_response({"items": NUMBERS[first : first + 10], "total": 25})

    async with serving(page) as site:
        pages = HTTPPages(site.url, Offset(10, start=start, total="total"), items="items")
        assert await all_of(pages) == NUMBERS[start:]


async def test_pages_may_be_read_from_a_later_one_on() -> None:
    """Numbers count from one then."""
    asked = []

    async def page(request: web.BaseRequest) -> web.Response:
        asked.append(int(request.query["page"]))
        return web.json_response({"items": [asked[-1]], "pages": 4})

    async with serving(page) as site:
        pagination = PageNumber(start=3, pages="pages")
        assert await all_of(HTTPPages(site.url, pagination, items="items")) == [3, 4]
    assert asked == [3, 4]


async def test_fewer_items_than_the_total_are_an_error() -> None:
    """The error says what is missing."""

    async def page(request: web.BaseRequest) -> web.Response:
        start = int(request.query["offset"])
        return web.json_response({"items": NUMBERS[:10][start:], "total": 25})

    async with serving(page) as site:
        with pytest.raises(HTTPBodyError, match="says that there are 25 and 10 have come"):
            await all_of(HTTPPages(site.url, Offset(10, total="total"), items="items"))


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("pages", [None, "pages", "X-Pages"])
async def test_numbers_of_pages_begin_at_start(start: int, pages: str | None) -> None:
    """And end with an empty page, or with as many as the answer says."""
    asked = []

    async def page(request: web.BaseRequest) -> web.Response:
        asked.append(number := int(request.query["page"]))
        first = 10 * (number - start)
        if first > 20 and pages is not None:
            return web.json_response({"code": "invalid_page_number"}, status=400)
        data = {"items": NUMBERS[first : first + 10], **({"pages": 3} if pages == "pages" else {})}
        return web.json_response(data, headers={"X-Pages": "3"} if pages == "X-Pages" else {})

    async with serving(page) as site:
        pagination = PageNumber(start=start, pages=pages)
        assert await all_of(HTTPPages(site.url, pagination, items="items")) == NUMBERS
    assert len(asked) == (4 if pages is None else 3)


@pytest.mark.parametrize("pagination", [Offset(2), PageNumber()])
async def test_a_server_that_does_not_know_the_parameter_is_reported(pagination: Any) -> None:
    """It would answer the same page forever; none of its records is used twice."""

    async def page(request: web.BaseRequest) -> web.Response:
        return web.json_response([{"id": 1}, {"id": 2}])

    async with serving(page) as site:
        *items, last = await all_of(HTTPPages(site.url, pagination, on_error="collect"))
    assert items == [{"id": 1}, {"id": 2}]
    assert f"does the server know {pagination.param!r}?" in str(last.error)


async def test_what_the_address_says_of_the_page_gives_way() -> None:
    """The parameters of the pages stand in the query once; all else stays."""
    asked = []

    async def page(request: web.BaseRequest) -> web.Response:
        asked.append(request.path_qs)
        return web.json_response([1] if len(asked) == 1 else [])

    async with serving(page) as site:
        await all_of(HTTPPages(site.url + "x?limit=20&q=a%2Fb&offset=7", Offset(5)))
    assert asked == ["/x?q=a%2Fb&limit=5&offset=0", "/x?q=a%2Fb&limit=5&offset=1"]


@pytest.mark.parametrize(
    "link",
    [
        '</2>; rel="next"', "</2>;rel=next", "</2> ; REL = NEXT", '</2>; rel="last\tnext prev"',
        '</2>; title="say \\"hi\\", all"; rel="next"', '</2>; title="a; b, <c>"; rel="next"',
        ' , </1>; rel=prev ,, </2>; rel="next"', "</2>; rel='next'", '<2>; rel="next"',
        "</1>; rel=prev; rel=next, </2>; rel=next", "</1>; rel*=UTF-8''next, </2>; rel=next",
        '</1>; rel="nextpage", </2>; rel="next"', '</1>; rev="next", </2>; rel="next"',
        '</1>; rel=next; anchor="/other", </2>; rel=next', '</2>; rel=next; anchor="/"',
        '</1>; rel=next; anchor="#part", </2>; rel=next', '</2>; rel="next"; rel="prev"',
        '<//127.0.0.1:PORT/2>; rel="next"', '<http://127.0.0.1:PORT/2>; rel="next"',
        '</2>; foo; rel="next"; bar=', '</2>;; rel="next"', 'no link, </2>; rel="next"',
        '</2>; rel="next", </3>; rel="next"', '</1>; rel="http://h/next", </2>; rel="next"',
    ],
)  # fmt: skip
async def test_a_link_is_read_as_the_standard_says(link: str) -> None:
    """Quoted or not, with escapes, among others, with names in any case (RFC 8288)."""
    asked = []

    async def page(request: web.BaseRequest) -> web.Response:
        asked.append(request.path_qs)
        port = str(request.url.port)
        headers = {"Link": link.replace("PORT", port)} if len(asked) == 1 else {}
        return web.json_response([1], headers=headers)

    async with serving(page) as site:
        await all_of(HTTPPages(site.url))
    assert asked == ["/", "/2"]


@pytest.mark.parametrize("link", ["</2>", "</2>; rel=prev", "/2; rel=next", "</2; rel=next", '"'])
async def test_a_link_that_is_none_to_the_next_page_ends_the_pages(link: str) -> None:
    """Nothing is guessed."""
    asked = []

    async def page(request: web.BaseRequest) -> web.Response:
        asked.append(request.path_qs)
        return web.json_response([1], headers={"Link": link})

    async with serving(page) as site:
        assert await all_of(HTTPPages(site.url)) == [1]


async def test_a_link_is_relative_to_where_a_redirect_has_led() -> None:
    """As in a browser."""
    asked = []

    async def page(request: web.BaseRequest) -> web.Response:
        asked.append(request.path_qs)
        if request.path == "/items":
            return web.Response(status=307, headers={"Location": "/v2/items/?size=1"})
        more = {"Link": "<?page=2>; rel=next"} if "page" not in request.query else {}
        return web.json_response([1], headers=more)

    async with serving(page) as site:
        assert await all_of(HTTPPages(site.url + "items")) == [1, 1]
    assert asked == ["/items", "/v2/items/?size=1", "/v2/items/?page=2"]


async def test_pages_that_go_round_in_a_circle_are_an_error() -> None:
    """A server that names an earlier page would be read forever."""

    async def page(request: web.BaseRequest) -> web.Response:
        start = request.query.get("cursor", "a")
        return web.json_response({"items": [1], "next": {"a": "b", "b": "c", "c": "b"}[start]})

    async with serving(page) as site:
        with pytest.raises(HTTPBodyError, match="which came before"):
            await all_of(HTTPPages(site.url, Cursor("next"), items="items"))


@pytest.mark.parametrize("end", [None, "", False, "missing", "same"])
async def test_a_cursor_ends_where_nothing_new_is_named(end: Any) -> None:
    """Pages in the middle may be empty; the last may be, and then may name itself."""
    pages = {
        "0": ([1], "1"),
        "1": ([], "2"),
        "2": ([2], "3"),
        "3": ([], "3" if end == "same" else end),
    }

    async def page(request: web.BaseRequest) -> web.Response:
        items, following = pages[request.query.get("cursor", "0")]
        answer: dict[str, Any] = {"items": items, "next": following}
        if following == "missing":
            del answer["next"]
        return web.json_response(answer)

    async with serving(page) as site:
        assert await all_of(HTTPPages(site.url, Cursor("next"), items="items")) == [1, 2]


async def test_pages_may_be_json_without_saying_so() -> None:
    """And name the next page nevertheless."""

    async def page(request: web.BaseRequest) -> web.Response:
        following = "b" if "cursor" not in request.query else None
        return web.Response(text=json.dumps({"items": [1], "next": following}))

    async with serving(page) as site:
        assert await all_of(HTTPPages(site.url, Cursor("next"), items="items")) == [1, 1]


async def test_a_name_in_the_json_may_hold_dots() -> None:
    """As that of OData."""

    async def page(request: web.BaseRequest) -> web.Response:
        more = {} if "skip" in request.query else {"@odata.nextLink": "?skip=1"}
        return web.json_response({"a.b": {"value": [1]}, **more})

    async with serving(page) as site:
        pages = HTTPPages(site.url, Cursor("@odata.nextLink", None), items="a.b.value")
        assert await all_of(pages) == [1, 1]


@pytest.mark.parametrize("status", [200, 204])
async def test_a_page_without_a_list_may_say_that_it_is_empty(status: int) -> None:
    """By null, as some languages write an empty list, or by a status; an empty body does not."""

    async def page(request: web.BaseRequest) -> web.Response:
        if request.query["page"] == "1":
            return web.json_response({"items": [1]})
        if status == 204:
            return web.Response(status=204)
        return web.json_response({"items": None})

    async with serving(page) as site:
        assert await all_of(HTTPPages(site.url, PageNumber(), items="items")) == [1]

    async def nothing(request: web.BaseRequest) -> web.Response:
        return web.Response(content_type="application/json")

    async def null(request: web.BaseRequest) -> web.Response:
        return web.json_response(None)

    async with serving(nothing) as site:
        with pytest.raises(HTTPBodyError, match="JSON that is not a list"):
            await all_of(HTTPPages(site.url, PageNumber()))
    async with serving(null) as site:
        assert await all_of(HTTPPages(site.url, PageNumber())) == []
