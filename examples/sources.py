"""What batch and mapreduce share: their files, and their pool of workers."""

import glob
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from examples.workflow import Options
from kaygraph.executors.dask import Dask

# Installed packages are below the standard library but not part of it.
INSTALLED = frozenset({"site-packages", "dist-packages"})


def pool_of(options: Options) -> tuple[int, Any]:
    """Return the number of workers (by default, one for each core), and where they
    run: "thread" (by default), "process", or a cluster that is started for the run.

    Raises:
        ValueError: The options ask for something else.
    """
    workers = options.workers if options.workers is not None else os.cpu_count() or 1
    if workers < 1:
        raise ValueError(f"--workers must be at least 1, got {workers}.")
    run_in = options.run_in or "thread"
    if run_in == "dask":
        return workers, Dask(workers=workers)
    if run_in not in ("thread", "process"):
        raise ValueError(f"--run-in must be 'thread', 'process' or 'dask', got {run_in!r}.")
    return workers, run_in


def python_files(options: Options) -> list[Path]:
    """Return the files to process, sorted: those that ``options.paths`` names, the first
    ``options.limit`` of them.

    A directory means every ``.py`` file below it, or, if there is none, every file that
    is not hidden; a file and a glob mean themselves. No path
    means the running Python's standard library without installed packages.

    Raises:
        ValueError: There is no such file, or the limit is below 1.
    """
    if options.limit is not None and options.limit < 1:
        raise ValueError(f"The number of files must be at least 1, got {options.limit}.")
    if options.paths is None:
        folder = Path(sysconfig.get_paths()["stdlib"])
        found = [p for p in _below(folder) if INSTALLED.isdisjoint(p.relative_to(folder).parts)]
    else:
        found = list(_named(Path(options.paths).expanduser()))
    if not found:
        where = "in the standard library" if options.paths is None else f"at {options.paths!r}"
        raise ValueError(
            f"There are no files {where}. Type a file, a directory or a glob in quotes, "
            "such as 'src/**/*.py'."
        )
    return sorted(found)[: options.limit]


def _below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*.py") if path.is_file())


def _all_below(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def _named(path: Path) -> Iterator[Path]:
    if path.is_dir():
        return iter([*_below(path)] or [*_all_below(path)])
    if path.is_file():  # its name may contain glob characters
        return iter([path])
    matches = (Path(match) for match in glob.iglob(str(path), recursive=True))
    return (match for match in matches if match.is_file())
