"""What holds for every node that is made of parts: places, settings, limits, and what is open."""

import asyncio
import pickle
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from kaygraph import (
    AttemptTimeoutError,
    BatchGraph,
    DeadlineExceededError,
    Graph,
    ItemFinished,
    Node,
    NodeDefinitionError,
    Retry,
    RunReport,
)
from kaygraph.patterns import (
    ParallelEnrichmentNode,
    ParallelValidationNode,
    RaceNode,
    ResilientBranch,
    check,
    source,
)
from kaygraph.testing import (
    Faults,
    InjectedError,
    assert_accounted,
    cancel_everywhere,
    explore,
    simulate,
)
from tests.calls import Gauge


class Records(Node[Any, Any]):
    """The source of a stream."""

    def prep(self, shared: Any) -> Any:
        return shared["records"]


def three(gauge: Gauge, seconds: float = 1.0, **settings: Any) -> Any:
    """A node of three sources that count how many of them run at once."""

    async def ask(record: Any) -> Any:
        await gauge(seconds)
        return record

    sources = {name: partial(ask) for name in "abc"}
    return ParallelEnrichmentNode(sources, **settings)


# --- places -----------------------------------------------------------------------------------


def test_a_stream_of_records_keeps_its_order() -> None:
    """As a stage with max_workers records at once."""

    class Waits(ParallelValidationNode[float]):
        @check
        async def waits(self, seconds: float) -> None:
            await asyncio.sleep(seconds)

    run = simulate(Records() | Waits(max_workers=4, writes="done"), {"records": [4, 1, 3, 2, 4]})
    assert [summary.record for summary in run.shared["done"]] == [4, 1, 3, 2, 4]
    assert run.seconds == 5.0


def test_rounds_of_a_batch_graph_have_a_record_each() -> None:
    """prep reads it from the params, post writes to a place of the round's own."""

    class Each(BatchGraph):
        def prep(self, shared: Any) -> Any:
            shared["sums"] = {}
            return [{"n": n} for n in range(5)]

    class Sum(ParallelEnrichmentNode[int]):
        @source
        async def twice(self, n: int) -> int:
            await asyncio.sleep(1)
            return 2 * n

        def prep(self, shared: Any) -> int:
            number: int = self.params["n"]
            return number

        def post(self, shared: Any, n: int, enrichment: Any) -> None:
            shared["sums"][n] = enrichment.found["twice"] + self.params["n"]

    run = simulate(Each(Sum(), max_workers=5))
    assert run.shared["sums"] == {n: 3 * n for n in range(5)}
    assert run.seconds == 1.0


def test_exec_can_be_called_by_hand() -> None:
    """In a test, or in the exec of another node, where it works within that one's permit."""
    node = three(Gauge())
    assert asyncio.run(node.exec(1)).found == {"a": 1, "b": 1, "c": 1}

    class Outer(Node[Any, Any]):
        async def exec(self, _: Any) -> Any:
            return await node.exec(2)

        def post(self, shared: Any, prep_res: Any, enrichment: Any) -> None:
            shared["found"] = enrichment.found

    run = simulate(Graph(Outer(), max_workers=1))
    assert run.shared["found"] == {"a": 2, "b": 2, "c": 2}


def test_blocking_parts_run_in_threads_at_once() -> None:
    """Both must be there for either to continue; a second run has its own threads."""
    barrier = threading.Barrier(2, timeout=10)

    def meet(_: Any) -> None:
        barrier.wait()

    node = ParallelValidationNode({"a": partial(meet), "b": partial(meet)}, writes="summary")
    for _ in range(2):
        shared: dict[str, Any] = {}
        assert node.run(shared) == "valid"
        assert shared["summary"].passed == ("a", "b")


def test_a_part_may_run_in_a_process() -> None:
    """Where run_in says so, a callable as anywhere."""
    node = ParallelEnrichmentNode(
        {"there": source(run_in="process")(len)}, reads="record", writes="out"
    )
    shared: dict[str, Any] = {"record": "abc"}
    node.run(shared)
    assert shared["out"].found == {"there": 3}


def test_patterns_nest() -> None:
    """For example, a race is a source; each part is named by the whole path."""

    async def fails(_: Any) -> None:
        raise ValueError

    async def works(record: Any) -> Any:
        return record

    race = RaceNode(fails, works, name="mirrors")
    safe = ResilientBranch(fails, fallback=works, name="safe")
    node = ParallelEnrichmentNode({"m": race, "s": safe}, name="all", reads="r", writes="out")
    run = simulate(Graph(node, max_workers=1), {"r": 5})
    assert run.shared["out"].found["m"] == 5
    assert run.shared["out"].found["s"].status == "fallback"
    assert {"Graph/all", "Graph/all/m", "Graph/all/m/works"} <= {
        f"Graph/{name}" for name in run.report.nodes
    } | set(run.report.nodes)
    assert_accounted(run.events)


# --- limits -----------------------------------------------------------------------------------


def test_a_cap_of_the_graph_counts_the_parts() -> None:
    """Three records with three sources each, two at once, without a needless wait."""
    gauge = Gauge()
    graph = Graph(three(gauge, reads="record"), max_workers=2)
    assert simulate(graph, {"record": 1}).seconds == 2.0
    assert gauge.most == 2


def test_a_cap_of_the_graph_counts_the_parts_of_a_stream() -> None:
    """The records that wait for their parts hold no permit: it ends, in the least time."""
    gauge = Gauge()
    graph = Graph(Records() | three(gauge, max_workers=4), max_workers=3)
    assert simulate(graph, {"records": range(6)}).seconds == 6.0
    assert gauge.most == 3


def test_max_workers_caps_the_records_over_the_whole_run() -> None:
    """Also where the same stage works in several rounds at once."""
    gauge = Gauge()

    class Each(BatchGraph):
        def prep(self, shared: Any) -> Any:
            return [{}] * 4

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            pass

    each = Each(Records() | three(gauge, max_workers=2), max_workers=4)
    assert simulate(each, {"records": range(3)}).seconds == 6.0
    assert gauge.most == 6


@pytest.mark.parametrize("stream", [False, True])
def test_a_task_timeout_is_each_parts(stream: bool) -> None:
    """The graph's setting applies to calls; the record is completed with what there is."""
    node = ParallelEnrichmentNode(
        {"slow": lambda _: None, "late": _late}, reads="record", writes="out", max_retries=2
    )
    graph = Graph(Records() | node if stream else node, task_timeout=1)
    out = simulate(graph, {"record": 1, "records": [1]}).shared["out"]
    enrichment = out[0] if stream else out
    assert isinstance(enrichment.errors["late"], AttemptTimeoutError)
    assert enrichment.attempts == {"slow": 1, "late": 2}


async def _late(_: Any) -> None:
    await asyncio.sleep(60)


def test_a_deadline_is_the_wholes() -> None:
    """It fails the record, and every part has ended."""
    gauge = Gauge()
    node = three(gauge, seconds=9, deadline=3)
    with pytest.raises(DeadlineExceededError, match="deadline=3 s"):
        simulate(node)
    assert gauge.running == 0


def test_a_stream_bears_failed_records() -> None:
    """on_error is a stage's; each failed record is accounted for."""
    node = ParallelEnrichmentNode(
        {"a": lambda record: record or None}, required=("a",), on_error="collect", writes="out"
    )
    run = simulate(Records() | node, {"records": [1, 0, 2]})
    assert [getattr(one, "found", None) for one in run.shared["out"]] == [{"a": 1}, None, {"a": 2}]
    assert run.shared["out"][1].attempts == 1
    assert_accounted(run.events)


def test_settings_of_the_node_are_those_of_parts_that_have_none() -> None:
    """A part's own stand above them, one by one; retry and max_retries are one."""
    tried: list[tuple[str, int]] = []

    class Tries(ParallelEnrichmentNode[Any]):
        retry = Retry(attempts=3)

        @source
        async def three(self, _: Any) -> None:
            tried.append(("three", self.attempt))
            raise ValueError

        @source(max_retries=2)
        async def two(self, _: Any) -> None:
            tried.append(("two", self.attempt))
            raise ValueError

    attempts = simulate(Tries(writes="out")).shared["out"].attempts
    assert attempts == {"three": 3, "two": 2}
    assert simulate(Tries(max_retries=1, writes="out")).shared["out"].attempts["three"] == 1
    assert sorted(tried)[:3] == [("three", 1), ("three", 1), ("three", 2)]


def test_a_setting_that_changes_reaches_the_parts() -> None:
    """At the next run."""
    node = three(Gauge(), writes="out", timeout=5)
    node.timeout = 0.5
    assert len(simulate(node).shared["out"].errors) == 3


def test_every_record_has_events_like_any_item() -> None:
    """By the name of the node, and each part by the node's and its own."""
    run = simulate(Records() | three(Gauge(), max_workers=2, name="Ask"), {"records": range(3)})
    finished = [event.node for event in run.events if isinstance(event, ItemFinished)]
    assert len(finished) == 3 + 9
    assert sum(name.endswith("Ask") for name in finished) == 3
    assert sum(name.endswith("Ask/b") for name in finished) == 3


# --- parts ------------------------------------------------------------------------------------


class Base(ParallelValidationNode[Any]):
    @check
    def first(self, record: Any) -> bool:
        return False

    @check(name="renamed", timeout=3)
    async def second(self, record: Any) -> bool:
        return False


def test_checks_are_inherited_overridden_and_taken_out() -> None:
    """An override stays a check, None takes it out, and a new one comes after those before."""

    class Derived(Base):
        second = None  # type: ignore[assignment]

        def first(self, record: Any) -> bool:
            return True

        @check
        @staticmethod
        def third(record: Any) -> bool:
            return True

    assert simulate(Base(writes="s")).shared["s"].failed.keys() == {"first", "renamed"}
    assert simulate(Derived(writes="s")).shared["s"].passed == ("first", "third")


def test_a_function_may_be_marked_twice() -> None:
    """Each mark is for the place where it is given."""

    def ask(_: Any) -> None:
        raise ValueError

    checks = {"one": check(ask, max_retries=1), "two": check(ask, max_retries=2)}
    summary = simulate(ParallelValidationNode(checks, writes="s")).shared["s"]
    assert summary.attempts == {"one": 1, "two": 2}


class Ready:
    """An object that is a check."""

    async def __call__(self, record: Any) -> bool:
        return True


def test_whatever_can_be_called_may_be_marked() -> None:
    """It is called, bound and awaited as it would be without the mark."""

    class Marked(ParallelValidationNode[Any]):
        an_object = check(Ready(), timeout=3)
        a_builtin = check(all, timeout=3)
        inherited = check(Base.second, name="again", timeout=3)

        @check
        @staticmethod
        async def static(record: Any) -> bool:
            return True

    summary = simulate(Marked(reads="text", writes="s"), {"text": "a"}).shared["s"]
    assert summary.errors == {}
    assert summary.passed == ("an_object", "a_builtin", "static")
    given = ParallelValidationNode({"a": check(Ready(), timeout=3)}, writes="s")
    assert simulate(given).shared["s"].passed == ("a",)


def test_an_object_with_an_async_call_is_awaited() -> None:
    """It is written async def, where one has to look for it."""

    class Asks:
        async def __call__(self, record: Any) -> bool:
            return False

    assert simulate(ParallelValidationNode({"a": Asks()}, writes="s")).shared["s"].failed


def test_a_def_that_returns_a_coroutine_is_an_error() -> None:
    """It would never be awaited, and the check would pass."""
    summary = simulate(ParallelValidationNode({"a": lambda _: _late(_)}, writes="s")).shared["s"]
    assert isinstance(summary.errors["a"], NodeDefinitionError)


def test_a_mark_counts_whatever_was_made_of_the_method() -> None:
    """On either side of staticmethod, classmethod or property: no check is left out unnoticed."""
    marked: Any = check

    class Below(ParallelValidationNode[Any]):
        @staticmethod
        @check
        async def static(record: Any) -> bool:
            return bool(record)

        @classmethod
        @check
        def of_class(cls, record: Any) -> bool:
            return bool(record)

    class Above(ParallelValidationNode[Any]):
        of_class = marked(classmethod(lambda cls, record: bool(record)))
        chosen = marked(property(lambda self: all))

    assert asyncio.run(Below().exec("")).failed.keys() == {"static", "of_class"}
    assert asyncio.run(Above().exec("")).failed.keys() == {"of_class"}
    assert asyncio.run(Above().exec("a")).passed == ("of_class", "chosen")

    class Getter(ParallelValidationNode[Any]):
        getter = property(marked(lambda self: True))

    with pytest.raises(TypeError, match="'getter' of <Getter> must be a callable"):
        Getter()


def test_two_methods_of_one_name_are_refused() -> None:
    """One of the two would not be carried out."""

    class Twice(ParallelValidationNode[Any]):
        @check(name="second")
        def first(self, record: Any) -> None: ...

        @check
        def second(self, record: Any) -> None: ...

    with pytest.raises(TypeError, match="Twice has two methods named 'second'"):
        Twice()


def test_a_function_that_is_marked_for_one_place_may_stand_in_others() -> None:
    """A mark says nothing there."""

    async def ask(record: Any) -> Any:
        return record

    class Sources(ParallelValidationNode[Any]):
        asked = source(ask)

    with pytest.raises(TypeError, match="Sources has no check"):
        Sources()

    twice: Any = source(check(ask))
    race = RaceNode(twice, writes="answer")
    assert asyncio.run(race.exec(1)) == 1
    assert list(race._parts) == ["ask"]
    assert asyncio.run(ResilientBranch(twice).exec(2)).value == 2


@pytest.mark.parametrize("settings", [{}, {"max_parallel_tasks": 1}])
def test_a_part_may_ask_its_own_node_about_a_record_within(settings: Any) -> None:
    """It holds a permit then, which those that it waits for cannot have."""

    class Tree(ParallelValidationNode[Any]):
        @check
        async def below(self, tree: Any) -> list[Any]:
            return [one for part in tree[1:] for one in (await self.exec(part)).problems]

        @check
        async def positive(self, tree: Any) -> bool:
            return bool(tree[0] > 0)

    run = simulate(
        Graph(Tree(reads="tree", writes="s"), **settings),
        {"tree": (1, (2, (-1,)), (0,))},
        observers=[report := RunReport()],
    )
    assert [name for name, _ in run.shared["s"].problems] == ["below", "below"]
    assert "Tree/Tree/positive" in report.nodes


@pytest.mark.parametrize("kind", ["inner", "subclass"])
def test_a_cap_counts_the_parts_of_a_node_that_is_asked_by_hand_in_its_exec(kind: str) -> None:
    """The exec of a compound node holds no permit, so that all below take theirs."""
    gauge = Gauge()
    inner = three(gauge)

    class Outer(ParallelEnrichmentNode[Any]):
        @source
        async def ask(self, record: Any) -> Any:
            return await gauge(1.0)

        async def exec(self, record: Any, /) -> Any:
            return await (inner.exec if kind == "inner" else super().exec)(record)

    simulate(Graph(Outer(), max_parallel_tasks=2), observers=[RunReport()])
    assert gauge.most == (2 if kind == "inner" else 1)


untyped: Any = ParallelValidationNode
untyped_base: Any = Base
untyped_check: Any = check


def test_a_part_that_is_called_like_a_setting_is_refused() -> None:
    """The two would be indistinguishable."""
    with pytest.raises(NodeDefinitionError, match=r"Waits.wait is marked .* name='wait'"):

        class Waits(ParallelValidationNode[Any]):
            @check
            def wait(self, record: Any) -> None: ...  # type: ignore[override]

    class Other:
        @check
        def exec(self, record: Any) -> None: ...

    with pytest.raises(NodeDefinitionError, match=r"Other\.exec is marked as a part"):
        type("Mixed", (Other, ParallelValidationNode), {})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: untyped({"a": 7}), "'a' of .* must be a callable or a Node, got 7"),
        (lambda: untyped({"a": Records}), r"did you mean Records\(\)\?"),
        (lambda: untyped({"a": Graph(Records())}), "works on the shared store"),
        (lambda: untyped([print]), "checks must be a mapping"),
        (lambda: Base({"first": print}), "two parts named 'first'"),
        (lambda: untyped_base(checks=None, timout=3), "Did you mean 'timeout'"),
        (lambda: untyped_check(timout=3), "@check got an unknown setting 'timout'"),
        (lambda: untyped_check(7), "@check must decorate a function, got 7"),
    ],
)
def test_what_cannot_be_a_part_is_refused(make: Any, message: str) -> None:
    """Where it is written, with what was expected."""
    with pytest.raises(TypeError, match=message):
        make()


def test_settings_of_a_mark_are_checked_where_it_stands() -> None:
    """As those of a Node are."""
    with pytest.raises(ValueError, match="timeout must be more than 0 seconds"):
        check(timeout=0)
    with pytest.raises(ValueError, match="confidence must be a number from 0 to 1"):
        source(confidence=80)


# --- what is open -----------------------------------------------------------------------------


class Opens(Node[Any, Any]):
    """Has something open for the run, and notes when it is."""

    open: list[str]

    @asynccontextmanager
    async def lifespan(self, shared: Any) -> AsyncIterator[str]:
        shared["open"] = shared.get("open", 0) + 1
        shared["opened"] = shared.get("opened", 0) + 1
        try:
            yield "it"
        finally:
            shared["open"] -= 1

    async def exec(self, record: Any) -> str:
        return f"{self.resource} for {record}"


@pytest.mark.parametrize("stream", [False, True])
def test_nodes_that_are_parts_have_their_lifespan_open(stream: bool) -> None:
    """Once a run, and closed with it."""
    node = ParallelEnrichmentNode({"a": Opens()}, reads="record", writes="out")
    shared = {"record": 1, "records": [1, 2]}
    run = simulate(Records() | node if stream else node, shared)
    out = run.shared["out"]
    assert (out[0] if stream else out).found == {"a": "it for 1"}
    assert (run.shared["open"], run.shared["opened"]) == (0, 1)


def test_methods_share_what_the_node_has_open() -> None:
    """And what nodes among the parts need is opened by super()."""

    class Both(ParallelEnrichmentNode[Any]):
        @asynccontextmanager
        async def lifespan(self, shared: Any) -> AsyncIterator[Any]:
            async with super().lifespan(shared):
                yield ["mine"]

        @source
        async def own(self, record: Any) -> Any:
            return self.resource

    run = simulate(Both({"a": Opens()}, writes="out"))
    assert run.shared["out"].found == {"own": ["mine"], "a": "it for None"}


# --- copies and faults ------------------------------------------------------------------------


def test_a_copy_has_parts_of_its_own() -> None:
    """Its methods see the copy, and not the node that it was made from."""
    node = Base(name="before", writes="s")
    copy = pickle.loads(pickle.dumps(node))
    copy.first = lambda record: True
    assert simulate(copy).shared["s"].passed == ("first",)
    assert simulate(node).shared["s"].passed == ()


def test_faults_of_the_whole_fail_the_record() -> None:
    """The test kit wraps exec, in a copy whose methods still find what it has open."""

    class Own(ParallelEnrichmentNode[Any]):
        @asynccontextmanager
        async def lifespan(self, shared: Any) -> AsyncIterator[str]:
            yield "open"

        @source
        async def ask(self, record: Any) -> Any:
            return self.resource

    assert simulate(Faults().wrap(Own(writes="out"))).shared["out"].found == {"ask": "open"}
    with pytest.raises(InjectedError):
        simulate(Faults(fail=1.0).wrap(Own()))


def test_streams_hold_under_faults_and_caps_in_every_interleaving() -> None:
    """Every record is accounted for, in order, and the cap holds."""
    gauge = Gauge()

    class Ask(Node[Any, Any]):
        async def exec(self, record: Any) -> Any:
            await gauge(1)
            return record

    def build() -> Any:
        faults = Faults(fail=0.3, delay=(0.0, 2.0))
        asks = {name: faults.wrap(Ask(name=name, max_retries=2)) for name in "ab"}
        node = ParallelEnrichmentNode(asks, max_workers=3, writes="out")
        return Graph(Records() | node, max_workers=2)

    def right(shared: Any) -> bool:
        return [one.record for one in shared["out"]] == list(range(5)) and gauge.most <= 2

    found = explore(build(), {"records": range(5)}, check=right, seeds=60)
    assert not found.failures, found


def test_a_stream_cancelled_anywhere_leaves_nothing() -> None:
    """No permit of the graph, nor of the stage."""
    node = three(Gauge(), max_workers=2, writes="out")
    graph = Graph(Records() | node, max_workers=2)
    assert cancel_everywhere(graph, lambda: {"records": range(3)}, seeds=2) > 20


@pytest.mark.parametrize("kind", [ParallelValidationNode, RaceNode])
def test_what_a_part_fails_with_while_it_is_cancelled_is_kept(kind: Any) -> None:
    """As the cause of the cancellation."""

    async def messy(_: Any) -> None:
        try:
            await asyncio.sleep(9)
        finally:
            raise KeyError("while cancelled")

    node = kind(messy) if kind is RaceNode else kind({"messy": messy})

    async def cancelled(_: Any) -> Any:
        task = asyncio.ensure_future(node.run_async({}))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        return task

    async def play(shared: Any) -> None:
        task = await cancelled(shared)
        with pytest.raises(asyncio.CancelledError) as caught:
            task.result()
        group = caught.value.__cause__
        assert isinstance(group, BaseExceptionGroup)
        assert isinstance(group.exceptions[0], KeyError)

    simulate(play)


def test_generators_that_were_begun_are_read_to_their_end() -> None:
    """In the thread where they run."""

    def problems(_: Any) -> Iterator[str]:
        yield threading.current_thread().name

    shared: dict[str, Any] = {}
    ParallelValidationNode({"a": problems}, writes="s").run(shared)
    assert shared["s"].failed["a"][0].startswith("kaygraph")


def test_the_peak_is_that_of_the_parts() -> None:
    """A node that waits for its parts is not in flight, however many records it is worked on."""

    async def work(record: Any) -> Any:
        await asyncio.sleep(1)
        return record

    class Source(Node[Any, Any]):
        def prep(self, shared: Any, /) -> Any:
            return range(100)

    report = RunReport()
    enrich = ParallelEnrichmentNode({"a": work, "b": work}, max_workers=50)
    graph = Graph(Source() | enrich, max_parallel_tasks=2)
    for event in simulate(graph).events:
        report(event)
    assert report.peak_in_flight == 2
