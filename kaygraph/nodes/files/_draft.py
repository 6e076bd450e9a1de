"""A file that comes into being whole: written beside its target, whose name it then takes."""

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

BUFFERED = 65_536  # bytes that wait to be written


class Draft:
    """What one execution of a writer has open, from its ``prep`` to its ``post``.

    ``write``, ``publish`` and ``discard`` block. What has failed to be written once is not written
    any more: rows are missing.

    Attributes:
        owner: Whose it is: the resource of one node in one run.
        task: The one that runs the ``prep`` and the ``post``.
        rows: How many rows were added.
        format: What the writer keeps for the file, such as the names of its fields.
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
        """Whether it is time to write; so it is at the beginning, when the file is opened."""
        return self._file < 0 or len(self._data) >= BUFFERED

    def add(self, data: bytes, rows: int = 1) -> None:
        """Add rows to what waits to be written."""
        self._data += data
        self.rows += rows

    def write(self) -> None:
        """Write what waits."""
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
        """Write the rest and give the file its name, in place of what has that name."""
        self.write()
        try:
            if self._mode is not None:
                os.fchmod(self._file, self._mode)
            os.fsync(self._file)  # the name must not come to stand for less after a power loss
            self._name = self._name or named(self._file, self._folder, self._target)
            os.replace(self._name, self._target, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except BaseException as error:
            self._fail(error)
            raise
        self._name = ""
        self.discard()

    def discard(self) -> None:
        """Close the file and, unless it was published, remove it; nothing, the second time."""
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
        """Raise what has failed before: another one like it, which has not been raised yet."""
        if self._error is not None:
            raise copied(self._error)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, OSError) and error.filename in (None, self._name):  # not the root
            error.filename = os.fspath(self.path)
        self._error = copied(error)

    def _open(self) -> None:
        with folder_of(self.path, self.root) as (folder, self._target):
            mode = 0o666  # less what the umask takes
            try:
                known = os.stat(self._target, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                pass
            else:
                refuse_special(self.path, known.st_mode)
                self._mode = S_IMODE(known.st_mode) & 0o777
                mode = 0o600  # nobody reads before the end who may not read it then
            self._folder = os.dup(folder)
            self._file, self._name = created(folder, self._target, mode)


# The drafts that this place in a run has open. A node cannot hold them: it may run many times at
# once. Nor can the run: it may run a node in several branches. ``prep`` opens a draft; the tasks
# of the workers, and ``post``, inherit what ``prep`` has put here.
_OPEN: ContextVar[tuple[Draft, ...]] = ContextVar("kaygraph_drafts", default=())

# Whose execution this is, its task, and the draft that an asynchronous ``prep`` opens for it: that
# is read in a task of its own, whose context variables nobody else sees.
_Execution = tuple[set[Draft], "asyncio.Task[Any]", list[Draft]]
_EXECUTION: ContextVar[_Execution | None] = ContextVar("kaygraph_writer", default=None)


def share(drafts: set[Draft]) -> None:
    """Let a draft that a task of this execution begins be that of all of them."""
    task = asyncio.current_task()
    assert task is not None
    _EXECUTION.set((drafts, task, []))


def begin(drafts: set[Draft], path: AnyPath, root: AnyPath | None) -> None:
    """Begin a draft; those whose execution has ended, here or in a branch, are discarded."""
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
    """Return what ``begin`` began here."""
    _, _, shared = _EXECUTION.get() or (None, None, [])
    for draft in (*shared, *_OPEN.get()):
        if draft.owner is drafts and not draft._closed:
            return draft
    return None


def cut_short() -> bool:
    """Whether the run drains here, so that rows may be missing."""
    return FRAME.get().drains
