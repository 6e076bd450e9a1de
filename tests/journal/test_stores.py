"""All stores behave alike: whatever is done to one is done to a dict too, and compared."""

from collections.abc import Callable
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

from kaygraph import JournalError
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
    """A store beside a dict. An error is a result: both raise the same, with the same words."""

    place: ClassVar[Place]
    epochs: Bundle[int] = Bundle("epochs")

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.clock = Clock()
        self.open: Open = self.stack.enter_context(type(self).place(self.clock))
        self.store = self.open()
        self.other = self.open()  # another connection to the same
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
    """Return what an error says, without the place of the store."""
    return str(error).partition(" has no run ")[2] or str(error)


@pytest.mark.parametrize("name", [name for name in PLACES if name != "memory"])
@pytest.mark.parametrize("examples", [20, pytest.param(1_000, marks=pytest.mark.proofs)])
@pytest.mark.timeout(600)
def test_a_store_is_a_dict(name: str, examples: int) -> None:
    """Whatever is done, in whatever order, by two connections, it holds what a dict would hold."""
    machine = type("Machine", (Stores,), {"place": staticmethod(PLACES[name])})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=30, deadline=None)
    )
