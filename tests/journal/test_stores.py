"""All stores behave alike: every operation is also done on a dict, and compared."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from kaygraph import (
    AlreadyAnsweredError,
    JournalError,
    RunExistsError,
    RunTakenOverError,
    RunUnknownError,
)
from kaygraph.journal.memory import MemoryStore
from kaygraph.journal.store import STATUSES, Store
from tests.journal.stores import PLACES, Clock, Open, Place, zeros

RUNS = st.sampled_from(["a", "b", "ü-1", "a'; --"])
BLOBS = st.binary(max_size=9000)
NUMBERS = st.integers(0, 9)
TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEYS = st.binary(max_size=3)
NAMES = st.sampled_from(["Confirm", "Graph/Confirm[2]"])
EXPIRIES = st.none() | st.integers(0, 100).map(float)


class Stores(RuleBasedStateMachine):
    """A store next to a dict. An error is a result: both raise the same, with the same text."""

    place: ClassVar[Place]
    epochs: Bundle[int] = Bundle("epochs")

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.clock = Clock()
        self.open: Open = self.stack.enter_context(type(self).place(self.clock))
        self.store = self.open()
        self.other = self.open()  # another connection to the same store
        self.model = MemoryStore(self.clock, zeros)

    def both(self, what: Callable[[Store], Any], other: bool = False) -> Any:
        self.clock.now += 1
        results = []
        for store in (self.other if other else self.store, self.model):
            try:
                result = what(store)
            except (JournalError, ValueError) as error:
                result = type(error), _words(error)
            results.append(result)
        assert results[0] == results[1]
        return results[1]

    @initialize(target=epochs)
    def begin(self) -> int:
        return 0

    @rule(target=epochs, run=RUNS, other=st.booleans())
    def claim(self, run: str, other: bool) -> int:
        epoch: int = self.both(lambda store: store.claim(run, "Graph"), other).epoch
        return epoch

    @rule(run=RUNS, epoch=epochs, blob=BLOBS, other=st.booleans())
    def append(self, run: str, epoch: int, blob: bytes, other: bool) -> None:
        self.both(lambda store: store.append(run, epoch, blob), other)

    @rule(run=RUNS, blobs=st.lists(BLOBS, max_size=5))
    def append_as_the_owner(self, run: str, blobs: list[bytes]) -> None:
        for blob in blobs:
            self.both(lambda store, blob=blob: store.append(run, store.info(run).epoch, blob))

    @rule(
        run=RUNS,
        epoch=epochs,
        status=st.sampled_from([*STATUSES, "don"]),
        action=TEXTS,
        error=TEXTS,
    )
    def finish(
        self, run: str, epoch: int, status: str, action: str | None, error: str | None
    ) -> None:
        self.both(lambda store: store.finish(run, epoch, status, action, error))

    @rule(run=RUNS, epoch=epochs, data=BLOBS)
    def set_input(self, run: str, epoch: int, data: bytes) -> None:
        self.both(lambda store: store.set_input(run, epoch, data))

    @rule(run=RUNS, name=NAMES, data=BLOBS, other=st.booleans())
    def answer(self, run: str, name: str, data: bytes, other: bool) -> None:
        self.both(lambda store: store.answer(run, name, data), other)

    @rule(run=RUNS, new=RUNS, through=NUMBERS)
    def copy(self, run: str, new: str, through: int) -> None:
        self.both(lambda store: store.copy(run, new, through))

    @rule(run=RUNS, before=NUMBERS)
    def forget(self, run: str, before: int) -> None:
        self.both(lambda store: store.forget(run, before))

    @rule(runs=st.lists(RUNS, max_size=2))
    def remove(self, runs: list[str]) -> None:
        self.both(lambda store: store.remove(runs))

    @rule()
    def compact(self) -> None:
        self.both(lambda store: store.compact())

    @rule(key=KEYS, data=BLOBS, expires=EXPIRIES)
    def cache(self, key: bytes, data: bytes, expires: float | None) -> None:
        self.both(lambda store: store.cache_set(key, data, expires))

    @rule(key=KEYS)
    def look_up(self, key: bytes) -> None:
        self.both(lambda store: store.cache_get(key))

    @rule(entries=st.dictionaries(KEYS, st.tuples(BLOBS, EXPIRIES), max_size=3))
    def cache_all(self, entries: dict[bytes, tuple[bytes, float | None]]) -> None:
        self.both(lambda store: store.cache_set_all(entries))

    @rule(keys=st.lists(KEYS, max_size=3))
    def look_all_up(self, keys: list[bytes]) -> None:
        self.both(lambda store: store.cache_get_all(keys))

    @rule(now=st.integers(0, 100).map(float))
    def prune(self, now: float) -> None:
        self.both(lambda store: store.cache_prune(now))

    @rule()
    def close_and_open(self) -> None:
        self.store.close()
        self.store = self.open()

    @invariant()
    def both_hold_the_same(self) -> None:
        for info in self.both(lambda store: store.runs()):
            run = info.run
            self.both(lambda store, run=run: store.info(run))
            self.both(lambda store, run=run: [*store.rows(run)])
            self.both(lambda store, run=run: store.answers(run))

    def teardown(self) -> None:
        for store in (self.store, self.other):
            store.close()
        self.stack.close()


def _words(error: Exception) -> str:
    """Return the text of an error, without the place of the store."""
    return str(error).partition(" has no run ")[2] or str(error)


@pytest.mark.parametrize(
    ("name", "examples"),
    [
        ("sqlite", 20),
        ("postgres", 20),
        pytest.param("sqlite", 1_000, marks=pytest.mark.proofs),
        pytest.param("postgres", 250, marks=pytest.mark.proofs),  # takes a minute
        pytest.param("sqlite", 5_000, marks=pytest.mark.soak),
        pytest.param("postgres", 5_000, marks=pytest.mark.soak),
    ],
)
@pytest.mark.timeout(1200)
def test_a_store_is_a_dict(name: str, examples: int) -> None:
    """After any operations in any order, by two connections, it holds what a dict would hold."""
    machine = type("Machine", (Stores,), {"place": staticmethod(PLACES[name])})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=30, deadline=None)
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[*PLACES])
def opened(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Open]:
    """Opens connections to one store, which are closed after the test."""
    stores: list[Store] = []
    with PLACES[request.param](clock) as open_one:

        def another() -> Store:
            stores.append(open_one())
            return stores[-1]

        yield another
        for store in stores:
            store.close()


def test_a_run_is_made_by_its_first_claim(opened: Open) -> None:
    """It is running, and keeps its seed and its graph."""
    store = opened()
    info = store.claim("a", "Import")
    assert (info.run, info.graph, info.status, info.rows) == ("a", "Import", "running", 0)
    assert (info.input, info.action, info.error, len(info.seed)) == (None, None, None, 16)
    again = store.claim("a", "Other")
    assert (again.graph, again.seed, again.created) == ("Import", info.seed, info.created)
    assert again.epoch > info.epoch


def test_a_run_is_found_if_it_is_there(opened: Open) -> None:
    """With its rows, and no others are looked at."""
    store = opened()
    assert store.find("a") is None
    store.append("a", store.claim("a", "Import").epoch, b"1")
    assert store.find("a") == store.info("a")
    assert store.find("b") is None


def test_an_overtaken_owner_writes_nothing(opened: Open) -> None:
    """Neither rows nor an end, even though its connection works as well as the other."""
    first, second = opened(), opened()
    old = first.claim("a", "Graph").epoch
    first.append("a", old, b"1")
    new = second.claim("a", "Graph").epoch
    for write in (
        lambda: first.append("a", old, b"late"),
        lambda: first.finish("a", old, "done", "next", None),
        lambda: first.set_input("a", old, b"late"),
    ):
        with pytest.raises(
            RunTakenOverError, match=r"run 'a' has been resumed elsewhere.*one process at a"
        ):
            write()
    assert second.append("a", new, b"2") == 2
    assert [row.blob for row in first.rows("a")] == [b"1", b"2"]
    assert first.info("a").status == "running"


def test_an_epoch_is_given_once(opened: Open) -> None:
    """The owner of a removed run cannot write to a later one with the same id."""
    first, second = opened(), opened()
    old = first.claim("a", "Graph").epoch
    second.remove(["a"])
    with pytest.raises(RunTakenOverError, match="run 'a' was removed"):
        first.append("a", old, b"1")
    assert second.claim("a", "Graph").epoch > old
    with pytest.raises(RunTakenOverError, match="run 'a' has been resumed elsewhere"):
        first.append("a", old, b"1")
    assert second.info("a").rows == 0


def test_a_finished_run_stays_done_when_it_is_claimed_again(opened: Open) -> None:
    """So that its action can be returned; any other run continues."""
    store = opened()
    for status, after in (("done", "done"), ("failed", "running"), ("waits", "running")):
        epoch = store.claim(status, "Graph").epoch
        store.finish(status, epoch, status, "next" if status == "done" else None, "\0 \ud800")
        assert store.info(status).status == status
        assert store.info(status).error == r"\x00 \ud800"
        assert store.claim(status, "Graph").status == after
    assert store.info("done").action == "next"
    assert (store.info("failed").error, store.info("failed").action) == (None, None)


def test_the_first_answer_stands(opened: Open) -> None:
    """The second answer is an error; neither needs to own the run."""
    owner, other = opened(), opened()
    owner.claim("a", "Graph")
    other.answer("a", "Confirm", b"yes")
    with pytest.raises(
        AlreadyAnsweredError, match=r"'Confirm' of run 'a' has already been answered"
    ):
        owner.answer("a", "Confirm", b"no")
    assert [(one.name, one.data) for one in owner.answers("a")] == [("Confirm", b"yes")]


def test_a_copy_has_the_first_rows_and_what_was_answered_by_then(
    opened: Open, clock: Clock
) -> None:
    """With its own id, and a log that continues separately."""
    store = opened()
    epoch = store.claim("a", "Graph").epoch
    store.set_input("a", epoch, b"input")
    for number in range(5):
        clock.now += 1
        store.append("a", epoch, b"%d" % number)
        store.answer("a", f"Confirm {number}", b"yes")
    store.copy("a", "b", 3)
    assert [answer.name for answer in store.answers("b")] == [f"Confirm {n}" for n in range(3)]
    info = store.info("b")
    assert (info.status, info.epoch, info.rows, info.input) == ("interrupted", 0, 3, b"input")
    assert (info.graph, info.seed) == ("Graph", store.info("a").seed)
    epoch = store.claim("b", "Graph").epoch
    assert store.append("b", epoch, b"other") == 4
    assert [row.blob for row in store.rows("b")] == [b"0", b"1", b"2", b"other"]
    assert store.info("a").rows == 5
    with pytest.raises(RunExistsError, match="a run 'b' already"):
        store.copy("a", "b", 3)
    with pytest.raises(ValueError, match="run 'a' has no row 6: its rows are 1 to 5"):
        store.copy("a", "c", 6)


def test_rows_that_are_forgotten_keep_their_numbers(opened: Open) -> None:
    """The log continues where it was, and begins at its given start."""
    store = opened()
    epoch = store.claim("a", "Graph").epoch
    for number in range(1, 6):
        store.append("a", epoch, b"%d" % number)
    store.forget("a", 5)
    assert store.append("a", epoch, b"6") == 6
    assert [row.number for row in store.rows("a")] == [5, 6]
    with pytest.raises(ValueError, match="run 'a' has no row 4: its rows are 5 to 6"):
        store.forget("a", 4)


def test_runs_are_listed_newest_first(opened: Open) -> None:
    """Without their inputs; the error for an unknown one lists them."""
    store = opened()
    for run in ("import-1", "import-2"):
        store.set_input(run, store.claim(run, "Graph").epoch, b"input")
    assert [(info.run, info.input) for info in store.runs()] == [
        ("import-2", None),
        ("import-1", None),
    ]
    with pytest.raises(RunUnknownError, match=r"no run 'import1'.* Did you mean 'import-1'\?"):
        store.info("import1")
    store.remove(["import-1", "none"])
    assert [info.run for info in store.runs()] == ["import-2"]


@pytest.mark.parametrize(
    ("run", "error"),
    [("", ValueError), ("a\n", ValueError), ("\ud800", ValueError), (7, TypeError)],
)
def test_an_id_is_a_text_that_can_be_printed(
    opened: Open, run: Any, error: type[Exception]
) -> None:
    """It is used in lists and on command lines."""
    with pytest.raises(error, match="the id of a run must be"):
        opened().claim(run, "Graph")


def test_what_is_cached_is_there_until_it_is_pruned(opened: Open) -> None:
    """Whatever the time is: callers compare it."""
    store = opened()
    store.cache_set(b"a", b"1", None)
    store.cache_set(b"b", b"2", 10.0)
    store.cache_set(b"b", b"3", 20.0)
    assert opened().cache_get(b"a") == (b"1", float("inf"))
    assert store.cache_get(b"b") == (b"3", 20.0)
    store.cache_prune(20.0)
    assert store.cache_get(b"b") is None
    assert store.cache_get(b"a") == (b"1", float("inf"))
