"""The patterns of parallel work, a module each: read the one that is yours, and change it.

A module has ``build(world)``, its graph, which its docstring draws; and ``run(world)``, which runs
it and returns the lines that a person reads. ``world`` is what the patterns talk to: servers on
this machine, and a folder. ``python -m examples.patterns NAME`` runs one, without a name all.
"""

from collections.abc import AsyncIterator, Iterable
from importlib import import_module
from typing import Protocol, cast

from examples.patterns.world import World
from kaygraph import Graph

NAMES = (
    "api_aggregation",
    "chunked_batches",
    "error_isolation",
    "map_reduce",
    "multi_source",
    "parallel_validation",
    "notifications",
    "parallel_files",
    "timeouts",
    "partial_failures",
    "resource_limits",
    "circuit_breaker",
    "explicit_order",
    "independence",
)


class Pattern(Protocol):
    """What a module here is."""

    __doc__: str

    def build(self, world: World) -> Graph:
        """Return the graph that the docstring draws."""

    async def run(self, world: World) -> Iterable[str]:
        """Run it and return what a person reads, line by line."""


def load(name: str) -> Pattern:
    """Return a pattern by its name, importing no other."""
    return cast(Pattern, import_module(f"examples.patterns.{name}"))


def title_of(pattern: Pattern) -> str:
    """Return the first line of its docstring."""
    return pattern.__doc__.partition("\n")[0]


async def run_each(names: Iterable[str]) -> AsyncIterator[tuple[str, str, list[str]]]:
    """Run patterns one after another; yield the name, the title and the lines of each."""
    async with World() as world:
        for name in names:
            pattern = load(name)
            yield name, title_of(pattern), list(await pattern.run(world))
