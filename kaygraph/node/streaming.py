"""Results as they come: a run in its own task, and a reader."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from .._public import load
from ..aio.buffer import Buffer
from ..aio.stopped import raise_failed_meanwhile
from ..aio.tasks import errors_of, is_cancelled, retrieve_exception, stop
from ..aio.tracebacks import trim
from ..events import Observer
from ..run.frame import Frame
from ..run.launch import Runnable, launched
from ..run.recorder import RunsRecorded
from ..run.run import Run
from ..run.watcher import Watcher
from .wiring import Wired

T = TypeVar("T")


class Pipeable:
    """What can be part of a chain of ``|``."""

    def __or__(self, other: Any) -> "Streaming[Any]":
        pipeline: Streaming[Any] = load("Pipeline")(self, other)
        return pipeline


class Streaming(Pipeable, Wired, Runnable, Generic[T]):
    """A node that can stream its results while it runs: every batch, and ``a | b``."""

    def stream(
        self,
        shared: Any = None,
        /,
        *,
        observers: Sequence[Observer] = (),
        deadline: float | None = None,
        detached: bool = False,
        journal: RunsRecorded | None = None,
        watch: Watcher | int = False,
    ) -> AsyncGenerator[T, None]:
        """Run on the current event loop and yield the results as they come.

        A batch yields an Outcome per item, as the items finish; its ``post`` is not called. A
        failure is an outcome too, unless ``on_error`` is ``"raise"``. A pipeline yields what its
        last stage returns; the stages' ``post`` is called at the end of the stream, the pipeline's
        own is not.

        A slow reader slows the work down: at most ``max_workers`` outcomes of a batch plus one per
        worker (and per item that has waited), or ``buffer`` results of a pipeline, wait for it. An
        error that fails the run ends the stream and is raised from it, after the results before it.
        Leaving early cancels the run (at once when the stream is closed, as
        ``contextlib.aclosing`` does).

        Args:
            shared: The shared store; a new dict when left out.
            observers: Called with every event of the run.
            deadline: Seconds that the run may take, the reader's time included.
            detached: If a hook of another run calls it: whether to run independently of that run.
            journal: As for ``run``; so is ``watch``.

        Raises:
            DeadlineExceededError: From the stream, when ``deadline`` expired.
        """
        sink = Buffer[T](self._stream_buffer())

        def work(shared: Any, frame: Frame) -> Coroutine[Any, Any, Any]:
            return self._stream_into(sink, shared, frame)

        asked = self._asked(work, shared, observers, deadline, Run(), detached, journal, watch)
        return _results(sink, partial(launched, *asked))

    def _stream_buffer(self) -> int:
        """Return how many results may wait for the reader of a stream."""
        raise NotImplementedError

    async def _stream_into(self, sink: Buffer[T], shared: Any, frame: Frame) -> None:
        """Run, and put the results into a buffer as they come."""
        raise NotImplementedError


async def _results(
    sink: Buffer[T], launch: Callable[[], Coroutine[Any, Any, Any]]
) -> AsyncGenerator[T, None]:
    """Yield the results from a run's buffer; raise what it raised.

    The run has its own task, which has ended when the generator has.
    """
    task = asyncio.get_running_loop().create_task(_producing(sink, launch))
    task.add_done_callback(retrieve_exception)
    try:
        while await sink.filled():
            yield sink.take()
        await task
    except (GeneratorExit, asyncio.CancelledError):  # left early
        try:
            await stop([task])
        finally:
            for error in errors_of([task]):  # nothing else reports what failed in the meantime
                if not is_cancelled():
                    raise error from None
                # The reader's cancellation goes on, and must not be replaced.
                message = "a stream failed after its reader was cancelled"
                context = {"message": message, "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
        raise
    except BaseException as error:
        trim(error)
        raise
    finally:
        await stop([task])
        del task  # it holds an error that holds this frame: avoid a reference cycle


async def _producing(sink: Buffer[T], launch: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Run to the end, and close the buffer.

    What failed while it was cancelled is raised: one error as itself, several as a group.
    """
    try:
        await launch()
    except asyncio.CancelledError as error:
        raise_failed_meanwhile(error, alone=True)
        raise
    finally:
        sink.close()
