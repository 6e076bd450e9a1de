"""Patterns whose parts make HTTP requests: ``Asking`` is combined with them."""

from typing import Any

import pytest
from aiohttp import web

from kaygraph import Node, Retry
from kaygraph.nodes import Asking, HTTPNode, HTTPStatusError, Request
from kaygraph.patterns import MissingSourcesError, ParallelEnrichmentNode, source
from tests.servers import Site, serving

pytestmark = pytest.mark.anyio


class Person(Asking, ParallelEnrichmentNode[str]):
    """Two sources of one service, of which one must answer."""

    retry = Retry(attempts=3)
    required = "age"

    @source
    async def age(self, name: str) -> Any:
        return (await self.resource.ask(Request(url=f"age/{name}"), True))["data"]

    @source
    async def town(self, name: str) -> Any:
        return (await self.resource.ask(Request(url=f"town/{name}"), True))["data"]


async def ask(site: Site) -> Any:
    """Return what the site says of somebody."""
    person, shared = Person(reads="name", writes="person"), {"name": "anna"}
    person.url = site.url
    await person.run_async(shared)
    return shared["person"]


async def failing(request: web.BaseRequest) -> web.Response:
    """Answer that a town fails, and that the ages are unknown."""
    return web.json_response({}, status=503 if request.path.startswith("/town") else 404)


async def test_methods_share_the_client_of_the_node() -> None:
    """Each source asks by ``self.resource``, at addresses relative to the node's ``url``."""

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.json_response(request.path)

    async with serving(answer) as site:
        person = await ask(site)
    assert person.found == {"age": "/age/anna", "town": "/town/anna"}


async def test_parts_try_again_what_is_worth_it() -> None:
    """The retry of the node is each part's, and what it leaves open Asking has filled in."""
    async with serving(failing) as site:
        with pytest.raises(MissingSourcesError, match="requires age") as raised:
            await ask(site)
    found = raised.value.enrichment
    assert found.attempts == {"age": 1, "town": 3}
    assert all(isinstance(error, HTTPStatusError) for error in found.errors.values())


async def test_nodes_that_are_parts_are_open_together_with_asking() -> None:
    """Asking opens a client for the methods, and each Node has its own."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(request.path)

    class Others(Asking, ParallelEnrichmentNode[str | None]):
        @source
        async def here(self, _: Any) -> Any:
            return (await self.resource.ask(Request(url="here")))["data"]

    async with serving(answer) as site:
        there = HTTPNode(f"{site.url}there", result="data")
        node: Any = Others
        shared: dict[str, Any] = {}
        await node({"there": there}, url=site.url, writes="found").run_async(shared)
    assert shared["found"].found == {"here": "/here", "there": "/there"}


def test_a_class_of_ones_own_takes_and_checks_the_settings_of_asking() -> None:
    """With a Node as with a pattern, as keywords and as attributes."""

    class Mine(Asking, Node[Any, Any]):
        """A node that asks."""

    for kind in (Mine, Person):
        node: Any = kind
        made = node(url="http://h/", headers={"X-A": "b"}, total_timeout=3, reads="key")
        assert (made.headers, made.total_timeout, made.reads) == ({"x-a": "b"}, 3.0, "key")
        with pytest.raises(TypeError, match="Did you mean 'total_timeout'"):
            node(totl_timeout=3)
        for wrong in ({"auth": "t0k"}, {"url": "ftp://h/"}, {"headers": {"X-A": "b\r\nX-B: c"}}):
            with pytest.raises(ValueError, match=f"{next(iter(wrong))}|must begin with http"):
                type("Wrong", (kind,), wrong)


def test_settings_of_both_are_checked() -> None:
    """A combined class removes none of the pattern's checks, and loses none of its own."""
    with pytest.raises(ValueError, match="required must be"):

        class Wrong(Asking, ParallelEnrichmentNode[Any]):
            required = 3.5  # type: ignore[assignment]

    with pytest.raises(ValueError, match="max_workers must be a whole number"):
        Person(max_workers="auto")  # type: ignore[arg-type]
    assert Person.retry is not None
    assert not Person.retry.applies_to(ValueError())
