"""Examples of events and signals: aiosignal and pyee."""

import asyncio
from typing import Any

from benchmarks.races.examples.documented import MS, cancelled, ends, example


@example("aiosignal")
async def receivers_are_called_in_order(aiosignal: Any) -> None:
    """send() calls every receiver, one after the other, also when two tasks send."""
    signal, seen = aiosignal.Signal(None), list[tuple[str, int]]()

    async def first(number: int) -> None:
        await asyncio.sleep(2 * MS)
        seen.append(("first", number))

    async def second(number: int) -> None:
        seen.append(("second", number))

    signal.extend([first, second])
    signal.freeze()
    await ends(signal.send(number) for number in range(3))
    for number in range(3):
        assert [name for name, sent in seen if sent == number] == ["first", "second"]


@example("aiosignal")
async def a_sender_is_cancelled(aiosignal: Any) -> None:
    """A send() that is cancelled calls no further receiver; another one goes on."""
    signal, seen = aiosignal.Signal(None), list[str]()

    async def slow(name: str) -> None:
        await asyncio.sleep(4 * MS)

    async def last(name: str) -> None:
        seen.append(name)

    signal.extend([slow, last])
    signal.freeze()
    first, second = (asyncio.create_task(signal.send(name)) for name in ("first", "second"))
    await cancelled(first, 2 * MS)
    await second
    assert seen == ["second"]


@example("pyee", "pyee.asyncio")
async def handlers_are_waited_for(pyee: Any) -> None:
    """wait_for_complete(): the handlers have completed, and ``complete`` is true."""
    events, seen = pyee.AsyncIOEventEmitter(), list[int]()

    @events.on("data")
    async def handle(number: int) -> None:
        await asyncio.sleep(number * MS)
        seen.append(number)

    for number in range(4):
        events.emit("data", number)
    await events.wait_for_complete()
    assert sorted(seen) == [0, 1, 2, 3]
    assert events.complete


@example("pyee", "pyee.asyncio")
async def handlers_that_emit(pyee: Any) -> None:
    """wait_for_complete() ensures that all coroutines have completed, for a graceful shutdown."""
    events, seen = pyee.AsyncIOEventEmitter(), list[str]()

    @events.on("order")
    async def take() -> None:
        await asyncio.sleep(2 * MS)
        events.emit("invoice")

    @events.on("invoice")
    async def write() -> None:
        await asyncio.sleep(2 * MS)
        seen.append("invoice")

    events.emit("order")
    await events.wait_for_complete()
    complete = events.complete
    await asyncio.sleep(10 * MS)
    assert complete, "wait_for_complete() has returned, and a handler is running"


@example("pyee", "pyee.asyncio")
async def once_is_once(pyee: Any) -> None:
    """A handler of once() is called once, however many tasks emit."""
    events, seen = pyee.AsyncIOEventEmitter(), list[int]()

    @events.once("ready")
    async def handle(number: int) -> None:
        await asyncio.sleep(MS)
        seen.append(number)

    async def emit(number: int) -> None:
        await asyncio.sleep(MS)
        events.emit("ready", number)

    await ends(emit(number) for number in range(3))
    await events.wait_for_complete()
    assert len(seen) == 1


@example("pyee", "pyee.asyncio")
async def handlers_are_cancelled(pyee: Any) -> None:
    """cancel() cancels the handlers that are pending, and no other."""
    events, seen = pyee.AsyncIOEventEmitter(), list[str]()

    @events.on("data")
    async def handle(name: str) -> None:
        await asyncio.sleep(4 * MS)
        seen.append(name)

    events.emit("data", "first")
    await asyncio.sleep(MS)
    events.cancel()
    events.emit("data", "second")
    await events.wait_for_complete()
    assert seen == ["second"]
