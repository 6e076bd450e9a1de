"""The loop of `run()`: kept from one run to the next, and what ends with it."""

import asyncio
import contextvars
import gc
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from kaygraph import Graph, Node
from tests.children import python

LONGEST_S = 60


class Does(Node):
    """Calls something on the loop, and keeps the loop."""

    def __init__(self, what: Callable[[asyncio.AbstractEventLoop], Any] = id) -> None:
        super().__init__()
        self.what = what

    def prep(self, shared: Any) -> None:
        shared["loop"] = loop = asyncio.get_running_loop()
        shared["made"] = self.what(loop)


def loop_of(what: Callable[[asyncio.AbstractEventLoop], Any] = id) -> asyncio.AbstractEventLoop:
    shared: dict[str, Any] = {}
    Graph(Does(what)).run(shared)
    loop: asyncio.AbstractEventLoop = shared["loop"]
    return loop


def test_the_next_run_of_a_thread_has_the_same_loop() -> None:
    """To make one takes longer than many runs."""
    loop = loop_of()
    assert not loop.is_closed()
    assert loop_of() is loop


def test_each_thread_has_its_own_and_closes_it_at_its_end() -> None:
    """Nothing of it is left, neither a descriptor nor a warning."""
    loops: list[asyncio.AbstractEventLoop] = [loop_of()]
    before = len(os.listdir("/proc/self/fd"))

    def twice() -> None:
        loops.extend([loop_of(), loop_of()])

    thread = threading.Thread(target=twice)
    thread.start()
    thread.join()
    here, first, second = loops
    assert first is second is not here
    assert first.is_closed()
    assert not here.is_closed()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_run_that_fails_leaves_the_loop_for_the_next_one() -> None:
    """An error is not a reason for another loop."""

    def fails(_: Any) -> None:
        raise ValueError("no")

    loop = loop_of()
    with pytest.raises(ValueError, match="no"):
        loop_of(fails)
    assert loop_of() is loop


def test_a_loop_with_something_left_on_it_ends_with_its_run() -> None:
    """As under `asyncio.run`; the run after it has another one."""

    async def values() -> AsyncIterator[int]:
        yield 1

    def generator(loop: Any) -> Any:
        left = values()
        task = loop.create_task(left.__anext__())
        return left, task

    def reader(loop: Any) -> Any:
        ends = os.pipe()
        loop.add_reader(ends[0], id, 0)
        return ends

    ways: list[Callable[[Any], Any]] = [
        lambda loop: loop.create_task(asyncio.sleep(LONGEST_S)),
        lambda loop: loop.call_later(LONGEST_S, id, 0),
        lambda loop: loop.run_in_executor(None, id, 0),
        lambda loop: loop.set_exception_handler(lambda *_: None),
        lambda loop: loop.set_task_factory(lambda loop, work, **_: asyncio.Task(work, loop=loop)),
        lambda loop: loop.set_debug(not loop.get_debug()),
        lambda loop: loop.add_signal_handler(10, id, 0),
        reader,
    ]
    for number, way in enumerate(ways):
        shared: dict[str, Any] = {}
        Graph(Does(way)).run(shared)
        assert shared["loop"].is_closed(), number
        if way is reader:
            for end in shared["made"]:
                os.close(end)
        fresh = loop_of()
        assert fresh is not shared["loop"], number
        assert loop_of() is fresh, number


def test_a_task_that_is_left_behind_is_cancelled() -> None:
    """And has its `finally` before the run returns."""
    ended: list[str] = []

    class Leaves(Node):
        async def prep(self, shared: Any) -> None:
            shared["task"] = asyncio.ensure_future(self.work())
            await asyncio.sleep(0)

        async def work(self) -> None:
            try:
                await asyncio.sleep(LONGEST_S)
            finally:
                await asyncio.sleep(0)
                ended.append("task")

    shared: dict[str, Any] = {}
    Leaves().run(shared)
    assert ended == ["task"]
    assert shared["task"].cancelled()


def test_an_asynchronous_generator_that_is_left_behind_is_closed() -> None:
    """As `asyncio.run` closes it."""
    ended: list[str] = []

    class Leaves(Node):
        async def prep(self, shared: Any) -> None:
            shared["values"] = self.values()
            await anext(shared["values"])

        async def values(self) -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                ended.append("generator")

    Leaves().run({})
    assert ended == ["generator"]


def test_a_timer_that_was_cancelled_keeps_neither_the_loop_from_the_next_run_nor_its_own() -> None:
    """A deadline sets one with each run, and its context knows all that the run knew."""

    class Held:
        pass

    variable: contextvars.ContextVar[Held] = contextvars.ContextVar("variable")

    def held(loop: asyncio.AbstractEventLoop) -> weakref.ref[Held]:
        variable.set(value := Held())
        loop.call_later(LONGEST_S, id, 0).cancel()
        return weakref.ref(value)

    shared: dict[str, Any] = {}
    loop = loop_of()
    Graph(Does(held)).run(shared, deadline=LONGEST_S)
    assert shared["loop"] is loop
    gc.collect()
    assert shared["made"]() is None
    assert loop_of() is loop


def test_a_call_that_comes_after_the_run_is_not_made_in_the_next_one() -> None:
    """A thread that was left behind sends it; with `asyncio.run` the loop would be closed."""
    loop, called = loop_of(), list[int]()
    loop.call_soon_threadsafe(called.append, 1)
    assert loop_of() is not loop
    assert loop.is_closed()
    assert called == []


def test_a_run_within_a_run_has_a_loop_of_its_own() -> None:
    """In the thread of the outer one, whose loop waits."""

    class Runs(Node):
        def exec(self, prep_res: Any) -> asyncio.AbstractEventLoop:
            return loop_of()

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["inner"], shared["outer"] = exec_res, asyncio.get_running_loop()

    shared: dict[str, Any] = {}
    Graph(Runs()).run(shared)
    assert shared["inner"] is not shared["outer"]
    assert shared["inner"].is_closed()
    assert loop_of() is shared["outer"]


def test_a_loop_factory_makes_a_loop_for_one_run() -> None:
    """It is closed at the end of the run, and the thread's own stays."""
    kept, made = loop_of(), list[asyncio.AbstractEventLoop]()

    def factory() -> asyncio.AbstractEventLoop:
        made.append(asyncio.SelectorEventLoop())
        return made[-1]

    shared: dict[str, Any] = {}
    Graph(Does()).run(shared, loop_factory=factory)
    assert made == [shared["loop"]]
    assert made[0].is_closed()
    assert loop_of() is kept


def test_a_missing_await_is_reported_by_the_name_of_the_method() -> None:
    """The warning of Python names what the user wrote, not a function of the engine."""
    with pytest.warns(RuntimeWarning, match="coroutine 'run_async' was never awaited"):
        Graph(Node()).run_async({})  # type: ignore[unused-coroutine]


def test_what_makes_no_loop_is_refused_before_anything_begins() -> None:
    """The error says what to give; no coroutine is left that was never awaited."""
    with pytest.raises(TypeError, match=r"such as uvloop\.new_event_loop; got 3"):
        Graph(Node()).run({}, loop_factory=3)  # type: ignore[arg-type]


def test_a_loop_factory_is_heeded_despite_a_loop_that_runs() -> None:
    """There the run takes place in another thread."""
    made: list[asyncio.AbstractEventLoop] = []

    def factory() -> asyncio.AbstractEventLoop:
        made.append(asyncio.SelectorEventLoop())
        return made[-1]

    shared: dict[str, Any] = {}

    async def main() -> None:
        with pytest.warns(RuntimeWarning, match="blocks the event loop"):
            Graph(Does()).run(shared, loop_factory=factory)

    asyncio.run(main())
    assert made == [shared["loop"]]
    assert made[0].is_closed()


@pytest.mark.filterwarnings("ignore:.*polic:DeprecationWarning")
def test_another_policy_makes_the_loops() -> None:
    """As `uvloop.install()` sets one, at any time."""

    class Own(asyncio.SelectorEventLoop):
        pass

    class Policy(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            return Own()

    kept, before = loop_of(), asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(Policy())
    try:
        loop = loop_of()
        assert type(loop) is Own
        assert loop.is_closed()
    finally:
        asyncio.set_event_loop_policy(before)
    assert loop_of() is kept


FORKS = """
import asyncio, os, sys, threading
from kaygraph import Graph, Node

class Wakes(Node):
    async def exec(self, prep_res):
        "Wait for a call from another thread, which comes through the loop's own pipe."
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        threading.Timer(0.01, loop.call_soon_threadsafe, [woken.set]).start()
        await asyncio.wait_for(woken.wait(), 30)
    def post(self, shared, prep_res, exec_res):
        shared["loop"] = asyncio.get_running_loop()

def loop():
    shared = {}
    Graph(Wakes()).run(shared)
    return shared["loop"]

mine = loop()
child = os.fork()
if not child:
    sys.exit(loop() is mine)  # at its end its own loops are closed
status = os.waitpid(child, 0)[1]
print(status, loop() is mine)
"""


def test_a_process_that_was_forked_has_loops_of_its_own() -> None:
    """What it closes there, its parent goes on to use."""
    result = python("-X", "dev", "-c", FORKS)
    assert (result.stdout.split(), result.stderr) == (["0", "True"], "")


def test_a_kept_loop_is_closed_when_the_program_ends() -> None:
    """Without a warning, in the main thread and in one that still runs."""
    program = (
        "import threading, kaygraph\n"
        "def run(): kaygraph.Graph(kaygraph.Node()).run()\n"
        "def stay(): run(); done.set(); threading.Event().wait()\n"
        "run(); done = threading.Event()\n"
        "threading.Thread(target=stay, daemon=True).start(); done.wait()\n"
    )
    result = python("-X", "dev", "-c", program)
    assert (result.returncode, result.stderr) == (0, "")
