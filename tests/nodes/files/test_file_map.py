"""Many files at once: which are found, the work on them, and the results."""

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from kaygraph import Graph, Node, Outcome, Pipeline
from kaygraph.nodes import FileMap, PathError, ReadText
from kaygraph.testing import cancel_everywhere
from tests.stages import results_of

pytestmark = pytest.mark.anyio


def size_of(path: Path) -> int:
    return len(path.read_bytes())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three text files, one of them below, and one of another kind."""
    (tmp_path / "below").mkdir()
    for name, size in (("b.txt", 2), ("a.txt", 1), ("below/c.txt", 3), ("d.csv", 4)):
        (tmp_path / name).write_text("x" * size)
    return tmp_path


async def found(node: FileMap[Any], shared: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a FileMap that writes "found"; return it with the names of the files."""
    shared = {} if shared is None else shared
    node.writes = "found"
    await Graph(node >> Node()).run_async(shared)
    results = shared["found"]
    assert all(isinstance(path, Path) for path in results)
    return {path.name: result for path, result in results.items()}


async def test_each_file_that_matches_has_its_result(folder: Path) -> None:
    """By its path, in the order of the paths."""
    result = await found(FileMap("**/*.txt", size_of, root=folder))
    assert list(result.items()) == [("a.txt", 1), ("b.txt", 2), ("c.txt", 3)]
    shared: dict[str, Any] = {}
    await FileMap("*.txt", size_of, root=folder, writes="sizes").run_async(shared)
    assert shared["sizes"] == {folder / "a.txt": 1, folder / "b.txt": 2}


async def test_without_a_root_a_pattern_is_one_of_the_working_directory_or_absolute(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the paths are as the pattern."""
    monkeypatch.chdir(folder)
    shared: dict[str, Any] = {}
    await FileMap("*.csv", size_of, writes="sizes").run_async(shared)
    assert shared["sizes"] == {Path("d.csv"): 4}
    await FileMap(folder / "*.csv", size_of, writes="sizes").run_async(shared)
    assert shared["sizes"] == {folder / "d.csv": 4}


async def test_by_default_the_pattern_comes_from_the_shared_store(folder: Path) -> None:
    """As the path of a reader does."""
    node = FileMap(None, size_of, root=folder, reads="pattern")
    assert await found(node, {"pattern": "*.csv"}) == {"d.csv": 4}


async def test_def_runs_in_threads_and_async_def_on_the_loop(folder: Path) -> None:
    """A function, a name of one, and the exec of a subclass."""

    def sync(_: Path) -> bool:
        return threading.current_thread() is threading.main_thread()

    async def on_loop(path: Path) -> bool:
        return sync(path)

    class Sync(FileMap[bool]):
        def exec(self, path: Path) -> bool:
            return sync(path)

    class OnLoop(FileMap[bool]):
        async def exec(self, path: Path) -> bool:
            return sync(path)

    class Known(FileMap[bool]):
        function = on_loop  # type: ignore[assignment]  # it is no method

    assert await found(FileMap("*.csv", sync, root=folder)) == {"d.csv": False}
    assert await found(FileMap("*.csv", on_loop, root=folder)) == {"d.csv": True}
    assert await found(Sync("*.csv", root=folder)) == {"d.csv": False}
    assert await found(OnLoop("*.csv", root=folder)) == {"d.csv": True}
    assert await found(Known("*.csv", root=folder)) == {"d.csv": True}
    assert await found(FileMap("*.csv", "os.path:getsize", root=folder)) == {"d.csv": 4}


async def test_files_are_processed_at_once_up_to_the_limit(folder: Path) -> None:
    """Two meet; a third has to wait."""
    meets, most, running = asyncio.Barrier(2), 0, 0

    async def work(path: Path) -> None:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await meets.wait()
        running -= 1

    for number in range(5):
        (folder / f"{number}.txt").touch()
    (folder / "a.txt").unlink()
    await found(FileMap("*.txt", work, root=folder, max_workers=2))
    assert most == 2


async def test_on_error_says_what_becomes_of_a_file_that_fails(folder: Path) -> None:
    """Each result stays with its own file, whatever is missing."""

    def picky(path: Path) -> int:
        if path.name == "a.txt":
            raise ValueError("no")
        return size_of(path)

    with pytest.raises(ValueError, match="no"):
        await found(FileMap("*.txt", picky, root=folder))
    skipped = await found(FileMap("**/*.txt", picky, root=folder, on_error="skip"))
    assert skipped == {"b.txt": 2, "c.txt": 3}
    collected = await found(FileMap("**/*.txt", picky, root=folder, on_error="collect"))
    assert isinstance(collected.pop("a.txt"), Outcome)
    assert collected == skipped


async def test_no_file_is_an_error_that_names_the_pattern(folder: Path) -> None:
    """Unless missing_ok is set."""
    with pytest.raises(FileNotFoundError, match=r"no file matches '\*\.md' in .*missing_ok=True"):
        await found(FileMap("*.md", size_of, root=folder))
    assert await found(FileMap("*.md", size_of, root=folder, missing_ok=True)) == {}


@pytest.mark.parametrize("glob", [".", "/"])
async def test_a_folder_is_no_pattern(glob: str) -> None:
    """The message shows a valid one."""
    with pytest.raises(PathError, match=r"is a folder; a pattern was expected, as in"):
        await found(FileMap(glob, size_of))


async def test_more_files_than_may_match_are_an_error(folder: Path) -> None:
    """Nothing is done with any of them."""
    seen: list[Path] = []
    with pytest.raises(ValueError, match=r"more than 2 files match '\*\*/\*' \(max_files\)"):
        await found(FileMap("**/*", seen.append, root=folder, max_files=2))
    assert seen == []
    assert len(await found(FileMap("**/*", seen.append, root=folder, max_files=4))) == 4


@pytest.mark.timeout(20)
async def test_a_link_that_leads_back_makes_no_endless_search(folder: Path) -> None:
    """`**` does not go through links."""
    for name in ("one", "two"):
        (folder / name).symlink_to(folder)
    assert len(await found(FileMap("**/*.txt", size_of, root=folder))) == 3


async def test_it_is_the_first_stage_of_a_pipeline(folder: Path) -> None:
    """And hands on what each file has come to."""

    class Double(Node[Any, Any]):
        async def exec(self, size: int) -> int:
            return 2 * size

    assert await results_of(Pipeline(FileMap("**/*.txt", size_of, root=folder), Double())) == [
        2,
        4,
        6,
    ]


async def test_each_file_can_be_read_within_bounds_by_a_reader(folder: Path) -> None:
    """A run of a reader within the work, with the same root."""

    async def lines(path: Path) -> int:
        shared: dict[str, Any] = {}
        await ReadText(path, root=folder, writes="lines").run_async(shared)
        return len(shared["lines"])

    assert await found(FileMap("*.txt", lines, root=folder)) == {"a.txt": 1, "b.txt": 1}


async def test_work_runs_in_processes_on_request(folder: Path) -> None:
    """A function that can be imported goes there."""
    node = FileMap("*.txt", os.path.getsize, root=folder, run_in="process", max_workers=1)
    assert await found(node) == {"a.txt": 1, "b.txt": 2}


async def test_a_run_that_drains_keeps_what_was_done(folder: Path) -> None:
    """The files that were not taken up are left out."""
    shared: dict[str, Any] = {}
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work(path: Path) -> int:
        begun.set()
        await go_on.wait()
        return 1

    run = FileMap("**/*.txt", work, root=folder, max_workers=1, writes="done").launch(shared)
    await begun.wait()
    run.drain()
    go_on.set()
    await run
    assert shared["done"] == {folder / "a.txt": 1}


def test_a_run_cancelled_at_any_step_leaves_nothing_behind(folder: Path) -> None:
    """No task, no thread, no file that was not accounted for."""

    async def work(path: Path) -> int:
        await asyncio.sleep(1)
        return 1

    node = FileMap("**/*.txt", work, root=folder, max_workers=2)
    assert cancel_everywhere(node, {}, seeds=3) > 20


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FileMap("*.txt"), "FileMap needs its work, as in FileMap('*.txt', count_words)"),
        (lambda: FileMap(None, size_of), "FileMap needs a pattern, or reads="),
        (lambda: FileMap("*", 7), "function must be a function or 'module:function'"),  # type: ignore[arg-type]
        (lambda: FileMap("*", "os.path:getsise"), "Did you mean 'getsize'?"),
        (lambda: FileMap("", size_of), "glob must be a path, as in glob='data/*.csv': "),
        (lambda: FileMap("*", size_of, max_files=0), "max_files must be at least 1"),
        (lambda: FileMap("*", size_of, missing_ok=1), "missing_ok must be True or False"),  # type: ignore[arg-type]
        (lambda: FileMap("*", size_of, ordered=False), "unknown setting 'ordered'"),
        (lambda: FileMap("*", size_of, max_workers=0), "max_workers must be at least 1"),
    ],
)
def test_settings_are_checked_at_construction(make: Any, message: str) -> None:
    """One clear error each."""
    with pytest.raises((ValueError, TypeError)) as caught:
        make()
    assert message in str(caught.value)
