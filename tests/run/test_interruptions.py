"""Signals as the code around run() sees them: handlers, errors, and where the run stops."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kaygraph import BatchNode, Graph, Node, RunInterrupted
from tests.children import python

SIGNALS = [signal.SIGINT, signal.SIGTERM]


class Signals(Node[Any, Any]):
    """Sends this process a signal from where its exec runs, and then takes its time."""

    def __init__(self, number: signal.Signals, seconds: float = 0.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.number, self.seconds = number, seconds

    async def exec(self, _: Any) -> None:
        os.kill(os.getpid(), self.number)
        await asyncio.sleep(self.seconds)


class Notes(Node[Any, Any]):
    def prep(self, shared: Any) -> None:
        shared["began"] = [*shared.get("began", ()), self.name]


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_the_error_is_an_exit_and_an_interrupt(number: signal.Signals) -> None:
    """Whichever of the two a program looks for, it finds; uncaught it is the exit code."""
    for kind in (RunInterrupted, SystemExit, KeyboardInterrupt):
        with pytest.raises(kind) as caught:
            Signals(number).run()
    error: Any = caught.value
    assert (error.code, error.signal, error.drained) == (128 + number, number, True)
    assert str(error) == f"ended by {number.name}; the work in flight has ended"
    with pytest.raises(RunInterrupted, match="was cancelled") as caught:
        Signals(number, 60).run(grace=0.01)
    assert not caught.value.drained


def test_the_handlers_are_as_they_were_however_the_run_ends() -> None:
    """After its end, a failure and an interruption."""

    class Fails(Node[Any, Any]):
        def exec(self, _: Any) -> None:
            inside.append(handlers())
            raise ValueError("broken")

    before, inside = handlers(), list[Any]()
    Node[Any, Any]().run()
    assert handlers() == before
    with pytest.raises(ValueError, match="broken"):
        Fails().run()
    assert handlers() == before
    with pytest.raises(RunInterrupted):
        Signals(signal.SIGTERM).run()
    assert handlers() == before
    assert not set(inside[0]) & set(before)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_handler_that_the_user_has_set_stays(number: signal.Signals) -> None:
    """It is called, and the run goes on; so it does where the signal is ignored."""
    came: list[int] = []
    for handler in (lambda number, _: came.append(number), signal.SIG_IGN):
        before = signal.signal(number, handler)
        shared: dict[str, Any] = {}
        try:
            Graph(Signals(number) >> Notes()).run(shared)
            assert signal.getsignal(number) is handler
        finally:
            signal.signal(number, before)
        assert shared == {"began": ["Notes"]}
    assert came == [number]


def test_a_handler_that_a_hook_sets_stays() -> None:
    """It is the program's own, and not put back with the others."""

    class Sets(Node[Any, Any]):
        def exec(self, _: Any) -> None:
            signal.signal(signal.SIGTERM, mine)

    def mine(*_: Any) -> None:
        pass

    before = handlers()
    try:
        Sets().run()
        assert handlers() == [before[0], mine]
    finally:
        signal.signal(signal.SIGTERM, before[1])


def test_a_run_elsewhere_than_in_the_main_thread_touches_no_handler() -> None:
    """In another thread, and where a loop runs already."""

    class Looks(Node[Any, Any]):
        def exec(self, _: Any) -> None:
            inside.append(handlers())

    async def notebook() -> None:
        outside.append(handlers())  # asyncio.run has set one of its own
        with pytest.warns(RuntimeWarning, match="run_async"):
            Looks().run()
        outside.append(handlers())

    outside, inside = [handlers()], list[Any]()
    with ThreadPoolExecutor(1) as thread:
        thread.submit(Looks().run).result()
    asyncio.run(notebook())
    assert inside[0] == outside[0]
    assert inside[1] == outside[1] == outside[2]


def interrupts(_: Any, item: Any) -> Any:
    """As an exec: sends this process a signal, at once or with item 5."""
    if item in (None, 5):
        os.kill(os.getpid(), signal.SIGINT)
    return item


async def interrupts_without_a_wait(node: Any, item: Any) -> Any:
    """As an exec: the same, on the loop, which has no turn in the meantime."""
    return interrupts(node, item)


EXECS = pytest.mark.parametrize("hook", [interrupts, interrupts_without_a_wait])


@EXECS
def test_no_node_begins_after_the_signal(hook: Any) -> None:
    """Not even where no node ever waits, and the loop has no turn."""

    class Here(Node[Any, Any]):
        exec = hook

    shared: dict[str, Any] = {}
    with pytest.raises(RunInterrupted):
        Graph(Here() >> Notes()).run(shared)
    assert shared == {}


@EXECS
def test_no_item_is_taken_after_the_signal(hook: Any) -> None:
    """Of a batch whose items never wait."""

    class Here(BatchNode[Any, Any]):
        exec = hook

        def prep(self, _: Any) -> range:
            return range(5000)

        def post(self, shared: Any, _: Any, results: Any) -> None:
            shared["results"] = results

    shared: dict[str, Any] = {}
    with pytest.raises(RunInterrupted):
        Here().run(shared)
    assert shared["results"] == [0, 1, 2, 3, 4, 5]


def test_an_error_in_what_was_in_flight_is_the_cause() -> None:
    """It is not lost behind the interruption."""

    class Fails(Signals):
        async def exec(self, _: Any) -> None:
            await super().exec(None)
            raise ValueError("broken")

    with pytest.raises(RunInterrupted) as caught:
        Fails(signal.SIGINT).run()
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_signal_is_noticed_by_a_loop_that_waits() -> None:
    """Also one that came to another thread, or in the moment before the loop begins to wait."""

    def interrupt() -> None:
        waits.wait()
        time.sleep(0.1)  # so long the loop has time to begin to wait, which makes it hard
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    class Waits(BatchNode[Any, Any]):
        async def prep(self, _: Any) -> Any:
            async def items() -> AsyncIterator[int]:
                yield 1
                waits.set()
                await asyncio.sleep(60)

            return items()

        async def exec(self, item: int) -> None:
            pass

    waits = threading.Event()
    thread = threading.Thread(target=interrupt)
    thread.start()
    began = time.monotonic()
    with pytest.raises(RunInterrupted):
        Waits().run()
    thread.join()
    assert time.monotonic() - began < 30


class Early(asyncio.SelectorEventLoop):
    """A loop that is interrupted when it has just been made, or when it has been closed."""

    moment = ""

    def __init__(self) -> None:
        super().__init__()
        if self.moment == "made":
            os.kill(os.getpid(), signal.SIGINT)

    def close(self) -> None:
        was_open = not self.is_closed()
        super().close()
        if was_open and self.moment == "closed":
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("moment", ["made", "closed"])
def test_a_signal_before_or_after_there_is_a_loop_is_not_lost(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it, nothing begins; after it, all is done, and the handlers are as they were."""
    monkeypatch.setattr(Early, "moment", moment)
    before, shared = handlers(), dict[str, Any]()
    with pytest.raises(RunInterrupted) as caught:
        Graph(Notes()).run(shared, loop_factory=Early)
    assert caught.value.__cause__ is None
    assert caught.value.drained
    assert handlers() == before
    assert shared.get("began", []) == (["Notes"] if moment == "closed" else [])


def test_a_signal_is_received_where_a_hook_listens_to_another_one() -> None:
    """asyncio has signals written to the loop's own pipe from then on, and knows but that one."""

    class Listens(Node):
        def prep(self, shared: Any) -> None:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGUSR1, received.append, 1)
            os.kill(os.getpid(), signal.SIGUSR1)

        async def exec(self, prep_res: Any) -> None:
            await asyncio.sleep(0)
            os.kill(os.getpid(), signal.SIGTERM)

    received: list[int] = []
    before, shared = handlers(), dict[str, Any]()
    with pytest.raises(RunInterrupted) as caught:
        Graph(Listens() >> Notes()).run(shared)
    assert (caught.value.drained, received, handlers()) == (True, [1], before)
    assert "began" not in shared


@pytest.mark.parametrize("grace", [0, -1, True, "soon"])
def test_a_grace_that_is_not_a_time_is_refused(grace: Any) -> None:
    """Before anything runs."""
    shared: dict[str, Any] = {}
    with pytest.raises((ValueError, TypeError), match="grace"):
        Notes().run(shared, grace=grace)
    assert shared == {}


def test_what_follows_an_interrupted_run_has_its_time() -> None:
    """A program that catches it after two signals may save what it has: nothing ends it now."""

    class Twice(Signals):
        async def exec(self, _: Any) -> None:
            for _ in range(2):
                os.kill(os.getpid(), self.number)
                await asyncio.sleep(0)
            await asyncio.sleep(60)

    with pytest.raises(RunInterrupted) as caught:
        Twice(signal.SIGINT).run()
    assert not caught.value.drained
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


LOADS = """
import os, signal, sys
from kaygraph import Graph, Node

class Interrupts:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "kaygraph.run.signals": os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts)
graph = Graph(Node())
sys.modules.pop("kaygraph.run.signals", None)
graph.run({})
"""


def test_a_signal_while_run_loads_what_hears_it_shows_no_traceback() -> None:
    """The first run of a process takes a moment to begin."""
    done = python("-c", LOADS)
    assert (done.returncode, done.stderr) == (130, "")


PROMPT = """
import os, signal
from kaygraph import Graph, Node

class Waits(Node):
    def exec(self, _): os.kill(os.getpid(), signal.SIGINT)

Graph(Waits()).run({})

print("still here")
"""


def test_at_a_prompt_an_interrupted_run_does_not_end_the_interpreter() -> None:
    """It is a KeyboardInterrupt there, and says how the run has ended."""
    done = python("-i", "-q", text=PROMPT)
    assert "KeyboardInterrupt: ended by SIGINT; the work in flight has ended" in done.stderr
    assert "still here" in done.stdout
