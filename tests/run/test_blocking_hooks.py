"""Signals while a hook holds the main thread: it gets its KeyboardInterrupt, at its time."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.children import child
from tests.run.interrupting import Script

pytestmark = pytest.mark.proofs  # each test runs a program

SCRIPT = '''
import asyncio, os, signal, sys, time

kind, grace, library, hook = sys.argv[1:]
from kaygraph import *
if library == "compat": from kaygraph.compat import *

def say(text): os.write(1, f"{text}\\n".encode())

def blocks(how=kind):
    say("begun")
    try:
        input() if how == "input" else time.sleep(1000)
    except KeyboardInterrupt:
        say("interrupted")
        raise

class Exec(Node):
    def exec(self, _): blocks()

class AsyncExec(Node):
    async def exec(self, _): blocks()

class Post(Node):
    def post(self, shared, _, __): blocks()

class Batch(BatchNode):
    def prep(self, shared): return range(100)
    def exec(self, item):
        if item == 5: blocks()
        return item
    def post(self, shared, _, results): say(f"handed {results}")

class Parallel(ParallelBatchNode):
    max_workers = 3
    def prep(self, shared): return range(100)
    async def exec(self, item):
        if item == 5: blocks()
        await asyncio.sleep(0.001 if item < 3 else 1000)
        return item
    def post(self, shared, _, results): say(f"handed {sorted(results)}")

class Nested(Node):
    def exec(self, _):
        Graph(Exec()).run({})
        say("never")

class NestedWaits(Node):
    def exec(self, _): Graph(Waits()).run({})

class Waits(Node):
    async def exec(self, _):
        say("begun")
        try: await asyncio.sleep(1000)
        finally: say("interrupted")

class Handles(Node):
    """What it makes of the interrupt is up to it."""
    def exec(self, _):
        try: blocks()
        except KeyboardInterrupt: return "handled"
    def post(self, shared, _, result): say(result)

class Next(Node):
    def prep(self, shared): say("next")

try:
    node = globals()[hook]()
    node >> Next()
    Graph(node).run({}, grace=float(grace))
except BaseException as error:
    say(f"{type(error).__name__} {error}, cause {error.__cause__!r}")
    raise
finally:
    mine = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    say("restored" if mine == [signal.default_int_handler, signal.SIG_DFL] else f"left {mine}")
'''
CANCELLED = "the work in flight was cancelled"
HOOKS = ["Exec", "AsyncExec", "Post", "Batch", "Parallel", "Nested", "NestedWaits"]
HANDED = {"Batch": ["handed [0, 1, 2, 3, 4]"], "Parallel": ["handed [0, 1, 2]"]}
COUNTS = {"Parallel": 3}  # in flight; of the others, 1


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., Script]]:
    """Begin the script, with a standard input on which nothing ever comes."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    with ExitStack() as stack:

        def begin(hook: str, grace: str, library: str = "core", kind: str = "sleep") -> Script:
            command = (sys.executable, path, kind, grace, library, hook)
            one = Script(stack.enter_context(child(*command, stdin=subprocess.PIPE)))
            one.until("begun")
            one.asleep()
            return one

        yield begin


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_holds_the_loop_is_interrupted_when_the_grace_is_over(
    script: Callable[..., Script], hook: str
) -> None:
    """It gets its KeyboardInterrupt, what was done is handed over, and a person was notified."""
    one = script(hook, "0.2")
    one.process.send_signal(signal.SIGINT)
    assert one.ended() == ""
    assert one.process.returncode == 130
    assert one.notices == [
        f"stopping: {COUNTS.get(hook, 1)} in flight, 0.2 s at most; once more to stop now\n"
    ]
    assert [line for line in one.lines if line.startswith("handed")] == HANDED.get(hook, [])
    assert "interrupted" in one.lines
    assert not {"next", "never"} & set(one.lines)
    assert one.lines[-2:] == [
        f"RunInterrupted ended by SIGINT; {CANCELLED}, cause None",
        "restored",
    ]


def test_a_hook_in_input_is_interrupted(script: Callable[..., Script]) -> None:
    """As one that sleeps; SIGTERM does the same, and has an exit code of its own."""
    one = script("Exec", "0.2", "core", "input")
    one.process.send_signal(signal.SIGTERM)
    assert one.ended() == ""
    assert one.process.returncode == 143
    assert "interrupted" in one.lines


@pytest.mark.parametrize("hook", HOOKS)
def test_the_second_signal_interrupts_the_hook_at_once(
    script: Callable[..., Script], hook: str
) -> None:
    """Its ``finally`` runs, and nothing is handed over."""
    one = script(hook, "1000")
    one.process.send_signal(signal.SIGINT)
    one.process.send_signal(signal.SIGTERM)  # two that are the same may come as one
    assert one.ended() == ""
    assert one.process.returncode in (130, 143)
    assert "interrupted" in one.lines
    assert not [line for line in one.lines if line.startswith("handed")]


def test_a_hook_that_handles_its_interrupt_ends_the_run_all_the_same(
    script: Callable[..., Script],
) -> None:
    """The grace is over: what it makes of the interrupt is not waited for."""
    one = script("Handles", "0.2")
    one.process.send_signal(signal.SIGINT)
    assert one.ended() == ""
    assert one.process.returncode == 130
    assert "interrupted" in one.lines
    assert "next" not in one.lines


# --- compat ---


@pytest.mark.parametrize("hook", ["Exec", "Post", "Batch", "Nested"])
def test_in_compat_ctrl_c_interrupts_the_hook_at_once(
    script: Callable[..., Script], hook: str
) -> None:
    """As in any synchronous program: with the first one, and with a traceback."""
    one = script(hook, "1000", "compat", "input")
    one.process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in one.ended()
    assert one.process.returncode == -signal.SIGINT
    assert one.notices == []
    assert one.lines[-3:] == ["interrupted", "KeyboardInterrupt , cause None", "restored"]


def test_in_compat_a_hook_may_handle_ctrl_c(script: Callable[..., Script]) -> None:
    """The flow goes on, as chat programs expect it."""
    one = script("Handles", "1000", "compat", "input")
    one.process.send_signal(signal.SIGINT)
    assert one.ended() == ""
    assert one.process.returncode == 0
    assert one.lines[-4:] == ["interrupted", "handled", "next", "restored"]


def test_in_compat_what_waits_on_the_loop_drains(script: Callable[..., Script]) -> None:
    """No hook holds the main thread then."""
    one = script("Waits", "0.2", "compat")
    one.process.send_signal(signal.SIGINT)
    assert one.ended() == ""
    assert one.process.returncode == 130
    assert len(one.notices) == 1
