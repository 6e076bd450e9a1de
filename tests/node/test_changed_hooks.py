"""Hooks that are replaced after their class was made: by %autoreload, or by a test's patch."""

import asyncio
import sys
from collections.abc import Callable
from functools import lru_cache, wraps
from types import SimpleNamespace
from typing import Any

import pytest

from kaygraph import Graph, Node, NodeDefinitionError, ParallelBatchNode, Pipeline


def sync(self: Any, item: Any, *_: Any) -> Any:
    return "def"


async def awaited(self: Any, item: Any, *_: Any) -> Any:
    await asyncio.sleep(0)
    return "async def"


def made(first: Callable[..., Any], hook: str, base: type = Node) -> Any:
    """A node class with a hook, and a post that stores what it came to."""

    def post(self: Any, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["prep"], shared["exec"] = prep_res, exec_res

    body: dict[str, Any] = {"post": post, hook: first}
    if base is not Node:
        body["prep"] = lambda self, shared: shared.get("items", [1, 2])
    return type("Patched", (base,), body)


PLACES: list[Callable[[Any], Any]] = [
    lambda cls: cls(),
    lambda cls: Graph(cls()),
    lambda cls: Graph(cls(timeout=100)),
    lambda cls: Graph([cls(), Node()]),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("hook", ["prep", "exec"])
def test_a_hook_that_has_become_async_is_awaited(place: Callable[[Any], Any], hook: str) -> None:
    """At once, and in the next run."""
    cls = made(sync, hook)
    node = place(cls)
    node.run(shared := {})
    assert shared[hook] == "def"
    setattr(cls, hook, awaited)
    for _ in range(2):
        node.run(shared := {})
        assert shared[hook] == "async def"


def test_the_hook_of_a_batch_that_has_become_async_is_awaited() -> None:
    """For each item, in threads and in a pipeline as well."""
    cls = made(sync, "exec", ParallelBatchNode)
    cls(max_workers=2).run(shared := {})
    cls.exec = awaited
    cls(max_workers=2).run(shared)
    assert shared["exec"] == ["async def", "async def"]
    Pipeline(cls(), Node()).run({})


@pytest.mark.parametrize("base", [Node, ParallelBatchNode])
@pytest.mark.parametrize("place", PLACES)
def test_a_hook_that_has_become_sync_is_reported_and_noted(
    place: Callable[[Any], Any], base: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what has happened, and the next run works."""
    monkeypatch.delitem(sys.modules, "IPython", raising=False)  # another test may have loaded it
    cls = made(awaited, "exec", base)
    node = place(cls)
    cls.exec = sync
    with pytest.raises(TypeError, match="'await' expression") as caught:
        node.run({"items": [1]})
    assert "hooks of Patched were replaced after the class was made" in str(caught.value.__notes__)
    node.run({})


def test_in_ipython_changed_classes_are_looked_for_before_a_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There %autoreload changes them in place."""
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    cls = made(awaited, "exec")
    cls.exec = sync
    cls().run(shared := {})
    assert shared["exec"] == "def"


@pytest.mark.filterwarnings("ignore:Assigning a code object of non-matching type")  # Python 3.13
def test_new_code_in_the_function_of_a_hook_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """So %autoreload changes a method: the function stays, its code does not."""
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))

    async def before(self: Any, item: Any) -> str:
        return "before"

    def after(self: Any, item: Any) -> str:
        return "after"

    cls = made(before, "exec")
    cls().run(shared := {})
    before.__code__ = after.__code__
    cls().run(shared)
    assert shared["exec"] == "after"


def test_a_hook_that_a_reload_has_added_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """There was none before."""
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    cls = made(awaited, "prep")
    cls.exec = sync
    cls().run(shared := {})
    assert shared["exec"] == "def"


def test_an_error_of_the_same_words_in_a_hook_says_nothing_of_classes() -> None:
    """It is the user's own."""

    class Mistaken(Node):
        async def exec(self, _: Any) -> Any:
            return await 1  # type: ignore[misc]

    with pytest.raises(TypeError, match="'await' expression") as caught:
        Graph(Mistaken()).run()
    assert "replaced" not in str(caught.value.__notes__)


def test_a_cache_over_an_async_hook_is_refused() -> None:
    """It would keep a coroutine."""
    with pytest.raises(NodeDefinitionError, match="lru_cache, which keeps its coroutine"):

        class Cached(Node):
            @lru_cache  # noqa: B019 - this is what is refused
            async def exec(self, _: Any) -> Any:
                return 1

    class Fine(Node):
        @lru_cache  # noqa: B019 - it lives as long as the test
        def exec(self, _: Any) -> Any:
            return 1

    Fine().run()


def test_a_decorator_that_hides_an_async_hook_is_reported() -> None:
    """The message says where 'async def' is missing."""

    def logged(hook: Any) -> Any:
        @wraps(hook)
        def wrapper(*given: Any) -> Any:
            return hook(*given)

        return wrapper

    class Decorated(Node):
        @logged
        async def exec(self, _: Any) -> Any:
            return 1

    with pytest.raises(NodeDefinitionError, match="behind a decorator that is written 'def'"):
        Decorated().run()
