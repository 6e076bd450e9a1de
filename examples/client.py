"""How the examples reach the service: its address, and the requests."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from examples.services import Services
from examples.workflow import Options, Shared
from kaygraph import Graph, Node, Retry
from kaygraph.nodes import (
    Asking,
    HTTPBodyError,
    HTTPConnectionError,
    HTTPNode,
    HTTPRequestError,
    HTTPStatusError,
    HTTPTimeoutError,
    Request,
)


def wait_as_told(attempt: int, error: Exception) -> float:
    """Wait as long as the service asks; otherwise a little longer each time: it is near."""
    asked = error.retry_after if isinstance(error, HTTPStatusError) else None
    return 0.05 * attempt if asked is None else asked


def check_options(options: Options) -> None:
    """Raise a one-line ValueError that says what to type, if the options cannot be followed."""
    if options.workers is not None and options.workers < 1:
        raise ValueError(f"--workers must be at least 1, got {options.workers}.")
    if options.services is not None:
        try:
            HTTPNode(options.services)
        except HTTPRequestError as error:  # it hides a password in the address
            raise ValueError(
                f"--services must be an address such as http://127.0.0.1:8000: {error}"
            ) from None


class ServiceGraph(Graph):
    """A graph that starts the bundled service for its run, unless one is named.

    ``shared["services"]`` is the address; the first graph that sets it decides for the others.
    """

    def __init__(self, start: Any, *, name: str, seed: int, services: str | None) -> None:
        super().__init__(start, name=name)
        self.seed, self.services = seed, services

    @asynccontextmanager
    async def lifespan(self, shared: Shared, /) -> AsyncIterator[None]:
        if "services" in shared or self.services is not None:
            shared.setdefault("services", self.services)
            yield
            return
        async with Services(self.seed) as services:
            shared["services"] = services.url
            try:
                yield
            finally:
                del shared["services"]


class ServiceNode(Asking, Node[Any, Any]):
    """A node that calls the service, and retries when it is busy or slow."""

    retry = Retry(attempts=4, wait=wait_as_told)
    total_timeout: float | None = 2.0

    def url_of(self, shared: Shared, /) -> str:
        return f"{shared['services'].rstrip('/')}/"

    async def ask(self, source: str, name: str) -> Mapping[str, Any]:
        """Return the answer of ``/source/name``.

        Raises:
            HTTPStatusError: It is something other than 200.
            HTTPBodyError: It is not a JSON object.
            HTTPConnectionError: There was none, or not in time (HTTPTimeoutError).
        """
        # JSON can hold half a surrogate pair ("\ud83d"), which no address can.
        quoted = quote(name, safe="", errors="replace")
        if name in (".", ".."):  # would lead elsewhere, however it is quoted
            quoted = quoted.replace(".", "%252E")
        result = await self.resource.ask(Request(url=f"{source}/{quoted}"))
        if result["status_code"] != 200:
            raise HTTPStatusError(f"{source} answered {result['status_code']}", result)
        answer = result["data"]
        if not isinstance(answer, dict):
            raise HTTPBodyError(f"{source} answered with something that is not a JSON object")
        return answer


def fault(source: str, error: BaseException) -> str:
    """Return in words what a source did wrong; an error that is not its fault is raised."""
    match error:
        case HTTPStatusError(status=status):
            return f"{source} answered {status}"
        case HTTPBodyError():
            return f"{source} answered with something that is not a JSON object"
        case HTTPTimeoutError():
            return f"no answer within {ServiceNode.total_timeout:g} s"
        case HTTPConnectionError():
            return "could not be reached"
    raise error
