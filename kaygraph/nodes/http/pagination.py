"""How one page of an answer leads to the next."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from yarl import URL

from ..._validation import check_count
from ._decoding import HTTPBodyError
from .messages import HTTPResult, Request

_LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[^\s;,="]+\s*(?:=\s*(?:"[^"]*"|[^\s;,"]+))?)*)')
_NEXT = re.compile(r';\s*rel\s*=\s*(?:next\b|"(?:[^"]*\s)?next(?:\s[^"]*)?")', re.IGNORECASE)


class Pagination(ABC):
    """How one page leads to the next."""

    def first(self, request: Request) -> Request:
        """Return the request for the first page."""
        return request

    @abstractmethod
    def following(self, request: Request, result: HTTPResult, items: int) -> Request | None:
        """Return the request for the page after this one, which held so many items, or None."""


@dataclass(frozen=True)
class LinkHeader(Pagination):
    """The Link header names the next page (RFC 8288), as ``rel="next"``."""

    def following(self, request: Request, result: HTTPResult, items: int) -> Request | None:
        for url, attributes in _LINK.findall(result["headers"].get("link", "")):
            if _NEXT.search(attributes):
                return _referred(request, url)
        return None


@dataclass(frozen=True)
class Cursor(Pagination):
    """The answer holds what asks for the next page, and nothing (or null, or "") in the last one.

    Args:
        at: Where it stands in the JSON, with dots: "meta.next".
        param: What the query calls it; None where it is a whole URL.
    """

    at: str
    param: str | None = "cursor"

    def following(self, request: Request, result: HTTPResult, items: int) -> Request | None:
        found = value_at(result["data"], self.at)
        if found in (None, "", False):
            return None
        if isinstance(found, bool) or not isinstance(found, str | int):
            raise HTTPBodyError(f"{self.at!r} holds a {type(found).__name__}, not a cursor")
        if self.param is None:
            return _referred(request, str(found))
        return replace(request, params={**request.params, self.param: found})


@dataclass(frozen=True)
class Offset(Pagination):
    """Pages of ``size`` items are counted by their first item, until one is not full.

    Args:
        size: How many items a page holds.
        param: What the query calls the place of the first item.
        size_param: What the query calls the size.
        start: The place of the very first item.
    """

    size: int = 100
    param: str = "offset"
    size_param: str | None = "limit"
    start: int = 0

    def __post_init__(self) -> None:
        check_count("size", self.size)

    def first(self, request: Request) -> Request:
        size = {} if self.size_param is None else {self.size_param: self.size}
        return replace(request, params={**request.params, **size, self.param: self.start})

    def following(self, request: Request, result: HTTPResult, items: int) -> Request | None:
        if items < self.size:
            return None
        place = request.params[self.param]
        assert isinstance(place, int)
        return replace(request, params={**request.params, self.param: place + items})


@dataclass(frozen=True)
class PageNumber(Pagination):
    """Pages are counted, until one is empty."""

    param: str = "page"
    start: int = 1

    def first(self, request: Request) -> Request:
        return replace(request, params={**request.params, self.param: self.start})

    def following(self, request: Request, result: HTTPResult, items: int) -> Request | None:
        number = request.params[self.param]
        assert isinstance(number, int)
        return (
            replace(request, params={**request.params, self.param: number + 1}) if items else None
        )


def _referred(request: Request, url: str) -> Request:
    """Return the request for what an answer names, relative to where it came from."""
    try:
        there = URL(request.url).join(URL(url))
    except ValueError:
        raise HTTPBodyError(f"{request!r} names a next page that is not a URL") from None
    return replace(request, url=str(there), params={})  # it holds the query already


def value_at(data: Any, place: str | None) -> Any:
    """Return what stands at a place such as "meta.next", or None."""
    for name in place.split(".") if place else ():
        data = data.get(name) if isinstance(data, Mapping) else None
    return data
