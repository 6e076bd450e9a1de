"""What the five examples have in common, so that one command can run any of them, or several.

A workflow is a module that says how to fill the shared store, which graph to run over it, and how
to show what came out. ``main.py`` and the interactive prompt know nothing else about an example.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from examples.inputs import Place
from kaygraph import BaseNode, RunReport

Shared = dict[str, Any]
Row = dict[str, Any]

# In the order in which `--example all` runs them.
NAMES = ("validation", "enrichment", "batch", "mapreduce", "pipeline")
# The modules of examples/patterns, in the order in which `--example patterns` runs them.
PATTERNS = (
    "api_aggregation",
    "chunked_batches",
    "error_isolation",
    "map_reduce",
    "multi_source",
    "parallel_validation",
    "notifications",
    "parallel_files",
    "timeouts",
    "partial_failures",
    "resource_limits",
    "circuit_breaker",
    "explicit_order",
    "independence",
    "approval",
    "resume",
)
# These work on files (Options.paths), the others on records (Options.records).
FILE_READERS = frozenset({"batch", "mapreduce"})
# Keeps a slip of the finger from starting a million processes.
MAX_WORKERS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line (or the prompt) asked for; None where it said nothing."""

    workers: int | None = None
    records: list[Any] | None = None  # from --input, from stdin, from the text of a prompt
    paths: str | None = None  # a glob, or a file or directory, for batch and mapreduce
    text: str | None = None  # words to count, for mapreduce
    patterns: tuple[str, ...] | None = None  # those of examples/patterns to run
    limit: int | None = None  # how many records pipeline takes, or how many files batch works on
    output: Path | None = None
    journal: str | None = None  # where the run is recorded
    seed: int = 7
    services: str | None = None  # the URL of a service that runs already
    run_in: str | None = None  # "thread", "process" or "dask"
    mapper: str | None = None  # "module:function"
    reducer: str | None = None
    verbose: bool = False


class Screen(Protocol):
    """Where people read: standard output, or standard error with ``--json``."""

    def print(self, *things: Any) -> None:
        """Print text or anything that rich can draw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """One example.

    Attributes:
        name: What ``--example`` calls it.
        summary: One line for ``--help``.
        words: What people call it in free text: verbs and nouns, lower case.
        prepare: Fills a new shared store from the options (bundled data where they name none).
            Raises ValueError with one clear line when the options cannot be followed.
        build: Makes the graph, named like the example. Several graphs can be wired one after
            another over the same shared store: a later one takes up what an earlier one left.
        rows: What goes to ``--output`` and ``--json``: one plain dict per result, in order.
        show: Prints what a person wants to see of the results (not the run report).
        types: Classes of its own that are among its results, for a journal.
    """

    name: str
    summary: str
    words: frozenset[str]
    prepare: Callable[[Options], Shared]
    build: Callable[[Options], BaseNode[Any, Any]]
    rows: Callable[[Shared], Iterable[Row]]
    show: Callable[[Shared, RunReport, Screen], None]
    types: tuple[type, ...] = ()


def load(name: str) -> Workflow:
    """Return one of the five, importing no other."""
    workflow: Workflow = import_module(f"examples.{name}").WORKFLOW
    return workflow


def workers_or(options: Options, default: int) -> int:
    """Return the number of workers asked for, or the example's own."""
    return default if options.workers is None else options.workers


def count_by(rows: Iterable[Mapping[str, Any]], key: str) -> dict[str, int]:
    """Return how often each value of ``key`` occurs, the most frequent first."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[str(row[key])] = counts.get(str(row[key]), 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def where(record: Any, index: int, place: Place) -> Row:
    """Return what tells a record from the others, so that a row can be joined back to it."""
    return {"id": identity(record), "index": index, **place.row()}


def identity(record: Any) -> str | int | None:
    """Return a record's own id, where that is a text or a whole number."""
    found = record.get("id") if isinstance(record, dict) else None
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None
