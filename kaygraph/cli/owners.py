"""Which processes have a journal open: found without opening it."""

import os
import shlex
from pathlib import Path

from .._formatting import redacted

WIDEST = 60


def owners(address: str) -> list[str] | None:
    """Return the processes of this machine that have a SQLite journal open, with their commands.

    None: that cannot be found out, as of a server, on another system, or of another user's file.
    The file itself is not opened: that, past SQLite, would take its locks from this process.
    """
    if "://" in address and not address.startswith("sqlite"):
        return None
    path = address.removeprefix("sqlite://")
    try:
        place = os.stat(path)
        processes = [entry for entry in os.listdir("/proc") if entry.isdecimal()]
    except OSError:
        return None
    found, is_sure = [], True
    for process in processes:
        if int(process) == os.getpid():
            continue
        try:
            if _has_open(Path("/proc", process), place):
                found.append(f"process {process}{_command(process)}")
        except PermissionError:
            is_sure = False  # one of another user, who may have it open
        except OSError:  # it has just ended
            continue
    return found if found or is_sure else None


def _has_open(process: Path, place: os.stat_result) -> bool:
    for descriptor in os.listdir(process / "fd"):
        try:
            found = os.stat(process / "fd" / descriptor)
        except OSError:  # it is closed by now, or of a file system that is not ours to look at
            continue
        if (found.st_dev, found.st_ino) == (place.st_dev, place.st_ino):
            return True
    return False


def _command(process: str) -> str:
    try:
        words = Path("/proc", process, "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ""
    text = redacted(shlex.join(word for word in words if word))
    return f" ({text if len(text) <= WIDEST else text[: WIDEST - 1] + '…'})" if text else ""
