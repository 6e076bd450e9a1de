"""A graph that does not show items: what they say stands in no note, log, report or message."""

import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from kaygraph import (
    AsyncNode,
    BatchGraph,
    BatchNode,
    CircuitBreaker,
    Graph,
    MapReduceNode,
    Node,
    ParallelBatchNode,
    RunLog,
    RunReport,
    settle,
)
from kaygraph.nodes import HTTPNode
from kaygraph.nodes._quoted import quoted
from kaygraph.nodes.notify.notify import Message
from tests.servers import free_port

pytestmark = pytest.mark.anyio

PRIVATE = "ann.smith@example.com"


class People(ParallelBatchNode[Any, Any]):
    def prep(self, shared: Any) -> Any:
        return [{"mail": PRIVATE}]

    async def exec(self, person: Any) -> None:
        raise ValueError("no such account")


class OneByOne(BatchNode[Any, Any]):
    prep = People.prep

    async def exec(self, person: Any) -> None:
        raise ValueError("no such account")


class InThreads(People):
    def exec(self, person: Any) -> None:  # type: ignore[override]
        raise ValueError("no such account")


class Rounds(BatchGraph):
    def prep(self, shared: Any) -> Any:
        return [{"mail": PRIVATE}]


class WrongRounds(BatchGraph):
    def prep(self, shared: Any) -> Any:
        return [PRIVATE]


class Fails(AsyncNode[Any, Any]):
    async def exec(self, _: Any) -> None:
        raise ValueError("no such account")


class Counts(MapReduceNode):
    """Equal keys go to different partitions."""

    partitions = 2
    parts = 0

    def prep(self, shared: Any) -> Any:
        return [1, 2]

    async def map(self, item: int) -> Any:
        return [(PRIVATE, item)]

    def partition(self, key: Any) -> int:
        self.parts += 1
        return self.parts


class Writes(AsyncNode[Any, Any]):
    async def exec(self, _: Any) -> Message:
        return Message("hello", key=f"{PRIVATE}\n")


class Asks(AsyncNode[Any, Any]):
    def post(self, shared: Any, *_: Any) -> None:
        shared["url"] = f"nowhere://host/{PRIVATE}"


def source() -> Any:
    class Source(Node[Any, Any]):
        prep = People.prep

    return Source()


WHOLES: dict[str, Callable[[], Any]] = {
    "batch": People,
    "batch, one by one": OneByOne,
    "batch, settings": lambda: People(max_retries=2, timeout=9, breaker=CircuitBreaker()),
    "batch in threads": InThreads,
    "batch, some tolerated": lambda: People(on_error=0.1),
    "batch, no key": lambda: People(limit_by=lambda person: person),
    "stage": lambda: source() | Fails(),
    "parallel stage": lambda: source() | People(),
    "rounds": lambda: Rounds(Fails()),
    "rounds without params": lambda: WrongRounds(Fails()),
    "map-reduce": Counts,
    "message": Writes,
    "url": lambda: Asks() >> HTTPNode(reads="url"),
}


def all_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it knows."""
    left, seen = [error], set[int]()
    while left:
        one = left.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            left += [behind for behind in (one.__cause__, one.__context__) if behind is not None]
            left += getattr(one, "exceptions", ())


def texts_of(error: BaseException) -> str:
    """Return the messages and notes of an error and of all that it knows."""
    return "\n".join(
        text for one in all_of(error) for text in (repr(one), *getattr(one, "__notes__", ()))
    )


async def error_of(graph: Graph, **options: Any) -> BaseException:
    try:
        await graph.run_async({}, **options)
    except Exception as error:
        return error
    raise AssertionError("it has not failed")


@pytest.mark.parametrize("name", WHOLES)
async def test_no_error_quotes_an_item(name: str) -> None:
    """Neither its message nor its notes; the node and the index stay."""
    error = await error_of(Graph(WHOLES[name](), show_items=False))
    assert PRIVATE not in texts_of(error)
    assert any(getattr(one, "__notes__", ()) for one in all_of(error))


@pytest.mark.parametrize(
    "name", ["batch", "stage", "rounds without params", "map-reduce", "message"]
)
async def test_by_default_errors_do(name: str) -> None:
    """Debugging needs the place of a mistake."""
    assert PRIVATE in texts_of(await error_of(Graph(WHOLES[name]())))


@pytest.mark.parametrize(
    "around",
    [
        lambda node: Graph(Graph(node), show_items=False),
        lambda node: Graph(Graph(node, show_items=True), show_items=False),
        lambda node: Graph([Graph(AsyncNode() >> node), AsyncNode()], show_items=False),
        lambda node: Rounds(node, show_items=False),
        lambda node: Graph(Graph(node, show_items=False)),
    ],
)
async def test_what_runs_within_does_not_show_them_either(around: Any) -> None:
    """A graph within cannot take that back."""
    assert PRIVATE not in texts_of(await error_of(around(People())))


async def test_outcomes_do_not_show_them() -> None:
    """Those of a group and of a batch, whose repr leaves the item out."""
    shared: dict[str, Any] = {}
    group = settle(People(), Fails())
    group.post = lambda shared, *_: shared.update(outcomes=group.outcomes)  # type: ignore[method-assign]
    people = People(on_error="collect")
    people.post = lambda shared, _, results: shared.update(results=results)  # type: ignore[method-assign]
    await Graph(group >> people, show_items=False).run_async(shared)
    outcomes = [*shared["outcomes"], *shared["results"]]
    assert PRIVATE not in repr(outcomes)
    assert all(PRIVATE not in texts_of(one.error) for one in outcomes)
    assert outcomes[-1].item == {"mail": PRIVATE}


async def test_neither_does_a_log_nor_a_report() -> None:
    """Nor a traceback."""
    report = RunReport()
    graph = Graph(People(max_retries=2), show_items=False)
    with structlog.testing.capture_logs() as lines:
        error = await error_of(graph, observers=[RunLog(), report])
    assert lines
    texts = [*map(str, lines), str(report), *traceback.format_exception(error)]
    assert PRIVATE not in "".join(texts)


async def test_a_url_ends_behind_its_host() -> None:
    """What follows is made of items, mostly."""
    node = HTTPNode(f"http://127.0.0.1:{await free_port()}/{PRIVATE}", allow_private=True)
    node.max_retries = 1
    error = await error_of(Graph(node, show_items=False))
    assert PRIVATE not in texts_of(error)
    assert "<GET http://127.0.0.1:" in texts_of(error)


async def test_an_answer_is_not_quoted() -> None:
    """It may repeat what it was asked."""

    class Quotes(AsyncNode[Any, Any]):
        async def exec(self, _: Any) -> None:
            raise ValueError(quoted(f"no account of {PRIVATE}"))

    assert PRIVATE not in texts_of(await error_of(Graph(Quotes(), show_items=False)))
    assert PRIVATE in texts_of(await error_of(Graph(Quotes())))
