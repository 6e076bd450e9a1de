"""Output of results: a table in the terminal, JSON for machines, a page of the docs."""

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

from benchmarks.harness import Row

PACKAGES = (
    "aiohttp", "msgspec", "psycopg", "uvloop",  # what floors are written with
    "pocketflow", "langgraph", "prefect", "apache-burr", "aiostream", "aiometer",
)  # fmt: skip

HEADER = ("", "workload", "floor µs", "ours µs", "result", "target", "", "best peer")
WIDTHS = (24, 60, 9, 9, 14, 9, 3, 20)


def header() -> str:
    """Return the first line of the table."""
    return _line(HEADER)


def line(row: Row) -> str:
    """Return a row as a line of the table."""
    return _line(cells(row))


def cells(row: Row) -> tuple[str, ...]:
    """Return the cells of the columns."""
    peer = row.best_peer()
    return (
        row.name,
        row.what,
        "" if row.floor_us is None else f"{row.floor_us:.3f}",
        "" if row.ours_us is None else f"{row.ours_us:.3f}",
        figure(row.value, row.unit),
        figure(row.target, row.unit),
        "yes" if row.is_met else "no",
        "" if peer is None else f"{peer[0]} {peer[1]:.2f} ×",
    )


def figure(value: float, unit: str) -> str:
    """Return a figure with its unit."""
    return f"{value:.2f} {unit}"


def machine() -> dict[str, object]:
    """Return the environment of the measurement."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "packages": packages,
    }


def as_json(rows: Iterable[Row]) -> str:
    """Return all rows, and the environment of the measurement."""
    return json.dumps({"machine": machine(), "rows": [asdict(row) for row in rows]}, indent=1)


def as_page(rows: Iterable[Row], command: str) -> str:
    """Return the page of the docs."""
    where = machine()
    packages = where["packages"]
    assert isinstance(packages, dict)
    versions = ", ".join(f"{name} {number}" for name, number in packages.items())
    lines = [
        "# Benchmarks",
        "",
        "Each row compares kaygraph with the loop that one would write by hand. Both run in turn,",
        "in the same process, five times; a figure is the median. Times are processor time in µs",
        "per item, node or run; rows that use other processes show wall time. `×` is kaygraph",
        "divided by the loop, `µs more` is kaygraph minus the loop. Peers do the same work; their",
        "figures are relative to the same loop.",
        "",
        f"Measured with `{command}` on {where['system']}, {where['cpus']} cores, "
        f"Python {where['python']}; {versions}.",
        "",
        "| | workload | by hand, µs | kaygraph, µs | result | target | met | best peer |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        shown = [cell.replace("|", "\\|") for cell in cells(row)]
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def _line(columns: tuple[str, ...]) -> str:
    first = [cell.ljust(width) for cell, width in zip(columns[:2], WIDTHS[:2], strict=True)]
    middle = [cell.rjust(width) for cell, width in zip(columns[2:6], WIDTHS[2:6], strict=True)]
    last = [cell.ljust(width) for cell, width in zip(columns[6:], WIDTHS[6:], strict=True)]
    return " ".join([*first, *middle, *last]).rstrip()
