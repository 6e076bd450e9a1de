"""The map-reduce example: identifiers, words, and functions of the user's own."""

import asyncio
import keyword
import multiprocessing
import threading
import tokenize
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from examples.mapreduce import TOP, WORKFLOW, identifiers
from examples.workflow import Options
from kaygraph import Event, ItemFinished
from tests.examples.paper import Paper
from tests.examples.runs import run

pytestmark = pytest.mark.anyio

LIBRARY = Path(Counter.__init__.__code__.co_filename).parents[1]
OWN = '''
"""Functions of a user's own."""

NUMBER = 1


def lengths(path):
    return [(path.suffix, (len(path.name), path.name))]


def longest(key, values):
    return [name for _, name in sorted(values)][-1], len(values)


def imaginary(key, values):
    return complex(0, len(values))


def broken(item):
    raise RuntimeError("no pairs today")
'''


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module of the user's own, which can be imported."""
    (tmp_path / "own_functions.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_functions"


def result(options: Options) -> dict[Any, Any]:
    return {row["key"]: row["value"] for row in WORKFLOW.rows(run(WORKFLOW, options)[0])}


def tokenized(path: Path) -> Counter[str]:
    """Count identifiers as Python's own tokenizer sees them."""
    with path.open("rb") as file:
        names = [t.string for t in tokenize.tokenize(file.readline) if t.type == tokenize.NAME]
    return Counter(name for name in names if not keyword.iskeyword(name))


# Identifiers


@pytest.mark.parametrize("name", ["bisect.py", "heapq.py", "keyword.py", "collections/abc.py"])
def test_identifiers_are_those_of_the_tokenizer(name: str) -> None:
    """The pattern counts what Python's own tokenizer counts."""
    path = LIBRARY / name
    expected = tokenized(path)
    assert expected
    assert result(Options(paths=str(path))) == expected


def test_comments_strings_and_keywords_hold_no_identifiers(tmp_path: Path) -> None:
    """Only used names count; a file with bytes that are not UTF-8 is read nevertheless."""
    path = tmp_path / "tricky.py"
    path.write_bytes(
        b"# comment\nname = 'text' + rb'raw' + \"it's\" + f'''three\nlines'''\n"
        b'if name: caf\xc3\xa9(name, "a\\"b")\n"""doc \'string"""\nlast = \'\xff\'\n'
    )
    assert Counter(key for key, _ in identifiers(path)) == {"name": 3, "café": 1, "last": 1}


def test_several_mappers_and_reducers_count_what_one_would() -> None:
    """The sums over many files are those of one file after another; every item is counted once."""
    options = Options(paths=str(LIBRARY / "json" / "*.py"), workers=3)
    shared, report = run(WORKFLOW, options)
    expected: Counter[str] = Counter()
    for path in shared["files"]:
        for key, value in identifiers(path):
            expected[key] += value
    assert {row["key"]: row["value"] for row in WORKFLOW.rows(shared)} == expected
    assert report.nodes["Count/map"].items == {"ok": len(shared["files"])}
    assert len(shared["files"]) > 3
    assert report.nodes["Count/reduce"].items["ok"] > 1
    assert report.nodes["Count/map"].peak <= 3


def test_processes_count_what_threads_count() -> None:
    """``run_in`` changes where the work is done and nothing else."""
    files = str(LIBRARY / "json" / "*.py")
    in_processes = result(Options(paths=files, run_in="process", workers=2))
    assert in_processes == result(Options(paths=files)) != {}


@pytest.mark.proofs
def test_a_cluster_counts_what_threads_count() -> None:
    """One that the run starts."""
    files = str(LIBRARY / "json" / "*.py")
    on_cluster = result(Options(paths=files, run_in="dask", workers=2))
    assert on_cluster == result(Options(paths=files)) != {}


# Words


def test_words_of_a_text_are_counted_instead_of_files() -> None:
    """Words are lower case, with the apostrophes and hyphens inside them; the largest first."""
    shared, _ = run(WORKFLOW, Options(text="The cat, the DOG's well-known\nthe cat 42 ... cats!"))
    assert list(WORKFLOW.rows(shared)) == [
        {"key": "the", "value": 3},
        {"key": "cat", "value": 2},
        {"key": "cats", "value": 1},
        {"key": "dog's", "value": 1},
        {"key": "well-known", "value": 1},
    ]


def test_show_gives_the_top_and_the_totals() -> None:
    """The table holds the 20 largest, in order, and the line above it what there is in all."""
    words = [f"word{chr(97 + number)}" for number in range(TOP + 3)]
    text = " ".join(word for number, word in enumerate(words) for _ in range(number + 1))
    shared, report = run(WORKFLOW, Options(text=text))
    paper = Paper()
    WORKFLOW.show(shared, report, paper)
    printed = paper.text
    assert f"1 line: {len(words)} keys, {sum(range(len(words) + 1))} in all" in printed
    places = [printed.find(f" {word} ") for word in words]
    assert places[:3] == [-1, -1, -1]
    assert places[3:] == sorted(places[3:], reverse=True)
    assert min(places[3:]) > 0


# Functions of the user's own


def test_own_functions_see_every_pair(own_module: str, tmp_path: Path) -> None:
    """A reducer of one's own gets each value that the mapper yielded, and no sum of some."""
    for number in range(100):
        (tmp_path / f"{'x' * number}.md").touch()
    options = Options(
        paths=str(tmp_path / "*.md"),
        mapper=f"{own_module}:lengths",
        reducer=f"{own_module}:longest",
    )
    assert result(options) == {".md": ("x" * 99 + ".md", 99)}  # a glob leaves out ".md"


def test_own_mapper_of_lines_is_summed_up() -> None:
    """A mapper without a reducer is summed; of a text it gets the lines."""
    options = Options(text="a b\nb", mapper="examples.mapreduce:words")
    assert result(options) == {"a": 1, "b": 2}


def test_values_that_cannot_be_compared_are_in_order_of_their_keys(own_module: str) -> None:
    """Ranking does not fail on what has no order."""
    shared, report = run(WORKFLOW, Options(text="b a b c", reducer=f"{own_module}:imaginary"))
    assert list(WORKFLOW.rows(shared)) == [
        {"key": "a", "value": 1j},
        {"key": "b", "value": 2j},
        {"key": "c", "value": 1j},
    ]
    WORKFLOW.show(shared, report, Paper())


def test_failure_of_an_own_function_names_the_item(own_module: str) -> None:
    """What the user's function raises is raised as it is, with a note of where."""
    with pytest.raises(RuntimeError, match="no pairs today") as raised:
        run(WORKFLOW, Options(text="one line", mapper=f"{own_module}:broken"))
    assert "'Count/map', item 0 ('one line')" in "".join(raised.value.__notes__)


@pytest.mark.parametrize("option", ["mapper", "reducer"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lengths", "does not name a function"),
        (":lengths", "does not name a function"),
        ("own_functions:", "does not name a function"),
        ("no_such_module:f", "cannot import 'no_such_module'"),
        ("own_functions:length", "'own_functions' has no 'length'"),
        ("own_functions:NUMBER", "is not a function but of type int"),
        ("own_functions:lengths()", "has no 'lengths"),
        ("__import__('os'):system", "cannot import"),
    ],
)
def test_function_that_is_not_there_is_refused_with_what_to_type(
    own_module: str, option: str, name: str, message: str
) -> None:
    """The message says what is wrong and what one would type; nothing is evaluated."""
    with pytest.raises(ValueError, match=message) as refused:
        WORKFLOW.prepare(Options(text="words", **{option: name}))  # type: ignore[arg-type]
    text = str(refused.value)
    assert text.startswith(f"--{option}")
    assert f"Type --{option} module:function" in text
    assert "\n" not in text


def test_text_without_words_is_refused() -> None:
    """There is nothing to count in blanks."""
    with pytest.raises(ValueError, match="no words"):
        WORKFLOW.prepare(Options(text="  \n"))


async def test_cancelling_leaves_no_process_and_no_thread() -> None:
    """A run that is cancelled while processes map has ended them when it is over."""
    before = threading.active_count()
    options = Options(limit=200, run_in="process", workers=2)
    mapped = asyncio.Event()

    def watch(event: Event, /) -> None:
        if isinstance(event, ItemFinished) and event.node == "Count/map":
            mapped.set()

    graph = WORKFLOW.build(options)
    task = asyncio.create_task(graph.run_async(WORKFLOW.prepare(options), observers=[watch]))
    await mapped.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert multiprocessing.active_children() == []
    assert threading.active_count() == before
