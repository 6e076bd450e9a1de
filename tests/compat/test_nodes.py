"""Nodes as programs for the ancestors have them: attempts, batches, attributes, async hooks."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import kaygraph
from kaygraph.compat import (
    AsyncBatchNode,
    AsyncFlow,
    AsyncNode,
    AsyncParallelBatchNode,
    BaseNode,
    BatchNode,
    Config,
    Flow,
    Node,
    ParallelBatchNode,
)
from tests.calls import Gauge
from tests.children import python


def test_kaygraph_does_not_load_the_compatible_names() -> None:
    """They cost nothing unless they are used."""
    code = "import sys, kaygraph; sys.exit('kaygraph.compat' in sys.modules)"
    assert python("-c", code).returncode == 0


class Fails(Node):
    """Notes cur_retry wherever it can be asked for; fails as often as shared says."""

    def prep(self, shared: Any) -> Any:
        return shared

    def exec(self, shared: Any) -> str:
        shared["exec"].append(self.cur_retry)
        if self.cur_retry < shared["fails"]:
            raise ConnectionError("busy")
        return "spoken"

    def exec_fallback(self, prep_res: Any, exc: Exception) -> str:
        prep_res["fallback"] = self.cur_retry
        return f"sorry: {exc}"

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["post"] = exec_res, self.cur_retry


@pytest.mark.parametrize("around", [lambda node: node, lambda node: Flow(start=node)])
@pytest.mark.parametrize(
    ("fails", "post"), [(0, ("spoken", 0)), (1, ("spoken", 1)), (9, ("sorry: busy", 2))]
)
def test_cur_retry_counts_from_zero(around: Any, fails: int, post: Any) -> None:
    """It is the attempt's number in exec, and that of the last one afterwards."""
    shared: dict[str, Any] = {"fails": fails, "exec": []}
    around(Fails(3, 0)).run(shared)
    assert shared["post"] == post
    assert shared["exec"] == list(range(post[1] + 1))
    assert shared.get("fallback") == (2 if fails == 9 else None)


def test_attempts_of_a_node_are_not_those_of_the_next() -> None:
    """Not even where the next is one of the core, which asks the run itself."""

    class Core(kaygraph.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["attempt"] = self.attempt

    shared: dict[str, Any] = {"fails": 2, "exec": []}
    Flow(start=Fails(3) >> Core()).run(shared)
    assert shared["post"] == ("spoken", 2)
    assert shared["attempt"] == 1


def test_group_of_branches_sees_what_a_branch_returned() -> None:
    """An outcome has the value and the attempts of a node from here."""

    class After(kaygraph.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["outcomes"] = [(one.value, one.attempts) for one in self.outcomes]

    shared: dict[str, Any] = {"fails": 1, "exec": []}
    kaygraph.Graph(kaygraph.settle(Fails(3)) >> After()).run(shared)
    assert shared["outcomes"] == [("spoken", 2)]


@pytest.mark.anyio
async def test_cur_retry_is_not_shared_by_concurrent_items() -> None:
    """Every item has all of its attempts, whatever the others do."""
    seen: dict[int, list[int]] = {}

    class Flaky(AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return range(20)

        async def exec_async(self, item: int) -> int:
            seen.setdefault(item, []).append(self.cur_retry)
            await asyncio.sleep(0)
            if self.cur_retry < item % 3:
                raise ValueError(item)
            return item

    await Flaky(max_retries=3).run_async({})
    assert seen == {item: list(range(item % 3 + 1)) for item in range(20)}


def test_class_attributes_set_the_attempts() -> None:
    """As KayGraph documents it."""

    class Three(Fails):
        max_retries = 3
        wait = 0

    shared: dict[str, Any] = {"fails": 9, "exec": []}
    Three().run(shared)
    assert shared["exec"] == [0, 1, 2]


def test_nothing_tried_is_no_attempt_below_zero() -> None:
    """Where a breaker lets no call through, cur_retry is that of an attempt that was not made."""

    class Refused(Node):
        def exec(self, prep_res: Any) -> None:
            raise ConnectionError("busy")

        def on_error(self, shared: Any, error: Exception) -> bool:
            shared["errors"].append((type(error), self.cur_retry))
            return True

    shared: dict[str, Any] = {"errors": []}
    flow = Flow(start=Refused(2, breaker=kaygraph.CircuitBreaker(failures=2)))
    flow.run(shared)
    flow.run(shared)
    assert shared["errors"] == [(ConnectionError, 1), (kaygraph.CircuitOpenError, 0)]


def test_node_id_may_come_first() -> None:
    """KayGraph's Node("name"), and node_id= and config= with the rest."""
    assert Node("first").node_id == Node("first").name == "first"
    node = Node(3, 0.5, node_id="third")
    assert (node.max_retries, node.wait, node.node_id) == (3, 0.5, "third")
    assert BaseNode("base").node_id == "base"
    node.node_id = "renamed"
    assert node.name == "renamed"
    node.name = "a program's own"
    assert node.node_id == "renamed"
    node.node_id = "again"
    assert (node.name, node.node_id) == ("a program's own", "again")
    assert Fails().node_id == "Fails"
    with pytest.raises(TypeError, match="unknown setting 'max_retry'"):
        Node(max_retry=3)


def test_attributes_that_hooks_set_last_as_long_as_the_run() -> None:
    """In a flow a node is copied; run by itself it is not."""

    class Counts(Node):
        count = 0

        def prep(self, shared: Any) -> None:
            self.count += 1

        def exec(self, prep_res: Any) -> int:
            return self.count

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["counts"].append((exec_res, self.count))

    node, shared = Counts(), {"counts": list[Any]()}
    flow = Flow(start=node)
    flow.run(shared)
    flow.run(shared)
    assert shared["counts"] == [(1, 1), (1, 1)]
    assert node.count == 0
    node.run(shared)
    assert node.count == 1


def test_program_may_use_names_that_are_facts_of_a_run_here() -> None:
    """Attributes of a program's own stand above them."""

    class Agent(Node):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name, self.log, self.error = name, [name], None
            self.attempt, self.resource, self.outcomes = 7, "own", ()

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            self.log.append("post")
            shared["log"] = self.log, self.attempt, self.resource, self.cur_retry

    first = Agent("same")
    first >> Agent("same")
    shared: dict[str, Any] = {}
    Flow(start=first).run(shared)
    assert shared["log"] == (["same", "post"], 7, "own", 0)


def test_resource_is_held_by_the_node_and_read_by_its_copies() -> None:
    """lifespan is entered once a run, whatever the number of copies that run."""

    class Holds(Node):
        @asynccontextmanager
        async def lifespan(self, shared: Any) -> AsyncIterator[str]:
            shared["events"].append("open")
            yield "held"
            shared["events"].append("closed")

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str | None:
            shared["events"].append(self.resource)
            return "again" if len(shared["events"]) < 3 else None

    node, shared = Holds(), {"events": list[str]()}
    node - "again" >> node
    node >> Node()
    Flow(start=node).run(shared)
    assert shared["events"] == ["open", "held", "held", "closed"]


def test_node_that_has_successors_warns_when_it_runs_alone() -> None:
    """The rest does not run."""
    node = Node()
    node >> Node()
    with pytest.warns(UserWarning, match="runs alone"):
        node.run({})


def test_shared_may_be_named() -> None:
    """KayGraph's run(shared={...})."""
    shared: dict[str, Any] = {"fails": 0, "exec": []}
    Flow(start=Fails()).run(shared=shared)
    assert shared["post"] == ("spoken", 0)


# --- batches -------------------------------------------------------------------------------


class Items(BatchNode):
    def prep(self, shared: Any) -> Any:
        return shared["items"]

    def exec(self, item: Any) -> Any:
        return item * 2

    def post(self, shared: Any, prep_res: Any, exec_res_list: Any) -> None:
        shared["results"] = exec_res_list


@pytest.mark.parametrize(
    ("items", "results"),
    [
        (None, []),
        ([], []),
        ("ab", ["aa", "bb"]),
        ({"a": 1, "b": 2}, ["aa", "bb"]),
        (range(3), [0, 2, 4]),
        ((5,), [10]),
    ],
)
def test_batch_node_takes_any_iterable_and_none(items: Any, results: list[Any]) -> None:
    """None means no items."""
    shared: dict[str, Any] = {"items": items}
    Items().run(shared)
    assert shared["results"] == results


@pytest.mark.parametrize("kind", [BatchNode, ParallelBatchNode, AsyncParallelBatchNode])
def test_batch_node_without_a_prep_has_no_items(kind: Any) -> None:
    """As in the ancestors, where its prep returns None."""
    shared: dict[str, Any] = {}
    type("Empty", (kind,), {"post": _noted})().run(shared)
    assert shared["results"] == []


async def _noted(self: Any, shared: Any, prep_res: Any, exec_res_list: Any) -> None:
    shared["results"] = exec_res_list


def test_helpers_next_to_the_old_hooks_are_not_mistakes() -> None:
    """`exec_async` is the exec of its class."""

    class Queries(AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            return self.execute(prep_res)

        def execute(self, statement: Any) -> str:
            return "done"

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["seen"] = exec_res

    shared: dict[str, Any] = {}
    Queries().run(shared)
    assert shared["seen"] == "done"


def test_parallel_batch_node_runs_in_threads() -> None:
    """KayGraph's: items at once, results in order."""
    together = threading.Barrier(3, timeout=10)

    class Waits(ParallelBatchNode):
        max_workers = 3

        def prep(self, shared: Any) -> Any:
            return [1, 2, 3]

        def exec(self, item: int) -> int:
            together.wait()
            return item

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["results"] = exec_res

    async def in_async_flow(shared: Any) -> None:
        await AsyncFlow(start=Waits()).run_async(shared)

    ways: list[Any] = [
        Flow(start=Waits()).run,
        Flow(start=Waits(max_workers=None)).run,
        lambda shared: asyncio.run(in_async_flow(shared)),
    ]
    for run in ways:
        shared: dict[str, Any] = {}
        run(shared)
        assert shared["results"] == [1, 2, 3]


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [list, iter])
async def test_parallel_async_batch_runs_all_items_at_once(kind: Any) -> None:
    """No limit keeps one item waiting for another, unless it is asked for."""
    here, all_here = 0, asyncio.Event()

    class Meet(AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return kind(range(100))

        async def exec_async(self, item: int) -> int:
            nonlocal here
            here += 1
            if here == 100:
                all_here.set()
            await all_here.wait()
            return item

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            assert exec_res == list(range(100))
            return "met"

    assert await Meet().run_async({}) == "met"


@pytest.mark.anyio
async def test_async_source_of_a_parallel_batch_needs_a_limit() -> None:
    """All at once is only possible where all are there."""

    class Lazy(AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            async def items() -> Any:
                yield 1

            return items()

        async def exec_async(self, item: int) -> int:
            return item

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            return str(exec_res)

    with pytest.raises(TypeError, match="max_workers="):
        await Lazy().run_async({})
    assert await Lazy(max_workers=2).run_async({}) == "[1]"


@pytest.mark.anyio
@pytest.mark.parametrize("fallback", [False, True])
async def test_errors_of_items_are_what_they_were(fallback: bool) -> None:
    """The first of several is raised as itself; a fallback answers for each item."""

    class Breaks(AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return [1, 2]

        async def exec_async(self, item: int) -> int:
            raise ValueError(item)

    class Answers(Breaks):
        async def exec_fallback_async(self, item: int, exc: Exception) -> str:
            if item == 3:
                return await super().exec_fallback_async(item, exc)
            return f"no {exc}"

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["results"] = exec_res

    if fallback:
        shared: dict[str, Any] = {}
        await AsyncFlow(start=Answers(max_retries=2)).run_async(shared)
        assert shared["results"] == ["no 1", "no 2"]
    else:
        with pytest.raises(ValueError, match="1"):
            await AsyncFlow(start=Breaks()).run_async({})


@pytest.mark.anyio
async def test_group_that_an_item_raises_stays_one() -> None:
    """It is that item's error, not several."""

    class Breaks(AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return [1]

        async def exec_async(self, item: int) -> int:
            raise ExceptionGroup("own", [ValueError(1), ValueError(2)])

    with pytest.raises(ExceptionGroup, match="own"):
        await Breaks().run_async({})


@pytest.mark.anyio
async def test_failures_beyond_what_is_tolerated_stay_together() -> None:
    """With on_error=, the batch's own error contains all of them."""

    class Breaks(AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return [1, 2, 3]

        async def exec_async(self, item: int) -> int:
            raise ValueError(item)

    with pytest.raises(kaygraph.TooManyFailuresError):
        await Breaks(on_error=1).run_async({})


@pytest.mark.anyio
async def test_async_batch_node_takes_one_item_after_another() -> None:
    """The next item begins when the one before has ended."""
    events: list[str] = []

    class One(AsyncBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return "ab"

        async def exec_async(self, item: str) -> None:
            events.append(f"{item} begins")
            await asyncio.sleep(0)
            events.append(f"{item} ends")

    await One().run_async({})
    assert events == ["a begins", "a ends", "b begins", "b ends"]


# --- where code runs -----------------------------------------------------------------------


class Where(Node):
    """Uses what belongs to the thread that made it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.connection = sqlite3.connect(":memory:")

    def exec(self, prep_res: Any) -> Any:
        return self.connection.execute("select 1").fetchone()[0]

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
        self.connection.close()
        return str(exec_res)


@pytest.mark.anyio
async def test_plain_exec_stays_in_the_thread_of_the_flow() -> None:
    """A connection made in __init__ can be used, unless a thread is asked for."""
    assert await AsyncFlow(start=Where()).run_async({}) == "1"
    elsewhere = Where(run_in="thread")
    with pytest.raises(sqlite3.ProgrammingError):
        await AsyncFlow(start=elsewhere).run_async({})
    elsewhere.connection.close()


def test_exec_may_bring_a_loop_of_its_own() -> None:
    """asyncio.run() in the exec of a synchronous flow works."""

    class Own(Node):
        def exec(self, prep_res: Any) -> str:
            return asyncio.run(asyncio.sleep(0, "slept"))

        def post(self, shared: Any, prep_res: Any, exec_res: str) -> str:
            return exec_res

    assert Flow(start=Own()).run({}) == "slept"


@pytest.mark.anyio
async def test_time_limits_and_caps_hold() -> None:
    """The settings of the core are there for nodes and flows of the ancestors."""

    class Sleeps(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            await asyncio.Event().wait()

    with pytest.raises(kaygraph.AttemptTimeoutError):
        await AsyncFlow(start=Sleeps(timeout=0.01)).run_async({})
    with pytest.raises(kaygraph.AttemptTimeoutError):
        await AsyncFlow(start=Sleeps(), task_timeout=0.01).run_async({})
    gauge = Gauge()

    class Look(AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return range(20)

        async def exec_async(self, item: int) -> None:
            await gauge(0)

    await AsyncFlow(start=Look(), max_workers=4).run_async({})
    assert gauge.most == 4


class Scaled(BatchNode):
    """At the top of a module, where a process finds it."""

    run_in = "process"

    def prep(self, shared: Any) -> Any:
        return [1, 2, 3]

    def exec(self, item: int) -> Any:
        return item * self.params["factor"], self.config.get("unit")

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["results"] = exec_res


def test_params_and_config_reach_a_process() -> None:
    """A node goes there with what it has been given, and without its neighbours."""
    node, shared = Scaled(), dict[str, Any]()
    node >> Node()
    flow = Flow(start=node, config=Config(unit="m"))
    flow.set_params({"factor": 2})
    flow.run(shared)
    assert shared["results"] == [(2, "m"), (4, "m"), (6, "m")]


def test_node_goes_to_a_process_from_a_graph_of_the_core() -> None:
    """Its params are a dict there too, which it may write to."""

    class Writes(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            self.params["written"] = True
            shared["params"] = self.params

    shared: dict[str, Any] = {}
    kaygraph.Graph(Writes() >> Known()).run(shared)
    assert shared == {"params": {"written": True}, "known": {}}


class Known(Node):
    """At the top of a module, where a process finds it."""

    run_in = "process"

    def exec(self, prep_res: Any) -> Any:
        return self.params

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["known"] = exec_res


def test_every_node_and_flow_is_a_base_node() -> None:
    """As in the ancestors; BaseNode itself has three steps."""
    for thing in (Node(), BatchNode(), AsyncNode(), Flow(), AsyncFlow(), BaseNode()):
        assert isinstance(thing, BaseNode)
    assert not isinstance(BaseNode(), Node)


@pytest.mark.parametrize("name", ["run_item", "_configure", "_work", "exec_is_plain", "_run"])
def test_names_of_the_engine_are_refused(name: str) -> None:
    """A conflicting hook is an error when the class is defined, not in a run."""
    with pytest.raises(kaygraph.NodeDefinitionError, match=f"Own defines {name}.*: (re|over)"):
        type("Own", (Node,), {name: lambda self, prompt: prompt})
    assert type("Own", (Node,), {"_ask": lambda self, prompt: prompt})()._ask("hi") == "hi"


def test_refused_hook_names_the_way_out() -> None:
    """A class of the core refuses what a class from here takes, however deep."""
    with pytest.raises(
        kaygraph.NodeDefinitionError,
        match=r"Fetch defines exec_async\(\).*rename it to 'async def exec', or import AsyncNode "
        r"from kaygraph\.compat",
    ):
        type("Fetch", (kaygraph.Node,), {"exec_async": lambda self, item: None})
    with pytest.raises(kaygraph.NodeDefinitionError, match="post_async"):
        type("Sync", (Node,), {"post_async": lambda self, *_: None})
    fetch = type("Fetch", (AsyncNode,), {"exec_async": lambda self, item: None})
    assert type("Deeper", (fetch,), {"prep_async": lambda self, shared: None})


@pytest.mark.anyio
async def test_hooks_are_inherited_one_by_one() -> None:
    """A class may take some hooks from the class above and call those it overrides."""

    class Above(AsyncNode):
        async def prep_async(self, shared: Any) -> str:
            return "above"

        async def exec_async(self, prep_res: str) -> str:
            return prep_res + " exec"

    class Below(Above):
        async def prep_async(self, shared: Any) -> str:
            return "below " + await super().prep_async(shared)

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            assert await super().post_async(shared, prep_res, exec_res) is None
            return exec_res

    assert await Below().run_async({}) == "below above exec"
    assert await AsyncNode().run_async({}) is None
