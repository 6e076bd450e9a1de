"""A journal in memory whose process can be killed at each of its writes."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, cast

from ..events import Event, ItemStarted, NodeFinished
from ..journal.journal import Journal
from ..journal.log import DROPPED, ENDED, KEY, NUMBER, POINT, RESULT, log_of
from ..journal.memory import MemoryStore
from ..journal.position import POSITION
from ..journal.store import Store
from ._simulated import ACTIVE

RUN = "simulated"

# The methods of a store that change it.
WRITES = frozenset({"claim", "append", "finish", "set_input", "answer", "forget", "remove"})


class KilledError(BaseException):
    """The simulated process is no more; no code of the run may take this for an error."""


class Death(NamedTuple):
    """When a process is killed: at its n-th write, counted from 1, before or after it."""

    write: int
    written: bool

    def __str__(self) -> str:
        return f"{'after' if self.written else 'before'} write {self.write} to the journal"


class Mortal:
    """A store whose process dies at one of its writes, and reaches nothing afterwards.

    Attributes:
        writes: How many writes there were.
        dead: Whether it has happened.
    """

    def __init__(self, store: MemoryStore, death: Death | None) -> None:
        self._store, self._death = store, death
        self.writes = 0
        self.dead = False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)

        def call(*arguments: Any, **settings: Any) -> Any:
            if self.dead:
                raise KilledError
            self.writes += name in WRITES
            dies = name in WRITES and self._death is not None and self.writes == self._death.write
            if dies and not self._death.written:  # type: ignore[union-attr]
                self._die()
            result = method(*arguments, **settings)
            if dies:
                self._die()
            return result

        return call

    def _die(self) -> None:
        self.dead = True
        loop = ACTIVE.loop
        loop.alarm(loop.steps + 1, _killed)  # no step more: what waits for this write goes nowhere
        loop.call_soon(int)  # there is a step before which that happens
        raise KilledError


def _killed() -> None:
    raise KilledError


class MortalJournal(Journal):
    """A journal of one run whose store is given."""

    def __init__(
        self,
        store: MemoryStore,
        death: Death | None = None,
        *,
        run: str = RUN,
        types: Iterable[type] = (),
        key: Mapping[str, Callable[[Any], Any]] | None = None,
    ) -> None:
        super().__init__(":memory:", run=run, types=types, key=key)
        self.mortal = Mortal(store, death)

    def open_store(self, *, create: bool = True) -> Store:
        return cast(Store, self.mortal)


class Committed:
    """What a store holds of a run.

    Attributes:
        names: The full name of the node of each call whose result is recorded, by its key.
        handed_over: How many visits of each node have a recorded result.
    """

    def __init__(self, store: MemoryStore, run: str = RUN) -> None:
        known = any(info.run == run for info in store.runs())
        log = log_of(store.rows(run) if known else ())
        of = {number: name for number, (name, _) in log.nodes.items()}
        entries = log.entries.values()
        called = [entry for entry in entries if entry[0] in (RESULT, POINT, DROPPED)]
        visits = [entry for entry in entries if entry[0] in (POINT, ENDED)]
        self.names = {entry[KEY]: of[entry[NUMBER]] for entry in called}
        self.handed_over = Counter(of[entry[NUMBER]] for entry in visits)


class Life:
    """An observer that notes what one process calls, and what it goes on from.

    Attributes:
        calls: The key and the node of each item whose ``exec`` was called.
        finished: How many visits of each node came to the end of ``post``.
    """

    def __init__(self, journal: MortalJournal) -> None:
        self._journal = journal
        self.calls: list[tuple[bytes, str]] = []
        self.finished: Counter[str] = Counter()

    def __call__(self, event: Event, /) -> None:
        if self._journal.mortal.dead:
            return  # what is cancelled afterwards would not run in a process that was killed
        if type(event) is ItemStarted and not event.whole:
            position = POSITION.get()
            inner = position.path.rpartition("[")[2]
            is_item = position.path.endswith("]")
            key = bytes.fromhex(inner[:-1]) if is_item else position.digest
            if not key and position.around is not None:  # within the only exec of a visit
                key = position.around.digest
            self.calls.append((key, event.node))
        elif type(event) is NodeFinished and event.error is None:
            self.finished[event.node] += 1

    def ran_again(self, committed: Committed) -> list[str]:
        """Return a line for each call of something that was committed before."""
        again = [node for key, node in self.calls if key in committed.names]
        return [f"exec of {node!r} ran again, and its result was committed" for node in again]

    def unrecorded(self, committed: Committed) -> list[str]:
        """Return a line for each node whose ``post`` got what is not committed."""
        called = {node for _, node in self.calls}
        return [
            f"post of {node!r} was given a result that is not committed"
            for node, count in self.finished.items()
            if node in called and count > committed.handed_over[node]
        ]
