"""Loss of power: of unsynced writes, any sectors may be there and any may be missing.

What a process does to its files is traced, and stopped at every place.
"""

import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from kaygraph.journal.sqlite import SQLiteStore
from tests.children import ran
from tests.guarantees.figures import cases
from tests.journal.stores import folder

ROWS = 60
CALLS = "openat,pwrite64,write,ftruncate,fsync,fdatasync,unlink"
SECTOR = 512
# Prints each acknowledged row. The log is checkpointed every 12 pages.
RECORDS = """
import os, sys
from tests.journal.test_power_loss import ROWS, blob
from kaygraph.journal import sqlite_file
from tests.journal.stores import AtOnce, SQLiteStore

sqlite_file.CHECKPOINT_PAGES = 12
store = AtOnce(sys.argv[1]) if sys.argv[2] == "at once" else SQLiteStore(
    sys.argv[1], durable=sys.argv[2] == "durable")
store._file._connection.execute("PRAGMA wal_autocheckpoint = 12")
epoch = store.claim("a", "Graph").epoch
for number in range(1, ROWS + 1):
    os.write(1, b"acknowledged %d" % store.append("a", epoch, blob(number)))
store.close()
"""


def blob(number: int) -> bytes:
    return random.Random(number).randbytes(9000 if number % 7 == 0 else 50 * number)


class Call(NamedTuple):
    """What the process asked of the system, with the path of the file."""

    name: str
    path: str
    data: bytes = b""
    at: int = 0


@dataclass
class File:
    """A file as it is on the disk, and the writes to it since."""

    data: bytearray = field(default_factory=bytearray)
    pending: list[Call] = field(default_factory=list)

    def synced(self) -> None:
        for call in self.pending:
            _apply(self.data, call)
        self.pending.clear()

    def after_power_loss(self, chosen: random.Random) -> bytes:
        """Return what may be there: any of the written sectors, in order."""
        data, share = bytearray(self.data), chosen.choice([0.0, 0.5, 0.9, 1.0])
        for call in self.pending:
            if call.name == "ftruncate":
                if chosen.random() < share:
                    _apply(data, call)
                continue
            for at in range(0, len(call.data), SECTOR):
                if chosen.random() < share:
                    part = call.data[at : at + SECTOR]
                    _apply(data, call._replace(data=part, at=call.at + at))
        return bytes(data)


def _apply(data: bytearray, call: Call) -> None:
    if call.name == "ftruncate":
        del data[call.at :]
    data.extend(bytes(max(0, call.at - len(data))))
    data[call.at : call.at + len(call.data)] = call.data


@cache
def traced(way: str) -> list[Call]:
    """Return what a process did to its files, and what it acknowledged meanwhile."""
    with folder() as place:
        path, log = Path(place, "runs.db"), Path(place, "trace")
        options = ["-f", "-xx", "-s", "20000", "-e", f"trace={CALLS}", "-o", log]
        ran("strace", *options, sys.executable, "-c", RECORDS, path, way, check=True)
        return [*_calls(log.read_text(), place)]


def _calls(text: str, place: str) -> Iterator[Call]:
    paths: dict[str, str] = {}
    for line in text.splitlines():
        found = re.search(r"(\w+)\((.*)\) += (\d+)$", line)
        if found is None:
            continue
        name, arguments, result = found.groups()
        strings = [bytes.fromhex(s.replace("\\x", "")) for s in re.findall(r'"([^"]*)"', arguments)]
        number, *_ = arguments.split(",")
        if name in ("openat", "unlink"):
            opened = strings[0].decode()
            if opened.startswith(place):
                if name == "openat":
                    paths[result] = opened
                yield Call(name, opened)
            else:
                paths.pop(result, None)
        elif name == "write" and number == "1":
            yield Call("acknowledged", "", strings[0])
        elif number in paths:
            at = 0 if name in ("fsync", "fdatasync") else int(arguments.rpartition(",")[2])
            yield Call(name, paths[number], strings[0] if strings else b"", at)


@dataclass
class Folder:
    """A folder as it is on the disk, and what was made and removed in it since."""

    path: str
    files: dict[str, File] = field(default_factory=dict)  # as the process sees them
    on_disk: dict[str, File] = field(default_factory=dict)
    pending: list[tuple[str, File | None]] = field(default_factory=list)
    acknowledged: int = 0

    def do(self, call: Call) -> None:
        match call.name:
            case "openat" if call.path != self.path and call.path not in self.files:
                self.files[call.path] = File()
                self.pending.append((call.path, self.files[call.path]))
            case "unlink":
                del self.files[call.path]
                self.pending.append((call.path, None))
            case "acknowledged":
                self.acknowledged = int(call.data.split()[1])
            case "fsync" | "fdatasync" if call.path == self.path:
                self.on_disk = self._after(len(self.pending))
                self.pending.clear()
            case "fsync" | "fdatasync":
                self.files[call.path].synced()
            case "pwrite64" | "ftruncate":
                self.files[call.path].pending.append(call)

    def _after(self, changes: int) -> dict[str, File]:
        files = {**self.on_disk}
        for path, file in self.pending[:changes]:
            if file is None:
                files.pop(path, None)
            else:
                files[path] = file
        return files

    def after_power_loss(self, chosen: random.Random) -> dict[str, bytes]:
        """Return the possible states: a prefix of what was made and removed in the folder."""
        found = self._after(chosen.randint(0, len(self.pending)))
        return {Path(path).name: file.after_power_loss(chosen) for path, file in found.items()}


def at_a_power_loss(calls: list[Call], chosen: random.Random) -> tuple[dict[str, bytes], int]:
    """Return possible contents of the files, and how many rows were acknowledged by then."""
    folder = Folder(str(Path(calls[0].path).parent))
    for call in calls[: chosen.randint(1, len(calls))]:
        folder.do(call)
    return folder.after_power_loss(chosen), folder.acknowledged


def _strace_works() -> bool:
    if shutil.which("strace") is None:
        return False
    return (
        subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode == 0
    )


@pytest.mark.skipif(not _strace_works(), reason="strace is not installed, or may not trace")
@pytest.mark.parametrize("way", ["durable", "in the thread", "at once"])
@pytest.mark.parametrize("seeds", cases(6_000, 2_000, soak=60_000, fast=1 / 60))
def test_a_loss_of_power_leaves_a_beginning_of_the_log(way: str, seeds: range) -> None:
    """At any moment. With durable=True it has everything that was acknowledged."""
    calls, durable = traced(way), way == "durable"
    for seed in seeds:
        chosen = random.Random(seed)
        files, acknowledged = at_a_power_loss(calls, chosen)
        if not files.get("runs.db") and not acknowledged:
            continue  # it was not made yet
        with folder() as place:
            for name, data in files.items():
                Path(place, name).write_bytes(data)
            try:
                store = SQLiteStore(Path(place, "runs.db"))
                rows = [row.blob for row in store.rows("a")] if store.runs() else []
                store.close()
                assert acknowledged * durable <= len(rows) <= acknowledged + 1
                assert rows == [blob(number + 1) for number in range(len(rows))]
            except BaseException as error:
                error.add_note(f"with seed {seed}, {acknowledged} acknowledged, {[*files]}")
                raise


# Writes rows at once, each between two marks.
AT_ONCE = """
import os, sys
from kaygraph.journal.sqlite import SQLiteStore

store = SQLiteStore(sys.argv[1])
epoch = store.claim("a", "Graph").epoch
for number in range(int(sys.argv[2])):
    os.write(1, b"begins")
    if store.append_at_once("a", epoch, bytes(1000)) is None:
        os.write(1, b"is left to others")
        store.append("a", epoch, bytes(1000))
    else:
        os.write(1, b"is written")
store.close()
"""


@pytest.mark.skipif(not _strace_works(), reason="strace is not installed, or may not trace")
def test_a_row_that_is_written_at_once_waits_for_no_disk(tmp_path: Path) -> None:
    """Neither a checkpoint nor the first row after one is; both wait."""
    path, log = tmp_path / "runs.db", tmp_path / "trace"
    options = ["-f", "-xx", "-s", "20000", "-e", f"trace={CALLS}", "-o", log]
    ran("strace", *options, sys.executable, "-c", AT_ONCE, path, "3000", check=True)
    syncs: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    since: list[str] = []
    for call in _calls(log.read_text(), str(tmp_path)):
        if call.name != "acknowledged":
            since.append(call.name)
            continue
        if (what := call.data.decode()) != "begins":
            rows[what] += 1
            syncs[what] += sum(name in ("fsync", "fdatasync") for name in since)
        elif rows:
            syncs["is left to others"] += sum(name in ("fsync", "fdatasync") for name in since)
        since.clear()
    assert rows["is written"] > 2000
    assert syncs["is written"] == 0
    assert syncs["is left to others"] > 4
