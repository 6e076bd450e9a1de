"""Nodes that ask over HTTP."""

from typing import Any, ClassVar, Literal, Unpack

from ...batch.batch import ParallelBatchNode
from ...node.facts import resource_of
from ...node.node import Node
from .._store import StoreParallelSettings, StoreSettings, configure
from .asking import ClientSettings, Requesting, keyed
from .client import Client
from .messages import HTTPResult, HTTPStatusError, Params, Request


class HTTPNodeSettings(StoreSettings, ClientSettings, total=False):
    """What an HTTPNode takes beside ``url`` and ``method``."""

    params: Params
    raise_for_status: bool
    result: Literal["answer", "data"]


class ParallelHTTPSettings(StoreParallelSettings, ClientSettings, total=False):
    """What a ParallelHTTPNode takes beside ``url`` and ``method``."""

    params: Params
    raise_for_status: bool
    result: Literal["answer", "data"]


class Answering(Requesting):
    """Asks in ``exec``, and makes a result of the answer."""

    raise_for_status = False
    result: Literal["answer", "data"] = "answer"

    async def exec(self, item: Any, /) -> Any:
        """Ask, and return ``{data, status_code, success, headers, seconds}``, or the data alone.

        Raises:
            HTTPError: There is no answer (or, with ``raise_for_status``, no success).
            HTTPRequestError: The request is not one, or is not allowed.
        """
        answer = await self.answer(keyed(self.request(item)))
        return answer["data"] if self.result == "data" else answer

    async def answer(self, request: Request, /) -> HTTPResult:
        """Make a request and return the whole answer."""
        client: Client = resource_of(self)
        return await client.ask(request, self._strict)

    def exec_fallback(self, item: Any, exc: Exception, /) -> Any:
        """An answer that says that there is no success is a result as well, by default."""
        if isinstance(exc, HTTPStatusError) and not self._strict:
            return exc.result
        raise exc

    def keeps_result(self, result: Any) -> bool:
        """Whether a cache may keep it: not what says that there is no success."""
        return self._strict or bool(result["success"])

    @property
    def _strict(self) -> bool:
        return self.raise_for_status or self.result == "data"


class HTTPNode(Answering, Node[Any, Any]):
    """Makes one HTTP request: that which ``prep`` returns (or ``shared[reads]`` holds).

    It may be a URL, a mapping of the fields of a Request, a Request, or None where ``url`` says it
    all. Every answer is a result, with ``success`` False for a status from 400;
    ``raise_for_status`` makes those errors. 408, 425, 429, a status from 500 and lost connections
    are tried again, four times in all, with jitter, after as long as Retry-After says.

    Args:
        url: The address, or what the addresses of requests are relative to. It is the program's
            own word: it may be private, and it alone gets ``auth`` and ``headers``. Every other
            address has to be public, by each answer of the name service and at each redirect.
        method: GET by default.
        params: Of the query. ``self.params`` of a hook are those of the BatchGraph round, as ever.
        headers: Of each request.
        auth: Bearer, Basic, APIKey or ClientCredentials; needs ``url``.
        allow_private: Whether a URL from data may lead to a private address.
        connect_timeout: Seconds until there is a connection; 10 by default.
        read_timeout: Seconds from one piece of the answer to the next; 30 by default.
        total_timeout: Seconds for all of one attempt, redirects included; 60 by default.
        max_bytes: The largest body, decompressed; 16 MiB by default.
        max_depth: The deepest JSON; 100 by default.
        max_redirects: 5 by default.
        ssl_context: For certificates of one's own.
        raise_for_status: Whether a status from 400 is an HTTPStatusError.
        result: ``"answer"``: all of it, as above. ``"data"``: the data alone; a status from 400 is
            an HTTPStatusError then.
        reads, writes: Keys of the shared store.

    The other settings are those of Node. ``max_retries``, ``wait`` and a ``retry`` without ``on``
    change how often a request is made again and when, and not which.
    """

    _accepts: ClassVar[frozenset[str]] = frozenset(
        {*HTTPNodeSettings.__annotations__, "url", "method"}
    )

    def __init__(
        self,
        url: str | None = None,
        *,
        method: str | None = None,
        **settings: Unpack[HTTPNodeSettings],
    ) -> None:
        configure(self, {"url": url, "method": method}, settings)


class ParallelHTTPNode(Answering, ParallelBatchNode[Any, Any]):
    """Makes many HTTP requests at once: those that ``prep`` returns (or ``shared[reads]`` holds).

    As a stage of a pipeline it makes one for each item. The settings are those of HTTPNode and
    ParallelBatchNode.
    """

    _accepts: ClassVar[frozenset[str]] = frozenset(
        {*ParallelHTTPSettings.__annotations__, "url", "method"}
    )

    def __init__(
        self,
        url: str | None = None,
        *,
        method: str | None = None,
        **settings: Unpack[ParallelHTTPSettings],
    ) -> None:
        configure(self, {"url": url, "method": method}, settings)
