"""A node for JSON APIs: a path with placeholders, and JSON in both directions."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from string import Formatter
from typing import Any, ClassVar, Unpack
from urllib.parse import quote

from ...node.node import Node
from ...node.settings import Checks
from .._quoted import value_text
from .._store import configure
from ._addresses import HTTPRequestError
from ._content import as_json, is_json
from ._decoding import HTTPBodyError
from .asking import check_text, check_url
from .messages import HTTPResult, Request
from .requests import Answering, HTTPNodeSettings

BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})


def check_base(name: str, value: Any) -> str:
    url = check_url(name, value)
    if "?" in url or "#" in url:
        raise HTTPRequestError(f"{name} is the base of all paths: pass its query as params=")
    return url


def check_path(name: str, value: Any) -> str:
    if not all(place.isidentifier() for place in places_of(name, check_text(name, value))):
        raise HTTPRequestError(
            f"{name} must have names in braces, as in 'users/{{id}}'; got {value!r}"
        )
    return str(value)


@lru_cache(maxsize=64)
def places_of(name: str, path: str) -> tuple[str, ...]:
    """Return the names in braces, if none has a conversion or format."""
    try:
        return tuple(
            place + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            for _, place, spec, conversion in Formatter().parse(path)
            if place is not None
        )
    except ValueError as error:
        raise HTTPRequestError(f"{name} is {path!r}: {error}") from None


class RESTNode(Answering, Node[Any, Any]):
    """Calls a JSON API: ``RESTNode("https://host/api", "users/{id}")`` with ``{"id": 7}``.

    What ``prep`` returns (or ``shared[reads]`` holds) is a mapping: the placeholders of ``path``
    are filled from it, quoted; the rest is the JSON body of a POST, PUT or PATCH, and the
    query of any other method. A path with one placeholder also takes a string or a number, one
    without any takes None; a Request is used as it is. Results, errors and retries are those of
    HTTPNode; a successful answer that is not JSON, whatever it claims, is an HTTPBodyError.

    Args:
        url: The API: the base of all paths.
        path: The rest of the address, with placeholders in braces.
        method: By default, GET.

    The other settings are those of HTTPNode.
    """

    path: str = ""

    _checks: ClassVar[Checks] = {"url": check_base, "path": check_path}
    _accepts: ClassVar[frozenset[str]] = frozenset(
        {*HTTPNodeSettings.__annotations__, "url", "method", "path"}
    )

    def __init__(
        self,
        url: str | None = None,
        path: str | None = None,
        *,
        method: str | None = None,
        **settings: Unpack[HTTPNodeSettings],
    ) -> None:
        configure(self, {"url": url, "path": path, "method": method}, settings)

    def request(self, item: Any, /) -> Request:
        if not isinstance(item, Request):
            item = self._filled(item)
        return super().request(item)

    def _filled(self, item: Any) -> Request:
        if self.url is None:
            raise HTTPRequestError(f"{self.name!r} needs a url, as in 'https://host/api'")
        places = places_of("path", self.path)
        if item is None:
            item = {}
        elif not isinstance(item, dict | Mapping) and len(set(places)) == 1:
            item = {places[0]: item}
        if not isinstance(item, dict | Mapping):  # a dict is recognised without its bases
            raise HTTPRequestError(
                f"{self.name!r} takes a mapping with {_listed(places)}, got a {type(item).__name__}"
            )
        missing = [name for name in places if name not in item]
        if missing:
            raise HTTPRequestError(
                f"{self.name!r} needs {_listed(missing)} for its path {self.path!r}; there are "
                f"{_listed(item)}"
            )
        path = self.path.format_map({name: _segment(name, item[name]) for name in places})
        url = f"{self.url.rstrip('/')}/{path.lstrip('/')}" if path else self.url
        left = {name: value for name, value in item.items() if name not in places}
        if self.method in BODY_METHODS:
            return Request(url=url, json=left if left or not places else None)
        return Request(url=url, params=left) if left else Request.of(url)

    async def answer(self, request: Request, /) -> HTTPResult:
        """Make a request and return the whole answer, which is JSON."""
        result = await super().answer(request)
        kind = result["headers"].get("content-type", "").partition(";")[0].strip().lower()
        if not result["success"] or is_json(kind):
            return result
        result["data"] = as_json(result["data"], self.max_depth)
        if isinstance(result["data"], str | bytes):
            raise HTTPBodyError(
                f"{request!r} answered {kind or 'something'}, not JSON: is "
                f"{self.url!r} the address of the API?"
            )
        return result


def _segment(name: str, value: Any) -> str:
    """Return a value as one segment of a path, which it can neither end nor leave."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise HTTPRequestError(f"{name!r} must be text or a number, got a {type(value).__name__}")
    text = str(value)
    if text in ("", ".", ".."):
        raise HTTPRequestError(f"{name!r} must be valid in a path, got {value_text(text)}")
    return text if text.isascii() and text.isalnum() else quote(text, safe="", errors="replace")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "nothing"
