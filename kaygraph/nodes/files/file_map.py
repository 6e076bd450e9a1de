"""Many files at once."""

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Generic, Unpack

from ..._validation import check_count, check_flag
from ...batch.batch import ParallelBatchNode
from ...batch.fan_out import SKIPPED
from ...executors.kinds import kind_of
from ...node.keywords import Result
from ...node.settings import Checks
from ...run.frame import Frame
from .._references import check_function, keep_from_binding
from .._store import Stored, StoreParallelSettings, configure
from ._paths import AnyPath, PathError, check_path, in_thread, resolved, text_of

MAX_FILES = 10_000


class FileMap(Stored, ParallelBatchNode[Path, Result], Generic[Result]):
    """Process every file that matches a pattern, many at once.

    The result is a dict from each path to its result, in the order of the paths; with
    ``on_error="collect"``, a failed file has an Outcome, with ``"skip"``, it is left out. In a
    pipeline, FileMap comes first, and emits the bare results.

    The work is a function, or the ``exec(self, path)`` of a subclass: ``def`` runs in a thread,
    ``async def`` on the loop. It gets a ``pathlib.Path`` below ``root``, and must itself limit
    how much of a file it reads; ``ReadCSV`` and the other readers have limits.

    Args:
        glob: A pattern as for ``pathlib.Path.glob``: ``"logs/**/*.txt"``. ``**`` matches folders
            at any depth and follows no links. Without it, ``reads`` names the key with the pattern.
        function: The work, or ``"module:function"``.
        root: The folder that the pattern is relative to. A pattern or a link that leads out of it
            is refused.
        max_files: How many files may match; by default, 10,000.
        missing_ok: Whether it may match nothing.

    The other settings are those of ParallelBatchNode, with results always in order, and
    ``writes``: the key for the dict.

    Raises:
        FileNotFoundError: from a run: no file matches.
        PathError: from a run: the pattern, or a file that matches, leads out of the root.
        ValueError: from a run: more than ``max_files`` match.
    """

    glob: AnyPath | None = None
    function: Callable[[Path], Any] | None = None
    root: AnyPath | None = None
    max_files: int = MAX_FILES
    missing_ok: bool = False
    calls_function = True  # which is yours, though the node is ready-made

    _accepts = (
        ParallelBatchNode._accepts
        | {"reads", "writes", "glob", "function", "root", "max_files", "missing_ok"}
    ) - {"ordered"}
    _checks: ClassVar[Checks] = {
        "glob": check_path,
        "function": lambda name, value: value if value is None else check_function(name, value),
        "root": check_path,
        "max_files": check_count,
        "missing_ok": check_flag,
    }

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        keep_from_binding(cls, "function")

    def __init__(
        self,
        glob: AnyPath | None = None,
        function: Callable[[Path], Any] | str | None = None,
        *,
        root: AnyPath | None = None,
        max_files: int | None = None,
        missing_ok: bool | None = None,
        **settings: Unpack[StoreParallelSettings],
    ) -> None:
        work = self.function if function is None else function
        own = {"glob": glob, "function": work, "root": root}
        configure(self, {**own, "max_files": max_files, "missing_ok": missing_ok}, settings)
        kind = type(self).__name__
        if self.function is None and type(self).exec is FileMap.exec:
            raise TypeError(f"{kind} needs its work, as in {kind}('*.txt', count_words)")
        if self.glob is None and self.reads is None:
            raise TypeError(f"{kind} needs a pattern, or reads= with the key of one")

    def _changed(self, names: Collection[str]) -> None:
        calls = type(self).exec is FileMap.exec and "exec" not in vars(self)
        if "function" in names and calls:  # how the instance's function is written decides
            self.__dict__["exec_kind"] = kind_of(self.function)
        super()._changed(names)

    async def prep(self, shared: Any, /) -> list[Path]:
        """Return the files that match, sorted."""
        glob = super().prep(shared) if self.glob is None else self.glob
        files = await in_thread(_found, text_of(glob), self.root, self.max_files)
        if not files and not self.missing_ok:
            below = "" if self.root is None else f" in {str(self.root)!r}"
            raise FileNotFoundError(
                f"no file matches {str(glob)!r}{below}. If there may be none: missing_ok=True"
            )
        return files

    def exec(self, path: Path, /) -> Any:
        """Call the function with a path."""
        assert self.function is not None
        return self.function(path)

    async def _exec(self, prep_res: Any, shared: Any, frame: Frame) -> Any:
        # By the index of the file and not by the order of results, which lack what was
        # skipped.
        files = list(prep_res)
        work = self.fan_out_of(files, frame)
        every = work.results  # released when the work has ended
        await self._in_time(work)
        pairs = zip(files, every, strict=False)  # a draining run leaves off the last ones
        results: Mapping[Path, Any] = {path: value for path, value in pairs if value is not SKIPPED}
        frame.record(results)
        return results


def _found(pattern: str, root: AnyPath | None, most: int) -> list[Path]:
    """Return the files that match, sorted; folders, devices and dangling links do not."""
    files = list(islice(_matches(Path(pattern), root), most + 1))
    if len(files) > most:
        raise ValueError(
            f"more than {most} files match {pattern!r} (max_files): narrow the pattern, or "
            "raise max_files"
        )
    return sorted(files)


def _matches(pattern: Path, root: AnyPath | None) -> Iterator[Path]:
    if root is not None and (pattern.is_absolute() or ".." in pattern.parts):
        raise PathError(str(pattern), f"leads out of the root {str(root)!r}")
    below = pattern.relative_to(pattern.anchor)
    if not below.parts:
        raise PathError(str(pattern), "is a folder; a pattern was expected, as in 'logs/*.txt'")
    base = Path(pattern.anchor if root is None else root)
    for path in base.glob(str(below)):
        if root is not None:
            resolved(path.absolute(), root)
        if path.is_file():
            yield path
