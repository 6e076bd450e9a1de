"""``Journal``: arguments, listing, forking and pruning; and errors that say what to do."""

import asyncio
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kaygraph import (
    Graph,
    Journal,
    JournalError,
    Node,
    ParallelBatchNode,
    RunExistsError,
    RunUnknownError,
)
from kaygraph.errors import NodeChangedError, RunDivergedError

CALLS: list[Any] = []

pytestmark = pytest.mark.anyio


class Load(Node[Any, list[int]]):
    """Returns the items."""

    def exec(self, _: Any) -> list[int]:
        CALLS.append("load")
        return [1, 2, 3, 2]

    def post(self, shared: Any, prep_res: Any, exec_res: list[int]) -> None:
        shared["items"] = exec_res


class Square(ParallelBatchNode[int, int]):
    """Two of its items are equal."""

    fails = False

    def prep(self, shared: Any) -> list[int]:
        return list(shared["items"])

    async def exec(self, item: int) -> int:
        CALLS.append(item)
        if type(self).fails and item == 3:
            raise ConnectionError("no answer")
        return item * item

    def post(self, shared: Any, prep_res: Any, exec_res: list[int]) -> None:
        shared["squares"] = exec_res


class Total(Node[list[int], int]):
    """Adds them up."""

    def prep(self, shared: Any) -> list[int]:
        return list(shared["squares"])

    def exec(self, squares: list[int]) -> int:
        CALLS.append("total")
        return sum(squares)

    def post(self, shared: Any, prep_res: Any, exec_res: int) -> str:
        shared["total"] = exec_res
        return "end"


def squares(*nodes: Any) -> Graph:
    line = nodes or (Load(), Square(max_workers=1), Total())
    for before, after in pairwise(line):
        before >> after
    return Graph(line[0], name="squares")


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget the calls of other tests."""
    CALLS.clear()
    Square.fails = False


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def ended(path: Path) -> Path:
    """A journal with a finished run."""
    squares().run({}, journal=Journal(path, run="first"))
    CALLS.clear()
    return path


def failing(path: Path) -> None:
    Square.fails = True
    with pytest.raises(ConnectionError):
        squares().run({}, journal=Journal(path, run="first", accept=["Square"]))
    Square.fails = False
    CALLS.clear()


# --- resuming -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["run", "run_async", "launch"])
def test_a_run_goes_on_where_it_failed(path: Path, way: str) -> None:
    """However it is run; ``prep`` and ``post`` run again and rebuild ``shared``."""
    failing(path)
    shared: dict[str, Any] = {}
    journal = Journal(path, run="first", accept=["Square"])
    graph = squares()

    async def launched() -> str | None:
        return await graph.launch(shared, journal=journal)

    if way == "run":
        action = graph.run(shared, journal=journal)
    elif way == "run_async":
        action = asyncio.run(graph.run_async(shared, journal=journal))
    else:
        action = asyncio.run(launched())
    assert action == "end"
    assert shared == {"items": [1, 2, 3, 2], "squares": [1, 4, 9, 4], "total": 18}
    assert CALLS == [3, 2, "total"]  # the second 2 is another item
    assert (journal.replayed, journal.called) == (3, 3)


def test_a_run_that_is_done_calls_nothing(ended: Path) -> None:
    """It returns its action."""
    shared: dict[str, Any] = {}
    assert squares().run(shared, journal=Journal(ended, run="first")) == "end"
    assert CALLS == []


async def test_a_stream_is_recorded_and_yields_all_again(path: Path) -> None:
    """Including what came before it was left."""
    async with asyncio.timeout(10):
        shared = {"items": [1, 2, 3]}
        stream = Square(max_workers=1).stream(shared, journal=Journal(path, run="s"))
        assert (await anext(stream)).value == 1
        await stream.aclose()
        again = Square(max_workers=1).stream(shared, journal=Journal(path, run="s"))
        assert [outcome.value async for outcome in again] == [1, 4, 9]
    assert CALLS.count(1) == 1


def test_without_an_id_one_is_made_and_printed(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, with what to type to resume it."""
    squares().run({}, journal=Journal(path))
    (run,) = Journal(path).runs()
    assert f"Journal(..., run={run.run!r})" in capsys.readouterr().err


def test_items_may_be_inserted_removed_and_reordered(path: Path) -> None:
    """Only what is new is called."""
    failing(path)

    class Other(Load):
        def post(self, shared: Any, prep_res: Any, exec_res: list[int]) -> None:
            shared["items"] = [3, 2, 9, 1]

    shared: dict[str, Any] = {}
    graph = squares(Other(name="Load"), Square(max_workers=1), Total())
    graph.run(shared, journal=Journal(path, run="first", accept=["Square"]))
    assert shared["squares"] == [9, 4, 81, 1]
    assert CALLS == [3, 9, "total"]


def test_a_key_identifies_items(path: Path) -> None:
    """The rest of them may change."""

    class Ask(ParallelBatchNode[dict[str, Any], int]):
        def prep(self, shared: Any) -> list[dict[str, Any]]:
            return shared["asked"]  # type: ignore[no-any-return]

        async def exec(self, item: dict[str, Any]) -> int:
            CALLS.append(item["id"])
            return int(item["id"])

    class Fail(Node[Any, None]):
        def exec(self, _: Any) -> None:
            if "again" not in CALLS:
                raise ConnectionError

    def graph() -> Graph:
        return squares(Ask(), Fail())

    key = {"Ask": lambda item: item["id"]}
    with pytest.raises(ConnectionError):
        graph().run({"asked": [{"id": 1, "at": 5}]}, journal=Journal(path, run="a", key=key))
    CALLS.append("again")
    graph().run(
        {"asked": [{"id": 1, "at": 6}, {"id": 2, "at": object()}]},
        journal=Journal(path, run="a", key=key, accept=["Ask"]),
    )
    assert CALLS == [1, "again", 2]


# --- what has changed -----------------------------------------------------------------------------


def test_a_node_whose_code_has_changed_is_named(path: Path) -> None:
    """With both ways to continue."""
    failing(path)

    class Cube(Square):
        async def exec(self, item: int) -> int:
            CALLS.append(item)
            return item**3

    def cubes() -> Graph:
        return squares(Load(), Cube(max_workers=1, name="Square"), Total())

    with pytest.raises(NodeChangedError, match=r"redo=\['Square'\].*accept=\['Square'\]"):
        cubes().run({}, journal=Journal(path, run="first"))
    assert CALLS == []
    shared: dict[str, Any] = {}
    cubes().run(shared, journal=Journal(path, run="first", redo=["Square"]))
    assert shared["squares"] == [1, 8, 27, 8]


def test_with_redo_only_what_follows_from_it_runs_again(ended: Path) -> None:
    """What has the same input as before is kept."""
    shared: dict[str, Any] = {}
    squares().run(shared, journal=Journal(ended, run="first", redo=["Load"]))
    assert CALLS == ["load"]
    assert shared["total"] == 18


@pytest.mark.parametrize(
    "nodes",
    [
        (Load, Square),
        (Load, Square, lambda: Total(name="Sum")),
        (Load, Square, lambda: Total(name="Before"), Total),
    ],
    ids=["removed", "renamed", "added before"],
)
def test_a_graph_that_has_changed_is_refused(ended: Path, nodes: Any) -> None:
    """The result that nobody asks for is named within seconds."""
    new = Journal(ended).fork("first")
    graph = squares(*(make() for make in nodes))
    with pytest.raises(RunDivergedError, match=r"'Total'.*redo="):
        graph.run({}, journal=Journal(ended, run=new), deadline=20)


def test_another_input_of_a_node_is_refused(ended: Path) -> None:
    """If ``prep`` returns something else, its node is named."""

    class Other(Load):
        def post(self, shared: Any, prep_res: Any, exec_res: list[int]) -> None:
            shared["items"] = [5]

    new = Journal(ended).fork("first")
    with pytest.raises(RunDivergedError, match="prep of 'Total'"):
        squares(Other(name="Load"), Square(), Total()).run({}, journal=Journal(ended, run=new))


def test_a_run_belongs_to_one_graph(ended: Path) -> None:
    """A different one cannot resume it."""
    with pytest.raises(RunExistsError, match=r"belongs to 'squares', and this is 'others'"):
        Graph(Load(), name="others").run({}, journal=Journal(ended, run="first"))


def test_a_graph_of_another_name_does_not_take_a_run_over(path: Path) -> None:
    """It is refused before the current owner loses it."""

    class Interferes(Node[Any, None]):
        def exec(self, _: Any) -> None:
            with pytest.raises(RunExistsError):
                Graph(Load(), name="others").run({}, journal=Journal(path, run="a"))

    Graph(Interferes(), name="whose").run({}, journal=Journal(path, run="a"))
    assert Journal(path, run="a").show().info.status == "done"


@pytest.mark.parametrize("name", ["\ud800", "nul\0"])
def test_a_graph_may_have_any_name(path: Path, name: str) -> None:
    """Including one that a database cannot store."""
    for _ in range(2):
        Graph(Load(), name=name).run({}, journal=Journal(path, run="a"))


def test_a_run_that_has_ended_has_left_no_thread(path: Path) -> None:
    """Not even one that is about to end."""
    for run in range(20):
        squares().run({"items": [1]}, journal=Journal(path, run=str(run)))
        assert not [t for t in threading.enumerate() if t.name == "kaygraph-journal"]


# --- what is recorded -----------------------------------------------------------------------------


def test_show_lists_nodes_and_points(ended: Path) -> None:
    """In the order in which they were recorded."""
    record = Journal(ended, run="first").show()
    assert (record.info.status, record.info.action) == ("done", "end")
    assert [(node.name, node.results) for node in record.nodes] == [
        ("Load", 1),
        ("Square", 4),
        ("Total", 1),
    ]
    assert [point.path for point in record.points] == ["Load", "Square", "Total"]
    assert Journal(ended, run="first").result("Total") == 18


def test_a_fork_goes_on_from_a_point(ended: Path) -> None:
    """What followed it is called again; the old run stays unchanged."""
    journal = Journal(ended, run="first")
    new = journal.fork(at="Load")
    squares().run({}, journal=Journal(ended, run=new))
    assert CALLS == [1, 2, 3, 2, "total"]
    assert journal.result("Total") == 18


def test_a_fork_with_a_changed_result_runs_what_follows(ended: Path) -> None:
    """Items that are the same are not called again."""
    new = Journal(ended).fork("first", set={"Load": [2, 5]}, new="changed")
    assert new == "changed"
    shared: dict[str, Any] = {}
    squares().run(shared, journal=Journal(ended, run=new))
    assert shared["total"] == 29
    assert CALLS == [5, "total"]


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"run": "none"}, RunUnknownError, "has no run 'none'. Known runs: 'first'"),
        ({"run": "first", "at": "Lod"}, ValueError, "no point 'Lod'. Did you mean 'Load'?"),
        ({"run": "first", "set": {"Square": 1}}, ValueError, "has no result to change"),
        ({"run": "first", "set": {"Load": object()}}, TypeError, "cannot be recorded"),
        (
            {"run": "first", "at": "Load", "set": {"Total": 1}},
            ValueError,
            "'Total' was recorded after 'Load', so it is not kept; to change it, keep it: at=",
        ),
        ({"run": "first", "new": "first"}, RunExistsError, "has a run 'first' already"),
        ({}, TypeError, "which run?"),
    ],
)
def test_a_fork_that_cannot_be_made(
    ended: Path, asked: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Nothing is created then."""
    with pytest.raises(error) as raised:
        Journal(ended).fork(**asked)
    assert message in str(raised.value)
    assert len(Journal(ended).runs()) == 1


def test_prune_keeps_the_newest_and_what_has_not_ended(ended: Path) -> None:
    """By number, or by age."""
    failing_run = Journal(ended).fork("first", new="unfinished")
    for name in ("second", "third"):
        squares().run({}, journal=Journal(ended, run=name))
    journal = Journal(ended)
    assert journal.prune(2) == ["first"]
    assert journal.prune("1h") == []
    assert sorted(journal.prune(0)) == ["second", "third"]
    assert [run.run for run in journal.runs()] == [failing_run]
    assert journal.prune(0, unfinished=True) == [failing_run]


def test_keep_prunes_when_a_run_is_done(path: Path) -> None:
    """So a journal in daily use does not grow."""
    for name in "abc":
        squares().run({}, journal=Journal(path, run=name, keep=2))
    assert [run.run for run in Journal(path).runs()] == ["c", "b"]


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"redo": "Load"}, "redo must be a list of node names, as in redo=['Fetch']"),
        ({"accept": "Load"}, "accept must be a list of node names"),
        ({"on_wait": "leave"}, "on_wait"),
        ({"keep": "30"}, "keep must be a number of runs or a duration such as '30d', got '30'"),
        (
            {"address": 5},
            "the address of a journal must be a path or a url, as in Journal('runs.db')",
        ),
        ({"types": OSError}, "types must be a list of classes, as in types=[OSError]"),
        ({"run": ""}, "printable characters"),
        ({"snapshot_every": 0}, "snapshot_every"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    """When the journal is created; nothing is opened."""
    with pytest.raises((TypeError, ValueError)) as raised:
        Journal(**{"address": "runs.db", **settings})
    assert message in str(raised.value)


def test_journal_takes_a_journal() -> None:
    """An address alone, or the class, says what to type."""
    given: tuple[Any, ...] = ("runs.db", Journal)
    for journal in given:
        with pytest.raises(TypeError, match=r'journal=Journal\("runs.db", run="import-7"\)'):
            squares().run({}, journal=journal)


def test_a_run_in_a_journal_that_cannot_be_opened_does_not_begin(tmp_path: Path) -> None:
    """Nothing is called."""
    with pytest.raises(JournalError):
        squares().run({}, journal=Journal(tmp_path / "missing" / "runs.db", run="a"))
    assert CALLS == []


# --- a file that is held open ---------------------------------------------------------------------


def test_a_block_holds_the_file_open_for_all_its_runs(path: Path) -> None:
    """None of them is the last to close it, which takes a checkpoint; the block's end is."""
    log = Path(f"{path}-wal")
    with Journal(path) as journal:
        sizes = set()
        for run in "ab":
            squares().run({}, journal=Journal(path, run=run))
            assert log.exists()
            sizes.add(path.stat().st_size)
        assert len(sizes) == 1
        with journal:  # once more
            pass
        assert log.exists()
        assert [info.run for info in journal.runs()] == ["b", "a"]
    assert not log.exists()
    assert path.stat().st_size > sizes.pop()
    assert [info.status for info in Journal(path).runs()] == ["done", "done"]


def test_a_block_that_fails_closes_the_file(path: Path) -> None:
    """The runs in it are recorded."""
    Square.fails = True
    with pytest.raises(ConnectionError), Journal(path, run="a") as journal:
        squares().run({}, journal=journal)
    assert not Path(f"{path}-wal").exists()
    assert [info.status for info in Journal(path).runs()] == ["failed"]


def test_a_block_reports_at_its_start_what_cannot_be_opened(path: Path) -> None:
    """And creates the file if there is none."""
    with pytest.raises(JournalError, match="there is no folder"), Journal(path / "no" / "runs.db"):
        pass
    with Journal(path):
        assert path.exists()
