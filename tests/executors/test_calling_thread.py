"""A `def exec` in the calling thread of `run()`: what it sees, and what runs meanwhile."""

import asyncio
import itertools
from contextvars import ContextVar
from typing import Any

import pytest

from kaygraph import DeadlineExceededError, Graph, Node, NodeDefinitionError

COLOUR: ContextVar[str] = ContextVar("colour", default="white")


class Counts(Node):
    """Leads to itself until `shared["over"]` is set."""

    def exec(self, prep_res: Any) -> None:
        return None

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
        shared["rounds"] = shared.get("rounds", 0) + 1
        return "end" if shared.get("over") else "again"


def looped(node: Node) -> Graph:
    node - "again" >> node
    node - "end" >> Node(name="end")
    return Graph(node)


def test_tasks_of_hooks_go_on_during_short_calls() -> None:
    """The loop has its turns, though no call lasts long enough to be noticed."""

    class Begins(Counts):
        def prep(self, shared: Any) -> None:
            if "task" not in shared:
                shared["task"] = asyncio.ensure_future(self.steps(shared))

        async def steps(self, shared: Any) -> None:
            for _ in range(3):
                await asyncio.sleep(0)
            shared["over"] = True

    shared: dict[str, Any] = {}
    looped(Begins()).run(shared)
    assert shared["over"]


def test_a_deadline_ends_short_calls_without_end() -> None:
    """Each takes a microsecond, and none of them waits."""
    with pytest.raises(DeadlineExceededError):
        looped(Counts()).run(deadline=0.05)


def test_a_call_sees_no_loop_and_the_hooks_around_it_do() -> None:
    """So it may run a loop of its own."""

    class Brings(Node):
        def prep(self, shared: Any) -> None:
            asyncio.get_running_loop()

        def exec(self, prep_res: Any) -> int:
            return asyncio.run(asyncio.sleep(0, 3))

        def post(self, shared: Any, prep_res: Any, exec_res: int) -> None:
            asyncio.get_running_loop()
            shared["got"] = exec_res

    shared: dict[str, Any] = {}
    Graph(Brings()).run(shared)
    assert shared["got"] == 3


def test_hooks_after_a_failed_call_see_the_loop() -> None:
    """It is there again, however the call has ended."""

    class Fails(Node):
        def exec(self, prep_res: Any) -> None:
            raise ValueError("no")

    class Handles(Node):
        def prep(self, shared: Any) -> None:
            shared["loop"] = asyncio.get_running_loop()

    first, handles = Fails(), Handles()
    first - "error" >> handles
    shared: dict[str, Any] = {}
    Graph(first).run(shared)
    assert "loop" in shared


def test_what_a_call_binds_ends_with_it() -> None:
    """It sees what `prep` has bound, and `post` does not see what it has bound itself."""
    seen: list[str] = []

    class Binds(Node):
        def prep(self, shared: Any) -> None:
            COLOUR.set("blue")

        def exec(self, prep_res: Any) -> None:
            seen.append(COLOUR.get())
            COLOUR.set("red")

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            seen.append(COLOUR.get())

    Graph(Binds() >> Binds()).run()
    assert seen == ["blue", "blue"] * 2


def test_a_call_that_returns_a_coroutine_is_refused() -> None:
    """A `def exec` that lacks its `async` is an error that says so."""

    class Forgets(Node):
        def exec(self, prep_res: Any) -> Any:
            return asyncio.sleep(0)

    with pytest.raises(NodeDefinitionError, match="exec of Forgets is written 'def' and returned"):
        Graph(Forgets()).run()


def test_stop_iteration_is_an_error_of_the_node() -> None:
    """It would end the engine's own coroutine otherwise."""

    class Exhausts(Node):
        def exec(self, prep_res: Any) -> Any:
            return next(iter(()))

    with pytest.raises(RuntimeError, match="exec raised StopIteration"):
        Graph(Exhausts()).run()


def test_settings_are_kept_where_there_are_some() -> None:
    """The short way is for nodes that ask for nothing."""
    attempts = itertools.count(1)

    class Retries(Node):
        def exec(self, prep_res: Any) -> int:
            if (attempt := next(attempts)) < 3:
                raise ValueError("again")
            return attempt

        def post(self, shared: Any, prep_res: Any, exec_res: int) -> None:
            shared["attempt"] = exec_res

    shared: dict[str, Any] = {}
    node = Retries()
    node.max_retries = 3  # after it was made
    Graph(node).run(shared)
    assert shared["attempt"] == 3
