"""What an exec may do to its worker process, and with processes of its own."""

import asyncio
import os
import select
import signal
from pathlib import Path
from typing import Any

import pytest

from kaygraph import AttemptTimeoutError, WorkerDiedError, WorkerStartError
from tests.executors.starting import Does, DoesEach

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.proofs,  # each test starts processes
]


async def done(name: str, *arguments: Any, **settings: Any) -> Any:
    shared: dict[str, Any] = {"item": (name, *arguments)}
    async with asyncio.timeout(90):
        await Does(**settings).run_async(shared)
    return shared["result"]


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("run_in_a_pool", 3),
        ("run_in_a_forked_pool", [3]),
        ("run_nested", 1),
        ("end_a_program", -signal.SIGTERM),
    ],
)
async def test_exec_may_start_processes_of_its_own(name: str, result: Any) -> None:
    """A pool, a fork, a run; and a program that ends on request."""
    assert await done(name) == result


@pytest.mark.parametrize(
    ("name", "result"),
    [("terminate", "went on"), ("close_stdin", "closed")],
)
async def test_exec_that_meddles_with_its_process_is_answered_once(name: str, result: Any) -> None:
    """A signal that is the run's to handle, a closed input."""
    assert await done(name) == result


async def test_copy_of_the_process_that_exec_makes_answers_nothing() -> None:
    """The calls after it get their own answers."""
    shared: dict[str, Any] = {"items": [("fork",), ("terminate",), ("close_stdin",)]}
    async with asyncio.timeout(90):
        await DoesEach().run_async(shared)
    assert shared["results"] == ["the process", "went on", "closed"]


@pytest.mark.parametrize(
    ("item", "said", "code"),
    [
        (("die", signal.SIGKILL), "was killed by SIGKILL, as .* when it runs out of memory", -9),
        (("die", signal.SIGUSR1), "was killed by SIGUSR1", -signal.SIGUSR1),
        (("crash",), r"crashed in native code \(SIGSEGV\)", -signal.SIGSEGV),
    ],
)
async def test_death_of_a_process_says_of_what(item: Any, said: str, code: int) -> None:
    """The signal, and the likely reason; of a guard that is missing it says nothing."""
    with pytest.raises(WorkerDiedError, match=rf"process \d+ {said}") as raised:
        await done(*item)
    assert raised.value.exit_code == code
    assert "while it worked on an item" in str(raised.value)
    assert "__main__" not in str(raised.value)
    assert not isinstance(raised.value, WorkerStartError)


@pytest.mark.parametrize("name", ["wait_for_a_program", "die_with_a_program"])
async def test_what_exec_has_started_ends_with_a_process_that_is_killed(
    name: str, tmp_path: Path
) -> None:
    """At its timeout, or by somebody else: no program is left that nobody waits for."""
    pids = tmp_path / "pid"
    with pytest.raises((AttemptTimeoutError, WorkerDiedError)):
        await done(name, str(pids), timeout=2)
    try:
        handle = os.pidfd_open(int(pids.read_text()))
    except ProcessLookupError:
        return
    assert select.select([handle], [], [], 20)[0]
    os.close(handle)


async def test_exit_in_a_process_is_that_of_the_run() -> None:
    """As in a thread or on the loop: ``sys.exit`` is no failure of an item."""

    async def leaves(place: Any) -> Any:
        with pytest.raises(SystemExit) as raised:
            await asyncio.to_thread(Does(run_in=place).run, {"item": ("leave", 4)})
        return raised.value.code

    assert [await leaves(place) for place in ("thread", "process")] == [4, 4]
