"""Graphs of many shapes, whose runs are killed and resumed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from kaygraph import (
    BaseNode,
    BatchGraph,
    BatchNode,
    Drop,
    Graph,
    MapReduceNode,
    Node,
    ParallelBatchNode,
    at_least,
    first_of,
    settle,
)
from kaygraph.patterns import (
    BatchSplitterNode,
    ParallelEnrichmentNode,
    ParallelValidationNode,
    RaceNode,
    ResilientBranch,
    check,
    source,
)

AnyNode = BaseNode[Any, Any]


class Shape(NamedTuple):
    """A graph, and the settings of ``kill_everywhere`` for it."""

    make: Callable[[], AnyNode]
    settings: dict[str, Any]

    def __str__(self) -> str:
        return self.make.__name__


SHAPES: list[Shape] = []


def winners(*wanted: Any) -> dict[str, Any]:
    """Return the setting for a group that is decided the same way, whichever others failed."""

    def check(shared: Any) -> None:
        won = [[name, value] for name, status, value in shared["log"][-1][1] if status == "ok"]
        assert won == list(wanted), won

    return {"check": check}


def entries(*names: str) -> dict[str, Any]:
    """Return the setting for racing branches: how many entries by these names, in any order."""

    def check(shared: Any) -> None:
        found = [entry if isinstance(entry, str) else entry[0] for entry in shared["log"]]
        assert sorted(found) == sorted(names), found

    return {"check": check}


def shape(**settings: Any) -> Callable[[Callable[[], AnyNode]], Callable[[], AnyNode]]:
    def add(make: Callable[[], AnyNode]) -> Callable[[], AnyNode]:
        SHAPES.append(Shape(make, settings))
        return make

    return add


class Step(Node[Any, Any]):
    """Takes a while, and appends its name and its input to a list."""

    def __init__(self, name: str, seconds: float = 1.0, value: Any = None, **settings: Any) -> None:
        super().__init__(name=name, **settings)
        self.seconds, self.value = seconds, value

    def prep(self, shared: Any) -> Any:
        return self.value

    async def exec(self, value: Any) -> Any:
        await asyncio.sleep(self.seconds)
        return self.name, value

    def post(self, shared: Any, _: Any, result: Any) -> Any:
        shared.setdefault("log", []).append(result)


class Follows(Step):
    """Gets the length of the list before it."""

    def prep(self, shared: Any) -> int:
        return len(shared.setdefault("log", []))


class Fails(Step):
    async def exec(self, value: Any) -> Any:
        await asyncio.sleep(self.seconds)
        raise ValueError(f"{self.name} fails")


class FailsInPrep(Step):
    def prep(self, shared: Any) -> Any:
        raise ValueError(f"{self.name} fails")


class FailsInPost(Step):
    def post(self, shared: Any, _: Any, result: Any) -> Any:
        raise ValueError(f"{self.name} fails")


class Handles(Step):
    """Notes the error that led to it."""

    def prep(self, shared: Any) -> Any:
        return str(self.error)


class Many(ParallelBatchNode[Any, Any]):
    """Processes items, each of which takes its own time."""

    max_workers = 3

    def __init__(self, items: Any = (3, 1, 2, 2, 5, 4), **settings: Any) -> None:
        super().__init__(**settings)
        self.items = items

    def prep(self, _: Any) -> Any:
        return self.items

    async def exec(self, item: Any) -> Any:
        await asyncio.sleep(item % 3)
        return item * 10

    def post(self, shared: Any, _: Any, results: Any) -> Any:
        if isinstance(results, list):  # no stage
            shared.setdefault("log", []).append((self.name, results))


# --- walks ----------------------------------------------------------------------------------------


@shape()
def chain() -> AnyNode:
    return Graph(Follows("a") >> Follows("b") >> Follows("c"))


@shape()
def diamond() -> AnyNode:
    return Graph(Follows("a") >> [Step("b", 2), Step("c")] >> Follows("d"))


@shape(**entries(*"abcdefg"))
def uneven_branches() -> AnyNode:
    """Steps of three branches interleave."""
    return Graph(
        [
            Step("a", 1) >> Step("b", 1.2) >> Step("c", 1),
            Step("d", 1.5) >> Step("e", 2.5),
            Step("f", 0.2) >> Step("g", 2),
        ],
    )


@shape()
def loop() -> AnyNode:
    class Counts(Follows):
        def post(self, shared: Any, prep_res: Any, result: Any) -> str:
            super().post(shared, prep_res, result)
            return "again" if len(shared["log"]) < 6 else "done"

    first, last = Counts("a"), Counts("b")
    first - "again" >> last
    last - "again" >> first
    last - "done" >> Follows("end")
    first - "done" >> Follows("end too")
    return Graph(first)


@shape()
def loop_around_a_fork() -> AnyNode:
    class Counts(Follows):
        def post(self, shared: Any, prep_res: Any, result: Any) -> str:
            super().post(shared, prep_res, result)
            return "again" if len(shared["log"]) < 10 else "done"

    start, end = Follows("start"), Counts("join")
    start >> [Step("b", 2), Step("c")] >> end
    end - "again" >> start
    end - "done" >> Follows("end")
    return Graph(start)


@shape()
def nested() -> AnyNode:
    class Outer(Graph):
        def prep(self, shared: Any) -> Any:
            shared.setdefault("log", []).append("prep")

        def post(self, shared: Any, _: Any, action: Any) -> Any:
            shared["log"].append("post")

    inner = Outer(Follows("a") >> Graph(Follows("b") >> Many(), name="innermost"), name="inner")
    return Graph(Follows("a") >> inner >> Follows("c"))


@shape(**entries(*"aabbcd", "slow", "quick"))
def hooks_of_graphs_beside() -> AnyNode:
    """Graphs with their own prep and post, in branches."""

    class Inner(BatchGraph):
        def prep(self, shared: Any) -> Any:
            return [{"n": 1}, {"n": 2}]

        def post(self, shared: Any, _: Any, actions: Any) -> Any:
            shared.setdefault("log", []).append(self.name)

    slow = Inner(Step("a", 0.7), name="slow")
    quick = Inner(Step("b", 0.2), name="quick")
    return Graph([slow, quick, Step("c", 1)] >> Follows("d"))


@shape()
def visited_from_two_branches() -> AnyNode:
    again = Step("again")
    return Graph([Step("a", 1), Step("b", 2)] >> again >> Follows("end"))


@shape()
def without_exec() -> AnyNode:
    class Sets(Node[Any, Any]):
        def post(self, shared: Any, *_: Any) -> None:
            shared.setdefault("log", []).append(self.name)

    return Graph(
        Sets(name="a") >> [Step("b", 1) >> Sets(name="c"), Step("d", 1.5) >> Sets(name="e")]
    )


@shape(**entries(*"abcdefg"))
def preps_that_see_others() -> AnyNode:
    """What a branch reads was written by others, shortly before or after."""
    return Graph(
        [
            Follows("a", 1) >> Follows("b", 1.2) >> Follows("c", 1),
            Follows("d", 1.5) >> Follows("e", 2.5),
            Follows("f", 0.2) >> Follows("g", 2),
        ],
        on_conflict="ignore",
    )


# --- errors ---------------------------------------------------------------------------------------


def with_error_edge(failing: AnyNode) -> AnyNode:
    failing - "error" >> Handles("handles")
    return Graph(
        Follows("a") >> [failing, Step("c", 0.5) >> Step("d", 2)],
        on_conflict="ignore",
    )


@shape(**entries(*"acd", "handles"))
def error_edge_of_exec() -> AnyNode:
    return with_error_edge(Fails("b"))


@shape(**entries(*"acd", "handles"))
def error_edge_of_prep() -> AnyNode:
    return with_error_edge(FailsInPrep("b"))


@shape(**entries(*"acd", "handles"))
def error_edge_of_post() -> AnyNode:
    return with_error_edge(FailsInPost("b"))


@shape(**entries(*"acd", "handles"))
def error_edge_of_a_batch() -> AnyNode:
    class Breaks(Many):
        async def exec(self, item: Any) -> Any:
            await super().exec(item)
            if item == 5:
                raise ValueError("five")

    return with_error_edge(Breaks())


@shape(**entries("a", "b1", "c", "d", "handles"))
def error_edge_of_a_graph() -> AnyNode:
    return with_error_edge(Graph(Step("b1") >> [Fails("b2", 1), Step("b3", 2)], name="b"))


@shape(allowed=ValueError)
def fails_at_the_end() -> AnyNode:
    return Graph(Follows("a") >> Many() >> Fails("b"))


class Odd(Many):
    async def exec(self, item: Any) -> Any:
        await asyncio.sleep(item % 3)
        if item == 1:
            raise Drop
        if item == 5:
            raise ValueError("five")
        return item * 10


@shape()
def collected() -> AnyNode:
    return Graph(Odd(on_error="collect", name="a") >> Odd(on_error="skip", name="b"))


@shape()
def tolerated() -> AnyNode:
    return Graph(Odd(on_error=0.5, name="a") >> Odd(on_error=2, name="b") >> Follows("c"))


@shape()
def fallback() -> AnyNode:
    class Falls(Fails):
        def exec_fallback(self, value: Any, error: Exception) -> Any:
            return str(error)

    return Graph(Falls("a") >> Falls("b", max_retries=2))


@shape()
def retries() -> AnyNode:
    class Flaky(Many):
        async def exec(self, item: Any) -> Any:
            await asyncio.sleep(item % 3)
            if self.attempt <= item % 3:
                raise ValueError(item)
            return item, self.attempt

    return Graph(Flaky(max_retries=3, wait=1) >> Follows("end"))


# --- batches --------------------------------------------------------------------------------------


@shape()
def serial_batch() -> AnyNode:
    class One(BatchNode[Any, Any]):
        def prep(self, _: Any) -> Any:
            return [1, 2, 2, 3]

        async def exec(self, item: Any) -> Any:
            await asyncio.sleep(1)
            return item * 10

        def post(self, shared: Any, _: Any, results: Any) -> Any:
            shared["results"] = results

    return Graph(One() >> Step("end"))


@shape()
def batch_alone() -> AnyNode:
    return Many()


@shape(**entries("Many", "end"))
def batch_as_they_finish() -> AnyNode:
    return Graph(Many(ordered=False) >> Follows("end"))


@shape()
def equal_items() -> AnyNode:
    return Graph(Many([2, 2, 2, 1, 1]) >> Follows("end"))


@shape()
def async_source() -> AnyNode:
    class Reads(Many):
        async def prep(self, _: Any) -> AsyncIterator[int]:  # type: ignore[override]
            for item in (2, 1, 3):
                await asyncio.sleep(1)
                yield item

    return Graph(Reads() >> Follows("end"))


@shape()
def rounds_one_after_another() -> AnyNode:
    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{"n": 1}, {"n": 2}, {"n": 1}]

    return Graph(Rounds(Follows("a") >> Follows("b")) >> Follows("end"))


@shape(**entries(*"aaabbb"))
def rounds_at_once() -> AnyNode:
    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{"n": 1}, {"n": 2}, {"n": 1}]

    class Work(Follows):
        async def exec(self, value: Any) -> Any:
            await asyncio.sleep(self.params["n"])
            return self.name, value, self.params["n"]

    return Rounds(Work("a") >> Work("b"), max_workers=2, on_conflict="ignore")


class Count(MapReduceNode):
    def prep(self, _: Any) -> Any:
        return [3, 1, 4, 2, 2, 6]

    async def map(self, item: int) -> Any:
        await asyncio.sleep(item % 3)
        return [(item % 2, item), (item % 2, (item, [item])), ("all", item)]

    async def reduce(self, key: Any, values: list[Any]) -> Any:
        await asyncio.sleep(1)
        return [key, sorted(map(str, values))]

    def post(self, shared: Any, _: Any, results: Any) -> Any:
        shared["results"] = results


@shape()
def map_reduce() -> AnyNode:
    return Graph(Count(map_workers=3) >> Step("end"))


@shape()
def map_reduce_combined() -> AnyNode:
    class Sums(Count):
        def map(self, item: int) -> Iterator[Any]:  # type: ignore[override]
            yield item % 2, item
            yield item % 3, item

        def combine(self, key: Any, values: list[int]) -> int:
            return sum(values)

        def partition(self, key: int) -> int:
            return key % 2

        def reduce(self, key: Any, values: list[int]) -> int:
            if key == 2:
                raise Drop
            return sum(values)

    return Sums(partitions=2)


# --- pipelines ------------------------------------------------------------------------------------


class Source(Node[Any, Any]):
    def prep(self, _: Any) -> Any:
        return [3, 1, 2, 2, 5, 4]


class Last(Node[Any, Any]):
    async def exec(self, item: Any) -> Any:
        return [item]

    def post(self, shared: Any, _: Any, report: Any) -> Any:
        shared["results"] = report.results


@shape()
def pipeline() -> AnyNode:
    class Twice(Node[Any, Any]):
        async def exec(self, item: Any) -> AsyncIterator[Any]:
            await asyncio.sleep(1)
            yield item
            yield -item

    return Graph((Source() | Many(()) | Twice() | Last()) >> Step("end"))


@shape(**entries("end"))
def pipeline_as_they_finish() -> AnyNode:
    return Graph((Source() | Many((), ordered=False) | Last()) >> Follows("end"))


@shape()
def pipeline_with_failures() -> AnyNode:
    stages = Source() | Odd((), on_error="collect") | Odd((), on_error="skip", name="b") | Last()
    return Graph(stages >> Step("end"))


@shape()
def pipeline_of_generators() -> AnyNode:
    class Spreads(Many):
        async def exec(self, item: Any) -> AsyncIterator[Any]:
            for part in range(item % 3):
                await asyncio.sleep(1)
                yield item, part

    return Graph((Source() | Spreads(()) | Last()) >> Step("end"))


@shape()
def pipeline_that_regroups() -> AnyNode:
    class Sums(Many):
        async def exec(self, chunk: Any) -> Any:
            await asyncio.sleep(1)
            return sum(chunk)

    stages = Source() | Many(()) | BatchSplitterNode(size=2) | Sums(()) | Last()
    return Graph(stages >> Step("end"))


@shape()
def graph_within_a_pipeline() -> AnyNode:
    class Asks(Many):
        async def exec(self, item: Any) -> Any:
            shared: dict[str, Any] = {}
            await Graph(Step("a", item, item) >> Follows("b")).run_async(shared)
            return shared["log"]

    return Graph((Source() | Asks(()) | Last()) >> Step("end"))


# --- groups ---------------------------------------------------------------------------------------


class Values(Step):
    def __init__(self, group: AnyNode) -> None:
        super().__init__("values")
        self.group = group

    def prep(self, shared: Any) -> Any:
        return [[one.name, one.status, one.value] for one in self.outcomes]


@shape(**winners(["c", ("d", None)]))
def race() -> AnyNode:
    group = first_of(Step("a", 3) >> Step("b", 1), Step("c", 1) >> Step("d", 1), Fails("e"))
    return Graph(group >> Values(group))


@shape(**winners(["b", ("c", None)], ["Many", [10, 10]]))
def quorum() -> AnyNode:
    group = at_least(2, Step("a", 5), Step("b", 1) >> Step("c", 2), Fails("d"), Many((1, 1)))
    return Graph(group >> Values(group))


@shape()
def settled() -> AnyNode:
    group = settle(Step("a", 2), Fails("b") >> Step("c"), Step("d", 0.5) >> Fails("e"))
    return Graph(group >> Values(group))


@shape()
def race_that_fails() -> AnyNode:
    group = first_of(Fails("a", 2), Fails("b", 1))
    group - "error" >> Handles("handles")
    return Graph(group)


@shape()
def group_in_a_loop() -> AnyNode:
    group = first_of(Step("a", 3), Step("b", 1))

    class Counts(Values):
        def post(self, shared: Any, prep_res: Any, result: Any) -> str:
            super().post(shared, prep_res, result)
            return "again" if len(shared["log"]) < 6 else "done"

    counts = Counts(group)
    group >> counts
    counts - "again" >> group
    counts - "done" >> Step("end")
    return Graph(group)


# --- time limits ----------------------------------------------------------------------------------


@shape()
def deadline_of_a_branch() -> AnyNode:
    late = Graph(Step("a") >> Step("b", 9) >> Step("c"), deadline=3, name="late")
    group = settle(late, Step("d", 4))
    return Graph(group >> Values(group))


@shape(**entries(*"ade", "handles"))
def deadline_of_a_graph() -> AnyNode:
    late = Graph(Step("a") >> Step("b", 9) >> Step("c"), deadline=3, name="late")
    late - "error" >> Handles("handles")
    return Graph([late, Step("d", 2) >> Step("e", 4)])


def one_of(*names: str) -> dict[str, Any]:
    """Return the setting for a run that may take longer when it is resumed."""

    def check(shared: Any) -> None:
        assert [entry[0] for entry in shared["log"]] in [[name] for name in names]

    return {"check": check}


@shape(**one_of("handles", "Many"))
def deadline_of_a_batch() -> AnyNode:
    late = Many((1, 1, 2, 2, 2, 2), max_workers=1, batch_deadline=5)
    late - "error" >> Handles("handles")
    return Graph(late)


@shape()
def timeouts() -> AnyNode:
    class Slow(Many):
        async def exec(self, item: Any) -> Any:
            await asyncio.sleep(item)
            return item

    return Graph(
        Slow(timeout=2.5, on_error="collect", name="a") >> Slow(deadline=3.5, on_error="skip")
    )


# --- runs within runs -----------------------------------------------------------------------------


@shape()
def graph_run_in_exec() -> AnyNode:
    class Asks(Step):
        async def exec(self, value: Any) -> Any:
            shared: dict[str, Any] = {}
            await Graph(Step("in") >> Many((1, 2))).run_async(shared)
            await Graph(Step("in") >> Follows("more")).run_async(shared)
            return shared["log"]

    return Graph(Step("before") >> [Asks("a"), Asks("b", 2)] >> Follows("end"))


@shape()
def graphs_made_at_run_time() -> AnyNode:
    """Run by every hook, made of what exec returned."""

    class Plans(Step):
        async def prep(self, shared: Any) -> Any:
            await Graph(Step("first", 0.5), name="small").run_async(shared)

        async def exec(self, value: Any) -> Any:
            await Graph(Step("looks") >> Many((1, 2)), name="small").run_async({})
            return [2, 3, 1]

        async def post(self, shared: Any, _: Any, plan: Any) -> None:
            nodes = [Step(f"planned {number}", number) for number in plan]
            for one, other in pairwise(nodes):
                one >> other
            await Graph(nodes[0], name="small").run_async(shared)

    return Graph(Plans("plans") >> Follows("end"))


@shape()
def def_exec() -> AnyNode:
    class InThread(Step):
        def exec(self, value: Any) -> Any:  # type: ignore[override]
            return self.name, value

    class ManyInThreads(Many):
        def exec(self, item: Any) -> Any:  # type: ignore[override]
            return item * 10

    class Yields(Many):
        def exec(self, item: Any) -> Iterator[Any]:  # type: ignore[override]
            yield item
            yield -item

    return Graph(InThread("a") >> [ManyInThreads(), InThread("b")] >> Yields() >> InThread("c"))


# --- patterns -------------------------------------------------------------------------------------


@shape()
def validation() -> AnyNode:
    class Checks(ParallelValidationNode):
        def prep(self, _: Any) -> Any:
            return {"a": 1, "b": 2}

        @check
        async def first(self, record: Any) -> bool:
            await asyncio.sleep(2)
            return True

        @check
        async def second(self, record: Any) -> bool:
            await asyncio.sleep(1)
            return False

        def post(self, shared: Any, record: Any, summary: Any) -> None:
            shared["passed"] = summary.passed

    return Graph(Checks() >> Step("end"))


@shape()
def enrichment() -> AnyNode:
    class Enriches(ParallelEnrichmentNode):
        def prep(self, _: Any) -> Any:
            return {"a": 1}

        @source
        async def first(self, record: Any) -> Any:
            await asyncio.sleep(2)
            return {"first": 1}

        @source
        async def second(self, record: Any) -> Any:
            await asyncio.sleep(1)
            return {"second": 2}

        def post(self, shared: Any, record: Any, enriched: Any) -> None:
            shared["found"] = dict(enriched.found)

    return Graph(Enriches() >> Step("end"))


@shape()
def hedged() -> AnyNode:
    async def slow(record: Any) -> Any:
        await asyncio.sleep(9)

    async def quick(record: Any) -> Any:
        await asyncio.sleep(1)
        return "quick"

    class Asks(RaceNode):
        def post(self, shared: Any, _: Any, answer: Any) -> None:
            shared["answer"] = answer

    return Graph([Asks(slow, quick, delay=5), Step("a", 1) >> Step("b", 1)] >> Step("end"))


@shape()
def resilient() -> AnyNode:
    async def breaks(request: Any) -> Any:
        await asyncio.sleep(1)
        raise ValueError("no")

    async def instead(request: Any) -> Any:
        await asyncio.sleep(1)
        return 2

    class Asks(ResilientBranch):
        def prep(self, _: Any) -> Any:
            return 1

        def post(self, shared: Any, _: Any, result: Any) -> None:
            shared["answer"] = result.status, result.value, str(result.error)

    return Graph(Asks(breaks, fallback=instead) >> Step("end"))


@shape()
def compound_in_a_pipeline() -> AnyNode:
    async def ask(item: Any) -> Any:
        await asyncio.sleep(item)
        return item * 10

    class Checks(ParallelValidationNode):
        @check
        async def first(self, record: Any) -> bool:
            await asyncio.sleep(2)
            return bool(record != 20)

    class Passed(Many):
        async def exec(self, summary: Any) -> Any:
            return summary.record, summary.passed

    stages = Source() | RaceNode(ask, max_workers=2) | Checks(max_workers=2) | Passed(()) | Last()
    return Graph(stages >> Step("end"))
