"""SIGINT and SIGTERM under run(): the first drains, the second ends the process at once."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.children import LONGEST_S, child, python
from tests.guarantees.figures import cases
from tests.run.interrupting import SCRIPT, Script

pytestmark = pytest.mark.proofs  # each test runs programs

SIGNALS = [signal.SIGINT, signal.SIGTERM]

# Sent at once, either of the two may come first.
EITHER = (130, 143)

# How long the process may still be there after the second signal, in seconds.
LAST_S = 1.0
TRIES = 5  # of which one is in time: a busy machine holds some processes up


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of the script."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture
def script(path: Path) -> Iterator[Callable[..., Script]]:
    """Begin the script in one of its shapes."""
    with ExitStack() as stack:
        yield lambda *args: Script(stack.enter_context(child(sys.executable, path, *args)))


# --- the first signal ---


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize(
    "shape", ["Async", "Thread", "Process", "Plain", "PlainBatch", "Endless", "Stream", "Rounds"]
)
def test_the_first_signal_drains_the_run(
    script: Callable[..., Script], shape: str, number: signal.Signals
) -> None:
    """What is done is handed over, nothing more begins, and the exit code names the signal."""
    one = script(shape)
    one.until("begun")
    one.process.send_signal(number)
    one.checked(number)
    assert ("closed" in one.lines) == (shape == "Endless")


@pytest.mark.parametrize("moment", ["booting", "begun"])
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_to_the_whole_group_leaves_the_workers_to_their_items(
    script: Callable[..., Script], number: signal.Signals, moment: str
) -> None:
    """A terminal sends Ctrl-C, and a supervisor SIGTERM, to worker processes as well.

    Also to one that is only just starting: its item was taken, and is in flight.
    """
    one = script("Process")
    one.until(moment)
    os.killpg(one.process.pid, number)
    one.checked(number)


def test_a_node_that_handles_its_own_failure_does_not_begin_again(
    script: Callable[..., Script],
) -> None:
    """The error that it would have handled is reported."""
    one = script("TriesAgain")
    one.until("begun")
    one.process.send_signal(signal.SIGINT)
    one.process.wait(20)
    assert "the run failed while it was drained" in (notices := one.ended())
    assert "ValueError: broken" in notices
    assert one.process.returncode == 130
    assert one.lines[-3:] == ["drained True", "cause ValueError('broken')", "end"]


@pytest.mark.parametrize("shape", ["LongFinally", "BusyProcess"])
def test_what_is_not_done_within_the_grace_is_cancelled(
    script: Callable[..., Script], shape: str
) -> None:
    """What was done until then is handed over."""
    one = script(shape, "0.2")
    one.until("begun")
    one.process.send_signal(signal.SIGTERM)
    assert one.ended() == ""
    assert one.process.returncode == 143
    assert one.numbers("handed") == ([0, 1, 2, 3] if shape == "LongFinally" else [])
    assert one.lines[-2:] == ["drained False", "end"]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("shape", ["SwallowsLate", "SwallowingStream"])
def test_what_swallows_its_cancellation_when_the_grace_is_over_ends_the_run(
    script: Callable[..., Script], shape: str, number: signal.Signals
) -> None:
    """What it has made of it is handed over, and it does not go on, also behind a full buffer."""
    one = script(shape, "0.2")
    one.until("begun")
    one.process.send_signal(number)
    assert one.ended() == ""
    assert one.process.returncode == 128 + number
    assert one.numbers("handed") == list(range(shape == "SwallowingStream", 9))
    assert sorted(one.numbers("done")) == one.numbers("handed")
    assert one.lines[-2:] == ["drained False", "end"]


# --- the second signal ---


@pytest.mark.parametrize(
    "shape",
    [
        "Async",
        "LongFinally",
        "SwallowsLate",
        "SwallowingStream",
        "BlockedThread",
        "BusyProcess",
        "Blocked",
        "BlockedLoop",
        "BusyAndBlocked",
    ],
)
def test_the_second_signal_ends_the_process_within_a_second(
    script: Callable[..., Script], shape: str
) -> None:
    """Whatever is in the way: a ``finally``, a thread, a process, a hook that blocks the loop."""

    def seconds() -> float:
        one = script(shape)
        one.until("begun")
        one.process.send_signal(signal.SIGINT)
        began = time.monotonic()
        one.process.send_signal(signal.SIGTERM)
        one.process.wait(LONGEST_S)
        took = time.monotonic() - began
        assert one.ended() == ""
        assert one.process.returncode in EITHER
        # On a busy machine the run may have drained before the second signal was sent.
        drained = any(line.startswith("handed") for line in one.lines)
        return LONGEST_S if drained else took

    assert any(seconds() <= LAST_S for _ in range(TRIES))


@pytest.mark.parametrize("times", [4, 10])
def test_two_signals_at_once_reach_a_main_thread_that_is_blocked(
    script: Callable[..., Script], times: int
) -> None:
    """The system may give both to other threads, and the main one notices neither by itself."""

    def twice(_: int) -> float:
        one = script("BlockedBesidePool")
        one.until("begun")
        one.asleep()
        began = time.monotonic()
        one.process.send_signal(signal.SIGINT)
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(LONGEST_S) in EITHER  # and not after the hook's 1,000 seconds
        return time.monotonic() - began

    with ThreadPoolExecutor(2) as threads:
        assert min(threads.map(twice, range(times))) <= LAST_S


def test_a_signal_that_is_read_while_the_run_ends_is_acted_on(
    script: Callable[..., Script],
) -> None:
    """The run waits for the thread that has read it, which leaves nothing behind."""
    one = script("ReadLate")
    assert one.ended() == ""
    assert (one.process.returncode, len(one.notices)) == (143, 1)
    assert one.lines == ["drained True", "end"]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_the_same_signal_twice_ends_the_process_within_a_second(
    script: Callable[..., Script], number: signal.Signals
) -> None:
    """Ctrl-C, and once more when that takes too long."""

    def seconds() -> float:
        one = script("BlockedEndless")
        one.until("waits")
        one.process.send_signal(number)
        one.until("closed")  # the first was taken note of
        began = time.monotonic()
        one.process.send_signal(number)
        one.process.wait(LONGEST_S)
        took = time.monotonic() - began
        assert one.ended() == ""
        assert one.process.returncode == 128 + number
        return took

    assert any(seconds() <= LAST_S for _ in range(TRIES))


def test_what_was_printed_is_not_lost_by_the_second_signal(path: Path) -> None:
    """Output that is buffered is written, though something is in the way."""
    done = python(path, "Prints", "", "items=1", "2", "15", env={"PYTHONUNBUFFERED": ""})
    assert done.returncode in EITHER
    assert "done 0\n" in done.stdout


# --- G13 ---

MIX = [
    "PlainBatch",
    "Async",
    "Thread",
    "Endless",
    "Stream",
    "Rounds",
    "Swallows",
    "Thread",
    "Stream",
    "Process",
]


def interrupted(script: Callable[..., Script], seed: int) -> None:
    """Run a shape that gets one signal or two after a number of items or steps."""
    chance = random.Random(seed)
    shape, number = chance.choice(MIX), chance.choice(SIGNALS)
    twice = chance.random() < 0.25
    numbers = [2, 15] if twice else [int(number)]
    number = signal.SIGINT if twice else number
    if shape in ("Process", "Endless") or chance.random() < 0.5:
        moment = f"steps={chance.randrange(400)}"
    else:
        moment = f"items={chance.randrange(60)}"
    one = script(shape, "", moment, *map(str, numbers))
    try:
        if not twice:
            one.checked(number)
            return
        err = one.ended()
        assert one.process.returncode in EITHER
        assert err == ""
        handed, done = one.numbers("handed"), one.numbers("done")
        assert len(set(handed)) == len(handed)
        assert set(handed) <= set(done)
    except AssertionError as error:
        error.add_note(f"seed {seed}: {shape} {moment} {numbers}, printed {one.lines}")
        raise


@pytest.mark.parametrize("seeds", cases(60, size=60, soak=500))
def test_signals_at_any_time_lose_nothing(script: Callable[..., Script], seeds: range) -> None:
    """The exit code is right, each item is handed over once, nothing is left."""
    with ThreadPoolExecutor(4) as threads:
        for ended in [threads.submit(interrupted, script, seed) for seed in seeds]:
            ended.result()
