"""How the examples reach the service: one address and one HTTP session a run."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from examples.services import Services
from examples.workflow import Options
from kaygraph import Graph, Node, Retry


def check_options(options: Options) -> None:
    """Raise a ValueError, with one line that says what to type, for what cannot be followed."""
    if options.workers is not None and options.workers < 1:
        raise ValueError(f"--workers must be at least 1, got {options.workers}.")
    if options.services is not None and not _is_address(options.services):
        raise ValueError(
            f"--services must be an address such as http://127.0.0.1:8000, "
            f"got {options.services!r}."
        )


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port beyond 65535, a bracket that is not closed
        return False


class SourceError(Exception):
    """A source answered with something other than 200, or with something that is no JSON object.

    ``retry_after`` is what the source asked for, in seconds; 0 where it did not say.
    """

    def __init__(self, source: str, status: int, retry_after: float = 0.0) -> None:
        super().__init__(source, status, retry_after)
        self.source, self.status, self.retry_after = source, status, retry_after

    def __str__(self) -> str:
        if self.status == 200:
            return f"{self.source} answered with something that is no JSON object"
        return f"{self.source} answered {self.status}"


def worth_retrying(error: Exception) -> bool:
    """Another attempt can help against too many requests, a failing server, a lost connection."""
    if isinstance(error, SourceError):
        return error.status == 429 or error.status >= 500
    return isinstance(error, aiohttp.ClientConnectionError | TimeoutError)


def wait_as_told(attempt: int, error: Exception) -> float:
    """Wait as long as ``Retry-After`` asks, and a little longer each time without it."""
    return getattr(error, "retry_after", 0.0) or 0.05 * attempt


PATIENT = Retry(attempts=4, wait=wait_as_told, on=worth_retrying)


class ServiceGraph(Graph):
    """A graph that starts the bundled service for its run, unless one is named.

    ``shared["services"]`` is the address; whoever fills it first is followed by the others.
    """

    def __init__(self, start: Any, *, name: str, seed: int, services: str | None) -> None:
        super().__init__(start, name=name)
        self.seed, self.services = seed, services

    @asynccontextmanager
    async def lifespan(self, shared: dict[str, Any], /) -> AsyncIterator[None]:
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


class Asking(Node[Any, Any]):
    """A node that asks the service; its session is opened once a run and closed with it."""

    @asynccontextmanager
    async def lifespan(self, shared: dict[str, Any], /) -> AsyncIterator["Session"]:
        async with aiohttp.ClientSession() as session:
            yield Session(session, shared["services"])


class Session:
    """Asks the service for JSON."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session, self.url = session, url.rstrip("/")

    async def ask(self, source: str, name: str) -> Mapping[str, Any]:
        """Return what ``/source/name`` answers.

        Raises:
            SourceError: It answered with something other than 200 and a JSON object.
            aiohttp.ClientError: It could not be reached.
        """
        # JSON can hold half a surrogate pair ("\ud83d"), which no address can.
        quoted = quote(name, safe="", errors="replace")
        address = URL(f"{self.url}/{source}/{quoted}", encoded=True)
        async with self.session.get(address) as response:
            if response.status != 200:
                seconds = response.headers.get("Retry-After", "0")
                raise SourceError(source, response.status, _seconds(seconds))
            try:
                answer = await response.json()
            except (ValueError, aiohttp.ContentTypeError):
                answer = None
            if not isinstance(answer, dict):
                raise SourceError(source, response.status)
            return answer


def _seconds(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:  # the other form, a date, is not worth a parser here
        return 1.0
