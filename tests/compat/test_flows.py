"""Flows as programs for the ancestors have them: wiring, actions, params, batches, nesting."""

import asyncio
import warnings
from typing import Any

import pytest

import kaygraph
from kaygraph.compat import (
    AsyncBatchFlow,
    AsyncFlow,
    AsyncGraph,
    AsyncNode,
    AsyncParallelBatchFlow,
    AsyncParallelBatchGraph,
    BatchFlow,
    BatchGraph,
    Flow,
    Graph,
    Node,
)
from tests.calls import Gauge


class Say(Node):
    """Notes its word and returns it as the action."""

    def __init__(self, word: str, action: str | None = None) -> None:
        super().__init__()
        self.word, self.action = word, action

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str | None:
        shared.setdefault("said", []).append(self.word)
        return self.action


def words_of(flow: Any, **shared: Any) -> list[str]:
    flow.run(shared)
    return shared.get("said", [])


def test_line_is_walked_from_its_start() -> None:
    """`>>` wires the default action, and run() returns the last action."""
    one, two, three = Say("one"), Say("two"), Say("three", "end")
    one >> two >> three
    shared: dict[str, Any] = {}
    assert Flow(start=one).run(shared) == "end"
    assert shared["said"] == ["one", "two", "three"]


def test_start_can_be_given_later() -> None:
    """start() returns the node it is given, and start_node reads and sets the same."""
    flow, one, two = Flow(), Say("one"), Say("two")
    assert flow.start_node is None
    assert flow.start(one) is one
    assert words_of(flow) == ["one"]
    flow.start_node = two
    assert flow.start_node is two
    assert words_of(flow) == ["two"]


@pytest.mark.parametrize("how", ["minus", "next", "tuple"])
def test_action_leads_on_however_it_is_wired(how: str) -> None:
    """PocketFlow writes - "action" >> or next(), KayGraph also >> ("action", node)."""
    one, two, other = Say("one", "left"), Say("two"), Say("other")
    if how == "minus":
        one - "left" >> two
        one - "right" >> other
    elif how == "next":
        assert one.next(two, "left") is two
        one.next(other, "right")
    else:
        one >> ("left", two)
        one >> ("right", other)
    assert words_of(Graph(one)) == ["one", "two"]


def test_tuple_stands_at_the_end_of_a_line_too() -> None:
    """a >> b >> ("action", c) leads from b to c."""
    one, two, three = Say("one"), Say("two", "on"), Say("three")
    one >> two >> ("on", three)
    assert words_of(Graph(start=one)) == ["one", "two", "three"]


def test_line_can_be_asked_as_its_last_node() -> None:
    """In the ancestors `a >> b` is b."""
    one, two = Say("one"), Say("two")
    last = one >> two
    assert last.word == "two"
    last - "back" >> one
    assert list(two.successors) == ["back"]
    with pytest.raises(AttributeError):
        _ = last.nothing


def test_successor_is_replaced_with_a_warning() -> None:
    """There is one successor for an action: the last one wired."""
    one, two, three = Say("one"), Say("two"), Say("three")
    one >> two
    with pytest.warns(UserWarning, match="already had a successor for 'default'") as warned:
        one >> three
    assert warned[0].filename == __file__
    assert words_of(Flow(start=one)) == ["one", "three"]
    with pytest.warns(UserWarning, match="replaced"):
        one.next(two)
    assert words_of(Flow(start=one)) == ["one", "two"]


def test_what_cannot_be_wired_forgets_nothing() -> None:
    """A mistake leaves the wiring as it was."""
    one, two = Say("one"), Say("two")
    one >> two
    with pytest.raises(TypeError, match="cannot wire"):
        one >> 3
    assert words_of(Flow(start=one)) == ["one", "two"]


@pytest.mark.parametrize("action", ["rihgt", None])
def test_action_that_leads_nowhere_ends_the_flow_with_a_warning(action: str | None) -> None:
    """It is the flow's result, and no error."""
    one = Say("one", action)
    one - "right" >> Say("two")
    shared: dict[str, Any] = {}
    with pytest.warns(
        UserWarning, match=r"^Flow ends: '\w+' not found in \['right'\]. It was returned by 'Say'"
    ):
        assert Flow(start=one).run(shared) == action
    assert shared["said"] == ["one"]


def test_last_node_may_return_any_action_without_a_warning() -> None:
    """Where nothing follows there is nothing to miss."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Flow(start=Say("one", "whatever")).run({}) == "whatever"


def test_empty_action_is_the_default_one() -> None:
    """The ancestors take any false value for "default"."""
    one = Say("one", "")
    one >> Say("two")
    assert words_of(Flow(start=one)) == ["one", "two"]


@pytest.mark.parametrize("result", [[], 0, "", False, {}, [1], 5])
def test_what_nothing_follows_is_a_result_as_it_is(result: Any) -> None:
    """run() returns what post did, be it true or false."""
    node = Say("one", result)
    for run in (node.run, Flow(start=node).run, Flow(start=Flow(start=node)).run):
        assert run({}) is result


def test_exception_does_not_follow_the_action_named_error() -> None:
    """ "error" is an action like any other: it is returned, never raised."""

    class Breaks(Node):
        def exec(self, prep_res: Any) -> None:
            raise KeyError("broken")

    breaks, returns, handler = Breaks(), Say("one", "error"), Say("handler")
    breaks - "error" >> handler
    returns - "error" >> handler
    with pytest.raises(KeyError, match="broken"):
        Flow(start=breaks).run({})
    assert words_of(Flow(start=returns)) == ["one", "handler"]


def test_loop_runs_until_the_node_says_so() -> None:
    """An edge may lead back to its own node."""

    class Count(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            shared["count"] += 1
            return "again" if shared["count"] < 5 else "done"

    count = Count()
    count - "again" >> count
    count - "done" >> Say("done")
    assert words_of(Flow(start=count), count=0) == ["done"]


def test_inner_flow_routes_the_outer_one() -> None:
    """Its post gets its last action, and what it returns leads on."""

    class Inner(Flow):
        def prep(self, shared: Any) -> str:
            shared["said"] = ["begins"]
            return "prepared"

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            shared["said"].append(f"{prep_res}, {exec_res}")
            return "left"

    inner = Inner(start=Say("inside", "last"))
    inner - "left" >> Say("left")
    inner - "right" >> Say("right")
    assert words_of(Flow(start=inner)) == ["begins", "inside", "prepared, last", "left"]


# --- params --------------------------------------------------------------------------------


class Params(Node):
    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared.setdefault("params", []).append(dict(self.params))


def params_seen(flow: Any) -> list[dict[str, Any]]:
    shared: dict[str, Any] = {}
    flow.run(shared)
    return shared["params"]


def test_params_of_a_node_hold_when_it_runs_alone() -> None:
    """A flow sets its own in their place, and leaves the node as it was."""
    node = Params()
    assert node.params == {}
    node.set_params({"of": "node"})
    assert params_seen(node) == [{"of": "node"}]
    flow = Flow(start=node)
    assert params_seen(flow) == [{}]
    flow.set_params({"of": "flow"})
    assert params_seen(flow) == [{"of": "flow"}]
    assert node.params == {"of": "node"}

    class Writes(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            self.params["written"] = True

    flow = Flow(start=Writes() >> Params())
    assert params_seen(flow) == [{"written": True}]
    assert flow.params == {}
    with pytest.raises(TypeError, match="params must be a mapping"):
        node.set_params("flow")


def test_set_params_of_a_program_is_called() -> None:
    """A flow hands its params to the copy that runs."""

    class Upper(Params):
        def set_params(self, params: Any) -> None:
            super().set_params({key.upper(): value for key, value in params.items()})

    flow = Flow(start=Upper())
    flow.set_params({"key": 1})
    assert params_seen(flow) == [{"KEY": 1}]


def test_params_of_the_uppermost_flow_hold_for_all_within() -> None:
    """Those of an inner flow are overwritten."""
    inner = Flow(start=Params())
    inner.set_params({"of": "inner"})
    outer = Flow(start=inner)
    assert params_seen(outer) == [{}]
    outer.set_params({"of": "outer"})
    assert params_seen(outer) == [{"of": "outer"}]


def test_batch_flow_lays_its_params_over_its_own() -> None:
    """Each round sees both, and post gets what prep returned and no result."""

    class Rounds(BatchFlow):
        def prep(self, shared: Any) -> list[dict[str, int]]:
            return [{"n": 0}, {"n": 1}]

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            shared["post"] = prep_res, exec_res
            return "done"

    flow = Rounds(start=Params())
    flow.set_params({"k": "v"})
    shared: dict[str, Any] = {}
    assert flow.run(shared) == "done"
    assert shared["params"] == [{"k": "v", "n": 0}, {"k": "v", "n": 1}]
    assert shared["post"] == ([{"n": 0}, {"n": 1}], None)


def test_batch_flows_nest() -> None:
    """The innermost node sees the params of all flows around it."""

    class Folders(BatchGraph):
        def prep(self, shared: Any) -> Any:
            return [{"folder": name} for name in shared["tree"]]

    class Files(BatchGraph):
        def prep(self, shared: Any) -> Any:
            return [{"file": name} for name in shared["tree"][self.params["folder"]]]

    class Path(Node):
        def prep(self, shared: Any) -> str:
            return f"{self.params['folder']}/{self.params['file']}"

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["paths"].append(prep_res)

    shared: dict[str, Any] = {"tree": {"docs": ["a", "b"], "src": ["c"]}, "paths": []}
    Folders(start=Files(start=Path())).run(shared)
    assert shared["paths"] == ["docs/a", "docs/b", "src/c"]


def test_batch_flow_without_params_runs_no_round() -> None:
    """prep that returns None means none."""
    assert words_of(BatchFlow(start=Say("one"))) == []


# --- asynchronous flows --------------------------------------------------------------------


@pytest.mark.anyio
async def test_async_flow_takes_both_kinds_of_nodes() -> None:
    """Its own hooks are prep_async and post_async, and super() reaches the defaults."""

    class Fetch(AsyncNode):
        async def exec_async(self, prep_res: Any) -> str:
            await asyncio.sleep(0)
            return "page"

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            shared["said"] = [exec_res]
            return "on"

    class Outer(AsyncFlow):
        async def prep_async(self, shared: Any) -> Any:
            shared["prep"] = await super().prep_async(shared)
            return "ready"

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["post"] = prep_res, exec_res
            return await super().post_async(shared, prep_res, exec_res)

    fetch = Fetch()
    fetch - "on" >> Say("sync", "end")
    shared: dict[str, Any] = {}
    assert await Outer(start=fetch).run_async(shared) == "end"
    assert shared == {"said": ["page", "sync"], "prep": None, "post": ("ready", "end")}


class Meet(AsyncNode):
    """Waits until a number of them are here; each keeps what it has set on itself."""

    async def prep_async(self, shared: Any) -> Any:
        self.number = self.params["n"]
        return shared

    async def exec_async(self, shared: Any) -> int:
        shared["here"] += 1
        if shared["here"] == shared["coming"]:
            shared["all here"].set()
        await shared["all here"].wait()
        return int(self.number)

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        assert exec_res == self.number == self.params["n"]
        shared["met"].append(self.number)


def meeting(coming: int) -> dict[str, Any]:
    return {"here": 0, "coming": coming, "all here": asyncio.Event(), "met": []}


@pytest.mark.anyio
async def test_parallel_rounds_all_run_at_once() -> None:
    """No limit keeps one round waiting for another, and none sees what others set on the node."""

    class Rounds(AsyncParallelBatchGraph):
        async def prep_async(self, shared: Any) -> list[dict[str, int]]:
            return [{"n": n} for n in range(50)]

    shared = meeting(50)
    flow = Rounds(start=AsyncGraph(start=Meet()))
    await flow.run_async(shared)
    assert sorted(shared["met"]) == list(range(50))
    assert AsyncParallelBatchFlow is AsyncParallelBatchGraph


@pytest.mark.anyio
async def test_conflicts_of_rounds_are_reported_on_request() -> None:
    """The original libraries ignore rounds that write the same key."""

    class Rounds(AsyncParallelBatchFlow):
        async def prep_async(self, shared: Any) -> list[dict[str, int]]:
            return [{"n": n} for n in range(2)]

    class Writes(AsyncNode):
        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["key"] = self.params["n"]
            await asyncio.sleep(0)

    await Rounds(start=Writes()).run_async({})
    with pytest.raises(kaygraph.WriteConflictError):
        await Rounds(start=Writes(), on_conflict="raise").run_async({})


@pytest.mark.anyio
async def test_drained_flow_ends_without_a_warning() -> None:
    """What has not begun does not begin, which is not an unknown action."""
    begun = asyncio.Event()

    class First(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            begun.set()
            await asyncio.sleep(0)

    first, second, shared = First(), Say("second"), dict[str, Any]()
    first >> second >> Say("third")
    run = AsyncFlow(start=first).launch(shared)
    await begun.wait()
    run.drain()
    assert await run is None
    assert shared == {}


@pytest.mark.anyio
async def test_limit_holds_rounds_back_where_it_is_given() -> None:
    """max_workers= counts rounds, as for kaygraph.BatchGraph."""
    gauge = Gauge()

    class Look(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            await gauge(0)

    class Rounds(AsyncParallelBatchFlow):
        async def prep_async(self, shared: Any) -> Any:
            return ({"n": n} for n in range(20))

    await Rounds(start=Look(), max_workers=3).run_async({})
    assert gauge.most == 3


@pytest.mark.anyio
async def test_rounds_follow_each_other_in_an_async_batch_flow() -> None:
    """The next begins when the one before has ended."""

    class Rounds(AsyncBatchFlow):
        async def prep_async(self, shared: Any) -> list[dict[str, int]]:
            return [{"n": n} for n in range(5)]

    shared = meeting(1)
    await Rounds(start=Meet()).run_async(shared)
    assert shared["met"] == [0, 1, 2, 3, 4]


@pytest.mark.anyio
async def test_first_of_several_errors_is_raised_as_itself() -> None:
    """`except ValueError` around a flow still catches; the others are its cause."""

    class Breaks(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            raise ValueError(self.params["n"])

    class Rounds(AsyncParallelBatchFlow):
        async def prep_async(self, shared: Any) -> list[dict[str, int]]:
            return [{"n": n} for n in range(3)]

    with pytest.raises(ValueError, match="0") as caught:
        await Rounds(start=Breaks()).run_async({})
    others = caught.value.__cause__
    assert isinstance(others, ExceptionGroup)
    assert [str(error) for error in others.exceptions] == ["1", "2"]


# --- together with the core ----------------------------------------------------------------


def test_core_graph_runs_nodes_and_flows_of_the_ancestors() -> None:
    """There its rules hold: an error edge catches, an unknown action is an error."""

    class Breaks(Node):
        def exec(self, prep_res: Any) -> None:
            raise KeyError("broken")

    class Handle(kaygraph.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["said"].append(repr(self.error))

    breaks = Breaks()
    breaks - "error" >> Handle()
    graph = kaygraph.Graph(Say("one") >> Flow(start=Say("inner")) >> breaks)
    assert words_of(graph) == ["one", "inner", "KeyError('broken')"]
    lost = Say("lost", "nowhere")
    lost >> Say("next")
    with pytest.raises(kaygraph.UnknownActionError):
        kaygraph.Graph(lost).run({})


def test_core_nodes_run_in_a_flow() -> None:
    """They take part in its params."""

    class Core(kaygraph.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["params"] = [dict(self.params)]

    flow = Flow(start=Say("one") >> Core())
    flow.set_params({"k": 1})
    assert params_seen(flow) == [{"k": 1}]


def test_list_fans_out_and_joins() -> None:
    """New wiring works on old nodes."""
    join = Say("join")
    words = words_of(kaygraph.Graph(Say("fork") >> [Say("a"), Say("b")] >> join))
    assert words[0] == "fork"
    assert sorted(words[1:3]) == ["a", "b"]
    assert words[3:] == ["join"]


def test_events_name_the_nodes_and_their_copies_alike() -> None:
    """Two nodes of one class are distinct, even in an inner flow."""
    inner = Flow(start=Say("a") >> Say("b"), node_id="inner")
    events: list[Any] = []
    Flow(start=inner).run({}, observers=[events.append])
    names = [event.node for event in events if isinstance(event, kaygraph.NodeStarted)]
    assert names == ["inner", "inner/Say", "inner/Say-2"]


def test_overriding_the_engine_is_refused() -> None:
    """A hook that would not be called is an error when the class is defined."""
    with pytest.raises(kaygraph.NodeDefinitionError, match=r"defines get_next_node\(\)"):

        class Router(Flow):
            def get_next_node(self, curr: Any, action: Any) -> Any:
                return None


def test_flow_without_a_start_says_so() -> None:
    """The error of the core."""
    with pytest.raises(kaygraph.GraphDefinitionError, match="no start"):
        Flow().run({})
