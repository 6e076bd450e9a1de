"""Batch: read files of the standard library in chunks, with pools of workers; three pools compared.

::

    --example batch                 Split ──▶ One ──▶ Threads ──▶ Processes ──▶ Summarise
    --example batch --input src     Split ──▶ Threads ──▶ Summarise

``Split`` cuts the list of files into chunks. A pool processes several chunks at once: for every
file it computes the SHA-256, counts the lines, and lets ``ast`` find the functions and classes.
``Summarise`` adds the figures up.

Parsing is processor work, for which the threads of one Python process take turns. So the
same chunks go through a single worker, through a pool of threads and through a pool of processes,
one pool after the other. A table shows the measured wall time of each. First, every file
is read once, so that no pool has to wait for the disk. Your own files only go through threads,
unless ``--run-in process`` asks for the comparison. ``--run-in dask`` uses the workers of a Dask
cluster instead of processes.

Some files of the standard library are invalid on purpose, to test the parser. The error of a
file is kept as that file's result, so that the rest of its chunk is not lost.

The shared store: ``files`` in; ``chunks`` and ``measured`` (their rows) on the way; ``file_rows``
(one dict per file, in the order of the files) and ``file_totals`` out.
"""

import ast
import hashlib
import re
import threading
import warnings
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from rich.table import Table

from examples.inputs import many
from examples.sources import pool_of, python_files
from examples.workflow import Options, Row, Screen, Shared, Workflow
from kaygraph import Graph, RunReport
from kaygraph.nodes import ParallelFunctionNode, node
from kaygraph.patterns import BatchSplitterNode
from kaygraph.types import NodeFigures

# Large enough that sending a chunk to a process costs little compared to the work, small enough
# that no worker is left with the last one for long.
FILES_A_CHUNK = 8

# CPython 3.11 tracks the depth of a tree in one place for all threads, and rejects a good file
# when two parse at once. Threads take turns at the interpreter anyway.
PARSING = threading.Lock()
FAULTS_SHOWN = 5
SAMPLE = 120  # files of the standard library, spread over all of it
SAID = {"One": "one worker", "Dask": "Dask's workers"}
BUSY = 0.7  # if a worker has a processor for a smaller share of its time, others are using it
POOLS = ("One", "Threads")  # and "Processes" or "Dask"
PARSED = (".py", ".pyi")

# The parser warns about doubtful code (for example a stray backslash) under the name of the file,
# which is the same for every file here. Those warnings are for the file's authors.
SOURCE_NAME = "<source>"
warnings.filterwarnings("ignore", module=re.escape(SOURCE_NAME))


def measure(path: Path) -> Row:
    """Return a file's figures, or ``{"path", "error"}`` if it cannot be read or parsed.

    Only Python files (``.py``, ``.pyi``) are parsed; others have no functions and classes.
    """
    try:
        data = path.read_bytes()
        nodes: list[ast.AST] = []
        if path.suffix in PARSED:
            with PARSING:
                tree = ast.parse(data, SOURCE_NAME)
            nodes = list(ast.walk(tree))
    except Exception as error:  # whatever is wrong with a file concerns that file only
        fault = str(error).replace(f"{SOURCE_NAME}, ", "")
        return {"path": str(path), "error": f"{type(error).__name__}: {fault}"}
    return {
        "path": str(path),
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "lines": len(data.splitlines()),
        "functions": sum(isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) for n in nodes),
        "classes": sum(isinstance(n, ast.ClassDef) for n in nodes),
    }


def measure_chunk(chunk: list[Path]) -> list[Row]:
    """Return the figures of every file in a chunk."""
    return [measure(path) for path in chunk]


@node(name="Summarise", reads="measured", writes=("file_rows", "file_totals"))
def summarise(measured: list[list[Row]]) -> tuple[list[Row], Row]:
    """Put the chunks together again, and add up the figures."""
    file_rows = [row for rows_of_a_chunk in measured for row in rows_of_a_chunk]
    good = [row for row in file_rows if "error" not in row]
    sums = ("bytes", "lines", "functions", "classes")
    totals = {
        "files": len(file_rows),
        "measured": len(good),
        **{name: sum(row[name] for row in good) for name in sums},
    }
    return file_rows, totals


def prepare(options: Options) -> Shared:
    pool_of(options)
    files = python_files(options)
    known = len(files)
    if options.paths is None and options.limit is None:
        files = files[:: max(1, known // SAMPLE)]
    if compares(options):
        for path in files:
            with suppress(OSError):  # it is reported when its turn comes
                path.read_bytes()
    return {"files": files, "known_files": known, "compares": compares(options)}


def compares(options: Options) -> bool:
    """Whether the files go through all three pools."""
    here = options.run_in is None and options.paths is None
    return here or options.run_in in ("process", "dask")


def build(options: Options) -> Graph:
    workers, place = pool_of(options)
    split = BatchSplitterNode(size=FILES_A_CHUNK, name="Split", reads="files", writes="chunks")
    # The function does not choose threads or processes: ``run_in`` does.
    pool = partial(ParallelFunctionNode, measure_chunk, reads="chunks", writes="measured")
    threads = pool(name="Threads", run_in="thread", max_workers=workers)
    if not compares(options):
        return Graph(split >> threads >> summarise, name="batch")
    one = pool(name="One", run_in="thread", max_workers=1)
    if options.run_in == "dask":
        third = pool(name="Dask", run_in=place)
    else:
        third = pool(name="Processes", run_in="process", max_workers=workers)
    return Graph(split >> one >> threads >> third >> summarise, name="batch")


def rows(shared: Shared) -> Iterable[Row]:
    file_rows: list[Row] = shared["file_rows"]
    return file_rows


def show(shared: Shared, report: RunReport, screen: Screen) -> None:
    totals = shared["file_totals"]
    faults = [row for row in shared["file_rows"] if "error" in row]
    screen.print(
        f"{many(totals['files'], 'file')}: {totals['measured']:,} measured, "
        f"{len(faults):,} that cannot be read or parsed\n{many(totals['lines'], 'line')}, "
        f"{many(totals['functions'], 'function')}, {many(totals['classes'], 'class', 'classes')}, "
        f"{totals['bytes'] / 1e6:.1f} MB"
    )
    for row in faults[:FAULTS_SHOWN]:
        screen.print(f"  {row['path']}: {row['error']}")
    if len(faults) > FAULTS_SHOWN:
        screen.print(f"  … and {len(faults) - FAULTS_SHOWN:,} more")
    if shared["compares"]:
        show_pools(shared, report, screen)
    else:
        show_pool(pool_figures(report, "Threads"), totals, screen)
        screen.print("Threads take turns at the interpreter; to compare: --run-in process")


def show_pools(shared: Shared, report: RunReport, screen: Screen) -> None:
    """Print the wall time of each pool, and the comparison with one worker."""
    third = third_pool(report)
    one, threads, others = (pool_figures(report, name) for name in (*POOLS, third))
    screen.print("", pools_table(shared, report))
    screen.print(
        f"{third}: {one.wall_s / others.wall_s:.2f} times as fast as one worker, the start "
        f"included. Threads: {one.wall_s / threads.wall_s:.2f} times; they take turns at the "
        "interpreter."
    )
    if one.cpu_s < BUSY * one.wall_s:
        screen.print(
            f"The machine was busy: one worker had {one.cpu_s:.2f} s of processor time in "
            f"{one.wall_s:.2f} s. Compare again when it is not."
        )


def pools_table(shared: Shared, report: RunReport) -> Table:
    files, known = len(shared["files"]), shared["known_files"]
    title = f"The same {files:,} files, three times"
    if files < known:
        title += f"\n(of {known:,}; for all of them: --limit {known})"
    table = Table("pool", title=title)
    for column in ("wall s", "files/s", "times one"):
        table.add_column(column, justify="right")
    one = pool_figures(report, "One")
    for name in (*POOLS, third_pool(report)):
        pool = pool_figures(report, name)
        said = f"{len(pool.workers)} {name.lower()}"
        if name in SAID:
            said = SAID[name]
        speed = f"{files / pool.wall_s:,.0f}"
        table.add_row(said, f"{pool.wall_s:.2f}", speed, f"{one.wall_s / pool.wall_s:.2f}")
    return table


def third_pool(report: RunReport) -> str:
    names = {path.split("/")[-1] for path in report.nodes}
    return "Dask" if "Dask" in names else "Processes"


def pool_figures(report: RunReport, name: str) -> NodeFigures:
    """Return a pool's figures; the names of enclosing graphs precede the pool's."""
    return next(node for path, node in report.nodes.items() if path.split("/")[-1] == name)


def show_pool(pool: NodeFigures, totals: Row, screen: Screen) -> None:
    """Print how fast a pool was, and what each of its workers did."""
    screen.print(
        f"{pool.name.split('/')[-1]}: {pool.wall_s:.2f} s, "
        f"{totals['measured'] / pool.wall_s:,.0f} files/s, "
        f"{totals['bytes'] / pool.wall_s / 1e6:.1f} MB/s, "
        f"{totals['lines'] / pool.wall_s:,.0f} lines/s"
    )
    for number, load in sorted(pool.workers.items()):
        # For a thread, that includes the time it waited for its turn.
        screen.print(f"  worker {number}: {many(load.items, 'chunk')} in {load.work_s:.2f} s")


WORKFLOW = Workflow(
    name="batch",
    summary="hash, parse and measure the files of the standard library with a pool of workers",
    words=frozenset(
        {"batch", "batches", "chunk", "chunks", "hash", "hashes", "library", "measure", "parse"}
    ),
    prepare=prepare,
    build=build,
    rows=rows,
    show=show,
)
