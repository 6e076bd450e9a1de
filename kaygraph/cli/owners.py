"""Find the processes that have a journal open, without opening it."""

import os
import shlex
from pathlib import Path

from .._formatting import redacted

WIDEST = 60


def owners(address: str) -> list[str] | None:
    """Return the processes of this machine that have a SQLite journal open, with their commands.

    None if that cannot be determined: for a server, on another system, or for another user's
    file. The file itself is not opened: closing it again would drop this process's SQLite locks.
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
            is_sure = False  # a process of another user may have it open
        except OSError:  # the process has just ended
            continue
    return found if found or is_sure else None


def _has_open(process: Path, place: os.stat_result) -> bool:
    for descriptor in os.listdir(process / "fd"):
        try:
            found = os.stat(process / "fd" / descriptor)
        except OSError:  # closed by now, or on a file system that may not be read
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
