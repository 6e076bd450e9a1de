"""Where ``exec`` can run besides the loop."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any

from ..aio.tasks import outlast, retrieve_exception
from ..aio.timeouts import within
from ..errors import RAISED_STOP
from ..run.frame import FRAME, Frame
from ..run.here import SENT_HERE
from ..run.joining import Begun
from ..run.place import CARRIED, HERE, SENT
from ..run.run import Run
from ..run.saying import RECEIVER, Receiver
from .stepping import Steps


def run_elsewhere(
    node: Any,
    item: Any,
    params: Mapping[str, Any],
    attempt: int,
    place: Mapping[str, Any],
    receive: Receiver | None = None,
    run: Callable[[Coroutine[Any, Any, Any]], Any] = asyncio.run,
) -> Any:
    """Run a node's ``exec`` where the run's context does not reach, with the facts of its call.

    ``receive`` is called with what it says; ``run`` runs what is written ``async def``.
    """
    context = copy_context()
    sent = dict(place)
    if (here := sent.pop(HERE, None)) is not None:
        context.run(SENT_HERE.set, (node, here))
    for attach in sent.pop(CARRIED, ()):
        context.run(attach)
    context.run(SENT.set, (node, sent))
    context.run(RECEIVER.set, receive)
    context.run(FRAME.set, Frame(Run(), params=params, attempt=attempt))
    if type(item) is Steps:
        return context.run(item.make, node)
    return context.run(run_to_end, node, item, run)


async def _listed(values: Any) -> list[Any]:
    return [value async for value in values]


def run_to_end(
    node: Any, item: Any, run: Callable[[Coroutine[Any, Any, Any]], Any] = asyncio.run
) -> Any:
    """Run a node's ``exec`` to its end in this thread, which has no running loop.

    An ``async def`` gets a loop of its own; what a generator yields comes back as a list.
    """
    try:
        result = node.exec(item)
    except StopIteration as error:  # no future can carry it
        raise RuntimeError(RAISED_STOP) from error
    match node.exec_kind:
        case "async":
            return run(result)
        case "generator":
            return list(result)
        case "async_generator":
            return run(_listed(result))
    return result


async def in_thread(threads: Any, work: Callable[..., Any], *args: Any) -> Any:
    """Call something in a thread of a run, in a copy of the context, and return what it returns.

    A call that has begun is waited for when cancelled; the runs that it has begun are cancelled.
    """
    begun = Begun()
    if not hasattr(threads, "begin"):  # in a simulation
        return await submitted(threads.submit(begun.context().run, work, *args), begun)
    call = threads.begin(begun.context().run, work, *args)
    try:
        await call.answered
    except asyncio.CancelledError:
        await threads.take_back(call, begun.cancel)
        raise
    return call.result()


async def in_time(
    answer: "asyncio.Future[Any]",
    begun: "asyncio.Future[None] | None",
    limit_s: float | None,
    node: Any,
) -> None:
    """Wait for an answer; a time limit holds from when ``exec`` has begun."""
    if limit_s is None or begun is None:
        await asyncio.wait([answer])
        return
    await asyncio.wait([answer, begun], return_when=asyncio.FIRST_COMPLETED)
    await within(limit_s, "timeout", f"exec of {node.name!r}", asyncio.wait([answer]))


async def submitted(future: "Future[Any]", begun: Begun | None = None) -> Any:
    """Wait for what an executor does; a call that has begun is waited for when cancelled.

    So that it ends, the runs that it has begun are cancelled as well.
    """
    waiting = asyncio.wrap_future(future)
    try:
        await asyncio.wait([waiting])
    except asyncio.CancelledError:
        waiting.add_done_callback(retrieve_exception)
        if not future.cancel():
            if begun is not None:
                begun.cancel()
            await outlast([waiting])
        raise
    try:
        retrieve_exception(waiting)
        return future.result()  # as it is: asyncio would make another error of some
    finally:
        del future, waiting  # they hold an error that holds this frame: no cycle may stay
