"""kill_everywhere(): a recorded run is killed at every write and resumed, and faults are found."""

import asyncio
from typing import Any

import pytest

from kaygraph import BaseNode, BatchGraph, Graph, Node, ParallelBatchNode
from kaygraph.journal import Journal
from kaygraph.journal.session import Session
from kaygraph.journal.writer import Writer
from kaygraph.testing import kill_everywhere
from kaygraph.testing.killing import same


class Step(Node[Any, Any]):
    """Takes a second, and adds to a log what it was given."""

    def prep(self, shared: Any) -> Any:
        return len(shared.setdefault("log", []))

    async def exec(self, number: int) -> Any:
        await asyncio.sleep(1)
        return self.name, number

    def post(self, shared: Any, _: Any, result: Any) -> None:
        shared["log"].append(result)


class Items(ParallelBatchNode[int, int]):
    max_workers = 2

    def prep(self, _: Any) -> Any:
        return [1, 2, 2, 3]

    async def exec(self, item: int) -> int:
        await asyncio.sleep(item)
        return item * 10

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["items"] = results


def chain() -> Graph:
    return Graph(Step(name="a") >> Step(name="b") >> Items())


def test_each_write_is_tried_before_and_after() -> None:
    """Of a node alone: the claim of the run, its result, and its end, at least."""
    points = kill_everywhere(Graph(Step()))
    assert points >= 2 * 3
    assert not points % 2
    assert kill_everywhere(chain(), seeds=[0, 3]) == 2 * kill_everywhere(chain())


def test_the_process_that_resumes_can_be_killed_too() -> None:
    """At a write of its own; where it has fewer, it comes to its end."""
    points = kill_everywhere(chain())
    assert [kill_everywhere(chain(), again=write) for write in (1, 2, 99)] == [points] * 3


def test_a_node_alone_and_a_coroutine_function_can_be_recorded() -> None:
    """The function gives the journal to the run."""

    async def work(shared: Any, journal: Journal) -> None:
        await chain().run_async(shared, journal=journal)
        shared["after"] = True

    assert kill_everywhere(Items()) > 4
    assert kill_everywhere(work) == kill_everywhere(chain())


def test_a_function_that_records_nothing_is_refused() -> None:
    """There would be nothing to kill."""

    async def work(shared: Any, journal: Journal) -> None: ...

    with pytest.raises(TypeError, match="does not give its journal to a run"):
        kill_everywhere(work)


def test_each_process_has_a_new_shared_store() -> None:
    """What a killed one has written is gone: posts write it again."""
    given = {"log": ["before"]}
    assert kill_everywhere(chain(), given) > 8
    assert given == {"log": ["before"]}
    assert kill_everywhere(chain(), lambda: {"log": []}) > 8


def test_a_check_takes_the_place_of_the_comparison() -> None:
    """It sees the store of each run that has ended."""
    seen: list[int] = []

    def check(shared: Any) -> bool:
        seen.append(len(shared["log"]))
        return True

    kill_everywhere(chain(), check=check)
    assert set(seen) == {2}
    assert len(seen) > 8
    with pytest.raises(AssertionError, match=r"seed 0:\n  check\(shared\) returned False"):
        kill_everywhere(chain(), check=lambda _: False)


def test_a_run_that_fails_by_itself_fails_in_the_same_way() -> None:
    """Also where what came before its failure is recorded."""

    class Fails(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            raise ValueError("no")

    graph = Graph(Step() >> Fails())
    with pytest.raises(ValueError, match="no"):
        kill_everywhere(graph)
    assert kill_everywhere(graph, allowed=ValueError) > 4


def test_rounds_are_killed_in_any_of_their_nodes() -> None:
    """Each round has places of its own."""

    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{"n": 1}, {"n": 2}, {"n": 1}]

    steps = Step(name="a") >> Step(name="b")
    assert kill_everywhere(Rounds(steps, on_conflict="ignore"), seeds=[0, 1]) > 24


# --- that it can fail ---------------------------------------------------------------------------


def found(graph: BaseNode[Any, Any], **settings: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        kill_everywhere(graph, **settings)
    return str(caught.value)


def test_a_prep_that_depends_on_more_than_shared_is_found() -> None:
    """A counter outside of the store goes on counting in the next process."""

    class Counts(Step):
        times = 0

        def prep(self, shared: Any) -> int:
            super().prep(shared)
            Counts.times += 1
            return Counts.times

    text = found(Graph(Counts() >> Step()))
    assert "prep of 'Counts' has returned something else" in text


def test_a_post_that_depends_on_more_than_shared_is_found() -> None:
    """Nothing is called again, and the store differs."""

    class Counts(Step):
        times = 0

        def post(self, shared: Any, _: Any, result: Any) -> None:
            Counts.times += 1
            shared["times"] = Counts.times

    assert "has left shared as {'log': [], 'times': 2}" in found(Graph(Counts()))


def test_an_acknowledgement_before_the_commit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A post was given what the journal does not have."""

    async def at_once(_: Any) -> None: ...

    monkeypatch.setattr(Writer, "committed", at_once)
    monkeypatch.setattr(Writer, "commit_at_once", lambda *_: False)
    assert "was given a result that is not committed" in found(Graph(Step() >> Step()))


def test_what_runs_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here nothing that is recorded is taken from the journal."""
    monkeypatch.setattr(Session, "digest_of", lambda *_: None)
    monkeypatch.setattr(Session, "holds", lambda *_: False)
    assert "exec of 'Step' ran again" in found(Graph(Step() >> Step()))


def test_equality_is_that_of_what_values_say() -> None:
    """Errors by class and message, objects by their attributes, NaN as itself."""

    class Plain:
        def __init__(self, value: Any) -> None:
            self.value = value

    nan = float("nan")
    assert same({"a": [ValueError("x"), nan]}, {"a": [ValueError("x"), float("nan")]})
    assert same(Plain((1, nan)), Plain((1, nan)))
    assert same(ExceptionGroup("g", [ValueError(1)]), ExceptionGroup("g", [ValueError(1)]))
    for one, other in [(1, True), (ValueError("x"), ValueError("y")), (Plain(1), Plain(2))]:
        assert not same(one, other)
    assert not same(ExceptionGroup("g", [ValueError(1)]), ExceptionGroup("g", [ValueError(2)]))
