"""Hooks: put on an object as on a class, and refused where they could not be called."""

import functools
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock, Mock, patch

import pytest

from kaygraph import (
    AsyncNode,
    Graph,
    MapReduceNode,
    Node,
    NodeDefinitionError,
    ParallelBatchNode,
    Pipeline,
)
from kaygraph.nodes import node as as_node


class Steps(AsyncNode):
    """A node whose steps say what they are."""

    def prep(self, shared: Any, /) -> Any:
        return "prep"

    async def exec(self, item: Any, /) -> Any:
        return "exec"

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        shared["seen"] = (prep_res, exec_res)


class Items(ParallelBatchNode[Any, Any]):
    """A batch of three."""

    def prep(self, shared: Any, /) -> Any:
        return [1, 2, 3]

    async def exec(self, item: Any, /) -> Any:
        return item

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        shared["seen"] = exec_res


async def _later(*given: Any) -> Any:
    return "put"


async def _several(*given: Any) -> Any:
    yield "put"


def _yielding(*given: Any) -> Any:
    yield "put"


class Caller:
    """An object that is called as an async function is."""

    async def __call__(self, *given: Any) -> Any:
        return "put"


WRITTEN: list[tuple[Any, Any]] = [
    (lambda item: "put", "put"),
    (_later, "put"),
    (Caller(), "put"),
    (_several, ["put"]),
    (_yielding, ["put"]),
    (Mock(return_value="put"), "put"),
    (AsyncMock(return_value="put"), "put"),
]


@pytest.mark.parametrize(("hook", "result"), WRITTEN)
@pytest.mark.parametrize("runner", [lambda node: node, Graph, lambda node: Graph([node])])
def test_an_exec_put_on_an_object_is_called(
    hook: Any, result: Any, runner: Callable[[Any], Any]
) -> None:
    """However it is written; that of the class is back when it is taken away."""
    node: Any = Steps()
    shared: dict[str, Any] = {}
    node.exec = hook
    runner(node).run(shared)
    assert shared["seen"] == ("prep", result)
    del node.exec
    runner(node).run(shared)
    assert shared["seen"] == ("prep", "exec")


@pytest.mark.parametrize(("hook", "result"), WRITTEN)
def test_an_exec_put_on_a_batch_or_a_stage_is_called_for_each_item(hook: Any, result: Any) -> None:
    """In a pipeline what a generator yields are values of their own."""
    node: Any = Items()
    shared: dict[str, Any] = {}
    node.exec = hook
    node.run(shared)
    assert shared["seen"] == [result] * 3
    Pipeline(Items(), node).run(shared)
    assert shared["seen"].results == ["put"] * 3


def test_other_hooks_put_on_an_object_are_called() -> None:
    """Each as it is written, and a function node's exec as well."""
    node: Any = Steps(max_retries=2)
    shared: dict[str, Any] = {}
    node.prep = AsyncMock(return_value="p")
    node.exec = Mock(side_effect=ValueError)
    node.exec_fallback = AsyncMock(return_value="f")
    node.post = Mock(return_value="done")
    assert node.run(shared) == "done"
    assert node.exec.call_count == 2
    node.prep.assert_awaited_once_with(shared)
    node.post.assert_called_once_with(shared, "p", "f")

    @as_node(writes="word")
    def word() -> str:
        return "function"

    word.exec = AsyncMock(return_value="mock")  # type: ignore[method-assign]
    word.run(shared)
    assert shared["word"] == "mock"


def test_a_hook_may_be_patched_and_is_there_again() -> None:
    """As tests do with `monkeypatch` and `mock.patch`."""
    node: Any = Steps()
    shared: dict[str, Any] = {}
    with patch.object(node, "exec", return_value="patched"):
        node.run(shared)
        assert shared["seen"] == ("prep", "patched")
    node.run(shared)
    assert shared["seen"] == ("prep", "exec")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(node, "prep", _later)
        node.run(shared)
        assert shared["seen"] == ("put", "exec")
    node.run(shared)
    assert shared["seen"] == ("prep", "exec")


def test_an_exec_put_on_a_node_without_one_is_its_work() -> None:
    """The run accounts for it as for any."""
    node: Any = Node()
    shared: dict[str, Any] = {}
    node.exec = Mock(return_value=3)
    node.post = lambda shared, prep_res, exec_res: shared.update(seen=exec_res)
    Graph(node).run(shared)
    assert shared == {"seen": 3}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("exec", 3, "exec is a hook, which is called; got 3"),
        ("exec", lambda: 3, r"takes \(\), but is called with \(prep_res\): write 'def exec"),
        ("post", lambda shared: 3, r"called with \(shared, prep_res, exec_res\)"),
    ],
)
def test_what_cannot_be_called_as_a_hook_is_refused_on_an_object(
    name: str, value: Any, message: str
) -> None:
    """At once, and not in the run."""
    with pytest.raises(NodeDefinitionError, match=message):
        setattr(Steps(), name, value)


@pytest.mark.parametrize(
    ("hook", "value", "fits"),
    [
        ("exec", functools.partial(print, sep=""), True),
        ("exec", functools.partial(lambda first, second: 3), False),
        ("post", max, True),  # without a signature: its call may work
        ("post", Caller(), True),
        ("prep", type("Takes", (), {"__call__": lambda self: 3})(), False),
    ],
)
def test_any_callable_may_be_put_on_an_object_if_its_call_may_work(
    hook: str, value: Any, fits: bool
) -> None:
    """What has no signature is taken; an object or a partial is checked as a function is."""
    node = Steps()
    if fits:
        setattr(node, hook, value)
        assert getattr(node, hook) is value
    else:
        with pytest.raises(NodeDefinitionError, match=f"the {hook} of a node takes"):
            setattr(node, hook, value)
        assert hook not in vars(node)


SHARED = "is called with \\(shared\\): write 'def prep\\(self, shared\\)'"


@pytest.mark.parametrize(
    ("base", "hooks", "message"),
    [
        (Node, {"prep": lambda: 1}, rf"Mine.prep takes \(\), but {SHARED}"),
        (Node, {"prep": lambda self, shared, more: 1}, SHARED),
        (Graph, {"prep": lambda self: 1}, SHARED),
        (Node, {"exec": lambda self: 1}, r"'def exec\(self, prep_res\)'"),
        (ParallelBatchNode, {"exec": lambda item: 1}, r"takes \(item\), but is called with"),
        (Node, {"post": lambda self, shared: 1}, r"'def post\(self, shared, prep_res, exec_res\)'"),
        (Node, {"exec_fallback": lambda self, item: 1}, r"exec_fallback\(self, prep_res, exc\)"),
        (Node, {"exec": staticmethod(lambda: 1)}, r"'def exec\(prep_res\)'"),
        (Node, {"exec": lambda self, item, *, more: 1}, "but is called with"),
        (Node, {"lifespan": lambda self: 1}, r"'def lifespan\(self, shared\)'"),
        (MapReduceNode, {"reduce": lambda self, key: 1}, r"'def reduce\(self, key, values\)'"),
    ],
)
def test_a_hook_that_could_not_be_called_is_refused_with_its_class(
    base: Any, hooks: dict[str, Any], message: str
) -> None:
    """With how it is to be written; it used to be a TypeError in the run."""
    with pytest.raises(NodeDefinitionError, match=message):
        type("Mine", (base,), hooks)


def test_an_async_hook_has_to_stay_async() -> None:
    """What is to be typed stands in the error."""
    with pytest.raises(NodeDefinitionError, match=r"write 'async def exec\(self, prep_res\)'"):

        class Mine(Node):
            async def exec(self) -> None:  # type: ignore[override]
                pass


def _logged(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, "logged", **kwargs)

    return wrapper


def _of_three(first: Any, second: Any, third: Any = 3) -> Any:
    return first


TAKEN = {
    "defaults": lambda self, item, more=1, *, most=2: item,
    "any number": lambda *given: given[1],
    "a decorator that gives more": _logged(lambda self, item, how: item),
    "a static method": staticmethod(lambda item: item),
    "a partial": staticmethod(functools.partial(_of_three, second=2)),
    "a method of a class": classmethod(lambda cls, item: item),
    "a mock": Mock(return_value="item"),
    "a builtin": staticmethod(str),
    "defaults for all": lambda self, item="item", *more: item,
}


@pytest.mark.parametrize("how", TAKEN)
def test_a_hook_that_can_be_called_is_taken_however_it_is_written(how: str) -> None:
    """Refused is only what fails for certain."""

    class Mine(Node):
        def prep(self, shared: Any, /) -> Any:
            return "item"

        exec = TAKEN[how]

        def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
            shared["seen"] = exec_res

    shared: dict[str, Any] = {}
    Mine().run(shared)
    assert shared["seen"] == "item"


@pytest.mark.parametrize(
    ("base", "name", "method", "meant"),
    [
        (Node, "exce", lambda self, item: 1, "exec"),
        (Node, "exe", lambda self, item: 1, "exec"),
        (ParallelBatchNode, "execc", lambda self, item: 1, "exec"),
        (Node, "execute", lambda self, item: 1, "exec"),
        (Node, "prepare", lambda self, shared: 1, "prep"),
        (Node, "pre", lambda self, shared: 1, "prep"),
        (Graph, "prpe", lambda self, shared: 1, "prep"),
        (Node, "psot", lambda self, shared, prep_res, exec_res: 1, "post"),
        (Node, "exec_fallbak", lambda self, item, error: 1, "exec_fallback"),
        (Node, "fallback", lambda self, item, error: 1, "exec_fallback"),
        (MapReduceNode, "reduces", lambda self, key, values: 1, "reduce"),
    ],
)
def test_a_slip_in_the_name_of_a_hook_is_refused(
    base: Any, name: str, method: Any, meant: str
) -> None:
    """It ran nothing, and nothing was said."""
    expected = rf"Mine defines {name}\(\), which nothing calls: did you mean {meant}\(\)"
    with pytest.raises(NodeDefinitionError, match=expected):
        type("Mine", (base,), {name: method})
    hooked = {meant: method, name: method}
    if base is not Graph or meant != "exec":
        type("Mine", (base,), hooked)  # in addition to the hook it is intended


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("prepare", lambda self: 1),  # takes no shared store
        ("execute", lambda self, sql, parameters: 1),
        ("cost", lambda self, shared, prep_res, exec_res: 1),
        ("host", lambda self, shared, prep_res, exec_res: 1),
        ("posts", lambda self, page: 1),
        ("post_process", lambda self, shared, prep_res, exec_res: 1),
        ("process", lambda self, item: 1),
        ("extract", lambda self, item: 1),
        ("_exce", lambda self, item: 1),
        ("prop", "a string"),
        ("exe", "/bin/true"),
    ],
)
def test_a_helper_is_not_a_slip(name: str, method: Any) -> None:
    """It has another name, or other arguments."""
    assert type("Mine", (Node,), {name: method})().run() is None


@pytest.mark.parametrize(
    ("exec_", "result"),
    [
        (lambda self, _: self.prepare(1), -1),
        (lambda self, _: [self.prepare(number) for number in (1, 2)], [-1, -2]),
    ],
    ids=["called", "in a comprehension"],
)
def test_a_method_that_the_class_itself_calls_is_not_a_slip(exec_: Any, result: Any) -> None:
    """It is a helper, whatever it is called."""

    def post(self: Any, shared: Any, _: Any, exec_res: Any, /) -> None:
        shared["seen"] = exec_res

    hooks = {"prepare": lambda self, number: -number, "exec": exec_, "post": post}
    type("Mine", (Node,), hooks)().run(shared := {})
    assert shared == {"seen": result}


def test_a_method_that_a_base_calls_is_not_a_slip() -> None:
    """A class that defines it is where it is looked at."""

    class Base(Node):
        def exec(self, item: Any, /) -> Any:
            return self.execute(item)

        def execute(self, item: Any) -> Any:
            return 1

    class Mine(Base):
        def execute(self, item: Any) -> Any:
            return 2

    shared: dict[str, Any] = {}
    node: Any = Mine()
    node.post = lambda shared, prep_res, exec_res: shared.update(seen=exec_res)
    node.run(shared)
    assert shared == {"seen": 2}
