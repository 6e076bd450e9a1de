"""Programs that tests run in processes of their own: none outlives its test, however that ends."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LONGEST_S = 100  # until a program counts as hanging; a test has 120 seconds


@contextmanager
def child(
    *command: str | Path, env: Mapping[str, str] | None = None, **settings: Any
) -> Iterator["subprocess.Popen[str]"]:
    """Start a program, and kill what is left of it and of its children when the block ends.

    It leads a session of its own, and can import kaygraph and the tests. Its output and its errors
    are pipes of text; its input is empty.

    Args:
        env: What is added to the environment.
        settings: As of ``subprocess.Popen``.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process: subprocess.Popen[str] = subprocess.Popen(
        command, env=environment, text=True, start_new_session=True, **(streams | settings)
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # none is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):  # it has not read all that was written to it
                    stream.close()


def ran(
    *command: str | Path,
    text: str | None = None,
    check: bool = False,
    timeout: float | None = LONGEST_S,
    **settings: Any,
) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end, with ``text`` as its input.

    Raises:
        AssertionError: ``check`` was asked for, and its exit code is not 0.
        TimeoutExpired: It has not ended after so many seconds.
    """
    if text is not None:
        settings["stdin"] = subprocess.PIPE
    with child(*command, **settings) as process:
        output, errors = process.communicate(text, timeout)
    assert not check or process.returncode == 0, errors
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def python(*arguments: str | Path, **settings: Any) -> "subprocess.CompletedProcess[str]":
    """Run Python to its end, as ``ran`` does."""
    return ran(sys.executable, *arguments, **settings)


def left_of(process: "subprocess.Popen[str]", seconds: float = 10.0) -> list[int]:
    """Return the processes of a child's session that do not end within so many seconds.

    One that was asked to end may be about to.
    """
    return [pid for pid in _session(process.pid) if not _ends(pid, seconds)]


def _session(leader: int) -> list[int]:
    """Return the processes of a session, without the dead ones of somebody who does not look."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its = (directory / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has just ended
            continue
        if int(its) == leader and state != "Z":
            found.append(int(directory.name))
    return found


def _ends(pid: int, seconds: float) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)
