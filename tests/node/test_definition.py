"""How a node is defined: its hooks, in every combination, and its settings."""

import re
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, ClassVar

import pytest

from kaygraph import (
    AsyncNode,
    BaseNode,
    BatchGraph,
    BatchNode,
    CircuitBreaker,
    Graph,
    Node,
    NodeDefinitionError,
    ParallelBatchNode,
    RateLimit,
    Retry,
    RunReport,
)
from kaygraph.events import Event
from tests.children import python

HOOKS = ("prep", "exec", "post", "exec_fallback")


# --- hooks -------------------------------------------------------------------------------------


class Renamed(ParallelBatchNode):
    """Hooks whose parameters are called what their author likes."""

    def prep(self, store: Any) -> Any:
        return store["urls"]

    def exec(self, url: Any) -> Any:
        if url == "bad":
            raise ValueError(url)
        return url.upper()

    def exec_fallback(self, url: Any, why: Exception) -> Any:
        return f"{url}: {type(why).__name__}"

    def post(self, store: Any, urls: Any, pages: Any) -> None:
        store["pages"] = pages


def test_parameters_of_hooks_may_be_called_anything() -> None:
    """Hooks are called by position."""
    shared = {"urls": ["a", "bad"]}
    Renamed().run(shared)
    assert shared["pages"] == ["A", "bad: ValueError"]


def _sync(function: Callable[..., Any]) -> Callable[..., Any]:
    def hook(self: Any, *given: Any) -> Any:
        return function(*given)

    return hook


def _async(function: Callable[..., Any]) -> Callable[..., Any]:
    async def hook(self: Any, *given: Any) -> Any:
        return function(*given)

    return hook


def _fail(item: int) -> int:
    raise ValueError(item)


def _post(shared: dict[str, Any], prep_res: Any, exec_res: Any) -> str:
    shared["seen"] = (prep_res, exec_res)
    return "done"


HOOK_BODIES: dict[str, Callable[..., Any]] = {
    "prep": lambda shared: shared["number"],
    "exec": _fail,
    "exec_fallback": lambda item, error: (item, type(error)),
    "post": _post,
}


@pytest.mark.parametrize("asynchronous", list(product((False, True), repeat=4)))
def test_any_hook_may_be_def_or_async_def(asynchronous: tuple[bool, ...]) -> None:
    """All 16 ways to write four hooks give the same, under `run()` and inside of a graph."""
    hooks = {
        name: (_async if chosen else _sync)(HOOK_BODIES[name])
        for name, chosen in zip(HOOKS, asynchronous, strict=True)
    }
    kind = type("Probe", (Node,), hooks)
    for runner in (kind(), Graph(kind()), Graph(Graph(kind(max_retries=2)))):
        shared: dict[str, Any] = {"number": 7}
        assert runner.run(shared) == "done"
        assert shared["seen"] == (7, (7, ValueError))


@pytest.mark.parametrize("asynchronous", list(product((False, True), repeat=2)))
def test_hooks_of_a_graph_may_be_def_or_async_def(asynchronous: tuple[bool, ...]) -> None:
    """A Graph's own prep and post are hooks like any other."""
    prep, post = (_async if chosen else _sync for chosen in asynchronous)
    hooks = {"prep": prep(lambda shared: shared["number"]), "post": post(_post)}
    shared: dict[str, Any] = {"number": 7}
    assert type("Probe", (Graph,), hooks)(Node()).run(shared) == "done"
    assert shared["seen"] == (7, None)


def test_node_without_hooks_runs() -> None:
    """Every hook may be left out, but the prep of a batch, which has the items."""
    assert Node().run() is None
    assert AsyncNode().run() is None
    assert type("Items", (BatchNode,), {"prep": lambda self, shared: [1]})().run() is None


async def _answer() -> int:
    return 42


def _returns_coroutine(self: Any, *given: Any) -> Coroutine[Any, Any, int]:
    return _answer()


@pytest.mark.parametrize("base", [Node, ParallelBatchNode])
@pytest.mark.parametrize("hook", HOOKS)
def test_def_that_returns_a_coroutine_is_refused(base: type[Node], hook: str) -> None:
    """A hook written `def` whose result was never awaited has to be `async def`."""
    hooks: dict[str, Any] = {"prep": lambda self, shared: (1,), hook: _returns_coroutine}
    if hook == "exec_fallback":
        hooks["exec"] = _sync(_fail)
    kind = type("Probe", (base,), hooks)
    for runs in (kind(), Graph(kind())):
        with pytest.raises(NodeDefinitionError, match=f"{hook} of Probe is written 'def'"):
            runs.run()


@pytest.mark.parametrize("base", [Node, AsyncNode, BatchNode, ParallelBatchNode, Graph, BatchGraph])
@pytest.mark.parametrize("hook", HOOKS)
def test_async_suffix_is_refused_with_the_way_out(
    base: type[BaseNode[Any, Any]], hook: str
) -> None:
    """The suffixed hook of an ancestor is refused when the class is made."""
    with pytest.raises(NodeDefinitionError) as caught:
        type("Fetch", (base,), {f"{hook}_async": _returns_coroutine})
    assert str(caught.value) == (
        f"Fetch defines {hook}_async(). Hooks have one name here: rename it to 'async def {hook}', "
        "or import AsyncNode from kaygraph.compat."
    )
    assert isinstance(caught.value, TypeError)


def test_forgotten_super_init_does_not_break_a_node() -> None:
    """A subclass whose `__init__` does not call its parent's can be wired and run."""

    class Careless(Node):
        def __init__(self, value: int) -> None:
            self.value = value

        def exec(self, prep_res: Any) -> int:
            return self.value

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["value"] = exec_res

    shared: dict[str, Any] = {}
    Graph(Node() >> Careless(3)).run(shared)
    assert shared["value"] == 3


def test_a_node_that_compares_by_value_is_still_one_node() -> None:
    """A dataclass is not hashable by itself; each of its objects is a node of its own."""

    @dataclass
    class Adds(Node):
        number: int

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared.append(self.number)

    one, other = Adds(1), Adds(1)
    assert one == other
    assert hash(one) != hash(other)
    shared: list[int] = []
    Graph(one >> Adds(2)).run(shared)
    assert shared == [1, 2]


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "typed", "meant"),
    [
        (Node, "max_retry", "max_retries"),
        (Node, "time_out", "timeout"),
        (AsyncNode, "run_inn", "run_in"),
        (BatchNode, "on_errors", "on_error"),
        (ParallelBatchNode, "max_worker", "max_workers"),
        (ParallelBatchNode, "order", "ordered"),
        (BatchGraph, "max_worker", "max_workers"),
    ],
)
def test_unknown_setting_is_refused_with_the_closest(kind: Any, typed: str, meant: str) -> None:
    """A misspelt setting is a TypeError that names the right one."""
    with pytest.raises(TypeError, match=f"unknown setting {typed!r}.*Did you mean {meant!r}"):
        kind(**{typed: 2})


def test_setting_of_another_kind_of_node_is_refused() -> None:
    """A Node takes no max_workers, a Graph no timeout."""
    with pytest.raises(TypeError, match="max_workers"):
        Node(max_workers=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="timeout"):
        Graph(Node(), timeout=2)  # type: ignore[call-arg]


COUNTS = [
    (Node, "max_retries"),
    (BatchNode, "max_retries"),
    (ParallelBatchNode, "max_workers"),
    (Graph, "max_workers"),
    (BatchGraph, "max_workers"),
]


@pytest.mark.parametrize("value", [0, -1, True, False, 1.5, "2"])
@pytest.mark.parametrize(("kind", "setting"), COUNTS)
def test_count_below_one_and_bool_are_refused(kind: Any, setting: str, value: Any) -> None:
    """A count is a whole number of at least 1: by keyword, on the class and set later."""
    message = f"{setting} must be .*at least 1, got {value}|got {value!r}"
    with pytest.raises(ValueError, match=message):
        kind(**{setting: value})
    with pytest.raises(ValueError, match=message):
        type("Sub", (kind,), {setting: value})
    with pytest.raises(ValueError, match=message):
        setattr(kind(), setting, value)


@pytest.mark.parametrize("value", [0, -1, True, False, "2", float("nan")])
@pytest.mark.parametrize("setting", ["timeout", "deadline"])
def test_time_limit_that_is_not_a_time_is_refused(setting: str, value: Any) -> None:
    """A limit is a number of seconds above 0; None is no limit."""
    with pytest.raises(ValueError, match=f"{setting} must be"):
        Node(**{setting: value})
    assert getattr(Node(**{setting: None}), setting) is None


@pytest.mark.parametrize("value", [-0.1, True, "2", float("nan")])
def test_wait_that_is_not_a_time_is_refused(value: Any) -> None:
    """A wait is a number of seconds, 0 included."""
    with pytest.raises(ValueError, match="wait must be a number of seconds"):
        Node(wait=value)
    assert Node(wait=0).wait == 0


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("run_in", "threads"),
        ("run_in", 3),
        ("retry", 3),
        ("retry", Retry),
        ("rate", RateLimit),
        ("breaker", CircuitBreaker),
        ("run_in", ThreadPoolExecutor),
        ("on_error", "ignore"),
        ("on_error", 0),
        ("on_error", 1.0),
        ("on_error", True),
        ("on_error", -1),
        ("ordered", 1),
    ],
)
def test_setting_outside_of_its_values_is_refused(setting: str, value: Any) -> None:
    """The error names the setting, what it takes and what it got."""
    with pytest.raises(ValueError, match=f"{setting} must be .*got {re.escape(repr(value))}"):
        ParallelBatchNode(**{setting: value})


def test_retry_together_with_max_retries_is_refused() -> None:
    """There is one way to say how often."""
    with pytest.raises(TypeError, match="not both"):
        Node(max_retries=2, retry=Retry(attempts=3))


class Tuned(ParallelBatchNode):
    max_workers = 3
    max_retries = 2
    timeout = 5


def test_class_attribute_is_a_setting_that_a_keyword_overrides() -> None:
    """A setting may stand on the class, on the instance, or be set later."""
    assert (Tuned().max_workers, Tuned().max_retries, Tuned().timeout) == (3, 2, 5.0)
    node = Tuned(max_workers=7)
    assert (node.max_workers, node.max_retries) == (7, 2)
    node.max_retries = 4
    assert (node.max_retries, Tuned.max_retries) == (4, 2)


def test_setting_changed_later_is_obeyed() -> None:
    """A node that was plain before its first run retries once that is set."""

    class Flaky(AsyncNode):
        async def exec(self, prep_res: Any) -> int:
            if self.attempt < 3:
                raise ValueError(self.attempt)
            return self.attempt

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["attempts"] = exec_res

    node = Flaky()
    with pytest.raises(ValueError, match="1"):
        node.run()
    node.max_retries = 3
    shared: dict[str, Any] = {}
    node.run(shared)
    assert shared["attempts"] == 3


def test_max_retries_and_wait_may_be_given_by_position() -> None:
    """`Node(3, 0.5)` is what the ancestors' users write."""
    node = Node(3, 0.5)
    assert (node.max_retries, node.wait) == (3, 0.5)


# --- where a hook runs -------------------------------------------------------------------------


class Where(Node):
    """Notes the thread of every hook."""

    def prep(self, shared: Any) -> Any:
        shared["prep"] = threading.current_thread()
        return shared

    def exec(self, prep_res: Any) -> threading.Thread:
        return threading.current_thread()

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["exec"], shared["post"] = exec_res, threading.current_thread()


def test_sync_exec_under_run_stays_in_the_calling_thread() -> None:
    """With nothing else running, a sync exec runs in place, in a nested graph too."""
    for runner in (Where(), Graph(Where()), Graph(Node() >> Graph(Where()))):
        shared: dict[str, Any] = {}
        runner.run(shared)
        assert set(shared.values()) == {threading.current_thread()}


@pytest.mark.anyio
async def test_sync_exec_under_run_async_leaves_the_loop() -> None:
    """On a running loop a sync exec goes to a worker thread; prep and post stay on the loop."""
    shared: dict[str, Any] = {}
    await Graph(Where()).run_async(shared)
    assert shared["prep"] is shared["post"] is threading.current_thread()
    assert shared["exec"] is not threading.current_thread()


EMPTY = """
import asyncio
from kaygraph import Node
class Empty(Node):
    def exec(self, prep_res):
        return next(iter([]))
try:
    asyncio.run(Empty().run_async())
except RuntimeError as error:
    print(error)
"""


def test_stop_iteration_in_a_thread_ends_the_run() -> None:
    """`next()` of something empty is an error like any other: a future cannot carry it as it is.

    In a process of its own, because a run that waits for that future cannot be cancelled.
    """
    assert "StopIteration" in python("-c", EMPTY).stdout


@pytest.mark.parametrize(
    ("base", "name"), [(BatchNode, "max_workers"), (Node, "on_error"), (Graph, "timeout")]
)
def test_setting_of_another_kind_is_refused_on_a_class(base: Any, name: str) -> None:
    """A class attribute that would do nothing, or harm, is named at once."""
    with pytest.raises(NodeDefinitionError, match=f"Mine sets {name}, which it does not take"):
        type("Mine", (base,), {name: 5})


def test_max_retries_given_stands_above_the_retry_of_the_class() -> None:
    """What is said nearer to the node counts."""

    class Patient(Node):
        retry = Retry(attempts=5)

        async def exec(self, prep_res: Any) -> None:
            begun.append(self.attempt)
            raise ValueError

    begun: list[int] = []
    with pytest.raises(ValueError):  # noqa: PT011 - it carries no message
        Patient(max_retries=2).run()
    assert begun == [1, 2]


def test_observer_in_the_place_of_a_list_gets_an_error_that_says_so() -> None:
    """The list is easily forgotten."""
    with pytest.raises(TypeError, match=r"observers=\[report\]"):
        Node().run(observers=RunReport())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="observers is a list of callables"):
        Node().run(observers=[RunReport(), "report"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="observers is a list of callables"):
        Node().run(observers=5)  # type: ignore[arg-type]


def test_an_observer_that_could_not_be_called_is_refused_before_anything_runs() -> None:
    """A class is called with an event as if it were one, and nobody awaits what is async."""

    async def function(event: Event) -> None:
        """Never called."""

    class Method:
        async def __call__(self, event: Event) -> None:
            """Never called."""

    with pytest.raises(TypeError, match=r"RunReport is a class; .* observers=\[RunReport\(\)\]"):
        Node().run(observers=[RunReport])  # type: ignore[list-item]
    for wrong in (function, Method()):
        with pytest.raises(TypeError, match="called, not awaited: write 'def'"):
            Node().run(observers=[wrong])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"observers is a list .* got <built-in function print>"):
        Graph(Node()).events({}, observers=print)  # type: ignore[arg-type]


def test_observers_that_can_be_looked_at_only_once_are_refused() -> None:
    """The check would leave none of them for the run."""
    with pytest.raises(TypeError, match="observers is a list of callables"):
        Node().run(observers=(report for report in [RunReport()]))  # type: ignore[arg-type]


@pytest.mark.parametrize("base", [Node, BatchNode, ParallelBatchNode, Graph, BatchGraph])
def test_what_a_class_takes_cannot_be_changed_by_accident(base: type[BaseNode[Any, Any]]) -> None:
    """A set that classes share is a frozen one."""
    assert type(base._accepts) is frozenset


def test_a_partial_that_a_class_has_as_a_setting_is_not_a_method() -> None:
    """It gets the item alone, on every Python."""

    class Half(ParallelBatchNode[int, int]):
        limit_by = partial(pow, 2)
        max_per_key = 2

        def prep(self, shared: Any, /) -> list[int]:
            return [1, 2]

        async def exec(self, number: int, /) -> int:
            return number

    assert isinstance(vars(Half)["limit_by"], staticmethod)
    assert Half().limit_by(3) == 8  # type: ignore[misc]
    Half().run()


def test_an_async_static_method_is_not_a_setting_that_is_called_between_awaits() -> None:
    """It is looked through."""
    with pytest.raises(ValueError, match="limit_by must be written 'def'"):

        class Wrong(ParallelBatchNode[int, int]):
            @staticmethod
            async def limit_by(number: int) -> int:  # type: ignore[override]
                return number


def test_a_class_takes_the_settings_of_all_its_bases() -> None:
    """And each is checked as the class does that brings it, wherever it stands among the bases."""

    def check_color(name: str, value: Any) -> Any:
        if value not in ("red", "blue"):
            raise ValueError(f"{name} must be red or blue")
        return value

    class Colored:  # a sibling base of a node, not a node
        color = "red"
        _accepts = frozenset({"color"})
        _checks: ClassVar[dict[str, Any]] = {"color": check_color}

    class Paint(Colored, Node[Any, Any]):
        pass

    class PaintAll(Paint, ParallelBatchNode[Any, Any]):
        color = "blue"
        max_workers = 2

    node = PaintAll(timeout=5)
    node.color = "red"
    node.on_error = "skip"
    assert {"color", "timeout", "max_workers", "on_error"} <= PaintAll._accepts
    assert "on_error" not in Paint._accepts
    with pytest.raises(ValueError, match="color must be red or blue"):
        node.color = "green"
    with pytest.raises(ValueError, match="max_workers must be"):
        node.max_workers = 0
    with pytest.raises(ValueError, match="color must be red or blue"):

        class Wrong(PaintAll):
            color = "green"


@pytest.mark.parametrize("name", ["run_item", "_exec", "_heads", "exec_is_plain"])
def test_a_name_of_the_engine_is_refused(name: str) -> None:
    """A method called like one of its own would run in its place, or be run over."""
    with pytest.raises(NodeDefinitionError, match=f"Mine defines {name}, which is a name that the"):
        type("Mine", (Node,), {name: lambda self, x: x})
    type("Mine", (Node,), {"_mine": lambda self, x: x, "_Mine__call": 1})
