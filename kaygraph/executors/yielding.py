"""What a generator ``exec`` yields, taken up one by one, also from a thread."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

from ..aio.outlet import ItemOutlet, hand_on, hand_on_all
from ..aio.tasks import outlast, retrieve_exception
from ..errors import AttemptTimeoutError
from ..run.joining import Begun
from .elsewhere import run_to_end, submitted
from .meter import Meter
from .stepping import CHUNK, END, PAUSE_S, Made, Stepping, Steps

Measured = Callable[..., Any]  # calls its first argument with the others


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
        await _InThread(node, item).hand_on(threads, outlet, measured)
    elif node.exec_kind == "generator":  # in a simulation a call runs at once, and may not wait
        await _stepped(node, item, threads, outlet, measured)
    else:
        work = partial(measured, run_to_end, node, item)
        begun = Begun()
        call = threads.submit(begun.context().run, work)
        await hand_on_all(await submitted(call, begun), outlet)


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


class _InThread(Stepping):
    """A generator in a thread of this process.

    The loop grants steps and the thread makes them. A value that comes after a pause wakes the
    loop at once. Those that follow within ``PAUSE_S`` are taken up together, and at the latest when
    all the steps that were granted are made.
    """

    def __init__(self, node: Any, item: Any) -> None:
        super().__init__(node, item)
        self._values: deque[Any] = deque()
        self._notified = False  # the loop looks by itself
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Future[None] | None = None

    async def hand_on(
        self, threads: ThreadPoolExecutor, outlet: ItemOutlet[Any], measured: Measured
    ) -> None:
        """Put the values into the outlet as they come."""
        begun = Begun()
        call = threads.submit(begun.context().run, measured, self.run)
        ended = asyncio.wrap_future(call)
        ended.add_done_callback(self._wake)
        try:
            while not ended.done():
                granted = min(outlet.free, CHUNK)
                self.grant(granted)
                while granted > 0 and not ended.done():
                    await self._woken()
                    granted -= self._take_up(outlet)
                if not ended.done():
                    await outlet.ready(granted == 0)
        except BaseException:
            self.stop()
            if call.cancel():
                raise
            begun.cancel()
            await outlast([ended])
            retrieve_exception(ended)
            call.result()  # what the generator has made of it
            raise
        finally:
            self._take_up(outlet)
            if self._timer is not None:
                self._timer.cancel()
        retrieve_exception(ended)
        call.result()  # as it is: asyncio would make another error of some

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
        """Be notified of the next value at once."""
        self._timer, self._notified = None, False
        if self._values:
            self._wake()

    def yielded(self, value: Any, last: bool) -> None:
        self._values.append(value)
        if last or not self._notified:
            self._notified = True
            self._loop.call_soon_threadsafe(self._wake)


async def hand_on_from_process(
    node: Any,
    item: Any,
    outlet: ItemOutlet[Any],
    limit_s: float | None,
    call: Callable[[Steps, float | None], Awaitable[Made]],
) -> None:
    """Put what a generator in a process yields into the outlet; each call asks for some of it."""
    steps = Steps(min(outlet.free, CHUNK), item)
    took = 0.0
    while True:
        try:
            made = await call(steps, None if limit_s is None else max(0.0, limit_s - took))
        except AttemptTimeoutError as error:
            what = f"exec of {node.name!r} ran longer than timeout={limit_s:g} s"
            raise AttemptTimeoutError(what) from error.__cause__
        took += made.seconds
        for value in made.values:
            outlet.put(value)
        if made.ended:
            return
        await outlet.ready(len(made.values) == steps.number)
        steps = Steps(min(outlet.free, CHUNK))
