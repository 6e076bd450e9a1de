"""The steps of a generator ``exec`` in a thread, made as they are granted; also in a process."""

import asyncio
from contextvars import copy_context
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, NamedTuple

END: Any = object()

CHUNK = 256  # how many values a generator in a thread or a process may be ahead of the loop
PAUSE_S = 0.001  # how long values that follow each other fast may wait to be taken up together


class Stepping:
    """Makes the steps of a generator in one thread, as many as there is room for values."""

    def __init__(self, node: Any, item: Any) -> None:
        self.node, self.item = node, item
        self._grants: SimpleQueue[int] = SimpleQueue()
        self._stopped = False

    def grant(self, steps: int) -> None:
        """Allow so many more steps."""
        self._grants.put(steps)

    def stop(self) -> None:
        """Make no step after the current one, and close the generator."""
        self._stopped = True
        self._grants.put(0)

    def run(self) -> None:
        """Make the steps, in the thread that calls this."""
        if self.node.exec_kind == "async_generator":
            asyncio.run(self._awaited())
            return
        values = self.node.exec(self.item)
        try:
            while steps := self._grants.get():
                for left in range(steps - 1, -1, -1):
                    value = next(values, END)
                    if value is END:
                        return
                    self.yielded(value, not left)
                    if self._stopped:
                        return
        finally:
            values.close()

    async def _awaited(self) -> None:
        values = self.node.exec(self.item)
        try:
            steps = self._grants.get()
            while steps:
                value = await anext(values, END)
                if value is END:
                    return
                steps -= 1
                self.yielded(value, not steps)
                steps = 0 if self._stopped else steps or self._grants.get()
        finally:
            await values.aclose()

    def yielded(self, value: Any, last: bool) -> None:
        """Called with each value, in the thread; ``last``: it waits for another grant."""
        raise NotImplementedError


class Made(NamedTuple):
    """What comes back: values, whether they were the last, and the seconds that they took."""

    values: list[Any]
    ended: bool
    seconds: float


class Steps:
    """What is sent to a process in the place of an item: how many values to make next.

    Args:
        number: How many values there is room for.
        item: The item, with the first steps; left out with those that follow.
    """

    def __init__(self, number: int, *item: Any) -> None:
        self.number, self.item = number, item

    def make(self, node: Any) -> Made:
        """Return the next values; in the process, which has one item at a time."""
        began = monotonic()
        if self.item:
            for other in _RUNNING:  # one whose values could not be sent
                other.stop()
            _RUNNING[:] = [_InProcess(node, self.item[0])]
        values, ended = _RUNNING[0].made(self.number)
        return Made(values, ended, monotonic() - began)


def goes_on(item: Any) -> bool:
    """Whether what is sent to a process goes on with an item that it has."""
    return type(item) is Steps and not item.item


class _InProcess(Stepping):
    """A generator in a process, whose thread lives on between the calls that ask for values."""

    def __init__(self, node: Any, item: Any) -> None:
        super().__init__(node, item)
        self._made: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._granted = 0
        self._failure: BaseException | None = None
        context = copy_context()  # in which the node gets its facts
        self._thread = Thread(target=context.run, args=(self._to_end,), daemon=True)
        self._thread.start()

    def _to_end(self) -> None:
        failure: BaseException | None = None
        try:
            self.run()
        except BaseException as error:
            failure = error
        self._made.put((END, failure))

    def yielded(self, value: Any, last: bool) -> None:
        self._made.put((value, None))

    def made(self, number: int) -> tuple[list[Any], bool]:
        """Return values as soon as there are some, with those that follow at once."""
        if self._failure is not None:
            raise self._failure
        if number > self._granted:
            self.grant(number - self._granted)
            self._granted = number
        values: list[Any] = []
        until = 0.0
        while len(values) < number:
            timeout = max(0.0, until - monotonic()) if values else None
            try:
                value, failure = self._made.get(timeout=timeout)
            except Empty:
                break
            if value is END:
                self._thread.join()
                if failure is None:
                    return values, True
                self._failure = failure
                if values:
                    break  # they go on before it is raised
                raise failure
            until = until or monotonic() + PAUSE_S
            values.append(value)
        self._granted -= len(values)
        return values, False


_RUNNING: list[_InProcess] = []
