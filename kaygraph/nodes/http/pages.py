"""Answers in pages or line by line, as sources of items."""

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
    """The settings of an HTTPPages, in addition to its own arguments."""

    params: Params


@dataclass(frozen=True)
class Page:
    """A page to request, and where its answer will say which page follows."""

    request: Request
    following: "asyncio.Future[Request | None]" = field(repr=False)
    before: list[Any] = field(repr=False)  # the items of the previous page
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

    A page is requested when its turn comes, with the retries, limits and time limits of the node;
    its items become results one by one, in order: as the first stage of a pipeline they stream on,
    ``node.stream(shared)`` is an async iterable, and ``writes`` gets the list of all. After a page
    that fails there is no other one, because its successor is unknown.

    Args:
        url: The address of the first page, and the origin for ``auth`` and ``headers``.
        pagination: LinkHeader(), Cursor(at), Offset(size) or PageNumber(); by default, LinkHeader.
        items: The place of the list of items in the JSON, with dots; "" if the JSON is the list.
        max_pages: The most pages; more are an error. By default, 10,000.

    ``reads`` may name data for the first request; the other settings are those of HTTPNode
    and BatchNode.

    Raises:
        HTTPError: From a run, when a page fails.
        HTTPBodyError: A page lacks what ``items`` and ``pagination`` describe.
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
        """Yield the pages; each answer says which one follows."""
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
                raise HTTPBodyError(f"{request!r} names itself as the next page")
            if self._known(following) in asked:
                raise HTTPBodyError(
                    f"{request!r} names {following!r} as the next page, which came before: "
                    "the pages form a cycle"
                )
            request = following
        raise HTTPBodyError(
            f"there are more than max_pages={self.max_pages} pages: narrow the request, or "
            "raise max_pages"
        )

    async def exec(self, page: Page, /) -> AsyncIterator[Any]:
        """Request a page and yield its items."""
        client: Client = resource_of(self)
        result, url = await client.asked(page.request, raise_for_status=True)
        result["data"] = as_json(result["data"], self.max_depth)
        items = self._items(page.request, result)
        if not page.following.done():  # another attempt: a subclass failed after the answer
            self._check_new(page, items)
            page.held[:] = items
            page.following.set_result(self._following(page.request, url, result, len(items)))
        for item in items:
            yield item

    def _check_new(self, page: Page, items: list[Any]) -> None:
        """Refuse repeated records: a server may not know the parameter that counts pages."""
        param = getattr(self.pagination, "param", None)
        name = "total" if isinstance(self.pagination, Offset) else "pages"
        counted = isinstance(self.pagination, Offset | PageNumber)
        records = len(items) > 1 and all(isinstance(item, dict) for item in items)
        if counted and records and items == page.before:
            raise HTTPBodyError(
                f"{page.request!r} answered the same items as the previous page: does the server "
                f"know {param!r}? If it repeats its last page, pass {name}="
            )

    def _items(self, request: Request, result: HTTPResult) -> list[Any]:
        data = result["data"]
        items = value_at(data, self.items)
        if items is None and (result["status_code"] == 204 or self._is_null(result)):
            return []  # how some languages serialise a list without items
        if not isinstance(items, list):
            where = f"no list at items={self.items!r}" if self.items else "JSON that is not a list"
            raise HTTPBodyError(f"{request!r} answered {where}")
        return items

    def _is_null(self, result: HTTPResult) -> bool:
        if self.items:
            return has(result["data"], self.items)
        return result["headers"].get("content-length", "0") != "0"  # an empty one has no data

    def _following(
        self, request: Request, url: URL, result: HTTPResult, items: int
    ) -> Request | None:
        following = self.pagination.following(request, result, items)
        if following is None:
            return None
        if following.url != request.url:  # relative to the final address, after redirects
            try:
                there = as_safe(url, joined(url, following.url))
                following = replace(following, url=str(there))
            except HTTPRequestError as error:
                text = f"{request!r} names a next page that cannot be requested: {error}"
                raise HTTPBodyError(text) from None
        if not items and self._known(following) == self._known(request):
            return None  # a last page that is empty, and names itself
        return following

    def _known(self, request: Request) -> int:
        """Return what identifies a request."""
        client: Client = resource_of(self)
        return hash(
            (str(client.url_of(request)), request.verb, repr(request.json), repr(request.data))
        )

    async def run_item(self, page: Page, index: int | None, frame: Frame, slot: Slot) -> Any:
        """There is no page after a failed one, whatever replaces it."""
        try:
            return await super().run_item(page, index, frame, slot)
        finally:
            if not page.following.done():
                page.following.set_result(None)

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Write the items of all pages; a failed page has an Outcome in its place."""
        if isinstance(exec_res, list):
            pages = [page if isinstance(page, list) else [page] for page in exec_res]
            exec_res = [item for page in pages for item in page]
        return super().post(shared, prep_res, exec_res)


class HTTPLines(Requesting, BatchNode[bytes, Any]):
    """The lines of an answer, each JSON, as they arrive: logs, exports, endless streams.

    From a ``text/event-stream`` they are the data of its events. The server is asked not to
    compress: compressed lines may arrive late.

    The body is read as fast as its items are consumed: it may be larger than memory, so
    ``max_bytes`` and ``total_timeout`` are None by default. A line that is not JSON is an item
    that fails, subject to ``on_error``. Blank lines are skipped. The request is made once:
    lines that were consumed cannot be requested again.

    Args:
        url, method, …: As for HTTPNode.
        max_line: The longest line in bytes; by default, 1 MiB.
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
            HTTPStatusError: The answer is not a success.
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
        """Return the value of a line."""
        try:
            return decode(line, self.max_depth)
        except ValueError as error:
            raise HTTPBodyError(f"a line is not JSON: {error}") from error
