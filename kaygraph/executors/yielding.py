"""What a generator ``exec`` yields, taken up one by one, also from a thread."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any

from ..aio.outlet import ItemOutlet, hand_on, hand_on_all
from ..aio.tasks import outlast
from .elsewhere import run_to_end, submitted
from .meter import Meter

Measured = Callable[..., Any]  # calls its first argument with the others

END: Any = object()

CHUNK = 256  # how many values a generator in a thread may be ahead of the loop
PAUSE_S = 0.001  # how long values that follow each other fast may wait to be taken up together


async def taken_up(values: Any, outlet: ItemOutlet[Any] | None) -> list[Any] | None:
    """Put what a generator yields into the outlet, or return it as a list if there is none."""
    if outlet is None:
        if isinstance(values, AsyncIterable):
            return [value async for value in values]
        return list(values)
    if isinstance(values, AsyncIterable):
        await hand_on(aiter(values), outlet)
    else:
        await hand_on_all(values, outlet)
    return None


async def substitutes(node: Any, given: Any, outlet: ItemOutlet[Any] | None) -> list[Any] | None:
    """Take up what ``exec_fallback`` gives in the place of what ``exec`` would have yielded.

    Raises:
        TypeError: It is no iterable of values.
    """
    several = isinstance(given, Iterable | AsyncIterable)
    if not several or isinstance(given, str | bytes | bytearray | Mapping):
        raise TypeError(
            f"exec of {node.name!r} yields, and its exec_fallback gave a {type(given).__name__}: "
            "yield the values there too, or return a list of them"
        )
    return await taken_up(given, outlet)


async def threaded(
    node: Any, item: Any, threads: ThreadPoolExecutor, outlet: ItemOutlet[Any], meter: Meter | None
) -> None:
    """Run a generator ``exec`` in one thread, from its first step to its close."""
    measured: Measured = meter.measured if meter else _call
    if not hasattr(asyncio.get_running_loop(), "threads"):
        await _InThread(node, item, measured).run(threads, outlet)
    elif node.exec_kind == "generator":  # in a simulation a call runs at once, and may not wait
        await _stepped(node, item, threads, outlet, measured)
    else:
        work = partial(measured, run_to_end, node, item)
        await hand_on_all(await submitted(threads.submit(copy_context().run, work)), outlet)


def _call(work: Callable[..., Any], *args: Any) -> Any:
    return work(*args)


async def _stepped(
    node: Any, item: Any, threads: ThreadPoolExecutor, outlet: ItemOutlet[Any], measured: Measured
) -> None:
    """Take every step of a generator by a call of its own."""
    context = copy_context()
    values = node.exec(item)
    try:
        while True:
            step = threads.submit(context.run, partial(measured, next, values, END))
            if (value := await submitted(step)) is END:
                return
            if not outlet.put(value):
                await outlet.ready()
    finally:
        await submitted(threads.submit(context.run, values.close))


class _InThread:
    """A generator in a thread, which makes as many steps as there is room for values.

    The loop grants steps and the thread makes them. A value that comes after a pause wakes the
    loop at once. Those that follow within ``PAUSE_S`` are taken up together, and at the latest when
    all the steps that were granted are made.
    """

    def __init__(self, node: Any, item: Any, measured: Measured) -> None:
        self.node, self.item, self._measured = node, item, measured
        self._values: deque[Any] = deque()
        self._grants: SimpleQueue[int] = SimpleQueue()
        self._stopped = False
        self._told = False  # the loop looks by itself
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Future[None] | None = None

    async def run(self, threads: ThreadPoolExecutor, outlet: ItemOutlet[Any]) -> None:
        """Put the values into the outlet as they come."""
        work = self._steps_of_async if self.node.exec_kind == "async_generator" else self._steps
        call = threads.submit(copy_context().run, self._measured, work)
        ended = asyncio.wrap_future(call)
        ended.add_done_callback(self._wake)
        try:
            while not ended.done():
                granted = min(outlet.free, CHUNK)
                self._grants.put(granted)
                while granted > 0 and not ended.done():
                    await self._woken()
                    granted -= self._take_up(outlet)
                await outlet.ready(granted == 0)
        except BaseException:
            self._stopped = True
            self._grants.put(0)
            if call.cancel():
                raise
            await outlast([ended])
            ended.result()  # what the generator has made of it
            raise
        finally:
            self._take_up(outlet)
            if self._timer is not None:
                self._timer.cancel()
        ended.result()

    # --- on the loop ----------------------------------------------------------------------------

    async def _woken(self) -> None:
        """Wait for values, or for the end."""
        self._looking = self._loop.create_future()
        if not self._values:
            await self._looking
        self._looking = None

    def _wake(self, _: Any = None) -> None:
        if self._looking is not None and not self._looking.done():
            self._looking.set_result(None)

    def _take_up(self, outlet: ItemOutlet[Any]) -> int:
        """Put what is there into the outlet; return how many that were."""
        number = 0
        while self._values:
            outlet.put(self._values.popleft())
            number += 1
        if self._timer is None:
            self._timer = self._loop.call_later(PAUSE_S, self._listen)
        return number

    def _listen(self) -> None:
        """Be told of the next value at once."""
        self._timer, self._told = None, False
        if self._values:
            self._wake()

    # --- in the thread --------------------------------------------------------------------------

    def _yielded(self, value: Any, last: bool) -> None:
        self._values.append(value)
        if last or not self._told:
            self._told = True
            self._loop.call_soon_threadsafe(self._wake)

    def _steps(self) -> None:
        values = self.node.exec(self.item)
        try:
            while steps := self._grants.get():
                for left in range(steps - 1, -1, -1):
                    value = next(values, END)
                    if value is END:
                        return
                    self._yielded(value, not left)
                    if self._stopped:
                        return
        finally:
            values.close()

    def _steps_of_async(self) -> None:
        asyncio.run(self._awaited_steps())

    async def _awaited_steps(self) -> None:
        values = self.node.exec(self.item)
        try:
            steps = self._grants.get()
            while steps:
                value = await anext(values, END)
                if value is END:
                    return
                steps -= 1
                self._yielded(value, not steps)
                steps = 0 if self._stopped else steps or self._grants.get()
        finally:
            await values.aclose()
