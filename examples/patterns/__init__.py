"""The patterns of parallel work, one per module: read the one you need, and change it.

A module has ``build(world)``, which returns its graph, drawn in its docstring; and ``run(world)``,
which runs it and returns lines for people. ``world`` is what the patterns use: servers on
this machine, and a folder. ``python main.py --example patterns`` runs all of them, one after
another in one world, and ``--example timeouts`` only that one.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, Protocol, cast

from examples.patterns.world import World
from examples.workflow import PATTERNS, Options, Row, Screen, Shared, Workflow
from kaygraph import BatchNode, Graph, RunReport


class Pattern(Protocol):
    """The interface of a module here."""

    __doc__: str

    def build(self, world: World) -> Graph:
        """Return the graph that the docstring draws."""

    async def run(self, world: World) -> Iterable[str]:
        """Run it and return lines for people."""


def load(name: str) -> Pattern:
    """Return a pattern by its name, importing no other."""
    return cast(Pattern, import_module(f"examples.patterns.{name}"))


class Patterns(BatchNode[str, Row]):
    """Runs patterns one after another; each gives ``{"pattern", "title", "lines"}``."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    @asynccontextmanager
    async def lifespan(self, shared: Shared, /) -> AsyncIterator[World]:
        async with World(self.seed) as world:
            yield world

    def prep(self, shared: Shared, /) -> Sequence[str]:
        names: Sequence[str] = shared["names"]
        return names

    async def exec(self, name: str, /) -> Row:
        pattern = load(name)
        title = pattern.__doc__.partition("\n")[0]
        return {"pattern": name, "title": title, "lines": list(await pattern.run(self.resource))}

    def post(self, shared: Shared, prep_res: Any, ran: list[Row], /) -> None:
        shared["ran"] = ran


def prepare(options: Options) -> Shared:
    return {"names": options.patterns or PATTERNS}


def build(options: Options) -> Graph:
    return Graph(Patterns(options.seed), name="patterns")


def rows(shared: Shared) -> Iterable[Row]:
    """Yield ``{"pattern", "title", "lines"}`` per pattern."""
    ran: list[Row] = shared["ran"]
    return ran


def show(shared: Shared, report: RunReport, screen: Screen) -> None:
    for number, one in enumerate(rows(shared)):
        between = [""] if number else []
        screen.print(*between, f"── {one['pattern']}: {one['title']}", *one["lines"])


WORKFLOW = Workflow(
    name="patterns",
    summary="the patterns of parallel work, each a short program",
    words=frozenset(),
    prepare=prepare,
    build=build,
    rows=rows,
    show=show,
)
