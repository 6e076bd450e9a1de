"""Files that are being written: without a name where that can be, so that a process that is killed
leaves nothing; else with a name that the next writer of the same file finds, and removes.
"""

import fcntl
import os
from secrets import token_hex
from stat import S_ISREG

NAMELESS = getattr(os, "O_TMPFILE", 0)  # Linux, on most file systems
MOST = 200  # bytes of the target's name in that of a part


def created(folder: int, target: str, mode: int) -> tuple[int, str]:
    """Create a file to write in a folder; return its descriptor and its name, "" for none.

    It is locked as long as it is open.
    """
    if NAMELESS:
        try:
            file = os.open(".", os.O_WRONLY | NAMELESS, mode, dir_fd=folder)
        except OSError:
            pass  # not here; what else is wrong is told when it is to have a name
        else:
            if os.path.exists(_path_of(file)):
                _locked(file)
                return file, ""
            os.close(file)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    while True:
        name = _free_name(folder, target)
        try:
            file = os.open(name, flags, mode, dir_fd=folder)
        except FileExistsError:
            continue  # created meanwhile
        _locked(file)
        if _is(file, name, folder):
            return file, name
        os.close(file)  # it was not locked yet, and was taken for what a dead process has left


def named(file: int, folder: int, target: str) -> str:
    """Give a file without a name one, and return that."""
    while True:
        name = _free_name(folder, target)
        try:
            os.link(_path_of(file), name, dst_dir_fd=folder)  # follows the link
        except FileExistsError:
            continue
        return name


def _free_name(folder: int, target: str) -> str:
    """Return a name beside the target; what a process that has died left under it is removed."""
    short = os.fsdecode(os.fsencode(target)[:MOST])
    name = f".{short}.kaygraph.part"
    try:
        left = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return name
    except OSError:
        return f".{short}.{token_hex(8)}.kaygraph.part"  # somebody else's
    try:
        if S_ISREG(os.fstat(left).st_mode) and _locked(left) and _is(left, name, folder):
            os.unlink(name, dir_fd=folder)
            return name
    finally:
        os.close(left)
    return f".{short}.{token_hex(8)}.kaygraph.part"  # another writer works on it


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is(file: int, name: str, folder: int) -> bool:
    """Whether a name is still that of an open file."""
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(file))


def _path_of(file: int) -> str:
    return f"/proc/self/fd/{file}"
