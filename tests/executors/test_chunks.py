"""Items that go to worker processes in chunks: each is accounted for by itself."""

import asyncio
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path
from typing import Any

import pytest

from kaygraph import (
    AttemptTimeoutError,
    DeadlineExceededError,
    Graph,
    NodeDefinitionError,
    Outcome,
    WorkerDiedError,
)
from kaygraph.executors import chunked
from kaygraph.executors.chunk import Chunk
from kaygraph.executors.chunked import Plan, run_items
from kaygraph.executors.pickling import dumps
from kaygraph.executors.results import PICKLED
from kaygraph.executors.worker_process import WorkerProcess
from tests.executors.chunking import Chunked
from tests.executors.failing import Busy

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.proofs,  # each test starts processes
    pytest.mark.skipif(not hasattr(os, "killpg"), reason="items go one by one on Windows"),
]

Item = tuple[Any, ...]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes"
    path.touch()
    return path


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many items there were in each chunk."""
    run, sizes = WorkerProcess.run, list[int]()

    def noted(self: WorkerProcess, chunk: Chunk, *args: Any) -> None:
        sizes.append(len(chunk.entries))
        run(self, chunk, *args)

    monkeypatch.setattr(WorkerProcess, "run", noted)
    return sizes


async def results_of(node: Chunked) -> Any:
    shared: dict[str, Any] = {}
    await node.run_async(shared)
    return shared["results"]


def calls(notes: Path) -> Counter[int]:
    """Return how often ``exec`` was called with each item."""
    return Counter(int(line) for line in notes.read_text().split())


def items(number: int, **others: tuple[Any, ...]) -> list[Item]:
    """Return items that are ``ok``, but for ``at_3=("raise",)``."""
    return [(at, *others.get(f"at_{at}", ("ok",))) for at in range(number)]


# --- sizes ---


async def test_items_of_a_list_go_together(notes: Path, sizes: list[int]) -> None:
    """More and more of them, while they are short; each once, and in order."""
    node = Chunked(notes, items(300), max_workers=2)
    assert await results_of(node) == list(range(300))
    assert calls(notes) == Counter(range(300))
    assert max(sizes) > 10
    assert len(sizes) < 100


@pytest.mark.parametrize("kind", [list, iter, lambda listed: (item for item in listed)])
async def test_as_many_go_together_as_was_said(
    notes: Path, sizes: list[int], kind: Callable[[Any], Any]
) -> None:
    """From any source that can be read at once."""
    assert await results_of(Chunked(notes, kind(items(25)), chunksize=10)) == list(range(25))
    assert sizes == [10, 10, 5]


async def test_a_generator_is_asked_for_an_item_when_a_process_is_free(
    notes: Path, sizes: list[int]
) -> None:
    """By default: it may look at what the items before have done."""

    def following() -> Iterator[Item]:
        for number in range(5):
            assert calls(notes).total() == number
            yield number, "ok"

    assert await results_of(Chunked(notes, following())) == list(range(5))
    assert sizes == []


@pytest.mark.parametrize("settings", [{"memory_limit": "1 GB"}, {"chunksize": 1}, {"deadline": 60}])
async def test_where_more_is_asked_between_items_they_go_one_by_one(
    notes: Path, sizes: list[int], settings: dict[str, Any]
) -> None:
    """Each has its own room, and its own time in all."""
    assert await results_of(Chunked(notes, items(5), **settings)) == list(range(5))
    assert sizes == []


async def test_large_items_do_not_go_together(notes: Path, sizes: list[int]) -> None:
    """A chunk has a megabyte, or one item."""
    listed = [(number, "raise", b"x" * 600_000) for number in range(4)]
    results = await results_of(Chunked(notes, listed, chunksize=4, on_error="collect"))
    assert [type(one.error) for one in results] == [TypeError] * 4  # for its value
    assert calls(notes) == Counter(range(4))
    assert sizes == [4, 2]  # two of the four were left


def test_a_size_is_a_number_or_auto(notes: Path) -> None:
    """And needs processes."""
    with pytest.raises(ValueError, match="chunksize must be at least 1, got 0"):
        Chunked(notes, (), chunksize=0)
    with pytest.raises(ValueError, match="chunksize must be a whole number or 'auto', got 'many'"):
        Chunked(notes, (), chunksize="many")
    with pytest.raises(ValueError, match="chunksize needs run_in='process'"):
        Chunked(notes, (), chunksize=5, run_in="thread")


# --- errors ---


async def test_an_item_that_fails_has_its_attempts_and_no_other(notes: Path) -> None:
    """The error is its own, with the traceback of the process."""
    listed = items(20, at_3=("raise",), at_7=("raise",), at_9=("drop",))
    node = Chunked(notes, listed, chunksize=20, max_retries=3, on_error="collect")
    results = await results_of(node)
    failed = {one.index: one for one in results if isinstance(one, Outcome)}
    assert failed.keys() == {3, 7}
    assert len(results) == 19  # one was dropped
    assert (type(failed[3].error), failed[3].attempts) == (Busy, 3)
    assert any("raise Busy(503" in note for note in failed[3].error.__notes__)  # type: ignore[union-attr]
    assert calls(notes) == Counter(range(20)) + Counter({3: 2, 7: 2})


async def test_nothing_begins_behind_an_item_that_ends_the_batch(notes: Path) -> None:
    """Though it has been sent."""
    with pytest.raises(Busy) as caught:
        await results_of(Chunked(notes, items(20, at_3=("raise",)), chunksize=20))
    assert calls(notes) == Counter(range(4))
    assert any("in node 'Chunked', item 3" in note for note in caught.value.__notes__)


class Unsent:
    """Cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("stays here")


class Unread:
    """Cannot be unpickled."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ((3, "ok", Unsent()), "while the item was pickled for a process"),
        ((3, "ok", Unread()), "while the item was unpickled in the process"),
        ((3, "lock"), "while the result of exec was pickled in the process"),
    ],
)
@pytest.mark.parametrize("on_error", ["collect", "raise"])
async def test_an_item_that_does_not_travel_fails_alone(
    notes: Path, item: Item, said: str, on_error: str
) -> None:
    """On its way there, or back."""
    listed = items(10)
    listed[3] = item
    node = Chunked(notes, listed, chunksize=10, on_error=on_error)
    if on_error == "raise":
        with pytest.raises((TypeError, ValueError)) as caught:
            await results_of(node)
        assert said in caught.value.__notes__
        assert not calls(notes).keys() - {0, 1, 2, 3}
        return
    results = await results_of(node)
    assert said in results[3].error.__notes__
    assert results[:3] + results[4:] == [0, 1, 2, 4, 5, 6, 7, 8, 9]


async def test_a_node_that_cannot_be_sent_is_the_error_of_each_item(notes: Path) -> None:
    """As where items go one by one."""
    node = Chunked(notes, items(3), chunksize=3, on_error="collect")
    node.holds = threading.Lock()  # type: ignore[attr-defined]
    results = await results_of(node)
    assert [type(one.error) for one in results] == [NodeDefinitionError] * 3


# --- deaths ---


@pytest.mark.parametrize("kind", ["die", "exit"])
async def test_a_death_is_that_of_the_item_which_was_worked_on(notes: Path, kind: str) -> None:
    """It has its attempts, each alone; those that had ended are not run again."""
    listed = items(40, at_5=(kind,), at_6=(kind,), at_39=(kind,))
    node = Chunked(notes, listed, chunksize=20, max_retries=3, on_error="collect")
    results = await results_of(node)
    failed = {one.index: one for one in results if isinstance(one, Outcome)}
    assert {(type(one.error), one.attempts) for one in failed.values()} == {(WorkerDiedError, 3)}
    assert failed.keys() == {5, 6, 39}
    assert calls(notes) == Counter(range(40)) + Counter({5: 2, 6: 2, 39: 2})
    assert [one for one in results if isinstance(one, int)] == [
        number for number in range(40) if number not in failed
    ]


async def test_each_item_has_its_time(notes: Path) -> None:
    """It counts from when the item is worked on; the process of one that overruns is killed."""
    brief = {f"at_{number}": ("brief", 0.02) for number in range(30) if number != 12}
    listed = items(30, **brief, at_12=("hang",))
    node = Chunked(notes, listed, chunksize=30, timeout=0.4, on_error="collect")
    results = await results_of(node)
    assert isinstance(results[12].error, AttemptTimeoutError)
    assert "exec of 'Chunked' ran longer than timeout=0.4 s" in str(results[12].error)
    assert [one for one in results if isinstance(one, int)] == [
        number for number in range(30) if number != 12
    ]
    assert calls(notes) == Counter(range(30))


@pytest.mark.parametrize("size", [1, 5_000, 300_000])
async def test_results_come_whole_however_much_they_are(notes: Path, size: int) -> None:
    """Also where they do not fit into the pipe, and where a process dies behind them."""
    listed: list[Item] = [(number, "large", size) for number in range(40)]
    listed[20] = (20, "die")
    node = Chunked(notes, listed, chunksize=40, on_error="skip")
    results = await results_of(node)
    assert results == [bytes([number]) * size for number in range(40) if number != 20]
    assert calls(notes) == Counter(range(40))


async def test_a_copy_of_the_process_that_exec_makes_answers_nothing(notes: Path) -> None:
    """The copy ends, and the process goes on with the next item."""
    listed = items(10, at_3=("fork",))
    assert await results_of(Chunked(notes, listed, chunksize=10)) == list(range(10))
    assert calls(notes) == Counter(range(10))


# --- ends ---


async def begun(path: Path) -> None:
    while not path.with_suffix(".begun").exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.005)


async def test_a_cancelled_chunk_is_killed(notes: Path, tmp_path: Path) -> None:
    """What has not begun is not run."""
    path = tmp_path / "item"
    node = Chunked(notes, items(10, at_3=("wait", str(path))), chunksize=10)
    task = asyncio.create_task(results_of(node))
    await begun(path)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert calls(notes) == Counter(range(4))


async def test_a_deadline_names_the_item_that_was_worked_on(notes: Path, tmp_path: Path) -> None:
    """Those before it had ended, those behind it were only sent with it."""
    sent = items(10, at_3=("wait", str(tmp_path / "item")))
    node = Chunked(notes, sent, chunksize=10, start_timeout=60)
    with pytest.raises(DeadlineExceededError) as raised:
        await node.run_async(deadline=3)
    assert "it was in node 'Chunked', item 3" in raised.value.__notes__


async def test_a_drained_chunk_ends_with_the_item_that_is_worked_on(
    notes: Path, tmp_path: Path
) -> None:
    """The results are those of the items that had begun."""
    path = tmp_path / "item"
    shared: dict[str, Any] = {}
    run = Graph(Chunked(notes, items(10, at_3=("wait", str(path))), chunksize=10)).launch(shared)
    await begun(path)
    run.drain()
    path.with_suffix(".end").touch()
    await run
    assert calls(notes) == Counter(range(4))
    assert shared["results"] == [0, 1, 2, 3]


async def test_what_had_ended_is_kept_where_the_rest_has_had_its_time(
    notes: Path, tmp_path: Path
) -> None:
    """A drain with a grace cancels the item that is worked on, and no other."""
    path = tmp_path / "item"
    shared: dict[str, Any] = {}
    run = Graph(Chunked(notes, items(10, at_3=("wait", str(path))), chunksize=10)).launch(shared)
    await begun(path)
    run.drain(grace=0.01)
    await run
    assert calls(notes) == Counter(range(4))
    assert shared["results"] == [0, 1, 2]


async def test_each_item_knows_the_params_and_its_attempt(notes: Path) -> None:
    """As it does where items go one by one."""
    node = Chunked(notes, [(number, "known") for number in range(3)], chunksize=3)
    assert await results_of(node) == [(0, 1, {}), (1, 1, {}), (2, 1, {})]


# --- in the process ---


class Written(list[int]):
    """Stands for the pipe: notes what kind of result came of each item."""

    def write(self, kind: int, ended: float, seconds: float, pickled: bytes) -> None:
        self.append(kind)


def run(count: int, share_s: float = inf, stopped: Callable[[], bool] = lambda: False) -> int:
    """Run so many items as a process does, and return how many were."""
    pickled = [dumps((number, "ok")) for number in range(count)]
    sizes = [len(one) for one in pickled]
    plan = Plan(0, None, dumps(({}, 1, {})), sizes, list(range(count)), True, share_s)
    written, node = Written(), Chunked(Path(os.devnull), ())
    run_items(node, b"".join(pickled), plan, written, lambda: None, stopped)  # type: ignore[arg-type]
    assert set(written) == {PICKLED}
    return len(written)


def test_items_that_have_not_begun_after_a_while_are_given_back() -> None:
    """Others may be free for them."""
    assert run(10) == 10
    assert run(10, share_s=0.0) == 1


def test_a_process_asks_between_items_whether_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Now and then."""
    monkeypatch.setattr(chunked, "LOOK_S", 0.0)
    asked = deque([False, False, True])
    assert run(10, stopped=asked.popleft) == 3
