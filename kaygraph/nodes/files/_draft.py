"""A file that appears only when it is complete: written next to its target, then renamed."""

import asyncio
import os
from contextlib import suppress
from contextvars import ContextVar
from stat import S_IMODE
from typing import Any

from ...errors import copied
from ...run.frame import FRAME
from ._parts import created, named
from ._paths import AnyPath, folder_of, refuse_special

BUFFERED = 65_536  # bytes waiting to be written


class Draft:
    """What one execution of a writer has open, from its ``prep`` to its ``post``.

    ``write``, ``publish`` and ``discard`` block. After a failed write nothing more is written:
    rows would be missing.

    Attributes:
        owner: Its owner: the resource of one node in one run.
        task: The task that runs ``prep`` and ``post``.
        rows: How many rows were added.
        format: The writer's data for the file, such as the names of its fields.
    """

    def __init__(self, owner: Any, path: AnyPath, root: AnyPath | None) -> None:
        self.owner, self.path, self.root = owner, path, root
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self.rows = 0
        self.format: Any = None
        self._data = bytearray()
        self._file = -1
        self._folder = -1
        self._name = self._target = ""
        self._mode: int | None = None
        self._error: BaseException | None = None
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether it is time to write; it is at the start, when the file is opened."""
        return self._file < 0 or len(self._data) >= BUFFERED

    def add(self, data: bytes, rows: int = 1) -> None:
        """Add rows to the buffer."""
        self._data += data
        self.rows += rows

    def write(self) -> None:
        """Write the buffer."""
        try:
            if self._file < 0:
                self._open()
            left = memoryview(bytes(self._data))
            while left:
                left = left[os.write(self._file, left) :]
            self._data.clear()
        except BaseException as error:
            self._fail(error)
            raise

    def publish(self) -> None:
        """Write the rest and give the file its name, replacing an existing file."""
        self.write()
        try:
            if self._mode is not None:
                os.fchmod(self._file, self._mode)
            os.fsync(self._file)  # the name must not refer to less after a power loss
            self._name = self._name or named(self._file, self._folder, self._target)
            os.replace(self._name, self._target, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except BaseException as error:
            self._fail(error)
            raise
        self._name = ""
        self.discard()

    def discard(self) -> None:
        """Close the file and, unless it was published, remove it; does nothing the second time."""
        self._closed = True
        self._data.clear()
        try:
            if self._name:
                with suppress(FileNotFoundError):
                    os.unlink(self._name, dir_fd=self._folder)
        finally:
            for descriptor in (self._file, self._folder):
                if descriptor >= 0:
                    os.close(descriptor)
            self._file = self._folder = -1
            self._name = ""

    def check(self) -> None:
        """Raise an earlier failure: as a new error, which has not been raised before."""
        if self._error is not None:
            raise copied(self._error)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, OSError) and error.filename in (None, self._name):  # not the root
            error.filename = os.fspath(self.path)
        self._error = copied(error)

    def _open(self) -> None:
        with folder_of(self.path, self.root) as (folder, self._target):
            mode = 0o666  # minus the umask
            try:
                known = os.stat(self._target, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                pass
            else:
                refuse_special(self.path, known.st_mode)
                self._mode = S_IMODE(known.st_mode) & 0o777
                mode = 0o600  # until the end, not readable by anyone who may not read it later
            self._folder = os.dup(folder)
            self._file, self._name = created(folder, self._target, mode)


# The drafts open at this place in a run. A node cannot hold them: it may run many times at once.
# Nor can the run: it may run a node in several branches. ``prep`` opens a draft; the tasks of the
# workers, and ``post``, inherit what ``prep`` has set here.
_OPEN: ContextVar[tuple[Draft, ...]] = ContextVar("kaygraph_drafts", default=())

# Whose execution this is, its task, and the draft that an asynchronous ``prep`` opens for it: a
# separate task reads it, whose context variables nobody else sees.
_Execution = tuple[set[Draft], "asyncio.Task[Any]", list[Draft]]
_EXECUTION: ContextVar[_Execution | None] = ContextVar("kaygraph_writer", default=None)


def share(drafts: set[Draft]) -> None:
    """Share a draft that a task of this execution begins with all of its tasks."""
    task = asyncio.current_task()
    assert task is not None
    _EXECUTION.set((drafts, task, []))


def begin(drafts: set[Draft], path: AnyPath, root: AnyPath | None) -> None:
    """Begin a draft; those of finished executions, here or in a branch, are discarded."""
    draft = Draft(drafts, path, root)
    owner, task, shared = _EXECUTION.get() or (None, None, [])
    if owner is drafts and task is not None and not task.done():
        draft.task = task
        shared[:] = [draft]
    for other in tuple(drafts):
        if other.task is draft.task or other.task.done():
            drafts.discard(other)
            other.discard()
    drafts.add(draft)
    _OPEN.set((*(other for other in _OPEN.get() if not other._closed), draft))


def draft_of(drafts: set[Draft]) -> Draft | None:
    """Return the draft that ``begin`` began here."""
    _, _, shared = _EXECUTION.get() or (None, None, [])
    for draft in (*shared, *_OPEN.get()):
        if draft.owner is drafts and not draft._closed:
            return draft
    return None


def cut_short() -> bool:
    """Whether the run is draining here, so that rows may be missing."""
    return FRAME.get().drains
