"""A recorded run, from opening its journal to its end."""

import asyncio
import os
import sys
import warnings
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from operator import itemgetter
from secrets import token_hex
from time import gmtime, strftime
from typing import Any, TypeVar

from .._addresses import shown
from ..aio.tasks import outlast
from ..errors import (
    JournalCorruptError,
    JournalError,
    JournalLockedError,
    JournalUnavailableError,
    RunExistsError,
    RunTakenOverError,
)
from ..graph.graph import Graph
from ..run.frame import Frame
from ..run.run import Run
from .encoding import Encoding
from .log import ALIVE, REDONE, SNAPSHOT, Entry, Log, log_of, packed
from .position import POSITION, Position
from .retention import Keep, prune
from .session import Session
from .settings import Settings
from .store import Answer, RunInfo, Store, plain
from .waiting import WaitNotice
from .writer import Writer

T = TypeVar("T")

_kind = itemgetter(0)

# After these errors nothing more is written: it would fail, or have to wait.
LEFT_ALONE = (
    JournalCorruptError,
    JournalLockedError,
    JournalUnavailableError,
    RunTakenOverError,
)

Address = str | os.PathLike[str]


def new_id(address: Address) -> str:
    """Return an id for a run without one, and print it on standard error."""
    run = f"{strftime('%Y%m%d-%H%M%S', gmtime())}-{token_hex(2)}"
    print(
        f"kaygraph: this is run {run!r} of the journal {shown(address)}; to resume it, pass "
        f"Journal(..., run={run!r})",
        file=sys.stderr,
    )
    return run


class Owned:
    """A run of a store, owned by this process; its methods are called in one thread.

    Attributes:
        run: Its id.
        store: Where it is recorded, once that is open.
        epoch: The epoch of this owner.
        seed: The seed of the run.
    """

    def __init__(
        self, open_it: Callable[[], Store], run: str, graph: str, keep: Keep | None = None
    ) -> None:
        self._open, self.run, self._graph, self._keep = open_it, run, plain(graph), keep
        self.store: Store | None = None
        self.epoch, self.seed = 0, b""
        self._failed: Exception | None = None
        self._append_at_once: Callable[[str, int, bytes], int | None] | None = None
        self.replayed = self.called = 0
        self._listener: ThreadPoolExecutor | None = None

    def open(self) -> tuple[RunInfo, Log]:
        """Become the owner of the run; return what is recorded about it."""
        store = self.store = self._open()
        self._append_at_once = getattr(store, "append_at_once", None)
        known = store.find(self.run)
        if known is not None:
            self._check(known)  # before the current owner loses it
        info = store.claim(self.run, self._graph)
        self._check(info)
        self.epoch, self.seed = info.epoch, info.seed
        return info, log_of(store.rows(self.run))

    def _check(self, info: RunInfo) -> None:
        if info.graph != self._graph:
            raise RunExistsError(
                f"run {self.run!r} belongs to {info.graph!r}, and this is {self._graph!r}: type "
                "another id, or restore the name of the graph"
            )

    def commit(self, entries: list[Entry]) -> None:
        """Write entries in one transaction; nothing is written after a failed write."""
        assert self.store is not None
        if self._failed is not None:
            raise self._failed
        try:
            if entries:
                number = self.store.append(self.run, self.epoch, packed(entries))
                if SNAPSHOT in map(_kind, entries):
                    self.store.forget(self.run, number)
        except Exception as error:
            self._failed = error
            raise

    def commit_at_once(self, entries: list[Entry]) -> bool:
        """Do the same if that needs no waiting; return whether it was done."""
        append = self._append_at_once
        if append is None or SNAPSHOT in map(_kind, entries):
            return False
        if self._failed is not None:
            raise self._failed
        try:
            return append(self.run, self.epoch, packed(entries)) is not None
        except Exception as error:
            self._failed = error
            raise

    def end(self, entries: list[Entry], status: str, action: str | None, error: str | None) -> None:
        """Write what is pending, and how the run has ended."""
        self.commit([*entries, [ALIVE, False]])
        assert self.store is not None
        self.store.finish(self.run, self.epoch, status, action, error)
        if status == "done" and self._keep is not None:
            try:
                prune(self.store, self._keep)
            except JournalError as failure:  # the run is done nevertheless
                warnings.warn(f"the journal was not pruned: {failure}", stacklevel=1)

    def failed(self, error: JournalError) -> None:
        """Write that the run failed with an error of the journal, as far as possible.

        If others have the run or the file, or it is damaged, it is left unchanged.
        """
        if self.store is not None and not isinstance(error, LEFT_ALONE):
            with suppress(JournalError):
                self.store.finish(self.run, self.epoch, "failed", None, text_of_error(error))

    def answers(self) -> list[Answer]:
        """Return the answers from other processes."""
        assert self.store is not None
        return self.store.answers(self.run)

    @property
    def notified(self) -> Callable[[int, float], Coroutine[Any, Any, object]] | None:
        """The store's notification of answers, if it has one; called in its own thread."""
        wait_for_answer = getattr(self.store, "wait_for_answer", None)
        if wait_for_answer is None:
            return None
        threads = self._listener = ThreadPoolExecutor(1, "kaygraph-answers")

        async def notified(known: int, seconds: float) -> None:
            call = threads.submit(wait_for_answer, self.run, known, seconds)
            await asyncio.wrap_future(call)

        return notified

    def close(self) -> None:
        if self._listener is not None:
            self._listener.shutdown()
        if self.store is not None:
            self.store.close()


async def run_recorded(
    owned: Owned,
    settings: Settings,
    encoding: Encoding,
    node: Any,
    run: Run,
    work: Callable[[float], Coroutine[Any, Any, T]],
    notice: WaitNotice,
) -> T:
    """Run what is not recorded, replay what is, and record how the run ended."""
    session: Session | None = None

    def failed(error: Exception) -> None:
        assert session is not None  # only its opening has no session
        session.fatal(error if isinstance(error, JournalError) else JournalError(str(error)))

    writer = Writer(owned.commit, failed, owned.commit_at_once)
    try:
        info, log = await writer.call(owned.open)
        if info.status == "done" and not settings.changes:
            return info.action  # type: ignore[return-value]
        if settings.redo_failed:
            log.forget_failures()
        writer.add([ALIVE, True])
        if log.forget_items(settings.redo):  # no later process may mix old results with new ones
            writer.add([REDONE, list(settings.redo)])
        log.forget(settings.redo)
        asked = info, owned.answers, owned.notified, notice
        session = Session(log, settings, encoding, run, writer, *asked)
        session.owner = owned
        return await _run(session, writer, owned, node, run, partial(work, log.elapsed_s))
    finally:
        if session is not None:
            owned.replayed, owned.called = session.replayed, session.called
        try:
            await _outlasted(writer.call(owned.close))
        finally:
            writer.close()
        writer.join()


async def _run(
    session: Session,
    writer: Writer,
    owned: Owned,
    node: Any,
    run: Run,
    work: Callable[[], Coroutine[Any, Any, T]],
) -> T:
    run.journal = session
    if isinstance(run.entry, Frame):  # inside another run, whose nodes enclose it
        around = run.entry.scope.path if run.entry.scope is not None else ""
        session.prefix = f"{around}{node.name}/" if isinstance(node, Graph) else around
    root = session.root = Position()
    if not isinstance(node, Graph):
        root = root.visit(node.name)
        session.motion.begin(root)
    token = POSITION.set(root)
    session.turns.begun(root.path)
    try:
        action = await work()
        session.check_end()
    except BaseException as error:
        status = "failed" if isinstance(error, Exception) else "interrupted"
        session.closed = True
        if session.leaves and session.error is None:
            await _taken_back(run)
            if isinstance(error, asyncio.CancelledError) and not session.is_cancelled:
                status = "interrupted" if session.left is None else "waits"
                await _outlasted(writer.call(owned.end, writer.take_rest(), status, None, None))
                return session.left  # type: ignore[return-value]
        if session.error is None:
            rest, text = writer.take_rest(), text_of_error(error)
            await _outlasted(writer.call(owned.end, rest, status, None, text))
            raise
        await _taken_back(run)
        await _outlasted(writer.call(owned.failed, session.error))
        raise session.error from error.__cause__
    else:
        session.closed = True
        if session.leaves:  # a hook swallowed the cancellation and continued
            await _taken_back(run)
        status = "interrupted" if run.draining else "done"
        ended = action if isinstance(action, str) else None
        await _outlasted(writer.call(owned.end, writer.take_rest(), status, ended, None))
        if session.error is not None:
            await _outlasted(writer.call(owned.failed, session.error))
            raise session.error
        if status == "done" and (unknown := session.settings.unknown(session.log.names)):
            warnings.warn(unknown, stacklevel=1)
        return action
    finally:
        POSITION.reset(token)
        run.journal = None  # it references the run, which would be a cycle
        await session.close()


def text_of_error(error: BaseException) -> str:
    """Return the journal's version of the error that ended a run."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")


async def _outlasted(call: Coroutine[Any, Any, None]) -> None:
    """Wait for a call of the store, however often the caller is cancelled."""
    called = asyncio.get_running_loop().create_task(call)
    try:
        await outlast([called])
    finally:
        if called.done():
            called.result()


async def _taken_back(run: Run) -> None:
    """Take back the cancellation by which the journal ended the run."""
    if run.task is None or not run.task.cancelling():
        return
    run.task.uncancel()
    try:
        await asyncio.sleep(0)  # a cancellation that the task requested itself is still to come
    except asyncio.CancelledError:
        if run.task.cancelling():
            raise
