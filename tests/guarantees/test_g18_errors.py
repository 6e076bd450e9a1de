"""G18: an error is raised as itself, with its node; a cancellation that is not ours is an error.

Not seeded: every place that calls the code of a user, with every kind of error, on the loop, in
threads and in processes.
"""

import asyncio
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest

from kaygraph import AsyncNode, AwaitedCancelledError, Graph, Node, all_of, compat, first_of, settle
from kaygraph.patterns import RaceNode
from tests.guarantees import raising
from tests.guarantees.raising import KINDS, RAISED

Make = Callable[[str], Any]  # from the kind of an error


def at(make: Callable[..., Any], where: str, **settings: Any) -> Make:
    return lambda kind: make(where, kind, **settings)


class Source(Node[Any, Any]):
    def prep(self, shared: Any) -> range:
        return range(3)


def behind_a_source(make: Make) -> Make:
    return lambda kind: Source() | make(kind) | AsyncNode()


def within(around: Callable[[Any], Any], make: Make) -> Make:
    return lambda kind: around(make(kind))


def race(kind: str) -> Any:
    async def asked(_: Any) -> None:
        raise raised(kind)

    return RaceNode(asked, name="Raises")


def limited(kind: str) -> Any:
    def key(_: int) -> int:
        raise raised(kind)

    return raising.Batch("nowhere", kind, limit_by=key)


def raised(kind: str) -> BaseException:
    RAISED.append(KINDS[kind]())
    return RAISED[-1]


HOOKS = ("lifespan, entered", "lifespan, left", "prep", "exec", "post")

LOOP: dict[str, Make] = {
    **{f"node, {hook}": at(raising.Hooks, hook) for hook in HOOKS},
    **{f"node with 'def', {hook}": at(raising.SyncHooks, hook) for hook in ("prep", "post")},
    **{
        f"node with limits, {hook}": at(raising.Hooks, hook, timeout=9, deadline=9)
        for hook in ("prep", "exec")
    },
    "node, fallback": at(raising.WithFallback, "fallback"),
    "node, exec in the calling thread": at(raising.SyncHooks, "exec", run_in="loop"),
    **{f"batch, {hook}": at(raising.Batch, hook) for hook in ("prep", "source", "exec", "post")},
    "batch, async source": at(raising.AsyncSourceBatch, "source"),
    "batch, one by one": at(raising.OneByOne, "exec"),
    "batch with limits": at(raising.Batch, "exec", timeout=9, deadline=9),
    "batch that collects": at(raising.Batch, "exec", on_error=0.1),
    "batch, limit_by": limited,
    "batch, yields": at(raising.Yields, "exec"),
    **{
        f"first stage, {hook}": within(lambda stage: stage | AsyncNode(), at(raising.Batch, hook))
        for hook in ("prep", "source", "exec", "post")
    },
    "first stage, async source": within(
        lambda stage: stage | AsyncNode(), at(raising.AsyncSourceBatch, "source")
    ),
    **{
        f"stage, {hook}": behind_a_source(at(raising.Hooks, hook))
        for hook in ("lifespan, entered", "prep", "exec", "post")
    },
    "stage, fallback": behind_a_source(at(raising.WithFallback, "fallback")),
    "parallel stage": behind_a_source(at(raising.Batch, "exec")),
    "stage that yields": behind_a_source(at(raising.Yields, "exec")),
    "map": at(raising.Maps, "map"),
    "reduce": at(raising.Maps, "reduce"),
    "rounds, prep": at(raising.Rounds, "prep"),
    "rounds, post": at(raising.Rounds, "post"),
    "inner graph": within(lambda node: Graph(AsyncNode() >> node), at(raising.Hooks, "exec")),
    "fork": within(lambda node: Graph([node, AsyncNode()]), at(raising.Hooks, "exec")),
    "all_of": within(lambda node: all_of(node, AsyncNode()), at(raising.Hooks, "exec")),
    "first_of": within(first_of, at(raising.Hooks, "exec")),
    "settle": within(settle, at(raising.Hooks, "exec")),
    "pattern": race,
    **{
        f"compat, {hook}": within(
            lambda node: compat.Flow(start=node), at(raising.Compatible, hook)
        )
        for hook in ("before_prep", "prep", "exec", "after_exec", "post")
    },
}

THREAD: dict[str, Make] = {
    "node": at(raising.SyncHooks, "exec", run_in="thread"),
    "node, async": at(raising.Hooks, "exec", run_in="thread"),
    "node with limits": at(raising.SyncHooks, "exec", run_in="thread", timeout=9, max_retries=1),
    "batch": at(raising.SyncBatch, "exec"),
    "batch, yields": at(raising.SyncYields, "exec"),
    "stage": behind_a_source(at(raising.SyncHooks, "exec")),
    "parallel stage": behind_a_source(at(raising.SyncBatch, "exec")),
    "stage that yields": behind_a_source(at(raising.SyncYields, "exec")),
    "map": at(raising.SyncMaps, "map"),
    "reduce": at(raising.SyncMaps, "reduce"),
}

PROCESS: dict[str, Make] = {
    "node": at(raising.SyncHooks, "exec", run_in="process"),
    "stage, async": behind_a_source(at(raising.Hooks, "exec", run_in="process")),
}

# Python makes a RuntimeError of what would end a generator or a coroutine in silence.
ENDS = (StopIteration, StopAsyncIteration)


def error_of(node: Any) -> BaseException:
    """Run a node in a graph, as an inner node between others; return the error that comes out."""
    shared: dict[str, Any] = {}
    graph = Graph(AsyncNode(name="before") >> node >> Keeps(name="after"))
    try:
        asyncio.run(graph.run_async(shared))
    except BaseException as error:
        return error
    assert shared["outcomes"], "nothing was raised"
    (outcome,) = shared["outcomes"]  # of settle
    assert outcome.error is not None
    return outcome.error  # type: ignore[no-any-return]


class Keeps(AsyncNode[Any, Any]):
    def post(self, shared: Any, *_: Any) -> None:
        shared["outcomes"] = self.outcomes


def leaves_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, or those that groups of the engine hold."""
    if isinstance(error, BaseExceptionGroup) and error.message != "two":
        for one in error.exceptions:
            yield from leaves_of(one)
    else:
        yield error


def check(error: BaseException, kind: str, same: bool) -> None:
    """The error is what was raised, or says why it is another; and it names the node."""
    raised = KINDS[kind]()
    if isinstance(raised, asyncio.CancelledError):
        assert isinstance(error, AwaitedCancelledError), repr(error)
        raised, error, noted = raised, error.__cause__ or error, error
    elif isinstance(raised, ENDS) and type(error) is RuntimeError:
        noted, error = error, error.__cause__ or error
    else:
        noted = error
    assert type(error) is type(raised), repr(error)
    assert str(error) == str(raised)
    assert getattr(error, "code", None) == getattr(raised, "code", None)
    if same:
        assert any(error is one for one in RAISED), repr(error)
    if kind not in ("frozen", "no notes"):  # which take no notes
        notes = [*getattr(noted, "__notes__", ()), *getattr(error, "__notes__", ())]
        assert "Raises" in str(notes), repr(noted)


def checked(places: dict[str, Make], place: str, kind: str, same: bool = True) -> None:
    RAISED.clear()
    errors = list(leaves_of(error_of(places[place](kind))))
    assert errors
    for error in errors:
        check(error, kind, same)


@pytest.mark.parametrize(("place", "kind"), list(product(LOOP, KINDS)))
def test_an_error_on_the_loop_is_raised_as_itself(
    place: str, kind: str, tally: Callable[[str, int], None]
) -> None:
    """Whatever it is, and whichever hook it comes from."""
    checked(LOOP, place, kind)
    tally("G18 places and kinds of errors, on the loop", 1)


@pytest.mark.parametrize(("place", "kind"), list(product(THREAD, KINDS)))
def test_an_error_in_a_thread_is_raised_as_itself(
    place: str, kind: str, tally: Callable[[str, int], None]
) -> None:
    """It is the very object that was raised there."""
    checked(THREAD, place, kind)
    tally("G18 places and kinds of errors, in threads", 1)


@pytest.mark.proofs
@pytest.mark.parametrize(("place", "kind"), list(product(PROCESS, KINDS)))
def test_an_error_in_a_process_is_raised_as_itself(
    place: str, kind: str, tally: Callable[[str, int], None]
) -> None:
    """It has its class, its text and its attributes."""
    checked(PROCESS, place, kind, same=False)
    tally("G18 places and kinds of errors, in processes", 1)
