"""Runs whose process is killed at a seeded moment and resumed in another one.

``python -m tests.journal.dying FIRST LAST`` kills runs with these seeds, one after another, in
processes that are forked, and prints what was found as JSON; ``python -m tests.journal.dying SHAPE
FOLDER LIFE`` is one such process. What is called is counted outside of the journal: in a file that
each process appends a line to before it calls.
"""

import asyncio
import json
import logging
import os
import random
import signal
import sys
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from kaygraph import (
    BaseNode,
    ItemStarted,
    Journal,
    JournalError,
    NodeFinished,
    ParallelBatchNode,
)
from kaygraph.journal.log import DROPPED, ENDED, KEY, NUMBER, POINT, RESULT, log_of
from kaygraph.journal.position import POSITION
from kaygraph.journal.sqlite import SQLiteStore
from kaygraph.journal.writer import Writer
from kaygraph.testing import VirtualClockLoop
from kaygraph.testing.killing import same
from tests.journal.shapes import SHAPES, Shape

RUN = "dies"
MOST_LIVES = 4  # of which all but the last are killed


class PatientLoop(VirtualClockLoop):
    """A loop whose clock stands still while the journal is written."""

    def _wait(self) -> None:
        while BUSY.count and not self._ready:
            self._called.wait()
            self._called.clear()
        if not self._ready:
            super()._wait()


class Busy:
    """Counts the jobs of the writer's thread."""

    count = 0
    lock = threading.Lock()

    def add(self, number: int) -> None:
        with self.lock:
            self.count += number


BUSY = Busy()
do = Writer._do


def counted(self: Writer, work: Callable[[], None]) -> None:
    def all_of_it() -> None:
        try:
            work()
        finally:
            BUSY.add(-1)

    BUSY.add(1)
    do(self, all_of_it)


class Ledger:
    """What one process has called and handed over, according to its lines in a file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.lines = 0  # how many lines

    def _tell(self, what: str, key: bytes, node: str) -> None:
        os.write(self._file, f"{what}\t{key.hex()}\t{node}\n".encode())
        self.lines += 1

    def __call__(self, event: Any) -> None:
        if type(event) is ItemStarted and not event.whole:
            position = POSITION.get()
            inner = position.path.rpartition("[")[2]
            key = bytes.fromhex(inner[:-1]) if position.path.endswith("]") else position.digest
            if not key and position.around is not None:  # within the only exec of a visit
                key = position.around.digest
            self._tell("began", key, event.node)
        elif type(event) is NodeFinished and event.error is None:
            self._tell("finished", b"", event.node)

    def close(self) -> None:
        os.close(self._file)


def lines_of(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []


class Committed:
    """What the journal holds."""

    def __init__(self, path: Path) -> None:
        self.keys: set[str] = set()
        self.handed_over: Counter[str] = Counter()
        if not path.exists():
            return
        store = SQLiteStore(str(path))
        try:
            if any(info.run == RUN for info in store.runs()):
                log = log_of(store.rows(RUN))
                for entry in log.entries.values():
                    if entry[0] in (RESULT, POINT, DROPPED):
                        self.keys.add(entry[KEY].hex())
                    if entry[0] in (POINT, ENDED):
                        self.handed_over[log.nodes[entry[NUMBER]][0]] += 1
        finally:
            store.close()


def run_to_the_end(graph: BaseNode[Any, Any], path: Path, ledger: Ledger, run: str = RUN) -> Any:
    """Return the action, the shared store and the error of a run that is not killed."""
    shared: dict[str, Any] = {}
    journal = Journal(path, run=run)
    action, error = None, None
    BUSY.count = 0
    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        try:
            work = graph.run_async(shared, journal=journal, observers=[ledger])
            action = runner.run(work)
        except Exception as failure:
            error = failure
    return action, shared, error


def die_at(random_: random.Random, writes: int, seconds: float) -> None:
    """Have this process killed at a moment: around one of its commits, or at any time."""
    if random_.random() < 0.5:
        # The default action ends the process immediately.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, random_.uniform(1e-4, seconds))
        return
    left, after = random_.randint(1, writes), random_.random() < 0.5

    def deadly(append: Callable[..., Any]) -> Callable[..., Any]:
        def dies(self: SQLiteStore, *arguments: Any) -> Any:
            nonlocal left
            if left == 1 and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            number = append(self, *arguments)
            left -= number is not None
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return number

        return dies

    SQLiteStore.append = deadly(SQLiteStore.append)  # type: ignore[method-assign]
    SQLiteStore.append_at_once = deadly(SQLiteStore.append_at_once)  # type: ignore[method-assign]


def forked(graph: BaseNode[Any, Any], path: Path, lines: Path, arm: Callable[[], None]) -> bool:
    """Run in another process; return whether it was killed."""
    child = os.fork()
    if not child:
        status = 1
        try:
            arm()
            run_to_the_end(graph, path, Ledger(lines))
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0, "a process has failed"
    return False


class Items(ParallelBatchNode[int, int]):
    """Takes a while for an item, after writing a line to a file."""

    def __init__(self, lines: Path, items: int, most: int | None, **settings: Any) -> None:
        super().__init__(**settings)
        self.items, self.most = items, most
        self.lines = os.open(lines, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def prep(self, _: Any) -> range:
        return range(self.items)

    async def exec(self, item: int) -> int:
        os.write(self.lines, f"{item}\n".encode())
        if item == self.most:
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(1 + item * 37 % 101 / 101)  # no two end at once
        return item

    def post(self, shared: Any, _: Any, results: list[int]) -> None:
        assert results == list(range(self.items))


def forked_items(path: Path, lines: Path, items: int, workers: int, most: int | None) -> int:
    """Process items in another process, which is killed at one of them; return its exit code."""
    child = os.fork()
    if not child:
        status = 1
        try:
            Writer._do = counted  # type: ignore[method-assign]
            node = Items(lines, items, most, max_workers=workers)
            journal = Journal(path, run=RUN, accept=["Items"])
            with asyncio.Runner(loop_factory=PatientLoop) as runner:
                runner.run(node.run_async({}, journal=journal))
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Whole:
    """The run of a shape that is not killed."""

    def __init__(self, shape: Shape, folder: Path) -> None:
        path, lines = folder / f"{shape}.db", folder / f"{shape}.txt"
        loop = asyncio.new_event_loop()
        started = loop.time()
        ledger = Ledger(lines)
        self.action, self.shared, self.error = run_to_the_end(shape.make(), path, ledger)
        ledger.close()
        self.seconds = loop.time() - started
        loop.close()
        store = SQLiteStore(str(path))
        self.writes = store.info(RUN).rows
        store.close()


def killed(shape: Shape, whole: Whole, seed: int, folder: Path) -> Counter[str]:
    """Kill a run at seeded moments and resume it; return what was seen."""
    random_ = random.Random(seed)
    path = folder / "runs.db"
    lives = random_.randint(2, MOST_LIVES)
    counts: Counter[str] = Counter(runs=1)
    where = f"{shape}, seed {seed}"
    for life in range(lives - 1):
        before = Committed(path)
        lines = folder / f"{life}.txt"
        moment = random.Random(random_.random())
        arm = partial(die_at, moment, whole.writes, whole.seconds)
        counts["killed"] += forked(shape.make(), path, lines, arm)
        counts += checked(before, Committed(path), lines, where)
    return counts + ended(shape, whole, folder, where)


def ended(shape: Shape, whole: Whole, folder: Path, where: str) -> Counter[str]:
    """Resume a run for the last time, and check its result."""
    path, lines = folder / "runs.db", folder / "end.txt"
    before, was_done = Committed(path), "done" in statuses(path)
    ledger = Ledger(lines)
    action, shared, error = run_to_the_end(shape.make(), path, ledger)
    ledger.close()
    counts = checked(before, Committed(path), lines, where)
    assert not isinstance(error, JournalError), f"{where}: {error!r}"
    assert same(error, whole.error), f"{where}: {error!r}, not {whole.error!r}"
    if error is None and not was_done:
        if "check" in shape.settings:
            shape.settings["check"](shared)
        else:
            assert same(shared, whole.shared), f"{where}: {shared}, not {whole.shared}"
        replay(shape, path, shared, where)
    if "check" not in shape.settings:
        assert action == whole.action, where
    return counts


def checked(before: Committed, after: Committed, lines: Path, where: str) -> Counter[str]:
    """Check that a process called nothing that was committed, and acknowledged nothing else."""
    began = [line for line in lines_of(lines) if line[0] == "began"]
    again = [node for _, key, node in began if key in before.keys]
    assert not again, f"{where}: {again}, which were committed, ran again"
    called = {node for _, _, node in began}
    finished = Counter(node for what, _, node in lines_of(lines) if what == "finished")
    lost = [node for node in called if finished[node] > after.handed_over[node]]
    assert not lost, f"{where}: {lost} were acknowledged, and are lost"
    return Counter({"calls": len(began), "calls of what was committed": len(again)})


def statuses(path: Path) -> list[str]:
    if not path.exists():
        return []
    store = SQLiteStore(str(path))
    try:
        return [info.status for info in store.runs()]
    finally:
        store.close()


def replay(shape: Shape, path: Path, shared: Any, where: str) -> None:
    """Check that everything recorded gives the same result, without a call."""
    store = SQLiteStore(str(path))
    store.copy(RUN, "replayed", store.info(RUN).rows)
    store.close()
    lines = path.with_name("replayed.txt")
    ledger = Ledger(lines)
    _, again, error = run_to_the_end(shape.make(), path, ledger, "replayed")
    ledger.close()
    assert error is None, f"{where}: {error!r} in a replay"
    assert same(again, shared), f"{where}: replayed {again}, not {shared}"
    assert not [line for line in lines_of(lines) if line[0] == "began"], where


def main(first: int, last: int) -> Counter[str]:
    Writer._do = counted  # type: ignore[method-assign]
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    counts: Counter[str] = Counter()
    # What a killed process wrote is there in any file system: one in memory is fast.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        wholes: dict[str, Whole] = {}
        for seed in range(first, last):
            shape = SHAPES[seed % len(SHAPES)]
            if str(shape) not in wholes:
                wholes[str(shape)] = Whole(shape, Path(name))
            with tempfile.TemporaryDirectory(dir=name) as folder:
                counts += killed(shape, wholes[str(shape)], seed, Path(folder))
    return counts


class Announced(Ledger):
    """Prints how many lines there are, before the event that each one stands for."""

    def _tell(self, what: str, key: bytes, node: str) -> None:
        super()._tell(what, key, node)
        print(self.lines, flush=True)


def live(name: str, folder: Path, life: str) -> None:
    """Begin or resume a run in this process."""
    (shape,) = (shape for shape in SHAPES if str(shape) == name)
    ledger = Announced(folder / f"{life}.txt")
    run_to_the_end(shape.make(), folder / "runs.db", ledger)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
    else:
        Writer._do = counted  # type: ignore[method-assign]
        live(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
