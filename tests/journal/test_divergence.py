"""A run that takes another way than the recorded one: an error that names the node, no hang."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from kaygraph import BaseNode, Graph
from kaygraph.errors import RunDivergedError
from kaygraph.journal.memory import MemoryStore
from kaygraph.testing import simulate
from kaygraph.testing._mortal import Death, KilledError, MortalJournal
from tests.journal.shapes import Many, Step

AnyNode = BaseNode[Any, Any]

SECONDS = {"x": 0.1, "y": 0.2, "renamed": 0.2, "z": 0.3}


def graph(*names: str) -> Graph:
    steps = [Step(name) for name in names]
    for one, other in pairwise(steps):
        one >> other
    return Graph(steps[0], name="Graph")


def forked(*names: str) -> Graph:
    return Graph(Step("start") >> [Step(name, SECONDS[name]) for name in names], name="Graph")


def run(work: AnyNode, store: MemoryStore, death: Death | None = None) -> Any:
    async def recorded(shared: Any) -> None:
        await work.run_async(shared, journal=MortalJournal(store, death))

    return simulate(recorded)


def diverged(before: AnyNode, now: AnyNode) -> str:
    """Record a run except for its end, and resume it as another one; return the message."""
    whole = MemoryStore()
    run(before, whole)
    writes = whole.info("simulated").rows
    store = MemoryStore()
    with pytest.raises(KilledError):
        run(before, store, Death(writes + 1, written=False))
    with pytest.raises(RunDivergedError) as caught:
        run(now, store)
    return str(caught.value)


@pytest.mark.parametrize(
    ("before", "now", "named"),
    [
        (graph("a", "b", "c"), graph("a", "c"), "b"),
        (graph("a", "b", "c"), graph("a", "b2", "c"), "b"),
        (graph("a", "b", "c"), graph("a", "new", "b", "c"), "b"),
        (graph("a", "b", "c"), graph("a"), "b"),
        (forked("x", "y", "z"), forked("x", "z"), "y"),
        (forked("x", "y", "z"), forked("x", "renamed", "z"), "y"),
    ],
    ids=["removed", "renamed", "added", "shorter", "branch removed", "branch renamed"],
)
def test_a_changed_graph_is_refused_by_the_name_of_a_node(
    before: AnyNode, now: AnyNode, named: str
) -> None:
    """It is the one whose result is recorded and not asked for."""
    text = diverged(before, now)
    assert f"a result of '{named}' is recorded, but this run does not ask for it" in text
    assert f"redo=['{named}']" in text


def test_a_route_that_time_decides_is_refused() -> None:
    """Like any that follows from something other than what is in shared."""

    class Decides(Step):
        times = 0

        def post(self, shared: Any, _: Any, result: Any) -> str:
            Decides.times += 1
            return "left" if Decides.times < 3 else "right"

    def decides() -> Graph:
        first = Decides("first")
        first - "left" >> Step("left") >> Step("end")
        first - "right" >> Step("right")
        return Graph(first, name="Graph")

    assert "a result of 'left' is recorded" in diverged(decides(), decides())


def test_nothing_hangs_on_a_real_clock() -> None:
    """A branch waits for the turn of one that no longer exists."""
    whole, store = MemoryStore(), MemoryStore()
    run(forked("x", "y", "z"), whole)
    with pytest.raises(KilledError):
        run(forked("x", "y", "z"), store, Death(whole.info("simulated").rows + 1, written=False))

    class Quick(Many):
        async def exec(self, item: Any) -> Any:
            return item

    async def resume() -> None:
        journal = MortalJournal(store)
        now = Graph(Step("start") >> [Step("z", 0.3), Quick()], name="Graph")
        await now.run_async({}, journal=journal)

    with pytest.raises(RunDivergedError, match=r"a result of '[xy]' is recorded"):
        asyncio.run(asyncio.wait_for(resume(), 60))
