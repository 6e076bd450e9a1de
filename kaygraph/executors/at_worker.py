"""What a worker of a cluster runs: the items of a chunk, and what it is asked about them.

These functions are sent by their names. All that is known here is of this process: a node stays
until others have taken its place, and a chunk as long as it runs.
"""

import asyncio
import os
import pickle
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from ..run.saying import Receiver
from .cluster import Leaves
from .elsewhere import run_elsewhere
from .pickling import dumps, loads, noting
from .references import LeftBehind, arrived
from .sending import NODES_KEPT, Answer, failed, given_unpickled
from .speech import said_pickled
from .spool import FAILED, LEFT, RESULT, Record, Spool, records_in

T = TypeVar("T")

STOPS_KEPT = 1000  # requests to stop a chunk that has not begun
LOOK_S = 0.005  # how often it is looked whether an item has ended that is to


class Greeting(NamedTuple):
    """What a process says of itself when it gets a node.

    Attributes:
        token: Identifies it, also among workers that had its address before.
        pid: Its number.
        folder: Where it keeps what the items of its chunks have come to.
        failure: Why it cannot work on the node, or None.
    """

    token: str
    pid: int
    folder: str | None
    failure: Answer | None


@dataclass(frozen=True, slots=True)
class Order:
    """A chunk as it is sent to a worker.

    Attributes:
        token: Of the process that it is for.
        chunk: Its name.
        digest: Of the node.
        given: Each item and the facts of its call, pickled.
        share_s: After so many seconds, items that have not begun are left.
        folder: Where to keep what the items come to.
        collected: Chunks that need not be kept any longer.
        is_received: Whether the run receives what ``exec`` says.
        session: Of the run that it is of.
        leaves: Keeps what the items leave here.
        needs: The names of the bundles that they refer to.
    """

    token: str
    chunk: str
    digest: str
    given: Sequence[bytes]
    share_s: float
    folder: str | None
    collected: Sequence[str]
    is_received: bool
    session: str
    leaves: Leaves
    needs: Sequence[str]


_nodes: "OrderedDict[str, Any]" = OrderedDict()
_running: "dict[str, _Running]" = {}
_stopped: "OrderedDict[str, set[int]]" = OrderedDict()
_folders: dict[str, str | None] = {}
_left: dict[str, dict[str, list[str]]] = {}  # by session and chunk: what may not be claimed yet
_lock = Lock()
_mark = os.urandom(8).hex()


def token() -> str:
    """Return what identifies this process; a forked one has a number of its own."""
    return f"{os.getpid()}-{_mark}"


def greet(session: str, digest: str, pickled: bytes) -> Greeting:
    """Take a node, and return who has it."""
    failure = None
    try:
        node = loads(pickled, "the node was unpickled on the worker")
        with _lock:
            _nodes[digest] = node
            while len(_nodes) > NODES_KEPT:
                _nodes.popitem(last=False)
    except BaseException as error:
        failure = failed(error)
    with _lock:
        if session not in _folders:
            _folders[session] = None
            with suppress(OSError):
                _folders[session] = tempfile.mkdtemp(prefix="kaygraph-")
    return Greeting(token(), os.getpid(), _folders[session], failure)


def run_chunk(order: Order, needed: Sequence[Any] = ()) -> bytes | None:
    """Run the items of a chunk, one after another, and return their records, pickled.

    With them is returned what they have left here: how many bytes each bundle has. ``needed`` are
    the bundles that they refer to.

    None: not here. Another process was meant, or it has let go of the node.
    """
    with _lock:
        node = _nodes.get(order.digest)
        if order.token != token() or node is None:
            return None
        _nodes.move_to_end(order.digest)
        running = _running[order.chunk] = _Running(_stopped.pop(order.chunk, set()))
    for chunk in order.collected:
        with suppress(OSError):
            os.unlink(_path(order.folder, chunk))
        _left.get(order.session, {}).pop(chunk, None)
    spool = Spool(None if order.folder is None else _path(order.folder, order.chunk))
    left = LeftBehind(order.chunk, order.leaves)
    records = running.records
    try:
        began = monotonic()
        for place, given in enumerate(order.given):
            if running.begin(place):
                with arrived(dict(zip(order.needs, needed, strict=True))):
                    records.append(running.record(node, given, order.is_received, left))
            else:
                records.append(Record(LEFT, 0.0, b""))
            if not left.bundles:  # else it refers to what is left here at the end
                running.ready = len(records)
            spool.write(records[-1], has_left=left.is_new)
            if monotonic() - began > order.share_s:
                break
        if left.bundles:
            _leave(order, left)
    finally:
        spool.close()
        with _lock:
            del _running[order.chunk]
    known = [(kind, seconds, b"") for kind, seconds, *_ in records[: running.known]]
    return pickle.dumps(([*known, *map(tuple, records[running.known :])], left.sizes))


def news(chunk: str, known: int, received: int) -> bytes:
    """Return what items of a chunk have come to since, and what the next one has said so far.

    Args:
        chunk: The chunk. If it does not run, nothing is returned.
        known: How many records need not be sent any more.
        received: How many of the values that the next item has said are known.
    """
    with _lock:
        running = _running.get(chunk)
    return pickle.dumps(([], []) if running is None else running.news(known, received))


def _leave(order: Order, left: LeftBehind) -> None:
    """Leave here what the items of a chunk have made, unless their run is over."""
    with _lock:
        if order.session not in _folders:
            return
        _left.setdefault(order.session, {})[order.chunk] = list(left.bundles)
    order.leaves.leave(left.bundles, left.sizes)


def call_with(function: Callable[..., T], pickled: bytes, *others: Any) -> T:
    """Call a function whose first arguments came by a way of their own, as they are large."""
    return function(*pickle.loads(pickled), *others)


async def stop(chunk: str, places: Sequence[int], grace: float) -> bool:
    """See to it that these items of a chunk are not run, or come to their end.

    Called on the loop of the worker. Returns whether none of them runs after ``grace`` seconds.
    """
    with _lock:
        running = _running.get(chunk)
        if running is None:
            _stopped.setdefault(chunk, set()).update(places)
            while len(_stopped) > STOPS_KEPT:
                _stopped.popitem(last=False)
            return True
    running.stop(places)
    until = monotonic() + grace
    while _running.get(chunk) is running and running.place in places:
        if monotonic() > until:
            return False
        await asyncio.sleep(LOOK_S)
    return True


def kept(folder: str, chunks: Sequence[str]) -> list[list[Record] | None]:
    """Return what the items of chunks had come to in a process that has ended.

    None: that chunk had not begun.

    Raises:
        FileNotFoundError: There is nothing of that process on this machine.
    """
    os.stat(folder)
    found: list[list[Record] | None] = []
    for chunk in chunks:
        try:
            found.append(records_in(_path(folder, chunk)))
        except FileNotFoundError:
            found.append(None)
    return found


def discard(folder: str) -> None:
    """Remove what a process has kept that has ended."""
    shutil.rmtree(folder, ignore_errors=True)


def forget(session: str) -> list[str]:
    """Remove what was kept for a session; return the bundles that it may not have claimed."""
    with _lock:
        folder = _folders.pop(session, None)
        left = _left.pop(session, {})
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    return [bundle for bundles in left.values() for bundle in bundles]


def _path(folder: str | None, chunk: str) -> str:
    return os.path.join(folder or "", chunk)


class _Running:
    """A chunk that runs here, in a thread of the worker."""

    def __init__(self, left_out: set[int]) -> None:
        self.place = -1  # of the item that is worked on
        self.records: list[Record] = []
        self.ready = self.known = 0  # records that may be sent already, and those that were
        self._said: list[tuple[int | None, bytes]] = []  # by the item that is worked on
        self._left_out = left_out
        self._lock = Lock()
        self._awaited: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None

    def begin(self, place: int) -> bool:
        """Go on with an item, if it is still wanted."""
        with self._lock:
            self.place, self._said = place, []
            return place not in self._left_out

    def news(self, known: int, received: int) -> tuple[list[tuple[Any, ...]], Any]:
        """Return records behind those that are known, and what the item behind them has said."""
        with self._lock:
            self.known, ready = known, self.ready
            said = self._said if self.place == ready else []
            since = received if ready == known else 0
            return [tuple(record) for record in self.records[known:ready]], said[since:]

    def stop(self, places: Sequence[int]) -> None:
        """Leave items out, and cancel what is awaited in the ``async def exec`` of one."""
        with self._lock:
            self._left_out.update(places)
            if self.place in self._left_out and self._awaited is not None:
                loop, task = self._awaited
                loop.call_soon_threadsafe(task.cancel)

    def record(self, node: Any, given: bytes, is_received: bool, left: LeftBehind) -> Record:
        """Run an item and return what it has come to."""
        said = self._said

        def receive(item: int | None, value: Any) -> None:
            said.append((item, said_pickled(value)))

        record = self._record(node, given, receive if is_received else None, left)
        return record._replace(said=pickle.dumps(said)) if said else record

    def _record(
        self, node: Any, given: bytes, receive: Receiver | None, left: LeftBehind
    ) -> Record:
        began = monotonic()
        try:
            item, facts = given_unpickled(given)
            began = monotonic()
            result = run_elsewhere(node, item, *facts, receive, self._awaited_to_end)
            seconds = monotonic() - began
            with noting("the result of exec was pickled on the worker"), left.of_item():
                return Record(RESULT, seconds, dumps(result))
        except BaseException as error:
            answer = failed(error)
            return Record(FAILED, monotonic() - began, pickle.dumps((answer.pickled, answer.trace)))

    def _awaited_to_end(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Do as ``asyncio.run``, in a task that can be cancelled from another thread."""

        async def in_task() -> T:
            task = asyncio.current_task()
            assert task is not None
            with self._lock:
                self._awaited = asyncio.get_running_loop(), task
                if self.place in self._left_out:
                    task.cancel()
            try:
                return await coroutine
            finally:
                with self._lock:
                    self._awaited = None

        return asyncio.run(in_task())
