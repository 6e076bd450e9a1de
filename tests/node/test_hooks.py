"""Hooks: put on an object as on a class, and refused where they could not be called."""

from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock, Mock, patch

import pytest

from kaygraph import (
    AsyncNode,
    Graph,
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
    ("name", "value", "told"),
    [
        ("exec", 3, "exec is a hook, which is called; got 3"),
        ("exec", lambda: 3, r"takes \(\), and is called with \(prep_res\): write 'def exec"),
        ("post", lambda shared: 3, r"called with \(shared, prep_res, exec_res\)"),
    ],
)
def test_what_cannot_be_called_as_a_hook_is_refused_on_an_object(
    name: str, value: Any, told: str
) -> None:
    """At once, and not in the run."""
    with pytest.raises(NodeDefinitionError, match=told):
        setattr(Steps(), name, value)
