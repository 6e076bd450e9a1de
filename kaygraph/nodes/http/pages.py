"""Answers that come in pages, or line by line: sources of items."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Unpack

from yarl import URL

from ..._validation import check_count
from ...batch.batch import BatchNode
from ...limits.slots import Slot
from ...node.facts import resource_of
from ...node.settings import Checks
from ...run.frame import Frame
from .._json import decode
from .._store import StoreBatchSettings, configure
from ._addresses import HTTPRequestError, joined
from ._content import as_json
from ._decoding import HTTPBodyError
from ._urls import as_safe
from .asking import ClientSettings, Requesting, check_text
from .client import EVENT_STREAM, UNCOMPRESSED, Client
from .messages import HTTPResult, HTTPStatusError, Params, Request
from .pagination import LinkHeader, Offset, PageNumber, Pagination, has, value_at

MAX_PAGES = 10_000


class HTTPPagesSettings(StoreBatchSettings, ClientSettings, total=False):
    """What HTTPPages takes beside its own arguments."""

    params: Params


@dataclass(frozen=True)
class Page:
    """A page that is to be asked for, and where its answer says which comes after it."""

    request: Request
    following: "asyncio.Future[Request | None]" = field(repr=False)
    before: list[Any] = field(repr=False)  # what the page before it held
    held: list[Any] = field(default_factory=list, init=False, repr=False)

    def __repr__(self) -> str:
        return repr(self.request)


def check_pagination(name: str, value: Any) -> Any:
    if not isinstance(value, Pagination):
        raise ValueError(
            f"{name} must be LinkHeader(), Cursor(at), Offset(size) or PageNumber(), got {value!r}"
        )
    return value


class HTTPPages(Requesting, BatchNode[Page, Any]):
    """The items of an API that answers in pages: ``HTTPPages(url, Offset(100), items="data")``.

    A page is asked for when its turn comes, with the retries, limits and time limits of the node;
    its items are results one by one, in order: as the first stage of a pipeline they stream on,
    ``node.stream(shared)`` is an async iterable, and ``writes`` gets the list of all. A page that
    cannot be had is the last one: what comes after it cannot be known.

    Args:
        url: The address of the first page, and the origin that ``auth`` and ``headers`` are for.
        pagination: LinkHeader(), Cursor(at), Offset(size) or PageNumber(); LinkHeader by default.
        items: Where the list of items stands in the JSON, with dots; "" where the JSON is the list.
        max_pages: More are an error: 10,000 by default.

    ``reads`` may name what goes into the first request; the other settings are those of HTTPNode
    and BatchNode.

    Raises:
        HTTPError: From a run, when a page cannot be had.
        HTTPBodyError: A page does not hold what ``items`` and ``pagination`` say.
    """

    pagination: Pagination = LinkHeader()
    items: str = ""
    max_pages: int = MAX_PAGES

    is_source = True
    _accepts: ClassVar[frozenset[str]] = frozenset(
        {*HTTPPagesSettings.__annotations__, "url", "pagination", "items", "max_pages"}
    )
    _checks: ClassVar[Checks] = {
        "pagination": check_pagination,
        "items": check_text,
        "max_pages": check_count,
    }

    def __init__(
        self,
        url: str | None = None,
        pagination: Pagination | None = None,
        *,
        items: str | None = None,
        max_pages: int | None = None,
        **settings: Unpack[HTTPPagesSettings],
    ) -> None:
        own = {"url": url, "pagination": pagination, "items": items, "max_pages": max_pages}
        configure(self, own, settings)

    async def prep(self, shared: Any, /) -> AsyncIterator[Page]:
        """Yield the pages; each answer says which comes next."""
        loop = asyncio.get_running_loop()
        request = self.request(super().prep(shared))
        if not request.url:
            request = replace(request, url=str(resource_of(self).base or ""))
        request = self.pagination.first(request)
        asked, before = set[int](), list[Any]()
        for _ in range(self.max_pages):
            page = Page(request, loop.create_future(), before)
            yield page
            following, before = await page.following, page.held
            if following is None:
                return
            asked.add(self._known(request))
            if self._known(following) == self._known(request):
                raise HTTPBodyError(f"{request!r} names itself as the page after it")
            if self._known(following) in asked:
                raise HTTPBodyError(
                    f"{request!r} names {following!r} as the page after it, which came before: "
                    "the pages go round in a circle"
                )
            request = following
        raise HTTPBodyError(f"there are more than max_pages={self.max_pages} pages")

    async def exec(self, page: Page, /) -> AsyncIterator[Any]:
        """Ask for a page and yield its items."""
        client: Client = resource_of(self)
        result, url = await client.asked(page.request, raise_for_status=True)
        result["data"] = as_json(result["data"], self.max_depth)
        items = self._items(page.request, result)
        if not page.following.done():  # it is another attempt: a subclass failed after the answer
            self._check_new(page, items)
            page.held[:] = items
            page.following.set_result(self._following(page.request, url, result, len(items)))
        for item in items:
            yield item

    def _check_new(self, page: Page, items: list[Any]) -> None:
        """Refuse records that have come before: a server may not know what the pages count."""
        param = getattr(self.pagination, "param", None)
        told = "total" if isinstance(self.pagination, Offset) else "pages"
        counted = isinstance(self.pagination, Offset | PageNumber)
        records = len(items) > 1 and all(isinstance(item, dict) for item in items)
        if counted and records and items == page.before:
            raise HTTPBodyError(
                f"{page.request!r} answered the same items as the page before it: does the server "
                f"know {param!r}? If it repeats its last page, say {told}="
            )

    def _items(self, request: Request, result: HTTPResult) -> list[Any]:
        data = result["data"]
        items = value_at(data, self.items)
        if items is None and (result["status_code"] == 204 or self._is_null(result)):
            return []  # how some languages write a list without items
        if not isinstance(items, list):
            where = f"no list at items={self.items!r}" if self.items else "JSON that is no list"
            raise HTTPBodyError(f"{request!r} answered {where}")
        return items

    def _is_null(self, result: HTTPResult) -> bool:
        if self.items:
            return has(result["data"], self.items)
        return result["headers"].get("content-length", "0") != "0"  # the data of no body is None

    def _following(
        self, request: Request, url: URL, result: HTTPResult, items: int
    ) -> Request | None:
        following = self.pagination.following(request, result, items)
        if following is None:
            return None
        if following.url != request.url:  # relative to what has answered, after redirects
            try:
                there = as_safe(url, joined(url, following.url))
                following = replace(following, url=str(there))
            except HTTPRequestError as error:
                text = f"{request!r} names a next page that cannot be asked: {error}"
                raise HTTPBodyError(text) from None
        if not items and self._known(following) == self._known(request):
            return None  # a last page that is empty, and names itself
        return following

    def _known(self, request: Request) -> int:
        """Return by what a request is known again."""
        client: Client = resource_of(self)
        return hash(
            (str(client.url_of(request)), request.verb, repr(request.json), repr(request.data))
        )

    async def run_item(self, page: Page, index: int | None, frame: Frame, slot: Slot) -> Any:
        """There is no page after one that cannot be had, whatever is made of that."""
        try:
            return await super().run_item(page, index, frame, slot)
        finally:
            if not page.following.done():
                page.following.set_result(None)

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Write the items of all pages; a page that failed is an Outcome in its place."""
        if isinstance(exec_res, list):
            pages = [page if isinstance(page, list) else [page] for page in exec_res]
            exec_res = [item for page in pages for item in page]
        return super().post(shared, prep_res, exec_res)


class HTTPLines(Requesting, BatchNode[bytes, Any]):
    """The lines of an answer, each JSON, as they come: logs, exports, streams without an end.

    Of a ``text/event-stream`` they are the data of its events. The server is asked not to compress:
    what is compressed on the way may come a line late.

    The body is read as fast as its reader takes it up: it may be larger than memory, so
    ``max_bytes`` and ``total_timeout`` are None by default. A line that is not JSON is an item
    that fails; ``on_error`` says what then. Blank lines are left out. The request is made once:
    what has been taken up already cannot be asked for again.

    Args:
        url, method, …: As for HTTPNode.
        max_line: The longest line in bytes; 1 MiB by default.
    """

    max_bytes = None
    total_timeout = None
    max_line = 1024 * 1024

    is_source = True
    _accepts: ClassVar[frozenset[str]] = frozenset(
        {*HTTPPagesSettings.__annotations__, "url", "method", "max_line"}
    )
    _checks: ClassVar[Checks] = {"max_line": check_count}

    def __init__(
        self,
        url: str | None = None,
        *,
        method: str | None = None,
        max_line: int | None = None,
        **settings: Unpack[HTTPPagesSettings],
    ) -> None:
        configure(self, {"url": url, "method": method, "max_line": max_line}, settings)

    async def prep(self, shared: Any, /) -> AsyncIterator[bytes]:
        """Yield the lines.

        Raises:
            HTTPStatusError: The answer is no success.
        """
        request = self.request(super().prep(shared))
        request = replace(request, headers={**UNCOMPRESSED, **request.headers})
        async with resource_of(self).open(request) as answer:
            if not answer.success:
                result = await answer.result(self.max_depth, asyncio.get_running_loop().time())
                raise HTTPStatusError(repr(answer), result)
            if answer.content_type == EVENT_STREAM:
                async with aclosing(answer.events(self.max_line)) as events:
                    async for event in events:
                        if event.data.strip():
                            yield event.data
                return
            async with aclosing(answer.lines(self.max_line)) as lines:
                async for line in lines:
                    if line.strip():
                        yield line

    async def exec(self, line: bytes, /) -> Any:
        """Return what a line says."""
        try:
            return decode(line, self.max_depth)
        except ValueError as error:
            raise HTTPBodyError(f"a line is not JSON: {error}") from error
