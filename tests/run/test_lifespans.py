"""What nodes hold open for a run: entered once, left however the run ends."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kaygraph import (
    AsyncNode,
    BatchGraph,
    Graph,
    Node,
    NodeDefinitionError,
    ParallelBatchNode,
)
from kaygraph.run.frame import FRAME
from kaygraph.run.lifespan import Held
from tests.oracle import settle as let_run


class Rounds(BatchGraph):
    rounds = 3

    def prep(self, shared: Any) -> Any:
        return [{}] * self.rounds


class Holds(AsyncNode):
    """Notes when its lifespan is entered and left, and with which error."""

    def __init__(self, name: str, log: list[Any], *, fails: bool = False) -> None:
        super().__init__(name=name)
        self.log_lines, self.fails = log, fails

    @asynccontextmanager
    async def lifespan(self, shared: Any) -> AsyncIterator[str]:
        self.log_lines.append(f"enter {self.name}")
        await asyncio.sleep(0)
        try:
            yield f"{self.name} of {shared['run']}"
        except BaseException as error:
            self.log_lines.append(type(error))
            raise
        finally:
            await asyncio.sleep(0)
            self.log_lines.append(f"leave {self.name}")

    def prep(self, shared: Any) -> None:
        self.log_lines.append(f"prep {self.name}: {self.resource}")

    async def exec(self, prep_res: Any) -> str:
        if self.fails:
            raise ValueError(self.name)
        return str(self.resource)


def test_lifespan_is_entered_before_the_first_prep_and_left_at_the_end() -> None:
    """It is entered once, however often the node runs, and left last in, first out."""
    log: list[Any] = []
    a, b = Holds("a", log), Holds("b", log)
    rounds = Rounds(Graph(a) >> b)
    Graph(rounds).run({"run": 1})
    visits = ["prep a: a of 1", "prep b: b of 1"]
    first = ["enter a", visits[0], "enter b", visits[1]]
    assert log == [*first, *visits * 2, "leave b", "leave a"]


def test_node_that_does_not_run_is_not_entered() -> None:
    """A lifespan costs nothing where the walk does not come by."""
    log: list[Any] = []
    a = Holds("a", log)
    a - "never" >> Holds("b", log)
    Graph(a).run({"run": 1})
    assert log == ["enter a", "prep a: a of 1", "leave a"]


def test_lifespan_is_entered_anew_for_each_run() -> None:
    """The resource belongs to the run and its loop."""
    log: list[Any] = []
    a = Holds("a", log)
    for number in (1, 2):
        Graph(a).run({"run": number})
    assert [line for line in log if "prep" in line] == ["prep a: a of 1", "prep a: a of 2"]
    assert log.count("leave a") == 2


def test_lifespan_of_a_node_that_runs_alone_is_held() -> None:
    """`node.run()` is a run as well."""
    log: list[Any] = []
    Holds("a", log).run({"run": 1})
    assert log == ["enter a", "prep a: a of 1", "leave a"]


def test_failure_of_the_run_is_seen_by_the_context_managers() -> None:
    """Each open lifespan sees the error, so that a transaction can roll back."""
    log: list[Any] = []
    with pytest.raises(ValueError, match="b"):
        Graph(Holds("a", log) >> Holds("b", log, fails=True)).run({"run": 1})
    assert log[-4:] == [ValueError, "leave b", ValueError, "leave a"]


def test_failure_that_is_dealt_with_is_not_seen() -> None:
    """An error route ends well, and so does the lifespan."""
    log: list[Any] = []
    a = Holds("a", log, fails=True)
    a - "error" >> Holds("b", log)
    Graph(a).run({"run": 1})
    assert ValueError not in log
    assert log[-2:] == ["leave b", "leave a"]


@pytest.mark.anyio
async def test_lifespan_is_left_when_the_run_is_cancelled() -> None:
    """The context manager sees the cancellation and is waited for."""
    log: list[Any] = []

    class Waits(AsyncNode):
        async def exec(self, prep_res: Any) -> None:
            await asyncio.Event().wait()

    before = asyncio.all_tasks()
    run = asyncio.create_task(Graph(Holds("a", log) >> Waits()).run_async({"run": 1}))
    await let_run()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert log == ["enter a", "prep a: a of 1", asyncio.CancelledError, "leave a"]
    assert asyncio.all_tasks() == before


def test_lifespan_is_entered_once_where_two_tokens_arrive_at_once() -> None:
    """The second token waits until the first has entered it."""
    log: list[Any] = []
    Rounds(Holds("a", log), max_workers=3).run({"run": 1})
    assert log == ["enter a", *["prep a: a of 1"] * 3, "leave a"]


def test_lifespan_of_a_graph_is_held_around_its_walk() -> None:
    """A nested graph has one too; it is left when the run ends, not the graph."""
    log: list[Any] = []

    class Inner(Graph):
        @asynccontextmanager
        async def lifespan(self, shared: Any) -> AsyncIterator[str]:
            log.append("enter graph")
            yield "held"
            log.append("leave graph")

        def prep(self, shared: Any) -> None:
            log.append(f"graph holds {self.resource}")

    Graph(Inner(Holds("a", log)) >> Holds("b", log)).run({"run": 1})
    assert log[:4] == ["enter graph", "graph holds held", "enter a", "prep a: a of 1"]
    assert log[-3:] == ["leave b", "leave a", "leave graph"]


def test_lifespan_that_cannot_be_entered_fails_the_node() -> None:
    """The error is raised, may be routed, and leaves nothing open."""

    class Broken(Holds):
        @asynccontextmanager
        async def lifespan(self, shared: Any) -> AsyncIterator[str]:
            raise OSError("no connection")
            yield ""

    log: list[Any] = []
    with pytest.raises(OSError, match="no connection"):
        Graph(Holds("a", log) >> Broken("b", log)).run({"run": 1})
    assert log == ["enter a", "prep a: a of 1", OSError, "leave a"]
    broken = Broken("b", log)
    broken - "error" >> Holds("c", log)
    Graph(broken).run({"run": 1})
    assert log[-1] == "leave c"


def test_lifespan_that_fails_to_leave_fails_the_run_and_the_others_are_left() -> None:
    """An error on leaving is raised; it keeps no other lifespan open."""

    class Leaves(Holds):
        @asynccontextmanager
        async def lifespan(self, shared: Any) -> AsyncIterator[str]:
            yield ""
            raise OSError("cannot close")

    log: list[Any] = []
    with pytest.raises(OSError, match="cannot close"):
        Graph(Holds("a", log) >> Leaves("b", log)).run({"run": 1})
    assert log[-1] == "leave a"


def test_resource_without_a_lifespan_says_what_to_define() -> None:
    """The error is an AttributeError that names the hook."""

    class Asks(Node):
        def prep(self, shared: Any) -> Any:
            return self.resource

    with pytest.raises(AttributeError, match="define lifespan"):
        Asks().run()


def test_lifespan_that_is_not_a_context_manager_gets_an_error_that_says_so() -> None:
    """The decorator is easily forgotten; nothing is left that was never awaited."""

    class Bare(Node):
        async def lifespan(self, _: Any) -> Any:  # type: ignore[override]
            yield "held"

    class Plain(Node):
        async def lifespan(self, _: Any) -> Any:  # type: ignore[override]
            return "held"

    class Number(Node):
        def lifespan(self, _: Any) -> Any:
            return 7

    for kind in (Bare, Plain, Number):
        with pytest.raises(NodeDefinitionError, match="write @asynccontextmanager above it"):
            kind().run()


class Unusual(BaseException):
    """No Exception, as what pytest's fail() raises."""


def test_lifespan_that_leaves_with_what_is_not_an_exception_keeps_no_other_open() -> None:
    """Whatever it raises, the others are left, and so are the run's threads."""

    class Leaves(Holds):
        @asynccontextmanager
        async def lifespan(self, shared: Any) -> AsyncIterator[str]:
            yield ""
            raise Unusual("at the end")

    class InThread(Node):
        run_in = "thread"

        def exec(self, _: Any) -> None:
            threads.append(threading.current_thread())

    log: list[Any] = []
    threads: list[threading.Thread] = []
    with pytest.raises(Unusual, match="at the end"):
        Graph(Holds("a", log) >> Leaves("b", log) >> InThread()).run({"run": 1})
    assert log[-1] == "leave a"
    assert not threads[0].is_alive()


@pytest.mark.anyio
async def test_lifespan_that_swallows_its_cancellation_and_enters_is_left_at_once() -> None:
    """As a connect() may do that is timed by wait_for: the run ends, and it with it."""

    class Enters(Holds):
        @asynccontextmanager
        async def lifespan(self, shared: Any) -> AsyncIterator[str]:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.log_lines.append("swallowed")
            yield ""
            self.log_lines.append("left")

    log: list[Any] = []
    before = asyncio.all_tasks()
    run = asyncio.create_task(Enters("a", log).run_async({"run": 1}))
    await let_run()
    run.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait([run])
    assert run.cancelled()
    assert log == ["swallowed", "left"]
    assert asyncio.all_tasks() == before


class Line(Held[str]):
    """Notes when it is opened and closed."""

    def __init__(self, name: str, log: list[Any], error: BaseException | None = None) -> None:
        self.name, self.log, self.error = name, log, error

    def open(self) -> str:
        self.log.append(f"open {self.name}")
        return self.name

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.log.append(f"close {self.name}")
        if self.error is not None:
            raise self.error


class HoldsLine(Holds):
    """Holds a line for the run, and one more that all nodes share."""

    error: BaseException | None = None

    def lifespan(self, shared: Any) -> Any:
        log = self.log_lines
        FRAME.get().run.hold("shared", lambda: Line("shared", log))
        return Line(self.name, log, self.error)


@pytest.mark.anyio
@pytest.mark.parametrize("end", ["success", "failure", "cancellation"])
async def test_what_is_held_is_closed_with_the_run_however_it_ends(end: str) -> None:
    """Last in, first out, among lifespans that have tasks; what is shared is opened once."""
    log: list[Any] = []

    class Last(HoldsLine):
        async def exec(self, prep_res: Any) -> str:
            if end == "cancellation":
                task.cancel()
                await asyncio.sleep(0)
            return await super().exec(prep_res)

    first = HoldsLine("a", log)
    first >> Holds("b", log) >> Last("c", log, fails=end == "failure")
    task = asyncio.ensure_future(Graph(first).run_async({"run": 1}))
    await asyncio.wait([task])
    assert task.cancelled() == (end == "cancellation")
    assert task.cancelled() or (task.exception() is not None) == (end == "failure")
    assert [line for line in log if str(line).startswith(("open", "close", "enter", "leave"))] == [
        "open shared", "open a", "enter b", "open c", "close c", "leave b", "close a",
        "close shared",
    ]  # fmt: skip


@pytest.mark.anyio
async def test_a_run_that_is_cancelled_while_it_closes_what_it_holds_closes_it_all() -> None:
    """At any step of it, and it ends cancelled."""
    for steps in range(12):
        log: list[Any] = []
        node = HoldsLine("a", log)
        task = asyncio.ensure_future(Graph(node).run_async({"run": 1}))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        closed = ["close a", "close shared"] if "open a" in log else []
        assert log[len(log) - len(closed) :] == closed
    assert log[0] == "open shared"


def test_what_a_stream_holds_that_a_program_leaves_at_its_end_is_closed() -> None:
    """Its loop ends, and cancels all tasks, at any step of closing the run."""

    class AtOnce(Line):
        async def close(self) -> None:
            self.log.append(f"close {self.name}")

    for steps in range(20):
        log: list[Any] = []

        class Lines(ParallelBatchNode[Any, Any]):
            log_lines = log

            def lifespan(self, shared: Any) -> Any:
                return AtOnce("a", self.log_lines)

            async def prep(self, shared: Any) -> AsyncIterator[int]:
                for number in range(9):
                    yield number

        async def main(steps: int) -> None:
            async for _ in Lines().stream({}):
                break
            for _ in range(steps):
                await asyncio.sleep(0)

        asyncio.run(main(steps))
        assert log == ["open a", "close a"], steps


@pytest.mark.anyio
async def test_an_error_of_closing_what_is_held_names_the_node() -> None:
    """As that of any lifespan; what is around is closed anyway."""
    log: list[Any] = []
    node = HoldsLine("a", log)
    node.error = ValueError("no")
    with pytest.raises(ValueError, match="no") as caught:
        await Graph(node).run_async({"run": 1})
    assert caught.value.__notes__[0] == "in node 'a', when its lifespan ended"
    assert log[-1] == "close shared"


@pytest.mark.anyio
async def test_a_lifespan_of_ones_own_may_be_around_what_is_held() -> None:
    """It is a context manager like any other."""
    log: list[Any] = []

    class Around(HoldsLine):
        @asynccontextmanager
        async def lifespan(self, shared: Any) -> AsyncIterator[str]:
            async with super().lifespan(shared) as line:
                yield f"my {line}"
            log.append("after")

    await Graph(Around("a", log)).run_async({"run": 1})
    assert log == ["open shared", "open a", "prep a: my a", "close a", "after", "close shared"]
