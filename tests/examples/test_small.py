"""The whole idea in one file: it walks as the engine does, and runs what people write."""

import ast
import asyncio
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from examples import small
from examples.small import AsyncNode, Graph, Node, ParallelBatchNode, Plan
from kaygraph import compat
from tests.children import python
from tests.oracle import Oracle
from tests.random_graphs import Case, Scripted, built, cases, walked

SOURCE = Path(small.__file__).read_text(encoding="utf-8")


def test_file_is_read_in_a_sitting() -> None:
    """It has at most 300 lines, and needs nothing but the standard library."""
    assert len(SOURCE.splitlines()) <= 300
    imports = [node for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.Import)]
    names = [alias.name for node in imports for alias in node.names]
    names += [
        node.module or ""
        for node in ast.walk(ast.parse(SOURCE))
        if isinstance(node, ast.ImportFrom)
    ]
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_program_at_its_end_runs() -> None:
    """It shows a batch, two branches, a join and a loop."""
    done = python("-m", "examples.small")
    assert done.stderr == ""
    lines = ["spelling [3, 5, 4]", "facts [3, 5, 4]", "review [3, 5, 4]"] * 2
    assert done.stdout.splitlines() == lines


# --- the walk -------------------------------------------------------------------------------------


class ScriptedNode(Scripted, AsyncNode):
    pass


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(cases())
def test_random_graph_walks_as_the_oracle_says(case: Case) -> None:
    """The same graphs as the engine's: each join runs once a round, and nothing deadlocks."""
    inner = built(case, ScriptedNode, Graph)
    plan = Plan(inner.starts)
    oracle = Oracle(
        case.successors,
        case.starts,
        {(source.name, target.name) for source, target in plan.back},
        [join.name for join in plan.joins],
    )
    walked(case, Graph(inner, name="outer"), oracle)


class Say(Node):
    """Notes its name, and returns its actions one visit after another; no thread has a part."""

    def __init__(self, name: str, *actions: str | None) -> None:
        super().__init__(name=name)
        self.actions = iter(actions)

    async def exec(self, prep_res: Any) -> None:
        pass

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str | None:
        shared.setdefault("said", []).append(self.name)
        return next(self.actions, None)


def names_of(graph: Graph) -> list[str]:
    shared: dict[str, Any] = {}
    graph.run(shared)
    return shared["said"]


def test_join_runs_once_after_branches_of_unequal_length() -> None:
    """a >> [b, c >> d] >> e runs e when b and d have ended."""
    assert names_of(Graph(Say("a") >> [Say("b"), Say("c") >> Say("d")] >> Say("e"))) == [*"abcde"]


def test_join_does_not_wait_for_a_branch_that_takes_another_way() -> None:
    """Of two branches one ends early, and the join runs all the same."""
    b = Say("b", "stop")
    assert names_of(Graph(Say("a") >> [b, Say("c")] >> Say("e"))) == [*"abce"]


def test_branch_that_is_sent_back_joins_again_after_it() -> None:
    """A reviewer that asks for the last part of the longer branch again has seen both before."""
    last, review = Say("d"), Say("r", "redo")
    first = Say("a")
    first >> [Say("b") >> Say("c") >> last, Say("e")] >> review - "redo" >> last
    assert names_of(Graph(first)) == [*"abecdrdr"]


def test_joins_that_wait_for_each_other_run() -> None:
    """Each of two joins may send the walk back to where the other is reached from."""
    v, p, q, r, j, k = (Say(name) for name in "vpqrjk")
    v >> [p, q, r]
    [p, r] >> j
    [q, r] >> k
    j - "again" >> v
    k - "again" >> v
    assert names_of(Graph(v)) == [*"vpqrjk"]


def test_loop_of_many_rounds_does_not_nest() -> None:
    """A fan-out and its join, again and again."""
    first, last = Say("a"), Say("d", *["again"] * 2000)
    first >> [Say("b"), Say("c")] >> last - "again" >> first
    assert len(names_of(Graph(first))) == 4 * 2001


def test_error_leads_along_its_edge() -> None:
    """Where "error" leads on, a failure does not end the graph, and is seen after the edge."""

    class Fail(Node):
        def exec(self, prep_res: Any) -> None:
            raise ValueError("no")

    fail, handle = Fail(), Say("handle")
    fail - "error" >> handle
    assert names_of(Graph([fail, Say("other")])) == ["other", "handle"]
    assert str(handle.error) == "no"


def test_failure_ends_the_other_branches() -> None:
    """One error is raised as itself, after the other branch has cleaned up."""
    log = []

    class Wait(AsyncNode):
        async def exec(self, prep_res: Any) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                log.append("cleaned up")

    class Fail(AsyncNode):
        async def exec(self, prep_res: Any) -> None:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Graph([Wait(), Fail()]).run()
    assert log == ["cleaned up"]


def test_graph_runs_so_many_nodes_at_once() -> None:
    """max_workers of a graph counts nodes."""
    running = []
    most = 0

    class Count(AsyncNode):
        async def exec(self, prep_res: Any) -> None:
            nonlocal most
            running.append(self)
            most = max(most, len(running))
            await asyncio.sleep(0)
            running.remove(self)

    Graph([Count() for _ in range(5)], max_workers=2).run()
    assert most == 2


# --- nodes and batches ----------------------------------------------------------------------------


class Each(ParallelBatchNode):
    """Takes items and keeps results."""

    def prep(self, shared: Any) -> Any:
        return shared["items"]

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["results"] = exec_res


def results(node: Each, items: Any) -> Any:
    shared: dict[str, Any] = {"items": items}
    node.run(shared)
    return shared["results"]


def test_batch_keeps_order_and_bound() -> None:
    """The last item is done first, two are worked on at once, and results stand in their places."""
    running = most = 0

    class Double(Each):
        async def exec(self, prep_res: int) -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            for _ in range(5 - prep_res):
                await asyncio.sleep(0)
            running -= 1
            return prep_res * 2

    assert results(Double(max_workers=2), range(5)) == [0, 2, 4, 6, 8]
    assert most == 2
    assert results(Double(), None) == []


def test_item_is_tried_as_often_as_asked_for_and_then_falls_back() -> None:
    """Attempts are counted per item; what always fails gets the fallback's result."""
    tried: list[int] = []

    class Flaky(Each):
        async def exec(self, prep_res: int) -> str:
            tried.append(prep_res)
            if tried.count(prep_res) < prep_res:
                raise ValueError(prep_res)
            return f"{prep_res} ok"

        def exec_fallback(self, prep_res: int, exc: Exception) -> str:
            return f"{prep_res} fell back: {exc!r}"

    found = results(Flaky(3, max_workers=4), [1, 3, 4])
    assert found == ["1 ok", "3 ok", "4 fell back: ValueError(4)"]
    assert [tried.count(item) for item in (1, 3, 4)] == [1, 3, 3]


def test_attempt_that_takes_too_long_is_ended() -> None:
    """An attempt past its timeout is a failure like any other."""

    class Slow(AsyncNode):
        async def exec(self, prep_res: Any) -> str:
            if self.attempt == 1:
                await asyncio.Event().wait()
            return f"attempt {self.attempt}"

        async def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            return str(exec_res)

    assert Slow(max_retries=2, timeout=0.01).run() == "attempt 2"


def test_plain_exec_runs_in_a_thread() -> None:
    """A def runs next to the event loop."""

    class Where(Node):
        def exec(self, prep_res: Any) -> str:
            return threading.current_thread().name

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            return str(exec_res)

    assert Where().run() != threading.current_thread().name


# --- programs as PocketFlow has them --------------------------------------------------------------


class Kit:
    """Where a program takes its names from."""

    def __init__(self, node: Any, batch_node: Any, flow: Any) -> None:
        self.Node, self.BatchNode, self.Flow = node, batch_node, flow


SMALL = Kit(Node, ParallelBatchNode, Graph)
COMPAT = Kit(compat.Node, compat.BatchNode, compat.Flow)  # what stands for PocketFlow here
KITS = pytest.mark.parametrize("kit", [SMALL, COMPAT], ids=["small", "compat"])


@KITS
def test_program_with_a_loop_and_actions_runs(kit: Any) -> None:
    """An agent that decides, searches and answers."""

    class Decide(kit.Node):
        def prep(self, shared: Any) -> Any:
            return shared.get("found", [])

        def exec(self, found: list[str]) -> str:
            return "search" if len(found) < 2 else "answer"

        def post(self, shared: Any, found: Any, decision: str) -> str:
            return decision

    class Search(kit.Node):
        def prep(self, shared: Any) -> Any:
            return shared["question"], len(shared.get("found", []))

        def exec(self, asked: tuple[str, int]) -> str:
            return f"{asked[0]} ({asked[1]})"

        def post(self, shared: Any, asked: Any, found: str) -> str:
            shared.setdefault("found", []).append(found)
            return "decide"

    class Answer(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            shared["answer"] = " and ".join(shared["found"])
            return "done"

    decide, search, answer = Decide(), Search(), Answer()
    decide - "search" >> search
    decide - "answer" >> answer
    search - "decide" >> decide
    shared = {"question": "who"}
    assert kit.Flow(start=decide).run(shared) == "done"
    assert shared["answer"] == "who (0) and who (1)"


@KITS
def test_program_with_flows_within_flows_runs(kit: Any) -> None:
    """What the inner flow returns decides where the outer one goes."""

    class Number(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["number"] = shared.get("number", 0) + 5

    class Check(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            return "small" if shared["number"] < 10 else "large"

    class End(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            return "end"

    number = Number()
    number >> Check()
    inner, end = kit.Flow(start=number), End()
    inner - "small" >> inner
    inner - "large" >> end
    shared: dict[str, Any] = {}
    assert kit.Flow(start=inner).run(shared) == "end"
    assert shared["number"] == 10


@KITS
def test_program_with_retries_and_a_fallback_runs(kit: Any) -> None:
    """A call that fails twice, and one that fails for good."""
    calls: list[str] = []

    class Ask(kit.Node):
        def prep(self, shared: Any) -> Any:
            return shared["questions"].pop(0)

        def exec(self, question: str) -> str:
            calls.append(question)
            if question == "never" or calls.count(question) < 3:
                raise ConnectionError("busy")
            return question.upper()

        def exec_fallback(self, question: str, exc: Exception) -> str:
            return f"no answer: {exc}"

        def post(self, shared: Any, question: str, answer: str) -> str:
            shared["answers"].append(answer)
            return "again" if shared["questions"] else "done"

    ask, end = Ask(max_retries=3, wait=0), kit.Node()
    ask - "again" >> ask
    ask - "done" >> end
    shared: dict[str, Any] = {"questions": ["why", "never"], "answers": []}
    kit.Flow(start=ask).run(shared)
    assert shared["answers"] == ["WHY", "no answer: busy"]
    assert calls == ["why"] * 3 + ["never"] * 3


@KITS
def test_program_with_a_batch_runs(kit: Any) -> None:
    """Chunks are worked on, and a node after them puts the results together."""

    class Sizes(kit.BatchNode):
        def prep(self, shared: Any) -> Any:
            text, size = shared["text"], 4
            return [text[start : start + size] for start in range(0, len(text), size)]

        def exec(self, chunk: str) -> int:
            return len(chunk.strip())

        def post(self, shared: Any, chunks: Any, sizes: Any) -> str:
            shared["sizes"] = sizes
            return "counted"

    class Total(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["total"] = sum(shared["sizes"])

    sizes = Sizes()
    sizes - "counted" >> Total()
    shared = {"text": "one two three"}
    kit.Flow(start=sizes).run(shared)
    assert (shared["sizes"], shared["total"]) == ([3, 3, 4, 1], 11)
