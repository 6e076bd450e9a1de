"""Functions as nodes: what they get, where they run, how they are sent to a process."""

import asyncio
import copy
import functools
import os
import pickle
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from kaygraph import AsyncNode, Graph, Node, NodeDefinitionError, RunReport
from kaygraph.executors.pickling import by_value_pickler
from kaygraph.nodes import FunctionNode, ParallelFunctionNode, node, parallel_node
from kaygraph.nodes.errors import FunctionReferenceError, MissingInputError
from tests.children import python

pytestmark = pytest.mark.anyio


class Numbers(Node[Any, Any]):
    """A source of numbers."""

    def prep(self, shared: Any) -> Any:
        return shared["numbers"]


@node(reads="numbers", writes="total")
def total(numbers: list[int], start: int = 0) -> int:
    """The sum of numbers."""
    return sum(numbers, start)


@node(reads=("width", "height"), writes="area")
async def area(width: int, height: int, scale: int = 10) -> int:
    return width * height * scale


@node(reads="number", writes="place", run_in="process")
def place(number: int) -> tuple[int, int]:
    return os.getpid(), number * 2


@node(run_in="process", reads="number", writes="place")
async def async_place(number: int) -> tuple[int, int]:
    return os.getpid(), number * 3


# --- what a function gets ---


async def test_what_a_function_gets_follows_its_settings() -> None:
    """Also where they change after the node was made."""

    def listed(*given: Any) -> list[Any]:
        return list(given)

    def one(given: Any) -> list[Any]:
        return [given]

    got: dict[str, Any] = {"a": 1, "b": 2}
    changing = FunctionNode(one, reads="a", writes="got")
    await changing.run_async(got)
    assert got["got"] == [1]
    changing.function = listed
    changing.reads = ("a", "b")
    await changing.run_async(got)
    assert got["got"] == [1, 2]
    changing.reads = "b"
    changing.function = one
    await changing.run_async(got)
    assert got["got"] == [2]
    del changing.reads
    changing.function = listed
    await changing.run_async(got)
    assert got["got"] == []


async def test_a_function_gets_what_it_reads() -> None:
    """A key's value, or the values of several in their order; defaults keep theirs."""
    shared = {"numbers": [1, 2], "width": 3, "height": 4}
    await Graph(copy.copy(total) >> copy.copy(area)).run_async(shared)
    assert (shared["total"], shared["area"]) == (3, 120)


async def test_a_function_that_takes_nothing_gets_nothing() -> None:
    """And several keys take its result apart."""
    shared: dict[str, Any] = {}
    await FunctionNode(lambda: (1, 2), writes=("one", "two")).run_async(shared)
    assert shared == {"one": 1, "two": 2}


@pytest.mark.parametrize(
    ("result", "shown"),
    [({"a": "geheim"}, "a dict"), ("ab", "a str"), ((1, "geheim", 3), "a tuple of 3")],
)
async def test_a_result_that_does_not_fit_several_keys_is_refused(result: Any, shown: str) -> None:
    """With its type, and none of its content."""
    wrong: FunctionNode[..., Any] = FunctionNode(lambda: result, writes=("one", "two"))
    with pytest.raises(ValueError, match=rf"a tuple of 2 values; got {shown}\n") as caught:
        await wrong.run_async({})
    assert "geheim" not in str(caught.value)


async def test_a_key_that_nobody_has_written_is_named() -> None:
    """The error says what reads it."""
    with pytest.raises(MissingInputError, match="Node 'total' reads shared\\['numbers'\\]"):
        await total.run_async({})


async def test_a_default_counts_where_nothing_is_given() -> None:
    """What is read is given even when it is None."""
    results: list[Any] = []

    def limited(limit: int | None = 5) -> None:
        results.append(limit)

    await FunctionNode(limited).run_async({})
    await FunctionNode(limited, reads="limit").run_async({"limit": None})
    await (Numbers() | FunctionNode(limited)).run_async({"numbers": [7]})
    assert results == [5, None, 7]


async def test_stages_hand_items_to_functions() -> None:
    """Sync and async ones; a generator yields several results, an async one as well."""

    def twice(number: int) -> Iterator[int]:
        yield number
        yield number * 10

    async def and_negative(number: int) -> AsyncIterator[int]:
        yield number
        yield -number

    async def text(number: int) -> str:
        return str(number)

    pipeline = (
        Numbers()
        | FunctionNode(twice)
        | FunctionNode(and_negative)
        | FunctionNode(text)
        | FunctionNode(int)
    )
    found = [result async for result in pipeline.stream({"numbers": [1, 2]})]
    assert found == [1, -1, 10, -10, 2, -2, 20, -20]


async def test_a_function_that_does_not_tell_what_it_takes_gets_its_item() -> None:
    """Also when the item is None: one written in C says so by its first call."""
    pipeline = Numbers() | FunctionNode(type, writes="kinds")
    await pipeline.run_async(shared := {"numbers": [None, 1]})
    assert shared["kinds"] == [type(None), int]


async def test_a_stage_before_the_last_writes_its_report() -> None:
    """The results are the last one's."""
    pipeline = Numbers() | FunctionNode(str, writes="report") | FunctionNode(int, writes="results")
    await pipeline.run_async(shared := {"numbers": [1, 2]})
    report: Any = shared["report"]
    assert (report.ok, report.results, shared["results"]) == (2, None, [1, 2])


async def test_a_first_stage_reads_its_items() -> None:
    """Of one key: each of its elements is an item."""
    pipeline = FunctionNode(lambda number: number + 1, reads="numbers") | Numbers()
    assert [result async for result in pipeline.stream({"numbers": [1, 2]})] == [2, 3]


# --- where it runs ---


async def test_a_function_runs_where_its_kind_says() -> None:
    """A def in a thread of the run, an async def on the loop; run_in takes precedence."""
    places: dict[str, int] = {}

    def here() -> int:
        return threading.get_ident()

    async def there() -> int:
        return threading.get_ident()

    first, second = FunctionNode(here, writes="def"), FunctionNode(there, writes="async")
    third = FunctionNode(here, writes="on_loop", run_in="loop")
    await Graph(first >> second >> third).run_async(places)
    own = threading.get_ident()
    assert places["def"] != own
    assert places["async"] == places["on_loop"] == own


async def test_the_kind_is_a_fact_of_the_instance() -> None:
    """One class carries functions of all kinds, and one that is set later counts."""

    async def waits() -> int:
        await asyncio.sleep(0)
        return 1

    first = FunctionNode(lambda: 2, writes="result")
    other = FunctionNode(waits, writes="other")
    assert (first.exec_kind, first.exec_is_plain) == ("sync", False)
    assert (other.exec_kind, other.exec_is_plain) == ("async", True)
    later: Any = first
    later.function = waits
    assert (first.exec_kind, first.exec_is_plain) == ("async", True)
    shared: dict[str, Any] = {}
    await Graph(first >> other).run_async(shared)
    assert shared == {"result": 1, "other": 1}


async def test_an_object_with_an_async_call_runs_on_the_loop() -> None:
    """And so does a partial of an async function."""

    class Asks:
        async def __call__(self, item: int) -> int:
            return item + 1

    shared: dict[str, Any] = {"number": 1}
    await FunctionNode(Asks(), reads="number", writes="asked").run_async(shared)
    partial = functools.partial(area.function, 2)
    await FunctionNode(partial, reads="number", writes="area").run_async(shared)
    assert (shared["asked"], shared["area"]) == (2, 20)


async def test_the_settings_of_a_node_count() -> None:
    """Attempts are made as on any node."""
    calls: list[int] = []

    @node(writes="result", max_retries=3)
    async def flaky() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError
        return len(calls)

    shared: dict[str, Any] = {}
    await flaky.run_async(shared)
    assert shared == {"result": 3}


# --- processes ---


@pytest.mark.parametrize(("sent", "result"), [(place, 42), (async_place, 63)])
async def test_a_decorated_function_runs_in_a_process(sent: Any, result: int) -> None:
    """Its name leads to the node, and the process finds the function behind it."""
    shared: dict[str, Any] = {"number": 21}
    await sent.run_async(shared)
    pid, number = shared["place"]
    assert pid != os.getpid()
    assert number == result


def test_a_script_may_decorate_and_use_processes(tmp_path: Path) -> None:
    """In a program's own file, which the process knows as __main__, it works as well."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "from kaygraph.nodes import node\n"
        "@node(reads='n', writes='r', run_in='process')\n"
        "def double(n):\n"
        "    return n * 2, os.getpid()\n"
        "if __name__ == '__main__':\n"
        "    shared = {'n': 4}\n"
        "    double.run(shared)\n"
        "    result, pid = shared['r']\n"
        "    print(result, pid != os.getpid())\n"
    )
    assert python(script, check=True).stdout.split() == ["8", "True"]


def test_a_node_is_pickled_with_its_function_by_name() -> None:
    """Decorated, wrapped, given by hand: it comes back with the very function and its settings."""
    other = FunctionNode(total, reads="others", max_retries=2)  # its function is that of a node
    for sent in (total, other, FunctionNode(os.path.join, reads=("a", "b"))):
        got = pickle.loads(pickle.dumps(sent))
        assert got is not sent
        assert got.function is sent.function
        assert (got.reads, got.max_retries, got.name) == (sent.reads, sent.max_retries, sent.name)
        assert (got.exec_kind, got._takes) == (sent.exec_kind, sent._takes)
    assert copy.deepcopy(area).function is area.function


def test_a_copy_is_another_node() -> None:
    """With the settings, and without the neighbours: for a second place, or another graph."""
    first = copy.copy(total)
    first >> Ends()
    second = copy.copy(first)
    assert (second.reads, second.function, second.successors) == (first.reads, first.function, {})


def test_a_name_that_leads_to_another_function_is_not_taken() -> None:
    """Another function is never sent in the place of the right one."""

    def other(numbers: list[int]) -> int:
        return 0

    other.__module__, other.__qualname__ = __name__, "total"
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(FunctionNode(other, reads="numbers"))


async def test_a_function_without_a_name_is_sent_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """By cloudpickle; without that, the error says why it cannot be, and what to do."""
    lonely = FunctionNode(lambda: 1, run_in="process", writes="one")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "cloudpickle", None)
        by_value_pickler.cache_clear()
        with pytest.raises(NodeDefinitionError, match="cannot be sent to a process"):
            await lonely.run_async({})
    pytest.importorskip("cloudpickle")
    await lonely.run_async(shared := {})
    assert shared == {"one": 1}


# --- names, calls, classes ---


async def test_a_node_is_named_after_its_function() -> None:
    """Two of one name are distinct; a lambda has none; a partial has that of its function."""
    report = RunReport()
    await Graph(copy.copy(total) >> copy.copy(total)).run_async({"numbers": []}, observers=[report])
    assert list(report.nodes) == ["total", "total-2"]
    assert FunctionNode(lambda: 1).name == "FunctionNode"
    assert FunctionNode(functools.partial(sorted, [1])).name == "sorted"
    assert FunctionNode(total, name="sum").name == "sum"
    assert repr(total) == "<FunctionNode 'total'>"


def test_a_decorated_function_may_still_be_called() -> None:
    """With all of its own arguments, outside of any run."""
    assert total([1, 2], start=3) == 6
    assert asyncio.run(area(1, 2, scale=1)) == 2


async def test_a_function_may_be_named() -> None:
    """By module and name, also that of a node."""
    shared: dict[str, Any] = {"text": "[1]", "numbers": [1, 2]}
    parse: FunctionNode[..., Any] = FunctionNode("json:loads", reads="text", writes="parsed")
    await parse.run_async(shared)
    named: Any = FunctionNode(f"{__name__}:total", reads="numbers", writes="total")
    await named.run_async(shared)
    assert (shared["parsed"], shared["total"], parse.name) == ([1], 3, "loads")
    with pytest.raises(FunctionReferenceError, match="'json' has no 'lods'"):
        FunctionNode("json:lods")


async def test_a_subclass_may_have_the_function() -> None:
    """As an attribute, which is not a method of it; its class gives the name."""

    class Doubles(FunctionNode[..., Any]):
        reads = "number"
        writes = "double"

        @staticmethod
        async def function(number: int) -> int:
            return number * 2

    class Triples(Doubles):
        def function(number: int) -> int:  # type: ignore # noqa: N805
            return number * 3

    class Loads(FunctionNode[..., Any]):
        function = "json:loads"  # type: ignore[assignment]
        reads, writes = "text", "loaded"

    shared: dict[str, Any] = {"number": 2, "text": "3"}
    await Graph(Doubles() >> Loads()).run_async(shared)
    assert (shared["double"], shared["loaded"]) == (4, 3)
    await Triples().run_async(shared)
    assert shared["double"] == 6
    assert (Doubles().name, Doubles().exec_kind, Triples().exec_kind) == (
        "Doubles", "async", "sync",
    )  # fmt: skip


async def test_a_subclass_may_override_exec() -> None:
    """Then the kind is that of its exec."""

    class Twice(FunctionNode[..., Any]):
        async def exec(self, item: Any) -> Any:
            return [super().exec(item), super().exec(item)]

    shared: dict[str, Any] = {"number": 2}
    await Twice(lambda n: n + 1, reads="number", writes="both").run_async(shared)
    assert shared["both"] == [3, 3]


# --- refusals ---


def test_a_function_that_takes_too_few_or_many_is_refused() -> None:
    """At construction, with what it takes and what it would get."""

    def pair(a: int, b: int) -> int:
        return a + b

    with pytest.raises(NodeDefinitionError, match=r"'pair' takes \(a.*would get 'x': reads= names"):
        FunctionNode(pair, reads="x")
    with pytest.raises(NodeDefinitionError, match="would get 'x', 'y', 'z'"):
        FunctionNode(pair, reads=("x", "y", "z"))
    with pytest.raises(NodeDefinitionError, match="would get nothing, or the item"):
        FunctionNode(pair)
    with pytest.raises(NodeDefinitionError, match=r"'<lambda>|takes \(\*, a\)"):
        FunctionNode(lambda *, a: a)


def test_something_else_than_a_function_is_refused() -> None:
    """And so are settings that are not known, and no function at all."""
    wrong: Any = 3
    with pytest.raises(ValueError, match="function must be a function or 'module:function', got 3"):
        FunctionNode(wrong)
    with pytest.raises(NodeDefinitionError, match="FunctionNode needs a function"):
        FunctionNode()
    settings: Any = {"read": "x"}
    with pytest.raises(TypeError, match=r"unknown setting 'read'.*Did you mean 'reads'"):
        node(**settings)(lambda: 1)


def test_a_node_class_runs_in_sync_code_twice() -> None:
    """Nothing of a run stays on the node."""
    for _ in range(2):
        shared: dict[str, Any] = {"width": 1, "height": 1}
        Graph(copy.copy(area) >> Ends()).run(shared)
        assert shared["area"] == 10


class Ends(AsyncNode[Any, Any]):
    """Does nothing."""


async def test_a_function_is_called_for_each_item_and_the_order_is_kept() -> None:
    """Many at once, each result in the place of its item; the node can still be called."""
    begun: list[int] = []
    all_begun = asyncio.Event()

    @parallel_node(reads="numbers", writes="squares", max_workers=3)
    async def square(number: int) -> int:
        begun.append(number)
        if len(begun) == 3:
            all_begun.set()
        await all_begun.wait()
        return number * number

    await square.run_async(shared := {"numbers": [3, 1, 2]})
    assert shared["squares"] == [9, 1, 4]
    assert await square(5) == 25
    assert square.name == "square"


def test_a_parallel_function_is_a_stage_and_takes_the_settings_of_a_batch() -> None:
    """Items flow through it; a failure is an outcome on request."""

    def half(number: int) -> float:
        return 1 / number

    node = ParallelFunctionNode(half, reads="numbers", writes="halves", on_error="skip")
    node.run(shared := {"numbers": [2, 0, 4]})
    assert shared["halves"] == [0.5, 0.25]
    pipeline = ParallelFunctionNode(half, reads="numbers") | ParallelFunctionNode(str, writes="out")
    pipeline.run(shared := {"numbers": [1, 2]})
    assert shared["out"] == ["1.0", "0.5"]


def test_a_parallel_function_works_in_processes() -> None:
    """It is pickled past the node that has its name."""
    ParallelFunctionNode("math:sqrt", reads="n", writes="r", run_in="process").run(s := {"n": [4]})
    assert s["r"] == [2.0]


def test_a_parallel_function_of_several_keys_is_refused() -> None:
    """Items come from one key."""
    with pytest.raises(NodeDefinitionError, match="the items of one key"):
        ParallelFunctionNode(max, reads=("a", "b"))
