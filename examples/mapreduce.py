"""Map-reduce: which identifiers does the standard library use most?

::

    Count  map ──▶ combine ──▶ shuffle ──▶ reduce      ──▶  Rank

``Count`` is one node with several steps, which process several files at once:

* ``map(item)`` yields (key, value) pairs: here a file's identifiers, each with a 1.
* ``combine(key, values)`` makes one value of several, where they arise: here their sum.
* The keys are spread over partitions, which are divided among several reducers.
* ``reduce(key, values)`` makes the result of all values of a key: here their sum again.

``Rank`` sorts the results.

Bring your own functions with ``--mapper module:function`` and ``--reducer module:function``::

    def mapper(item): ...            # item: a pathlib.Path, or a line of the given text;
                                     # returns or yields (key, value) pairs
    def reducer(key, values): ...    # values: a list; returns the key's result

``examples.mapreduce:words`` is such a mapper. A reducer of your own gets every value that the
mapper yielded: there is no ``combine`` before it, because it may need more than a sum.

The shared store: in: ``files`` or ``lines``; between: ``key_results``; out: ``ranking``.
"""

import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from keyword import kwlist
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from examples.inputs import many
from examples.sources import pool_of, python_files
from examples.workflow import Options, Row, Screen, Shared, Workflow
from kaygraph import Graph, MapReduceNode, RunReport
from kaygraph.nodes import node

Pairs = Iterable[tuple[Any, Any]]
Mapper = Callable[[Any], Pairs]
Reducer = Callable[[Any, list[Any]], Any]
Item = Path | str

REDUCERS = 2
PARTITIONS = 8
TOP = 20

# Comments and strings come first, so that their content is not taken for names. This finds names
# even in files that do not parse.
NAMES = re.compile(
    r"""
    \#[^\n]*
    | [rbfuRBFU]{0,2} (?: \"{3} (?s:.*?) \"{3} | '{3} (?s:.*?) '{3}
                        | " (?:\\.|[^"\\\n])* " | ' (?:\\.|[^'\\\n])* ' )
    | ([^\W\d]\w*)
    """,
    re.VERBOSE,
)
WORDS = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
KEYWORDS = frozenset(kwlist)


def identifiers(path: Path) -> Pairs:
    """Yield (identifier, 1) for every use of a name in a Python file; bytes that are not UTF-8
    end a name."""
    for name in NAMES.findall(path.read_text("utf-8", errors="replace")):
        if name and name not in KEYWORDS:
            yield name, 1


def words(item: Item) -> Pairs:
    """Yield (word, 1) for every word of a line, or of a file; lower case."""
    text = item if isinstance(item, str) else item.read_text("utf-8", errors="replace")
    for word in WORDS.findall(text):
        yield word.casefold(), 1


def names(item: Item) -> Pairs:
    """Yield the identifiers of a Python file, and the words of any other."""
    if isinstance(item, Path) and item.suffix in (".py", ".pyi"):
        return identifiers(item)
    return words(item)


def total(key: Any, values: list[Any]) -> Any:
    """Return the sum of a key's values."""
    return sum(values)


class MapReduce(MapReduceNode):
    """Map-reduce with given functions."""

    name = "Count"

    def __init__(self, mapper: Mapper, reducer: Reducer, **settings: Any) -> None:
        super().__init__(**settings)
        self.mapper, self.reducer = mapper, reducer

    def prep(self, shared: Shared, /) -> Sequence[Item]:
        items: Sequence[Item] = shared["lines"] if "lines" in shared else shared["files"]
        return items

    def map(self, item: Item, /) -> Pairs:
        return self.mapper(item)

    def reduce(self, key: Any, values: list[Any], /) -> Any:
        return self.reducer(key, values)

    def post(self, shared: Shared, items: Sequence[Item], results: dict[Any, Any], /) -> None:
        shared["key_results"] = results


class Count(MapReduce):
    """Map-reduce that sums, and may do so early: sums of sums are the same."""

    def combine(self, key: Any, values: list[Any], /) -> Any:
        return sum(values)


@node(reads="key_results", writes="ranking", name="Rank")
def rank(results: dict[Any, Any]) -> list[Row]:
    """Sort the results, largest first; if they cannot be compared, by their keys."""
    by_key = sorted(results.items(), key=lambda pair: str(pair[0]))
    try:
        ranked = sorted(by_key, key=lambda pair: pair[1], reverse=True)
    except TypeError:
        ranked = by_key
    return [{"key": key, "value": value} for key, value in ranked]


def resolve(option: str, name: str) -> Callable[..., Any]:
    """Return the function that ``module:function`` names. The module is imported, nothing else.

    Raises:
        ValueError: There is no such function, with what to type instead.
    """
    module_name, colon, function_name = name.partition(":")
    hint = f"Type {option} module:function, such as {option} examples.mapreduce:words."
    if not (module_name and colon and function_name):
        raise ValueError(f"{option} {name!r} does not name a function. {hint}")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the module's own code runs here and can raise anything
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{option}: cannot import {module_name!r} ({reason}). {hint}") from error
    function = getattr(module, function_name, None)
    if function is None:
        raise ValueError(f"{option}: {module_name!r} has no {function_name!r}. {hint}")
    if not callable(function):
        kind = type(function).__name__
        raise ValueError(f"{option}: {name!r} is not a function but of type {kind}. {hint}")
    return function  # type: ignore[no-any-return]


def count_of(options: Options) -> MapReduce:
    """Return the node that the options ask for; ValueError if a function does not exist."""
    workers, run_in = pool_of(options)
    mapper: Mapper = words if options.text is not None else names
    if options.mapper is not None:
        mapper = resolve("--mapper", options.mapper)
    settings = {"partitions": PARTITIONS, "run_in": run_in}
    if options.run_in != "dask":  # a cluster says itself how many items keep it busy
        settings |= {"map_workers": workers, "reduce_workers": REDUCERS}
    if options.reducer is None:
        return Count(mapper, total, **settings)
    return MapReduce(mapper, resolve("--reducer", options.reducer), **settings)


def prepare(options: Options) -> Shared:
    pool_of(options)
    count_of(options)
    if options.text is None:
        return {"files": python_files(options)}
    if not options.text.strip():
        raise ValueError("There are no words in the text. Type some, in quotes.")
    return {"lines": options.text.splitlines()}


def build(options: Options) -> Graph:
    return Graph(count_of(options) >> rank, name="mapreduce")


def rows(shared: Shared) -> Iterable[Row]:
    ranking: list[Row] = shared["ranking"]
    return ranking


def show(shared: Shared, report: RunReport, screen: Screen) -> None:
    ranking = shared["ranking"]
    kind = "lines" if "lines" in shared else "files"
    values = [row["value"] for row in ranking]
    are_numbers = all(isinstance(value, int | float) for value in values)
    sums = f", {sum(values):,} in all" if are_numbers else ""
    inputs = many(len(shared[kind]), kind.removesuffix("s"))
    screen.print(f"{inputs}: {many(len(ranking), 'key')}{sums}")
    table = Table("key", title=f"The top {len(ranking[:TOP])}")
    table.add_column("value", justify="right")
    for row in ranking[:TOP]:
        value = f"{row['value']:,}" if are_numbers else str(row["value"])
        table.add_row(Text(str(row["key"])), Text(value))
    screen.print(table)


WORKFLOW = Workflow(
    name="mapreduce",
    summary="count the identifiers of the standard library, or words, by map, combine and reduce",
    words=frozenset(
        {"mapreduce", "map-reduce", "map", "reduce", "count", "counts", "word", "words"}
        | {"identifier", "identifiers", "frequency", "frequencies"}
    ),
    prepare=prepare,
    build=build,
    rows=rows,
    show=show,
)
