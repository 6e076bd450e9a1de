"""run() where a loop runs already, as in a notebook: Stop drains it, and once more ends it."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from kaygraph import Graph, ParallelBatchNode


class Slow(ParallelBatchNode[Any, Any]):
    """Items 0 to 3 are done at once; those after them take their time."""

    max_workers = 4
    seconds = 0.2

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Semaphore(0)

    def prep(self, shared: Any) -> Any:
        return range(1000)

    async def exec(self, item: int) -> int:
        if item >= 4:
            self.begun.release()
            await asyncio.sleep(self.seconds)
        return item

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["results"] = results


class Blocks(Slow):
    """Nothing ends it before the test does."""

    def __init__(self) -> None:
        super().__init__()
        self.end = threading.Event()

    def exec(self, item: int) -> int:  # type: ignore[override]
        if item >= 4:
            self.begun.release()
            self.end.wait()
        return item


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A kernel of IPython: cells run within its loop, and Stop raises a KeyboardInterrupt."""
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: object()))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def cell(node: Any, shared: Any, grace: float = 1000, presses: int = 1) -> KeyboardInterrupt:
    """Run a cell, press Stop so often while it is at work, and return what it raised."""

    def press() -> None:
        for _ in range(4):
            assert node.begun.acquire(timeout=60)
        os.kill(os.getpid(), signal.SIGINT)
        if presses == 2:
            assert written.wait(timeout=60)
            os.kill(os.getpid(), signal.SIGINT)

    async def kernel() -> KeyboardInterrupt:
        # asyncio.run has put a handler of its own there, as ipykernel's loop does not.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        thread = threading.Thread(target=press)
        thread.start()
        try:
            with pytest.raises(KeyboardInterrupt) as caught:
                Graph(node).run(shared, grace=grace)
            return caught.value
        finally:
            thread.join()

    def note_line(line: str) -> None:
        lines.append(line)
        written.set()

    lines: list[str] = []
    written = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kaygraph.run.in_thread.write", note_line)
        error = asyncio.run(kernel())
    assert lines == [f"stopping: 4 in flight, {grace:g} s at most; once more to stop now"]
    return error


@pytest.mark.usefixtures("notebook")
def test_the_first_stop_hands_over_what_is_done() -> None:
    """What was in flight comes to its end, and the cell says so."""
    error = cell(Slow(), shared := {})
    assert str(error) == "stopped; the work in flight has ended"
    assert shared["results"][:4] == [0, 1, 2, 3]
    assert 4 < len(shared["results"]) < 1000


@pytest.mark.usefixtures("notebook")
def test_what_is_not_done_within_the_grace_is_cancelled() -> None:
    """The rest is handed over."""
    node = Slow()
    node.seconds = 1000
    error = cell(node, shared := {}, grace=0.2)
    assert str(error) == "stopped; the work in flight was cancelled after 0.2 s"
    assert shared == {"results": [0, 1, 2, 3]}


@pytest.mark.usefixtures("notebook")
def test_the_second_stop_cancels() -> None:
    """And nothing is handed over."""
    node = Slow()
    node.seconds = 1000
    error = cell(node, shared := {}, presses=2)
    assert str(error) == "stopped; the work in flight was cancelled"
    assert shared == {}


@pytest.mark.usefixtures("notebook")
def test_what_does_not_end_is_left_behind() -> None:
    """A notebook that hangs is worse."""
    node = Blocks()
    try:
        error = cell(node, {}, presses=2)
        assert "left behind in its thread" in str(error)
    finally:
        node.end.set()
    for thread in threading.enumerate():
        if thread.name.startswith("kaygraph"):
            thread.join()


@pytest.mark.usefixtures("notebook")
def test_an_error_meanwhile_is_the_cause() -> None:
    """It is not lost."""

    class Fails(Slow):
        async def exec(self, item: int) -> int:
            if item >= 4:
                self.begun.release()
                await asyncio.sleep(self.seconds)
                raise ValueError("broken")
            return item

    error = cell(Fails(), {})
    assert "broken" in repr(error.__cause__)


KERNEL = """
import asyncio
from kaygraph import *
class Slow(ParallelBatchNode):
    max_workers = 4
    def prep(self, shared): return range(1000)
    async def exec(self, item):
        if item == 20: print("begun", flush=True)
        await asyncio.sleep(0.01 if item < 20 else 0.3)
    def post(self, shared, _, results): shared["done"] = len(results)
class Fails(Node):
    def exec(self, _): return 1 / 0
shared = {}
"""


@pytest.fixture
def kernel() -> Iterator[Callable[..., list[Any]]]:
    """Run cells in a real kernel; each gives its messages."""
    manager = pytest.importorskip("jupyter_client.manager")
    pytest.importorskip("ipykernel")
    path = os.pathsep.join(one for one in sys.path if one)
    kernel, client = manager.start_new_kernel(
        kernel_name="python3", env={**os.environ, "PYTHONPATH": path}
    )

    def run(code: str, stop_at: str = "") -> list[Any]:
        messages = []
        asked = client.execute(code)
        while True:
            message = client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != asked:
                continue
            messages.append(message["content"])
            if stop_at and stop_at in str(message["content"].get("text", "")):
                kernel.interrupt_kernel()
            if message["content"].get("execution_state") == "idle":
                return messages

    yield run
    client.stop_channels()
    kernel.shutdown_kernel(now=True)


def test_stop_in_a_real_kernel_drains(kernel: Callable[..., list[Any]]) -> None:
    """The next cell finds what is done; a cell that fails shows two frames and no more."""
    kernel(KERNEL)
    stopped = kernel("Graph(Slow()).run(shared)", stop_at="begun")
    texts = "".join(message.get("text", "") for message in stopped)
    assert "stopping: " in texts
    assert "stopped; the work in flight has ended" in [m.get("evalue") for m in stopped]
    (done,) = [m["data"]["text/plain"] for m in kernel("shared['done']") if "data" in m]
    assert 20 <= int(done) <= 40
    (failed,) = [m for m in kernel("Graph(Fails()).run()") if "traceback" in m]
    assert len("\n".join(failed["traceback"]).splitlines()) <= 12
