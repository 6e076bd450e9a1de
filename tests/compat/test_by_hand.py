"""A flow of plain ``def`` hooks needs no event loop, until something in it has to wait."""

import asyncio
import pickle
import signal
import threading
from collections import UserDict
from collections.abc import Callable
from contextvars import ContextVar
from itertools import pairwise
from typing import Any

import pytest

from kaygraph import (
    AwaitedCancelledError,
    Drop,
    Graph,
    NodeDefinitionError,
    RunInterrupted,
    RunReport,
)
from kaygraph import Node as CoreNode
from kaygraph.compat import AsyncFlow, AsyncNode, BatchFlow, BatchNode, Flow, Node
from kaygraph.run.frame import FRAME
from kaygraph.run.place import place_of

SEEN: ContextVar[str] = ContextVar("seen", default="nothing")


def loop_runs() -> bool:
    return asyncio._get_running_loop() is not None


class Step(Node):
    """Notes for each hook whether a loop runs."""

    def prep(self, shared: Any) -> Any:
        shared.append(loop_runs())
        return shared

    def exec(self, prep_res: Any) -> Any:
        prep_res.append(loop_runs())

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared.append(loop_runs())
        return None


def flow_of(*nodes: Any) -> Flow:
    """Return a flow of nodes one after another."""
    for one, other in pairwise(nodes):
        one >> other
    return Flow(start=nodes[0])


def test_no_loop_runs_while_nothing_waits() -> None:
    """Hooks may bring one of their own, as in any synchronous program."""

    class Brings(Step):
        def prep(self, shared: Any) -> Any:
            shared.append(asyncio.run(asyncio.sleep(0, "brought")))
            return super().prep(shared)

    seen: list[Any] = []
    flow_of(Step(), Brings(), flow_of(Step())).run(seen)
    assert seen == [*[False] * 3, "brought", *[False] * 6]


@pytest.mark.parametrize("hook", ["before_prep", "after_exec", "on_error"])
def test_a_hook_that_waits_goes_on_on_a_loop(hook: str) -> None:
    """And so does what follows; what was set before in a context variable is there."""

    async def waits(self: Any, shared: Any, *_: Any) -> bool:
        await asyncio.sleep(0)
        shared.append((SEEN.get(), loop_runs()))
        return True

    class Sets(Step):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            SEEN.set("set before")
            return None

    def post(self: Any, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        if hook == "on_error":
            raise ValueError
        return None

    waiting: Any = type("Waits", (Step,), {hook: waits, "post": post})
    flow = flow_of(Sets(), waiting(), Step())
    seen: list[Any] = []
    flow.run(seen)
    assert seen[0] is False
    assert ("set before", True) in seen
    assert seen[-3:] == [True, False, True]  # exec never sees one
    assert SEEN.get() == "nothing"


@pytest.mark.parametrize(
    "change",
    [
        lambda node: setattr(node, "max_retries", 2),
        lambda node: setattr(node, "timeout", 5),
        lambda node: setattr(node, "run_in", "thread"),
    ],
)
def test_what_needs_a_loop_has_one(change: Callable[[Any], None]) -> None:
    """Also where a setting has changed since the last run."""
    step = Step()
    flow = flow_of(step)
    seen: list[Any] = []
    change(step)
    flow.run(seen)
    assert seen == [True, False, True]


def test_options_of_a_run_have_a_loop() -> None:
    """There is an observer, or a deadline."""
    flow = flow_of(Step())
    report = RunReport()
    flow.run([], observers=[report])
    assert report.nodes["Step"].peak == 1
    seen: list[Any] = []
    flow.run(seen, deadline=60)
    assert seen == [True, False, True]


def test_signals_are_left_alone_unless_a_grace_is_given() -> None:
    """As in any synchronous program; with it, the first signal drains the flow."""

    class Looks(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    flow = flow_of(Looks())
    seen: list[Any] = []
    flow.run(seen)
    flow.run(seen, grace=5)
    assert seen[0] == before
    assert seen[1] != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_context_variables_do_not_leave_the_run() -> None:
    """What exec sets ends with exec, what other hooks set with the run."""

    class Sets(Node):
        def exec(self, prep_res: Any) -> Any:
            SEEN.set("exec")

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared.append(SEEN.get())
            SEEN.set("post")

    flow = flow_of(Sets(), Sets())
    seen: list[Any] = []
    flow.run(seen)
    assert seen == ["nothing", "post"]
    assert SEEN.get() == "nothing"
    assert FRAME.get(None) is None


@pytest.mark.parametrize("hook", ["prep", "exec", "post"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, asyncio.CancelledError])
def test_errors_are_those_of_a_run_on_a_loop(hook: str, error: type[BaseException]) -> None:
    """Of the same class, with the same notes."""

    def fail(self: Any, *_: Any) -> Any:
        raise error("mine")

    failing: Any = type("Fails", (Node,), {hook: fail})
    flow = Flow(start=Step() >> failing())
    raised = []
    expected = AwaitedCancelledError if error is asyncio.CancelledError else error
    by_hand, on_loop = {}, {"deadline": 60}
    for options in (by_hand, on_loop):
        with pytest.raises(expected) as caught:
            flow.run([], **options)
        raised.append((type(caught.value), getattr(caught.value, "__notes__", [])))
    assert raised[0] == raised[1]
    assert FRAME.get(None) is None


def test_a_coroutine_of_a_def_is_reported() -> None:
    """With the words that a run on a loop has."""

    async def later() -> None: ...

    class Returns(Node):
        def exec(self, prep_res: Any) -> Any:
            return later() if prep_res else None

        def prep(self, shared: Any) -> Any:
            return bool(shared)

    flow = flow_of(Returns())
    with pytest.raises(NodeDefinitionError, match="exec of Returns is written 'def' and returned"):
        flow.run([1])


def test_a_hook_may_run_another_flow() -> None:
    """Synchronous, or asynchronous in a loop of its own; each has its own params."""

    class Inner(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared.append(dict(self.params))

    class Later(AsyncNode):
        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            await asyncio.sleep(0)
            shared.append("later")

    inner, later = flow_of(Inner()), AsyncFlow(start=Later())

    class Outer(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            inner.run(shared)
            asyncio.run(later.run_async(shared))
            shared.append(dict(self.params))

    flow = flow_of(Outer())
    flow.set_params({"of": "outer"})
    seen: list[Any] = []
    flow.run(seen)
    assert seen == [{}, "later", {"of": "outer"}]


def test_threads_run_flows_next_to_a_loop() -> None:
    """A task of another thread is not taken for one of the run."""
    flow = flow_of(Step(), Step())
    failures: list[BaseException] = []
    running, done = threading.Event(), threading.Event()

    async def waits() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()  # it is being cancelled, which is nobody else's affair
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            running.set()
            await asyncio.to_thread(done.wait, 30)

    def runs() -> None:
        try:
            seen: list[Any] = []
            flow.run(seen)
            assert seen == [False] * 6
        except BaseException as error:
            failures.append(error)

    looping = threading.Thread(target=lambda: asyncio.run(waits()))
    looping.start()
    assert running.wait(30)
    threads = [threading.Thread(target=runs) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    done.set()
    looping.join(30)
    assert failures == []


class Items(BatchNode):
    """Works on what it finds in the shared store."""

    def prep(self, shared: Any) -> Any:
        return shared["items"]

    def exec(self, item: Any) -> Any:
        SEEN.set(f"{SEEN.get()} and {item}")
        return loop_runs(), self.cur_retry, SEEN.get()

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["results"] = exec_res


@pytest.mark.parametrize("kind", [list, tuple, iter, str, dict.fromkeys])
def test_the_items_of_a_batch_are_called_one_after_another(kind: Callable[[Any], Any]) -> None:
    """Each sees the context that its node began with, on a loop or without one."""
    shared: dict[str, Any] = {"items": kind("ab")}
    flow_of(Items()).run(shared)
    assert shared["results"] == [(False, 0, "nothing and a"), (False, 0, "nothing and b")]


@pytest.mark.parametrize("items", [None, (), [], range(0)])
def test_a_batch_may_be_empty(items: Any) -> None:
    """None means no items."""
    shared = {"items": items}
    flow_of(Items()).run(shared)
    assert shared["results"] == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, asyncio.CancelledError, Drop])
def test_an_item_fails_as_it_does_on_a_loop(error: type[BaseException]) -> None:
    """With its place; where it drops itself, it is left out."""

    class Fails(Items):
        def exec(self, item: Any) -> Any:
            if item == 3:
                raise error("mine")
            return item

    results: list[Any] = []
    flow = flow_of(Fails())
    by_hand, on_loop = {}, {"deadline": 60}
    for options in (by_hand, on_loop):
        shared: dict[str, Any] = {"items": range(2, 6)}
        try:
            flow.run(shared, **options)
        except BaseException as failure:
            results.append((type(failure), getattr(failure, "__notes__", None)))
        else:
            results.append(shared["results"])
    assert results[0] == results[1]
    assert (results[0] == [2, 4, 5]) == (error is Drop)


def test_an_item_that_returns_a_coroutine_is_reported() -> None:
    """Whether a loop runs or not."""

    class Returns(Items):
        def exec(self, item: Any) -> Any:
            return asyncio.sleep(0)

    flow = flow_of(Returns())
    for options in ({}, {"deadline": 60}):
        with pytest.raises(NodeDefinitionError, match="written 'def' and returned") as caught:
            flow.run({"items": [7]}, **options)
        assert "item 0 (7)" in "".join(caught.value.__notes__)


def test_a_log_names_the_item() -> None:
    """As it does on a loop."""

    class Logs(Items):
        def exec(self, item: Any) -> Any:
            return place_of(self)["item"]

    shared: dict[str, Any] = {"items": "abc"}
    flow_of(Logs()).run(shared)
    assert shared["results"] == [0, 1, 2]


class Rounds(BatchFlow):
    """A round for each of the numbers."""

    def prep(self, shared: Any) -> Any:
        return [{"number": number} for number in shared["numbers"]]


class Adds(Node):
    """Adds its number, which may not be 3."""

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        if self.params["number"] == 3:
            raise shared["error"]("mine")
        shared.setdefault("seen", []).append((self.params["number"], loop_runs()))


def test_rounds_follow_each_other_without_a_loop() -> None:
    """Each with its own params, over those of the flow."""
    rounds = Rounds(start=Adds())
    rounds.set_params({"of": "all"})
    shared: dict[str, Any] = {"numbers": [1, 2]}
    rounds.run(shared)
    assert shared["seen"] == [(1, False), (2, False)]
    shared = {"numbers": [4]}
    flow_of(Node(), rounds).run(shared)
    assert shared["seen"] == [(4, False)]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, asyncio.CancelledError])
def test_a_round_fails_as_it_does_on_a_loop(error: type[BaseException]) -> None:
    """With its place."""
    expected = AwaitedCancelledError if error is asyncio.CancelledError else error
    by_hand, on_loop = {}, {"deadline": 60}
    notes = []
    for options in (by_hand, on_loop):
        with pytest.raises(expected) as caught:
            Rounds(start=Adds()).run({"numbers": [2, 3, 4], "error": error}, **options)
        notes.append(getattr(caught.value, "__notes__", []))
    assert notes[0] == notes[1]


def test_params_that_are_none_are_reported() -> None:
    """As on a loop."""

    class Wrong(Rounds):
        def prep(self, shared: Any) -> Any:
            return [7]

    with pytest.raises(TypeError, match="must return mappings of params"):
        Wrong(start=Adds()).run({})


class Later(AsyncNode):
    """Needs a loop."""

    async def prep_async(self, shared: Any) -> Any:
        await asyncio.sleep(0)
        shared.setdefault("seen", []).append("later")


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("fork", [False, True])
def test_what_a_hook_wires_may_need_a_loop(within: bool, fork: bool) -> None:
    """A node of another kind, or branches; in a flow that has begun without one."""

    class Wires(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            last >> ([Later(), Later()] if fork else Later())

    last = Adds()
    inner = Flow(start=last)
    inner.set_params({"number": 1})

    class Wired(Flow):
        def prep(self, shared: Any) -> Any:
            self.start_node >> ([Later(), Later()] if fork else Later())

    shared: dict[str, Any] = {}
    if within:
        flow: Any = flow_of(Wires(), inner)
    else:
        flow = Wired(start=Adds())
    flow.set_params({"number": 1})
    flow.run(shared)
    assert shared["seen"] == [(1, shared["seen"][0][1]), *["later"] * (2 if fork else 1)]


def test_a_round_may_wire_the_next_ones_anew() -> None:
    """These continue on a loop."""

    class Wires(Adds):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            super().post(shared, prep_res, exec_res)
            if self.params["number"] == 1:
                first >> Later()

    first = Wires()
    shared: dict[str, Any] = {"numbers": [0, 1, 2, 4]}
    with pytest.warns(UserWarning, match="Flow ends"):  # the round that has begun knows no other
        Rounds(start=first).run(shared)
    assert shared["seen"] == [(0, False), (1, False), (2, True), "later", (4, True), "later"]


def test_no_round_begins_once_a_flow_drains() -> None:
    """It has continued on a loop, as its first round had to wait: there, a signal drains it."""

    class Signals(Adds):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            super().post(shared, prep_res, exec_res)
            if self.params["number"] == 2:
                signal.raise_signal(signal.SIGTERM)

        async def after_exec(self, shared: Any, *_: Any) -> None:
            await asyncio.sleep(0)

    shared: dict[str, Any] = {"numbers": [1, 2, 4]}
    with pytest.raises(RunInterrupted):
        Rounds(start=Signals()).run(shared)
    assert shared["seen"] == [(1, True), (2, True)]


def test_params_that_cannot_be_read_fail_as_they_do_on_a_loop() -> None:
    """A mapping that looks up its values may find that they were cancelled."""

    class Lazy(UserDict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            raise asyncio.CancelledError

    class Reads(Rounds):
        def prep(self, shared: Any) -> Any:
            return [{"number": 1}, Lazy(number=2)]

    notes = []
    for options in ({}, {"deadline": 60}):
        shared: dict[str, Any] = {}
        with pytest.raises(AwaitedCancelledError) as caught:
            Reads(start=Adds()).run(shared, **options)
        notes.append(getattr(caught.value, "__notes__", []))
        assert [number for number, _ in shared["seen"]] == [1]
    assert notes[0] == notes[1]


def test_hooks_may_change_how_the_next_node_runs() -> None:
    """It is asked when its turn comes."""

    async def later(_: Any) -> str:
        await asyncio.sleep(0)
        return "later"

    class Changes(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            following.exec = later

    class Notes(Node):
        def exec(self, prep_res: Any) -> Any:
            return "now"

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["seen"] = exec_res

    following: Any = Notes()
    shared: dict[str, Any] = {}
    flow_of(Changes(), following).run(shared)
    assert shared["seen"] == "later"


def test_a_hook_that_was_patched_is_called_as_it_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its class was noted as it was made."""

    class Notes(Node):
        def exec(self, prep_res: Any) -> Any:
            return "now"

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared.append(exec_res)

    async def later(self: Any, prep_res: Any) -> Any:
        await asyncio.sleep(0)
        return "later"

    flow, seen = flow_of(Notes()), list[str]()
    flow.run(seen)
    with monkeypatch.context() as patch:
        patch.setattr(Notes, "exec", later)
        flow.run(seen)
        flow.run(seen)
    assert seen == ["now", "later", "later"]


def test_a_flow_that_has_run_can_be_pickled() -> None:
    """What it has found out about its plan stays here."""
    flow = flow_of(Node(), flow_of(Node()))
    flow.run({})
    copied = pickle.loads(pickle.dumps(flow))
    assert copied.run({}) is None


def test_a_graph_that_a_hook_runs_takes_place_within_the_flow() -> None:
    """Its nodes have the params and the place that they have within one that has a loop."""

    class Asks(CoreNode[Any, Any]):
        def exec(self, prep_res: Any) -> Any:
            return dict(self.params)

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared.append(exec_res)
            raise ValueError("mine")

    class Outer(Node):
        def exec(self, prep_res: Any) -> Any:
            Graph(Asks()).run(seen)

    flow = flow_of(Outer())
    flow.set_params({"of": "outer"})
    notes, by_hand, on_loop = [], {}, {"deadline": 60}
    for options in (by_hand, on_loop):
        seen: list[Any] = []
        with pytest.raises(ValueError, match="mine") as caught:
            flow.run({}, **options)
        assert seen == [{"of": "outer"}]
        notes.append(caught.value.__notes__)
    assert notes[0] == notes[1]


def test_stop_iteration_of_an_item_says_which() -> None:
    """As the error that it becomes on a loop does."""

    class Items(BatchNode):
        def prep(self, shared: Any) -> list[int]:
            return [1, 2, 3]

        def exec(self, item: int) -> int:
            return next(iter(())) if item == 2 else item

    runs: tuple[dict[str, Any], ...] = {}, {"deadline": 60}
    for options in runs:
        with pytest.raises(RuntimeError, match="exec raised StopIteration") as raised:
            Flow(Items()).run({}, **options)
        assert raised.value.__notes__ == ["in node 'Items', item 1 (2)"]
        assert isinstance(raised.value.__cause__, StopIteration)
