"""How one page of an answer leads to the next."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..._validation import check_count
from ._addresses import HTTPRequestError, joined, parsed
from ._decoding import HTTPBodyError
from ._links import links
from ._urls import with_query, without
from .messages import HTTPResult, Params, Request


class Pagination(ABC):
    """How one page leads to the next."""

    def first(self, request: Request) -> Request:
        """Return the request for the first page."""
        return request

    @abstractmethod
    def following(self, request: Request, result: HTTPResult, items: int) -> Request | None:
        """Return the request for the page after this one, which had a number of items, or None.

        Its ``url`` may be relative to the address of the answer.
        """


@dataclass(frozen=True)
class LinkHeader(Pagination):
    """The Link header names the next page (RFC 8288), as ``rel="next"``."""

    def following(self, request: Request, result: HTTPResult, items: int) -> Request | None:
        for target, params in links(result["headers"].get("link", "")):
            is_next = "next" in params.get("rel", "").lower().split()
            if is_next and _is_of(request, params.get("anchor", "")):
                return _referred(request, target)
        return None


@dataclass(frozen=True)
class Cursor(Pagination):
    """The answer contains a cursor for the next page, and none (or null, or "") on the last one.

    A page may be empty without being the last. One that is empty and names itself is the last.

    Args:
        at: The place of the cursor in the JSON, with dots: "meta.next".
        param: Its name in the query; None if it is a whole URL, which may be relative.
    """

    at: str
    param: str | None = "cursor"

    def following(self, request: Request, result: HTTPResult, items: int) -> Request | None:
        found = value_at(result["data"], self.at)
        if found in (None, "", False):
            return None
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            raise HTTPBodyError(f"{self.at!r} contains a {type(found).__name__}, not a cursor")
        if self.param is None:
            return _referred(request, str(found))
        return _with(request, {self.param: found})


@dataclass(frozen=True)
class Offset(Pagination):
    """Pages are addressed by their first item, until one is empty, or all of ``total`` have come.

    A page that is not full does not count as the last one: many servers send fewer items than
    requested. If the answer has the total, the request for an empty page is saved.

    Args:
        size: How many items to request per page.
        param: The query's name for the index of the first item.
        size_param: The query's name for the size.
        start: The index of the very first item.
        total: Where the answer has the number of all items: a place in the JSON, with
            dots, or the name of a header, such as "X-Total-Count" or "Content-Range".
    """

    size: int = 100
    param: str = "offset"
    size_param: str | None = "limit"
    start: int = 0
    total: str | None = None

    def __post_init__(self) -> None:
        check_count("size", self.size)

    def first(self, request: Request) -> Request:
        size = {} if self.size_param is None else {self.size_param: self.size}
        return _with(request, {**size, self.param: self.start})

    def following(self, request: Request, result: HTTPResult, items: int) -> Request | None:
        place = _counted(request, self.param)
        total, come = number_at(result, self.total), place - self.start + items
        if total is not None and come >= total:
            return None
        if not items:
            # The total may include items before the start.
            if total is None or self.start + come >= total:
                return None
            raise HTTPBodyError(
                f"{request!r} answered no items, but {self.total!r} says that there are {total}"
                f" and {come} have come"
            )
        return _with(request, {self.param: place + items})


@dataclass(frozen=True)
class PageNumber(Pagination):
    """Pages are numbered, until one is empty, or as many as ``pages`` says.

    Args:
        param: The query's name for the number.
        start: The number of the first page.
        pages: Where the answer has the number of pages: a place in the JSON, with dots, or
            the name of a header, such as "X-Total-Pages". Some servers answer requests after the
            last page with an error.
    """

    param: str = "page"
    start: int = 1
    pages: str | None = None

    def first(self, request: Request) -> Request:
        return _with(request, {self.param: self.start})

    def following(self, request: Request, result: HTTPResult, items: int) -> Request | None:
        number = _counted(request, self.param)
        pages = number_at(result, self.pages)
        first = min(self.start, 1)  # a later start means that earlier pages are known
        over = not items if pages is None else number - first + 1 >= pages
        return None if over else _with(request, {self.param: number + 1})


def _with(request: Request, params: Params) -> Request:
    """Return a request with these parameters in its query, replacing others of these names."""
    url = without(request.url, params.keys())
    return replace(request, url=url, params={**request.params, **params})


def _counted(request: Request, param: str) -> int:
    place = request.params[param]
    assert isinstance(place, int)
    return place


def _is_of(request: Request, anchor: str) -> bool:
    """Return whether a link with this anchor leads away from the page itself (RFC 8288, 3.2)."""
    if not anchor:
        return True
    try:
        page = with_query(parsed(request.url), request.query())
        return "#" not in anchor and joined(page, anchor) == page
    except HTTPRequestError:
        return False


def _referred(request: Request, url: str) -> Request:
    """Return the request for a target in an answer, relative to the answer's address."""
    return replace(request, url=url, params={})  # the target has its own query


def number_at(result: HTTPResult, place: str | None) -> int | None:
    """Return the number at a place in the JSON of an answer, or in a header, or None."""
    if place is None:
        return None
    found = value_at(result["data"], place)
    if found is None:
        found = result["headers"].get(place.lower())
    if isinstance(found, str):
        last = found.rpartition("/")[2].strip()  # Content-Range: items 0-49/130
        found = int(last) if last.isascii() and last.isdigit() else None
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def value_at(data: Any, place: str | None) -> Any:
    """Return the value at a place such as "meta.next", or None.

    A name may contain dots itself: "@odata.nextLink".
    """
    return next(_values(data, place or ""), None)


def has(data: Any, place: str) -> bool:
    """Return whether there is a value at a place, even null."""
    return any(True for _ in _values(data, place))


def _values(data: Any, place: str) -> Iterator[Any]:
    if not place:
        yield data
    elif isinstance(data, Mapping):
        names = place.split(".")
        for count in (len(names), *range(1, len(names))):
            name = ".".join(names[:count])
            if name in data:
                yield from _values(data[name], ".".join(names[count:]))
