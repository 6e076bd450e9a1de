"""A run in a cell: its loop reacts to Stop, and its progress is shown."""

import asyncio
import os
import signal
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from kaygraph import Graph, Node, ParallelBatchNode
from kaygraph.run.in_cell import in_kernel, responsive, shown_in_cell


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code is typed into a kernel."""
    shell = SimpleNamespace(kernel=object(), execution_count=1)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.delenv("KAYGRAPH_PROGRESS", raising=False)


class Waits(Node[Any, Any]):
    def __init__(self) -> None:
        super().__init__()
        self.begun, self.end = threading.Event(), asyncio.Event()

    async def exec(self, _: Any) -> None:
        self.begun.set()
        await self.end.wait()


class First(ParallelBatchNode[Any, Any]):
    def prep(self, _: Any) -> list[int]:
        return [1]


@pytest.mark.parametrize("how", ["run_async", "launch", "stream"])
def test_stop_is_handled_though_nothing_else_wakes_the_loop(kernel: None, how: str) -> None:
    """The handler only leaves a note to the loop, as that of ipykernel does."""
    before = signal.getsignal(signal.SIGINT)

    async def cell() -> None:
        node, loop = Waits(), asyncio.get_running_loop()
        signal.signal(signal.SIGINT, lambda *_: loop.call_soon(node.end.set) and None)

        def press() -> None:
            assert node.begun.wait(timeout=60)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=press)
        thread.start()
        if how == "stream":
            async for _ in (First() | node).stream():
                pass
        elif how == "launch":
            await Graph(node).launch()
        else:
            await Graph(node).run_async()
        thread.join()

    try:
        asyncio.run(asyncio.wait_for(cell(), timeout=60))
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_loop_is_left_alone_when_the_run_has_ended(kernel: None) -> None:
    """However it has ended."""

    class Fails(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            raise ValueError

    async def cell() -> list[Any]:
        loop: Any = asyncio.get_running_loop()
        with pytest.raises(ValueError):  # noqa: PT011
            await Graph(Fails()).run_async()
        return [one for one in loop._scheduled if not one.cancelled()]

    assert asyncio.run(cell()) == []


def test_outside_of_a_kernel_a_run_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where IPython is imported, or is a shell in a terminal."""

    async def work(shared: Any, frame: Any) -> None: ...

    for shell in (None, SimpleNamespace()):
        ipython = SimpleNamespace(get_ipython=lambda shell=shell: shell)
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        assert not in_kernel()
        assert responsive(work) is work
        assert shown_in_cell((), False) is None


def test_a_run_that_nobody_looks_at_is_shown(kernel: None) -> None:
    """Not one that somebody looks at, nor where that is turned off."""
    assert shown_in_cell((), False) is not None
    assert shown_in_cell([print], False) is None
    assert shown_in_cell((), True) is None


@pytest.mark.parametrize("value", ["off", "0", "no", "False"])
def test_it_can_be_turned_off(kernel: None, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """By the environment."""
    monkeypatch.setenv("KAYGRAPH_PROGRESS", value)
    assert shown_in_cell((), False) is None


def test_a_run_within_another_is_not_shown_by_itself(kernel: None) -> None:
    """The one around it is."""
    seen = list[object]()

    class Outer(Node[Any, Any]):
        def exec(self, _: Any) -> None:
            seen.append(shown_in_cell((), False))

    Graph(Outer()).run()
    assert seen == [None]
