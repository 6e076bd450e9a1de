"""What a call of exec acquires before it, and what it gives back and reports after it."""

import asyncio
from typing import Any

import pytest

from kaygraph import (
    CircuitBreaker,
    CircuitOpenError,
    Graph,
    ItemFailed,
    Node,
    ParallelBatchNode,
)
from kaygraph.testing.capture import runs_begun
from tests.calls import Takes, now
from tests.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


async def test_an_item_taken_past_a_full_key_does_not_wait_for_an_open_circuit() -> None:
    """It fails at once, as every other item that could not be called anyway."""

    class Sends(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> list[str]:
            return ["busy", "busy", "broken", "busy"]

        async def exec(self, server: str) -> None:
            await asyncio.sleep(1 if server == "broken" else 10)
            if server == "broken":
                raise OSError

    failed: list[tuple[float, int, type[Any]]] = []

    def note(event: Any) -> None:
        if isinstance(event, ItemFailed):
            failed.append((now(), event.item, type(event.error)))

    await Sends(
        limit_by=str,
        max_workers=2,
        deadline=60,
        breaker=CircuitBreaker(failures=1, reset_after=100),
        on_error="collect",
    ).run_async({}, observers=[note])
    assert failed == [(1, 2, OSError), (1, 3, CircuitOpenError), (10, 1, CircuitOpenError)]


async def test_an_error_of_the_function_that_says_what_opens_a_circuit_is_the_nodes() -> None:
    """It is raised with its place, and the circuit stays closed."""

    class Fails(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            raise OSError

    breaker = CircuitBreaker(failures=1, on=lambda error: bool(error.args[0]))
    with pytest.raises(IndexError) as caught:
        await Fails(breaker=breaker).run_async({})
    assert caught.value.__notes__ == ["in node 'Fails'"]
    assert breaker.state == "closed"


async def test_a_graph_that_outlives_the_fallback_that_began_it_leaves_no_permit_taken() -> None:
    """The call gave its permit back while the graph ran, and has ended before it came back."""

    class Begins(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            raise ValueError

        async def exec_fallback(self, _: Any, error: Exception) -> None:
            begun.append(asyncio.ensure_future(Graph(Takes(5)).run_async({})))
            await asyncio.sleep(1)

    begun: list[asyncio.Future[Any]] = []
    follows = Takes(10)
    with runs_begun() as runs:
        await Graph(Begins() >> follows, max_workers=1).run_async({})
        await asyncio.gather(*begun)
    assert follows.begun == [5]  # one after another: the graph within shares the permit
    assert [run.leaks() for run in runs] == [[], []]
