"""Nodes that make HTTP requests."""

from typing import Any, ClassVar, Literal, Unpack

from ...batch.batch import ParallelBatchNode
from ...node.facts import resource_of
from ...node.node import Node
from .._store import StoreParallelSettings, StoreSettings, configure
from .asking import ClientSettings, Requesting, keyed
from .client import Client
from .messages import HTTPResult, HTTPStatusError, Params, Request


class HTTPNodeSettings(StoreSettings, ClientSettings, total=False):
    """The settings of an HTTPNode, in addition to ``url`` and ``method``."""

    params: Params
    raise_for_status: bool
    result: Literal["answer", "data"]


class ParallelHTTPSettings(StoreParallelSettings, ClientSettings, total=False):
    """The settings of a ParallelHTTPNode, in addition to ``url`` and ``method``."""

    params: Params
    raise_for_status: bool
    result: Literal["answer", "data"]


class Answering(Requesting):
    """Makes a request in ``exec``, and a result of the answer."""

    raise_for_status = False
    result: Literal["answer", "data"] = "answer"

    async def exec(self, item: Any, /) -> Any:
        """Make the request; return ``{data, status_code, success, headers, seconds}``, or the data.

        Raises:
            HTTPError: There was no answer (or, with ``raise_for_status``, no success).
            HTTPRequestError: The request is invalid or not allowed.
        """
        answer = await self.answer(keyed(self.request(item)))
        return answer["data"] if self.result == "data" else answer

    async def answer(self, request: Request, /) -> HTTPResult:
        """Make a request and return the whole answer."""
        client: Client = resource_of(self)
        return await client.ask(request, self._strict)

    def exec_fallback(self, item: Any, exc: Exception, /) -> Any:
        """By default, an unsuccessful answer is a result, too."""
        if isinstance(exc, HTTPStatusError) and not self._strict:
            return exc.result
        raise exc

    def keeps_result(self, result: Any) -> bool:
        """Whether a cache may keep it: only a successful one."""
        return self._strict or bool(result["success"])

    @property
    def _strict(self) -> bool:
        return self.raise_for_status or self.result == "data"


class HTTPNode(Answering, Node[Any, Any]):
    """Makes one HTTP request: the one that ``prep`` returns (or ``shared[reads]`` holds).

    It may be a URL, a mapping of the fields of a Request, a Request, or None if ``url`` is
    enough. Every answer is a result, with ``success`` False for a status from 400;
    ``raise_for_status`` makes those errors. 408, 425, 429, statuses from 500 and lost connections
    are retried, up to four attempts in all, with jitter, after the time in Retry-After.

    Args:
        url: The address, or what the addresses of requests are relative to. It is set by the
            program, so it may be private, and only it gets ``auth`` and ``headers``. Every other
            address must be public, in each answer of the name service and at each redirect.
        method: By default, GET.
        params: Of the query. In a hook, ``self.params`` is that of the BatchGraph round, as always.
        headers: Headers of each request.
        auth: Bearer, Basic, APIKey or ClientCredentials; needs ``url``.
        allow_private: Whether a URL from data may lead to a private address.
        connect_timeout: Seconds to establish a connection; by default, 10.
        read_timeout: Seconds between pieces of the answer; by default, 30.
        total_timeout: Seconds for one whole attempt, redirects included; by default, 60.
        max_bytes: The largest body, decompressed; by default, 16 MiB.
        max_depth: The deepest JSON; by default, 100.
        max_redirects: The most redirects; by default, 5.
        ssl_context: For your own certificates.
        raise_for_status: Whether a status from 400 is an HTTPStatusError.
        result: ``"answer"``: all of it, as above. ``"data"``: only the data; a status from 400 is
            then an HTTPStatusError.
        reads, writes: Keys of the shared store.

    The other settings are those of Node. ``max_retries``, ``wait`` and a ``retry`` without ``on``
    change how often and when a request is retried, not which ones.
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
