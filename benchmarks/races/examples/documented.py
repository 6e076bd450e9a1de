"""What an example is: a small program that uses a package as its documentation says.

Each is written for this survey. It uses the package from several tasks, mostly with a caller that
is cancelled in the middle, and asserts in the end what the documentation promises. The package is
passed to the program as an argument, so that nothing need be installed to read or check this code.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

MS = 0.001

Play = Callable[[Any], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Example:
    """A program, and the release whose promise it tests.

    Attributes:
        name: The name of the function.
        package: As on PyPI.
        module: What is imported and passed to the program.
        promise: What the documentation says, in one sentence.
        play: The program; it raises an error if the promise is broken.
    """

    name: str
    package: str
    module: str
    promise: str
    play: Play


EXAMPLES: list[Example] = []


def example(package: str, module: str = "") -> Callable[[Play], Play]:
    """Add a program: a coroutine function that takes the module of a package."""

    def add(play: Play) -> Play:
        name, promise = play.__name__, (play.__doc__ or "").strip()
        EXAMPLES.append(Example(name, package, module or package, promise, play))
        return play

    return add


class Source:
    """A slow service. The answer says how many times the key has been asked for."""

    def __init__(self, seconds: float = 10 * MS) -> None:
        self.calls: Counter[Any] = Counter()
        self._seconds = seconds

    async def __call__(self, key: Any = "key") -> str:
        self.calls[key] += 1
        answer = f"{key}, call {self.calls[key]}"
        await asyncio.sleep(self._seconds)
        return answer


class Inside:
    """Counts the tasks that are in a block at once; a sleep is in the block."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.times: list[float] = []

    async def visit(self, seconds: float = 5 * MS) -> None:
        self.times.append(asyncio.get_running_loop().time())
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.now -= 1


async def cancelled(task: "asyncio.Task[Any]", seconds: float = 0.0) -> None:
    """Cancel a task some time later, and wait until it has ended, whatever came of it."""
    await asyncio.sleep(seconds)
    task.cancel()
    with suppress(Exception, asyncio.CancelledError):
        await task


async def ends(work: Iterable[Coroutine[Any, Any, Any]], seconds: float = 1.0) -> list[Any]:
    """Return the results of several tasks; an error if they take longer than that."""
    async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
    return [task.result() for task in tasks]


def most_within(times: list[float], seconds: float) -> int:
    """Return how many of these times lie within one period of this length, at most."""
    return max(sum(start <= time < start + seconds for time in times) for start in times)
