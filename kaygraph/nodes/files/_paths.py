"""Where a file may be: under a root, if one is given, and always a regular file.

A path is resolved first, including links and ``..``, and the result must be under the root. It is
then opened folder by folder, from the root down, without following links: a link that someone
creates between the check and the opening is not followed either.
"""

import codecs
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, TypeVar

from ...errors import KayGraphError
from ...executors import elsewhere
from ...run.frame import FRAME

AnyPath = str | os.PathLike[str]
T = TypeVar("T")

# Only Linux can open a folder just to look things up in it, without permission to list it.
_FOLDER = os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)


class PathError(KayGraphError, ValueError):
    """A path is refused: it leads out of the root, or to something that is not a file.

    Attributes:
        path: The path as it was given.
        reason: What is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(path, reason)

    def __str__(self) -> str:
        return f"path {self.path!r} {self.reason}"


def text_of(path: Any) -> str:
    """Return a path as text.

    Raises:
        PathError: It is not a path.
    """
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if not isinstance(path, str):
        raise PathError(f"{path!r:.100}", "must be a string or a pathlib.Path")
    if not path:
        raise PathError(path, "is empty")
    if "\0" in path:
        raise PathError(path, "contains a null byte")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise PathError(path, "contains a character that file names cannot contain") from None
    return path


def resolved(path: AnyPath, root: AnyPath | None) -> str:
    """Return the real path: absolute, without links. Relative ones are taken from the root.

    Raises:
        PathError: It is not a path, or it leads out of the root.
    """
    text = text_of(path)
    if root is None:
        return os.path.realpath(text)
    base = os.path.realpath(text_of(root))
    real = os.path.realpath(os.path.join(base, text))
    if os.path.commonpath((base, real)) != base:
        raise PathError(text, f"leads out of the root {os.fspath(root)!r}")
    return real


@contextmanager
def folder_of(path: AnyPath, root: AnyPath | None) -> Iterator[tuple[int, str]]:
    """Open the folder of a path; yield its descriptor and the name of the file in it.

    An OSError within names the path as it was given, or the root if that is the wrong one.
    """
    real = resolved(path, root)
    above, name = os.path.split(real)
    place = path if root is None else root
    if root is None:
        steps = [above]
    else:
        base = os.path.realpath(root)
        steps = [base, *os.path.relpath(above, base).split(os.sep)]
    folder = -1
    try:
        folder = os.open(steps[0], _FOLDER)
        place = path
        for step in steps[1:]:
            below = os.open(step, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = below
        yield folder, name
    except OSError as error:
        error.filename = os.fspath(place)
        raise
    finally:
        if folder >= 0:
            os.close(folder)


def refuse_special(path: AnyPath, mode: int) -> None:
    """Raise a PathError unless a file's mode is that of a regular file."""
    if stat.S_ISDIR(mode):
        raise PathError(os.fspath(path), "is a folder; a file was expected")
    if not stat.S_ISREG(mode):
        found = "a device, a pipe, a socket or an endless link"
        raise PathError(os.fspath(path), f"is {found}; a file was expected")


def opened(path: AnyPath, root: AnyPath | None) -> BinaryIO:
    """Open a file for reading bytes, unbuffered.

    Raises:
        PathError: It leads out of the root, or is not a regular file.
        OSError: It does not exist, or cannot be read.
    """
    with folder_of(path, root) as (folder, name):
        # Checked before it is opened, because opening some devices has an effect; and again
        # afterwards, in case it was replaced. A pipe would wait for a writer.
        refuse_special(path, os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
        descriptor = os.open(name, flags, dir_fd=folder)
    file = os.fdopen(descriptor, "rb", buffering=0)
    try:
        refuse_special(path, os.fstat(descriptor).st_mode)
    except PathError:
        file.close()
        raise
    return file


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call what may block in a thread of the run; wait for its end, even when cancelled."""
    result: T = await elsewhere.in_thread(FRAME.get().run.threads, function, *args)
    return result


_EXAMPLES = {"path": "data/rows.csv", "root": "data", "glob": "data/*.csv"}


def check_path(name: str, value: Any) -> Any:
    """Return ``value`` if it is a path, or None."""
    if value is not None:
        try:
            text_of(value)
        except PathError as error:
            raise ValueError(
                f"{name} must be a path, as in {name}={_EXAMPLES[name]!r}: {error}"
            ) from None
    return value


def check_encoding(name: str, value: Any) -> str:
    """Return ``value`` if Python knows it as a text encoding."""
    try:
        codecs.lookup(value)
        "".encode(value)
    except (LookupError, TypeError, ValueError):
        raise ValueError(
            f"{name} must name a text encoding, as in {name}='utf-8' or 'latin-1'; got {value!r}"
        ) from None
    return str(value)


FILE_CHECKS = {"path": check_path, "root": check_path, "encoding": check_encoding}
