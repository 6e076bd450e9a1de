"""Files being written: without a name if possible, so that a killed process leaves nothing;
otherwise with a name that the next writer of the same file finds and removes.
"""

import fcntl
import os
from secrets import token_hex
from stat import S_ISREG

NAMELESS = getattr(os, "O_TMPFILE", 0)  # Linux, on most file systems
MOST = 200  # bytes of the target's name in the name of a part


def created(folder: int, target: str, mode: int) -> tuple[int, str]:
    """Create a file to write in a folder; return its descriptor and its name, "" for none.

    It stays locked while it is open.
    """
    if NAMELESS:
        try:
            file = os.open(".", os.O_WRONLY | NAMELESS, mode, dir_fd=folder)
        except OSError:
            pass  # unsupported here; other errors are reported when it gets a name
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
        os.close(file)  # before it was locked, it was taken for the part of a dead process


def named(file: int, folder: int, target: str) -> str:
    """Give a file without a name one, and return that name."""
    while True:
        name = _free_name(folder, target)
        try:
            os.link(_path_of(file), name, dst_dir_fd=folder)  # follows the link
        except FileExistsError:
            continue
        return name


def _free_name(folder: int, target: str) -> str:
    """Return a name next to the target; parts left by a dead process are removed."""
    short = os.fsdecode(os.fsencode(target)[:MOST])
    name = f".{short}.kaygraph.part"
    try:
        left = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return name
    except OSError:
        return f".{short}.{token_hex(8)}.kaygraph.part"  # not ours
    try:
        if S_ISREG(os.fstat(left).st_mode) and _locked(left) and _is(left, name, folder):
            os.unlink(name, dir_fd=folder)
            return name
    finally:
        os.close(left)
    return f".{short}.{token_hex(8)}.kaygraph.part"  # another writer is using it


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is(file: int, name: str, folder: int) -> bool:
    """Whether a name still refers to an open file."""
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(file))


def _path_of(file: int) -> str:
    return f"/proc/self/fd/{file}"
