"""Runs that wait for answers: they end with "waits", are answered, and are resumed."""

import asyncio
import pickle
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest

from kaygraph import (
    AlreadyAnsweredError,
    AttemptTimeoutError,
    BatchGraph,
    Event,
    Graph,
    ItemFailed,
    JournalError,
    Node,
    NodeStarted,
    ParallelBatchNode,
    RunFinished,
    RunUnknownError,
    WaitUnknownError,
    first_of,
)
from kaygraph.journal import Journal
from kaygraph.journal.asking import Asking
from kaygraph.journal.postgres import PostgresStore
from kaygraph.nodes import ParallelWaitFor, WaitFor, node
from kaygraph.testing import kill_everywhere
from kaygraph.types import Wait, Waits
from tests.children import child, ran
from tests.databases import schema

CALLS: list[str] = []


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Path]:
    CALLS.clear()
    return tmp_path / "runs.db"


class Step(Node[Any, Any]):
    async def exec(self, _: Any) -> str:
        CALLS.append(self.name)
        return self.name

    def post(self, shared: Any, _: Any, result: Any) -> None:
        shared.setdefault("log", []).append(result)


def letter() -> Graph:
    ask = WaitFor("approval", ask=lambda shared: {"letter": shared["log"]}, schema=bool)
    return Graph(Step(name="write") >> ask >> Step(name="send"))


def run(graph: Any, db: Path, **settings: Any) -> tuple[str | None, dict[str, Any]]:
    shared: dict[str, Any] = {}
    return graph.run(shared, journal=Journal(db, run="r", **settings)), shared


# --- one wait -------------------------------------------------------------------------------------


def test_a_run_returns_when_all_that_is_left_waits(db: Path) -> None:
    """The run returns "waits" and what it waits for; the journal says the same."""
    action, _ = run(letter(), db)
    assert action == "waits"
    assert isinstance(action, Waits)
    (wait,) = action.waiting
    assert (wait.id, wait.name, wait.ask) == ("approval", "approval", {"letter": ["write"]})
    assert wait.schema == {"type": "boolean"}
    assert Journal(db).waits("r") == Journal(db).show("r").waits == [wait]
    assert [info.status for info in Journal(db).runs()] == ["waits"]


def test_it_says_on_standard_error_how_to_answer(
    db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the run, the wait, and the question."""
    run(letter(), db)
    printed = capsys.readouterr().err
    assert "run 'r' waits for an answer" in printed
    assert 'approval: {"letter": ["write"]}' in printed
    assert f"kaygraph runs answer --journal {db} r approval JSON" in printed


def test_secrets_in_what_is_asked_are_hidden(db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard error is kept in logs."""
    run(Graph(WaitFor("approval", ask={"api_key": "sk-12345678", "sum": 7})), db)
    printed = capsys.readouterr().err
    assert "sk-12345678" not in printed
    assert '"sum": 7' in printed


def test_an_answered_run_goes_on_and_nothing_runs_twice(db: Path) -> None:
    """What was recorded is not called; the answer is in the shared store."""
    run(letter(), db)
    Journal(db).answer("r", "approval", True)
    assert Journal(db).waits("r") == []
    action, shared = run(letter(), db)
    assert (action, shared) == (None, {"log": ["write", "send"], "approval": True})
    assert CALLS == ["write", "send"]


def test_a_run_that_nobody_answers_waits_again(db: Path) -> None:
    """However often it is resumed, it is the same wait."""
    first, _ = run(letter(), db)
    second, _ = run(letter(), db)
    assert isinstance(first, Waits)
    assert isinstance(second, Waits)
    assert first.waiting == second.waiting
    assert CALLS == ["write"]


def test_it_is_answered_before_it_is_asked(db: Path) -> None:
    """The answer goes to the first wait of that name; the run does not end for it."""
    graph = Graph(WaitFor("first") >> WaitFor("second"))
    run(graph, db)
    Journal(db).answer("r", "second", 2, early=True)
    Journal(db).answer("r", "first", 1)
    assert run(graph, db) == (None, {"first": 1, "second": 2})


def test_an_early_answer_is_for_one_visit(db: Path) -> None:
    """The next visit has a wait of its own."""
    before = Graph(WaitFor("first") >> looping(2))
    run(before, db)
    Journal(db).answer("r", "approval", "a", early=True)
    Journal(db).answer("r", "first", 1)
    action, _ = run(before, db)
    assert isinstance(action, Waits)
    action, _ = run(before, db)
    assert isinstance(action, Waits)
    assert [wait.id for wait in action.waiting] == ["Graph/approval#1"]


def test_it_goes_on_waiting_where_that_is_asked_for(db: Path) -> None:
    """on_wait="stay": an answer from another thread is found while the run is running."""
    asked = threading.Event()

    class Telling(WaitFor):
        async def exec(self, ask: Any) -> Any:
            asked.set()
            return await super().exec(ask)

    def answer() -> None:
        asked.wait(30)
        journal = Journal(db)
        while not journal.waits("r"):
            pass
        journal.answer("r", "approval", "yes")

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        assert run(Graph(Telling("approval")), db, on_wait="stay") == (None, {"approval": "yes"})
    finally:
        thread.join()


@pytest.mark.anyio
async def test_a_run_that_drains_does_not_go_on_waiting(db: Path) -> None:
    """It returns "waits" long before its grace period is over."""
    asks = asyncio.Event()

    def watch(event: Event) -> None:
        if isinstance(event, NodeStarted) and event.node == "approval":
            asks.set()

    journal = Journal(db, run="r", on_wait="stay")
    run = Graph(Step() >> WaitFor("approval")).launch({}, journal=journal, observers=[watch])
    await asks.wait()
    while not journal.waits():  # noqa: ASYNC110 - as another process would
        await asyncio.sleep(0.01)
    run.drain(grace=60)
    assert await run == "waits"
    assert journal.show().info.status == "waits"


def test_a_finished_run_waits_for_nothing(db: Path) -> None:
    """Another answer is refused."""
    run(letter(), db)
    Journal(db).answer("r", "approval", True)
    run(letter(), db)
    assert Journal(db).waits("r") == []
    with pytest.raises(AlreadyAnsweredError):
        Journal(db).answer("r", "approval", False)


# --- several waits --------------------------------------------------------------------------------


def looping(rounds: int) -> Graph:
    class Ask(WaitFor):
        def post(self, shared: Any, _: Any, answer: Any) -> str:
            shared.setdefault("answers", []).append(answer)
            return "again" if len(shared["answers"]) < rounds else "end"

    ask = Ask("approval")
    ask - "again" >> Step(name="work") >> ask
    ask - "end" >> Step(name="send")
    return Graph(ask)


def test_two_waits_at_once_are_answered_in_any_order(db: Path) -> None:
    """The run reports both, and waits for the other after one answer."""
    graph = Graph(Step(name="start") >> [WaitFor("legal"), WaitFor("finance")] >> Step(name="end"))
    action, _ = run(graph, db)
    assert isinstance(action, Waits)
    assert sorted(wait.name for wait in action.waiting) == ["finance", "legal"]
    Journal(db).answer("r", "finance", 1)
    action, _ = run(graph, db)
    assert isinstance(action, Waits)
    assert [wait.name for wait in action.waiting] == ["legal"]
    Journal(db).answer("r", "legal", 2)
    assert run(graph, db)[1] == {"log": ["start", "end"], "legal": 2, "finance": 1}
    assert CALLS == ["start", "end"]


def test_each_visit_of_a_loop_is_a_wait_of_its_own(db: Path) -> None:
    """They are answered one after another, by name alone."""
    graph = looping(3)
    for answer in ("a", "b", "c"):
        assert run(graph, db)[0] == "waits"
        Journal(db).answer("r", "approval", answer)
    action, shared = run(graph, db)
    assert (action, shared["answers"]) == (None, ["a", "b", "c"])
    assert CALLS == ["work", "work", "send"]


def test_each_round_of_a_batch_is_a_wait_of_its_own(db: Path) -> None:
    """The name alone is ambiguous: the error lists the waits."""

    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{"who": "ann"}, {"who": "bob"}]

    class Ask(WaitFor):
        def prep(self, _: Any) -> Any:
            return self.params["who"]

        def post(self, shared: Any, who: Any, answer: Any) -> None:
            shared[who] = answer

    graph = Graph(Rounds(Ask("vote"), max_workers=2))
    run(graph, db)
    journal = Journal(db)
    ids = {wait.ask: wait.id for wait in journal.waits("r")}
    with pytest.raises(WaitUnknownError, match="in several places") as refused:
        journal.answer("r", "vote", 1)
    assert all(one in str(refused.value) for one in ids.values())
    journal.answer("r", ids["bob"], 2)
    journal.answer("r", "vote", 1)  # only one is left
    assert run(graph, db)[1] == {"ann": 1, "bob": 2}


def test_every_item_is_asked_at_once(db: Path) -> None:
    """Equal ones as well; the answers come in the order of the items."""
    graph = Graph(ParallelWaitFor("price", reads="goods"))

    def goods() -> dict[str, Any]:
        return {"goods": ["tea", "rum", "tea"]}

    action = graph.run(goods(), journal=Journal(db, run="r"))
    assert isinstance(action, Waits)
    assert sorted(wait.ask for wait in action.waiting) == ["rum", "tea", "tea"]
    for number, wait in enumerate(action.waiting):
        Journal(db).answer("r", wait.id, number)
    shared = goods()
    assert graph.run(shared, journal=Journal(db, run="r")) is None
    assert sorted(shared["price"]) == [0, 1, 2]


def test_what_can_move_is_done_before_the_run_returns(db: Path) -> None:
    """Also what waits for a time, for the turn of another loop, or for a source."""

    class Slow(Step):
        async def exec(self, _: Any) -> str:
            await asyncio.sleep(0.1)
            CALLS.append(self.name)
            return self.name

    class Reads(ParallelBatchNode[int, int]):
        async def prep(self, _: Any) -> Any:
            for item in range(3):
                await asyncio.sleep(0.06)
                yield item

        async def exec(self, item: int) -> int:
            return item

    slow = Slow(name="slow", max_retries=2, wait=0.1)
    start = Step(name="start")
    start >> [WaitFor("never"), slow >> Reads(name="reads") >> Step(name="last")]
    assert run(Graph(start), db)[0] == "waits"
    assert CALLS == ["start", "slow", "last"]


def test_a_wait_within_a_batch_does_not_end_what_else_the_batch_does(db: Path) -> None:
    """The source is read on, and other items are processed, before the run returns."""

    class Mixed(ParallelWaitFor):
        async def prep(self, _: Any) -> Any:
            for item in ("ask", "work", "work more"):
                await asyncio.sleep(0.05)
                yield item

        async def exec(self, item: Any) -> Any:
            CALLS.append(item)
            return await self.wait_for("it", ask=item) if item == "ask" else item

    graph = Graph(Mixed(name="mixed"))
    action, _ = run(graph, db)
    assert isinstance(action, Waits)
    assert CALLS == ["ask", "work", "work more"]
    Journal(db).answer("r", "it", 1)
    assert run(graph, db)[0] is None
    assert CALLS == ["ask", "work", "work more", "ask"]


def test_a_branch_that_waits_loses_against_one_that_does_not(db: Path) -> None:
    """It is no longer waited for, and no longer listed."""
    graph = Graph(first_of(WaitFor("late"), Step(name="quick")) >> WaitFor("next"))
    action, _ = run(graph, db)
    assert isinstance(action, Waits)
    assert [wait.name for wait in action.waiting] == ["next"]
    assert [wait.name for wait in Journal(db).waits("r")] == ["next"]


# --- permits, limits, nesting ---------------------------------------------------------------------


def test_a_wait_holds_no_permit(db: Path) -> None:
    """The only task that the graph may run continues next to it."""
    start = Step(name="start")
    start >> [WaitFor("never"), Step(name="other")]
    assert run(Graph(start, max_parallel_tasks=1), db)[0] == "waits"
    assert CALLS == ["start", "other"]


def test_an_exec_takes_its_permit_again_after_its_wait(db: Path) -> None:
    """What it does then is one of the tasks that the graph may have."""
    busy: list[int] = [0, 0]

    class Work(WaitFor):
        async def exec(self, _: Any) -> Any:
            answer = await self.wait_for(f"{self.name} may")
            busy[0] += 1
            busy[1] = max(busy)
            await asyncio.sleep(0.02)
            busy[0] -= 1
            return answer

    graph = Graph(Step(name="s") >> [Work(name="a"), Work(name="b")], max_parallel_tasks=1)
    run(graph, db)
    for name in ("a may", "b may"):
        Journal(db).answer("r", name, 0)
    assert run(graph, db)[0] is None
    assert busy == [0, 1]


def test_the_time_limit_of_a_graph_is_none_of_a_wait(db: Path) -> None:
    """task_timeout limits an attempt, which a person may outlast."""
    graph = Graph(WaitFor("approval"), task_timeout=0.01)
    assert run(graph, db)[0] == "waits"


def test_a_wait_in_a_graph_that_runs_within_exec(db: Path) -> None:
    """The enclosing call waits with it, and is called again when there is an answer."""

    class Outer(Node[Any, Any]):
        async def exec(self, _: Any) -> Any:
            CALLS.append("outer")
            shared: dict[str, Any] = {}
            await Graph(Step(name="before") >> WaitFor("inner"), name="in").run_async(shared)
            return shared

        def post(self, shared: Any, _: Any, result: Any) -> None:
            shared["result"] = result

    graph = Graph(Outer())
    action, _ = run(graph, db)
    assert isinstance(action, Waits)
    assert [wait.id for wait in action.waiting] == ["Outer/in/inner"]
    Journal(db).answer("r", "inner", 7)
    assert run(graph, db)[1] == {"result": {"log": ["before"], "inner": 7}}
    assert CALLS == ["outer", "before", "outer"]


def test_a_run_within_another_one_has_the_places_of_one_of_its_own(db: Path) -> None:
    """Begun by a hook, it is resumed by itself, and the other way round."""

    class Outer(Node[Any, Any]):
        async def exec(self, _: Any) -> Any:
            shared: dict[str, Any] = {}
            action = await letter().run_async(shared, journal=Journal(db, run="r"))
            return str(action), shared

        def post(self, shared: Any, _: Any, result: Any) -> None:
            shared["inner"] = result

    assert run(letter(), db)[0] == "waits"
    shared: dict[str, Any] = {}
    Graph(Outer()).run(shared)
    assert shared["inner"] == ("waits", {"log": ["write"]})
    Journal(db).answer("r", "approval", True)
    assert run(letter(), db)[1] == {"log": ["write", "send"], "approval": True}
    assert CALLS == ["write", "send"]


def test_a_run_without_a_journal_is_refused() -> None:
    """The error says what to type."""
    with pytest.raises(JournalError, match=r"journal=Journal\("):
        Graph(WaitFor("approval")).run()


def test_observers_see_that_the_wait_was_cancelled(db: Path) -> None:
    """Like every other item that the end of a run cuts short; the run itself has not failed."""
    events: list[Event] = []
    Graph(WaitFor("it")).run({}, journal=Journal(db, run="r"), observers=[events.append])
    assert [one.status for one in events if isinstance(one, ItemFailed)] == ["cancelled"]
    (end,) = [one for one in events if isinstance(one, RunFinished)]
    assert (end.action, end.error) == ("waits", None)


@pytest.mark.anyio
async def test_a_run_on_a_loop_returns_as_well(db: Path) -> None:
    """The task that has called it is not cancelled."""
    action = await letter().run_async({}, journal=Journal(db, run="r"))
    assert action == "waits"
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
    assert await letter().launch({}, journal=Journal(db, run="r")) == "waits"


def test_a_node_alone_waits_as_well(db: Path) -> None:
    """It runs without a graph, and is resumed by the same call."""
    action, _ = run(WaitFor("approval"), db)
    assert isinstance(action, Waits)
    Journal(db).answer("r", action.waiting[0].id, "yes")
    assert run(WaitFor("approval"), db) == (None, {"approval": "yes"})


@pytest.mark.anyio
async def test_a_stream_ends_where_all_that_is_left_waits(db: Path) -> None:
    """What it has yielded is yielded again when the run is resumed, with the answer."""

    class Mixed(ParallelWaitFor):
        async def exec(self, item: Any) -> Any:
            return await self.wait_for("it") if item == "ask" else item

    async def streamed() -> list[Any]:
        shared = {"items": ["work", "ask"]}
        node = Mixed(name="mixed", reads="items")
        return [one.value async for one in node.stream(shared, journal=Journal(db, run="r"))]

    assert await streamed() == ["work"]
    assert Journal(db).runs()[0].status == "waits"
    Journal(db).answer("r", "it", "answered")
    assert sorted(await streamed()) == ["answered", "work"]


# --- timeouts -------------------------------------------------------------------------------------


def test_a_wait_times_out(db: Path) -> None:
    """If that is soon, the run waits for it."""
    with pytest.raises(AttemptTimeoutError, match="nobody answered 'approval' within"):
        run(Graph(WaitFor("approval", timeout=0.05)), db)


def test_a_wait_that_timed_out_may_lead_to_an_error_edge(db: Path) -> None:
    """The run has gone on: it no longer waits, and a late answer changes nothing."""
    ask = WaitFor("approval", timeout=0.02)
    ask >> Step(name="send")
    ask - "error" >> Step(name="escalate") >> WaitFor("manager")
    action, _ = run(Graph(ask), db)
    assert isinstance(action, Waits)
    assert [wait.name for wait in Journal(db).waits("r")] == ["manager"]
    Journal(db).answer("r", "manager", 1)
    action, shared = run(Graph(ask), db)
    assert (action, shared) == (None, {"log": ["escalate"], "manager": 1})
    assert CALLS == ["escalate"]


def test_a_default_stands_in_for_the_answer(db: Path) -> None:
    """It is recorded: a later answer changes nothing."""
    graph = Graph(WaitFor("approval", timeout=0.05, default=None) >> WaitFor("next"))
    action, shared = run(graph, db)
    assert (action, shared) == ("waits", {"approval": None})
    Journal(db).answer("r", "next", 1)
    assert run(graph, db)[1] == {"approval": None, "next": 1}


def test_a_wait_for_days_is_left(db: Path) -> None:
    """The message says until when."""
    action, _ = run(Graph(WaitFor("approval", timeout=86400)), db)
    assert isinstance(action, Waits)
    (wait,) = action.waiting
    assert wait.until == wait.asked + 86400


def test_the_time_between_two_processes_counts(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts from the first time it was asked."""
    graph = Graph(WaitFor("approval", timeout=11, default="late"))
    assert run(graph, db)[0] == "waits"

    real = Asking._time
    monkeypatch.setattr(Asking, "_time", lambda asking: real(asking) + 20)
    assert run(graph, db)[1] == {"approval": "late"}


def test_a_late_answer_counts_where_the_run_has_failed(db: Path) -> None:
    """That failure is not recorded: the resumed run looks again."""
    graph = Graph(WaitFor("approval", timeout=0.02))
    with pytest.raises(AttemptTimeoutError):
        run(graph, db)
    Journal(db).answer("r", "approval", "late")
    assert run(graph, db)[1] == {"approval": "late"}


# --- answers --------------------------------------------------------------------------------------


def test_an_answer_that_does_not_fit_its_schema_is_refused(db: Path) -> None:
    """The error says where; nothing is recorded, and a valid answer is accepted later."""
    run(letter(), db)
    with pytest.raises(ValueError, match="does not fit its schema"):
        Journal(db).answer("r", "approval", "yes")
    Journal(db).answer("r", "approval", False)
    assert run(letter(), db)[1]["approval"] is False


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (bool, True, 1),
        (int, 3, True),
        (float, 3, "3"),
        (str, "x", None),
        (list[int], [1], ["1"]),
        (dict[str, bool], {"a": True}, {"a": 1}),
        (dict[str, bool], {}, None),
        (dict[str, bool], {"9e107d9d372bb6826bd81d3542a419d6": True}, []),
        (Literal["yes", "no"], "yes", "maybe"),
        (int | None, None, "1"),
        ({"minimum": 3}, 3, 2),
    ],
)
def test_a_type_is_a_schema(db: Path, kind: Any, right: Any, wrong: Any) -> None:
    """As JSON has types: a bool is no number."""
    graph = Graph(WaitFor("it", schema=kind))
    run(graph, db)
    with pytest.raises(ValueError, match="fit its schema"):
        Journal(db).answer("r", "it", wrong)
    Journal(db).answer("r", "it", right)
    assert run(graph, db)[1] == {"it": right}


def test_what_is_no_schema_is_refused_when_the_node_is_made() -> None:
    """A type that JSON lacks, or a schema that is not a dict."""
    with pytest.raises(ValueError, match="schema must be a JSON schema"):
        WaitFor("it", schema=complex)
    with pytest.raises(ValueError, match="not a JSON schema"):
        WaitFor("it", schema={"type": "nonsense"})


def test_the_first_answer_stands(db: Path) -> None:
    """A second answer is refused before the run has seen the first, and after."""
    run(looping(2), db)
    journal = Journal(db)
    journal.answer("r", "approval", 1)
    with pytest.raises(AlreadyAnsweredError):
        journal.answer("r", "approval", 2)


def test_a_name_that_nothing_waits_for_is_refused(db: Path) -> None:
    """With its waits, and the similar one."""
    run(letter(), db)
    with pytest.raises(WaitUnknownError, match="Did you mean 'approval'"):
        Journal(db).answer("r", "aproval", True)
    with pytest.raises(RunUnknownError):
        Journal(db).answer("s", "approval", True)
    with pytest.raises(RunUnknownError):
        Journal(db).waits("s")


def test_waits_are_values(db: Path) -> None:
    """They are equal if they are the same, and can be pickled."""
    waits = Waits([Wait("a", "a")])
    again = pickle.loads(pickle.dumps(waits))
    assert (again, again.waiting) == ("waits", waits.waiting)


# --- several waits in one exec --------------------------------------------------------------------


def test_an_exec_waits_several_times(db: Path) -> None:
    """It is called again after each answer, and gets the earlier ones immediately."""

    class Interview(WaitFor):
        async def exec(self, _: Any) -> list[Any]:
            CALLS.append("exec")
            return [await self.wait_for(name, ask=name) for name in ("age", "town", "age")]

        def post(self, shared: Any, _: Any, answers: Any) -> None:
            shared["answers"] = answers

    graph = Graph(Interview())
    for answer in (1, 2, 3):
        assert run(graph, db)[0] == "waits"
        (wait,) = Journal(db).waits("r")
        Journal(db).answer("r", wait.id, answer)
    assert run(graph, db)[1] == {"answers": [1, 2, 3]}


def test_another_attempt_gets_the_same_answer(db: Path) -> None:
    """It does not ask again."""

    class Moody(WaitFor):
        async def exec(self, ask: Any) -> Any:
            answer = await super().exec(ask)
            CALLS.append(answer)
            if len(CALLS) == 1:
                raise OSError
            return answer

    graph = Graph(Moody("it", max_retries=2))
    run(graph, db)
    Journal(db).answer("r", "it", "x")
    assert run(graph, db)[1] == {"it": "x"}
    assert CALLS == ["x", "x"]


def test_what_is_asked_differently_is_asked_again(db: Path) -> None:
    """An answer belongs to the question that was shown, not to a later one."""

    class Draft(Node[Any, Any]):
        text = "first"

        async def exec(self, _: Any) -> str:
            return self.text

        def post(self, shared: Any, _: Any, text: str) -> None:
            shared["draft"] = text

    draft = Draft(name="draft")
    ask = WaitFor("approval", ask=lambda shared: shared["draft"])
    graph = Graph(draft >> ask >> WaitFor("end"))
    run(graph, db)
    Journal(db).answer("r", "approval", "the first is fine")
    run(graph, db)
    draft.text = "second"
    action, _ = run(graph, db, redo=["draft"])
    assert isinstance(action, Waits)
    assert [(wait.id, wait.ask) for wait in action.waiting] == [("approval~2", "second")]
    assert [wait.id for wait in Journal(db).waits("r")] == ["approval~2"]
    Journal(db).answer("r", "approval", "this as well")
    action, shared = run(graph, db)
    assert (action, shared["approval"]) == ("waits", "this as well")


def test_a_wait_may_be_asked_again_on_purpose(db: Path) -> None:
    """redo= names its node: the earlier answer is no longer valid."""
    graph = Graph(WaitFor("approval") >> Step(name="send"))
    run(graph, db)
    Journal(db).answer("r", "approval", False)
    run(graph, db)
    action, _ = run(graph, db, redo=["approval"])
    assert action == "waits"
    Journal(db).answer("r", "approval~2", True)
    assert run(graph, db)[1]["approval"] is True


def test_two_of_one_name_in_a_graph(db: Path) -> None:
    """The second is numbered, like every node."""
    first, second = WaitFor("ok"), WaitFor("ok")
    graph = Graph(first >> second)
    run(graph, db)
    Journal(db).answer("r", "ok", 1)
    action, _ = run(graph, db)
    assert isinstance(action, Waits)
    Journal(db).answer("r", "ok", 2)
    assert run(graph, db) == (None, {"ok": 2})


def test_a_function_may_follow(db: Path) -> None:
    """The answer is read like any key of the shared store."""

    @node(reads="approval", writes="sent")
    def send(approved: bool) -> bool:
        return approved

    graph = Graph(WaitFor("approval") >> send)
    run(graph, db)
    Journal(db).answer("r", "approval", True)
    assert run(graph, db)[1] == {"approval": True, "sent": True}


# --- kills ---------------------------------------------------------------------------------------


def test_a_run_that_waits_may_be_killed_at_every_write() -> None:
    """Two waits at once, answered in either order; nothing is lost or done twice."""

    async def answered(shared: Any, journal: Journal) -> Any:
        graph = Graph(Step(name="a") >> [WaitFor("x"), WaitFor("y")] >> Step(name="b"))
        run = asyncio.ensure_future(graph.run_async(shared, journal=journal))
        try:
            while not run.done():
                await asyncio.sleep(0.001)
                with suppress(RunUnknownError):
                    for wait in journal.waits():
                        journal.answer("simulated", wait.id, wait.name)
        finally:
            run.cancel()
        return await run

    assert kill_everywhere(answered, {}) > 10


def test_a_wait_that_times_out_may_be_killed_at_every_write() -> None:
    """Its default is recorded, and is the same when the run is resumed."""
    wait = WaitFor("x", timeout=5, default=0)
    assert kill_everywhere(Graph(Step(name="a") >> wait >> Step(name="b")), {}) > 10


# --- processes ------------------------------------------------------------------------------------

PROGRAM = """
import sys
from kaygraph import Graph, Journal, Node
from kaygraph.nodes import WaitFor

class Step(Node):
    async def exec(self, _):
        with open(sys.argv[2], "a") as log:
            print(self.name, file=log)

graph = Graph(Step(name="write") >> WaitFor("approval") >> Step(name="send"))
shared = {}
print("waits", flush=True) if sys.argv[3] == "stay" else None
action = graph.run(shared, journal=Journal(sys.argv[1], run="r", on_wait=sys.argv[3]))
print(action, shared, flush=True)
"""


def test_a_killed_run_is_answered_from_another_process_and_goes_on(tmp_path: Path) -> None:
    """Nothing runs twice."""
    db, log, program = (tmp_path / name for name in ("runs.db", "calls", "program.py"))
    program.write_text(PROGRAM)
    with child(sys.executable, program, db, log, "stay") as process:
        while not (db.exists() and log.exists() and Journal(db).runs() and Journal(db).waits("r")):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    answer = f"from kaygraph import Journal; Journal({str(db)!r}).answer('r', 'approval', 'yes')"
    ran(sys.executable, "-c", answer, check=True)
    ended = ran(sys.executable, program, db, log, "exit", check=True)
    assert ended.stdout == "None {'approval': 'yes'}\n"
    assert log.read_text().split() == ["write", "send"]


# --- PostgreSQL -----------------------------------------------------------------------------------


def test_a_run_in_postgresql_is_notified_of_its_answer() -> None:
    """While it waits it listens, and leaves nothing behind."""
    with schema() as url:
        graph = Graph(WaitFor("approval"))
        assert graph.run({}, journal=Journal(url, run="exits")) == "waits"
        waits = threading.Event()
        real = PostgresStore.wait_for_answer

        def listens(store: PostgresStore, *asked: Any) -> bool:
            waits.set()
            return real(store, *asked)

        def answer() -> None:
            waits.wait(30)
            Journal(url).answer("stays", "approval", "yes")

        thread = threading.Thread(target=answer)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PostgresStore, "wait_for_answer", listens)
            thread.start()
            shared: dict[str, Any] = {}
            graph.run(shared, journal=Journal(url, run="stays", on_wait="stay"))
        thread.join()
        assert shared == {"approval": "yes"}
        assert not [one for one in threading.enumerate() if "kaygraph-answers" in one.name]
