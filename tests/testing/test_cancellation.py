"""cancel_everywhere(): a run is cancelled at every step, and what is left is found."""

import asyncio
import threading
import warnings
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from kaygraph import Graph, Node
from kaygraph.testing import cancel_everywhere, simulate
from tests.testing.graphs import SHAPES, AnyNode, Fails, Sleep, Work

HOLDING = [make for make in SHAPES if make.__name__ != "failing"]


@pytest.mark.parametrize(
    ("watched", "again"),
    [
        (True, None),
        *(
            pytest.param(watched, again, marks=pytest.mark.proofs)
            for watched in (True, False)
            for again in (None, 0, 1, 3)
            if (watched, again) != (True, None)
        ),
    ],
)
@pytest.mark.parametrize("make", HOLDING, ids=lambda make: make.__name__)
def test_nothing_is_left_of_any_shape(make: Any, watched: bool, again: int | None) -> None:
    """No task, permit, item or generator, wherever the run is cancelled."""
    assert cancel_everywhere(make(), watched=watched, again=again) > 10


def test_every_step_is_tried_once_per_seed() -> None:
    """As many as a whole run has, jumps of the clock included."""
    graph = Graph(Sleep() >> [Sleep(), Sleep(2)] >> Work())
    steps = simulate(graph).steps - 1  # the last is the loop's own, when the run has ended
    assert cancel_everywhere(graph) == steps
    assert cancel_everywhere(graph, seeds=3) == 3 * steps
    assert cancel_everywhere(graph, seeds=[5]) == simulate(graph, seed=5).steps - 1


def test_again_is_so_many_steps_later() -> None:
    """At once with 0: the task is cancelled twice before it goes on."""

    class Notes(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                noted.append(0 if task is None else task.cancelling())
                raise

    noted: list[int] = []
    cancel_everywhere(Notes())
    assert set(noted) == {1}
    noted.clear()
    cancel_everywhere(Notes(), again=0)
    assert set(noted) == {2}


def test_a_jump_is_cancelled_half_way() -> None:
    """While everything waits for a timer, a cancellation comes at another time than the timer."""
    times: list[float] = []

    class Notes(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            try:
                await asyncio.sleep(8)
            finally:
                times.append(asyncio.get_running_loop().time())

    cancel_everywhere(Graph(Notes()))
    assert set(times) == {4, 8}


def test_a_task_that_is_left_is_named_with_the_step() -> None:
    """And with where the tasks were when the run was cancelled."""

    class Starts(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            task = asyncio.create_task(asyncio.sleep(50), name="background")
            await asyncio.sleep(1)
            task.cancel()

    with pytest.raises(AssertionError) as caught:
        cancel_everywhere(Graph(Starts()))
    text = str(caught.value)
    assert text.startswith("seed 0, cancelled at step ")
    assert "a task: background, in sleep" in text
    assert "where its tasks were at that step:\n  " in text
    assert "Starts.exec" in text


def test_a_run_that_does_not_end_as_cancelled_is_told_of() -> None:
    """Somewhere a CancelledError was swallowed, or became another error."""

    class Swallows(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                if self.name == "turns":
                    raise OSError("turned") from None

    with pytest.raises(AssertionError, match="has ended with a result"):
        cancel_everywhere(Graph(Swallows()))
    with pytest.raises(AssertionError, match="has ended with OSError: turned"):
        cancel_everywhere(Graph(Swallows(name="turns")))


def test_an_async_generator_that_is_not_closed_is_told_of() -> None:
    """Left to the garbage collector, its finally runs some time or never."""

    async def numbers() -> AsyncIterator[int]:
        while True:
            yield 1
            await asyncio.sleep(1)

    async def careless(_: Any) -> None:
        async for number in numbers():
            await asyncio.sleep(number)
            if asyncio.get_running_loop().time() > 5:
                break

    async def careful(_: Any) -> None:
        async with aclosing(numbers()) as source:  # type: ignore[type-var]
            async for number in source:
                await asyncio.sleep(number)
                if asyncio.get_running_loop().time() > 5:
                    return

    assert cancel_everywhere(careful) > 10
    with pytest.raises(AssertionError, match=r"an async generator .*numbers"):
        cancel_everywhere(careless)


def test_a_coroutine_that_is_never_awaited_is_told_of() -> None:
    """In the very run in which it was dropped."""

    async def part() -> None:
        pass

    class Drops(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            coroutine = part()
            await asyncio.sleep(1)
            await coroutine

    with pytest.raises(AssertionError, match=r"part' was never awaited"):
        cancel_everywhere(Graph(Drops()))


def test_a_thread_of_kaygraphs_that_is_left_is_told_of() -> None:
    """By its name, which begins with kaygraph."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    class Starts(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            threads.append(threading.Thread(target=stop.wait, name="kaygraph-left"))
            threads[-1].start()

    try:
        with pytest.raises(AssertionError, match="a thread: kaygraph-left"):
            cancel_everywhere(Graph(Starts()))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_an_item_that_has_not_ended_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that forgets to say that an item was cancelled is found out."""
    from kaygraph.run.observers import Observers

    original = Observers.__call__

    def forgets(run: Any, event: Any) -> None:
        if getattr(event, "status", "") != "cancelled":
            original(run, event)

    monkeypatch.setattr(Observers, "__call__", forgets)
    with pytest.raises(AssertionError, match=r"item \d of 'Work' was begun and has not ended"):
        cancel_everywhere(Graph(Work()))


def test_the_callers_own_check_is_asked_after_every_run() -> None:
    """It raises or returns False; its store is the run's own."""
    seen: list[Any] = []

    class Opens(Sleep):
        def prep(self, shared: Any) -> None:
            shared["open"] += 1

        def post(self, shared: Any, _: Any, __: Any) -> None:
            shared["open"] -= 1

    def raises(shared: Any) -> None:
        assert shared["open"] == 0, "not closed"

    with pytest.raises(AssertionError, match=r"check\(shared\) returned False"):
        cancel_everywhere(Graph(Opens()), {"open": 0}, check=lambda shared: not shared["open"])
    with pytest.raises(AssertionError, match=r"check\(shared\) raised AssertionError: not closed"):
        cancel_everywhere(Graph(Opens()), lambda: {"open": 0}, check=raises)
    points = cancel_everywhere(Graph(Sleep()), {}, check=seen.append)
    assert len({id(store) for store in seen}) == points + 1 == len(seen)


def test_a_run_that_fails_by_itself_raises_that() -> None:
    """Unless that is allowed; cancelled before, it ends as cancelled."""
    graph = Graph([Sleep() >> Fails(), Sleep(9)])
    with pytest.raises(ValueError, match="broken"):
        cancel_everywhere(graph)
    assert cancel_everywhere(graph, allowed=ValueError) > 10


def test_a_run_without_an_end_is_given_up() -> None:
    """After so many points, or so many steps of one run."""
    node = Sleep()
    node - "default" >> node
    with pytest.raises(AssertionError, match="not at its end after 20 points"):
        cancel_everywhere(Graph(node), max_points=20)


def test_warnings_of_others_are_passed_on_once() -> None:
    """Those that are no sign of something left are the caller's."""

    class Warns(Sleep):
        def prep(self, _: Any) -> None:
            warnings.warn("old", DeprecationWarning, stacklevel=1)

    with pytest.warns(DeprecationWarning, match="old") as heard:
        cancel_everywhere(Graph(Warns()))
    assert len(heard) == 1


def test_a_graph_of_every_kind_is_named_in_what_is_left() -> None:
    """A node that stays in its finally for good is a deadlock, not a hang."""

    class Stuck(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                await asyncio.Event().wait()

    graph: AnyNode = Graph([Stuck(), Sleep()])
    with pytest.raises(AssertionError, match=r"has ended with DeadlockError: (.|\n)*Stuck\.exec"):
        cancel_everywhere(graph)
