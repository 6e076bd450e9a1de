"""``kill_everywhere``: kill a recorded run at every write of its journal, and resume it."""

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from .._validation import check_def
from ..errors import JournalError
from ..journal.journal import Journal
from ..journal.memory import MemoryStore
from ..node.node import BaseNode
from ..outcome import Outcome
from ._mortal import RUN, Committed, Death, KilledError, Life, MortalJournal
from ._simulated import MAX_STEPS, SimulationLoop
from .accounting import unaccounted
from .exploration import Allowed, fresh, is_allowed, seeds_of
from .simulation import Simulation, play

MAX_POINTS = 10_000

# A node, or a coroutine function that takes the shared store and the journal.
Recorded = BaseNode[Any, Any] | Callable[[Any, Journal], Coroutine[Any, Any, Any]]


def kill_everywhere(
    graph: Recorded,
    shared: Any = None,
    /,
    *,
    seeds: int | Iterable[int] = 1,
    again: int | None = None,
    check: Callable[[Any], object] | None = None,
    allowed: Allowed = (),
    types: Iterable[type] = (),
    key: Mapping[str, Callable[[Any], Any]] | None = None,
    max_points: int = MAX_POINTS,
    max_steps: int = MAX_STEPS,
) -> int:
    """Simulate a recorded run repeatedly, killed at every write of its journal, and resume it.

    At each write of the journal, which is in memory, the process is killed twice: before it, and
    after it, before anybody hears of it. The run is then resumed with a new copy of ``shared``.
    This checks that no ``post`` gets what is not committed, that nothing that was committed runs
    again, that the action and the shared store are those of the run that nobody killed, that a
    replay of all that is recorded comes to the same without a call, and that nothing is left, as
    for ``simulate``. ``finally`` blocks of a killed run are run as if it were cancelled, since they
    are in the same process; nothing that they do reaches the journal.

    Args:
        graph: Any node, or a coroutine function that is called with the shared store and the
            journal, which it gives to the run: ``graph.run_async(shared, journal=journal)``.
        shared: The shared store, copied deeply for each process; or a function that returns one.
        seeds: The number of seeds, from 0 (the order of asyncio itself), or the seeds themselves.
        again: Kill the process that resumes the run, too, before this write of its own, from 1.
        check: A function that is called with the shared store of each run that has ended, instead
            of the comparison with that of the run that nobody killed: where branches race, they
            may end in another order once some are recorded. It raises or returns False.
        allowed: The errors that the run may raise by itself, and then wherever it was killed.
        types: As for ``Journal``.
        key: As for ``Journal``.
        max_points: The maximum number of kills of a seed.
        max_steps: The maximum number of steps of the loop in one process.

    Returns:
        The number of runs that were killed and resumed.

    Raises:
        AssertionError: Something is wrong. The message says what, and at which seed and write.
        Exception: The run that nobody kills fails with an error that is not ``allowed``.
    """
    points = 0
    check_def("check", check)
    checks = _Checks(graph, shared, check, allowed, tuple(types), key, max_steps)
    for seed in seeds_of(seeds):
        whole = _Trial(checks, seed)
        whole.live(None)
        whole.end()
        if whole.writes * 2 > max_points:
            raise AssertionError(f"seed {seed}: not at its end after {max_points} kills")
        for death in _deaths(whole.writes):
            trial = _Trial(checks, seed)
            trial.live(death)
            if again is not None:
                trial.live(Death(again, written=False))
            trial.live(None)
            trial.end()
            trial.compare(whole)
            points += 1
    return points


def _deaths(writes: int) -> Iterator[Death]:
    for write in range(1, writes + 1):
        yield Death(write, written=False)
        yield Death(write, written=True)


class _Checks:
    """What is asked of every run, in one place."""

    def __init__(
        self,
        graph: Recorded,
        shared: Any,
        check: Callable[[Any], object] | None,
        allowed: Allowed,
        types: tuple[type, ...],
        key: Mapping[str, Callable[[Any], Any]] | None,
        max_steps: int,
    ) -> None:
        self.graph, self.shared, self.check, self.allowed = graph, shared, check, allowed
        self.types, self.key, self.max_steps = types, key, max_steps

    def journal(self, store: MemoryStore, death: Death | None, run: str = RUN) -> MortalJournal:
        return MortalJournal(store, death, run=run, types=self.types, key=self.key)

    def work(self, journal: Journal) -> Callable[[Any], Coroutine[Any, Any, Any]]:
        """Return what is simulated."""
        graph = self.graph

        async def recorded(shared: Any) -> Any:
            if isinstance(graph, BaseNode):
                return await graph.run_async(shared, journal=journal)
            return await graph(shared, journal)

        return recorded


class _Trial:
    """One run, in one process or in several that follow each other."""

    def __init__(self, checks: _Checks, seed: int) -> None:
        self._checks, self._seed = checks, seed
        self._store = MemoryStore(entropy=bytes)  # the same seed is the same run
        self._deaths: list[Death] = []
        self.writes = 0  # of the process that came to its end
        self.ended: Simulation | None = None
        self._was_done = False  # when that process began, so that it had nothing to do

    def live(self, death: Death | None) -> None:
        """Begin or resume the run in a process, which may be killed, and check what it has done."""
        if self.ended is not None:
            return  # it had fewer writes than that
        before = Committed(self._store)
        self._was_done = any(info.status == "done" for info in self._store.runs())
        journal = self._checks.journal(self._store, death)
        life = Life(journal)
        run = self._simulated(journal, life)
        if run is None:
            assert death is not None
            self._deaths.append(death)
        else:
            self.ended, self.writes = run, journal.mortal.writes
        wrong = life.ran_again(before) + life.unrecorded(Committed(self._store))
        if run is not None:
            wrong += run.left + unaccounted(run.events)
        self._refuse(wrong)

    def end(self) -> None:
        """Check what the run came to, and that what is recorded comes to the same."""
        run, checks = self.ended, self._checks
        assert run is not None
        if run.error is not None:
            if is_allowed(run.error, checks.allowed) and not isinstance(run.error, JournalError):
                return
            if not self._deaths:
                raise run.error
            self._refuse([f"the run has failed with {_said(run.error)}"], run.error)
        if self._was_done:
            return
        if checks.check is not None:
            try:
                held = checks.check(run.shared)
            except Exception as error:
                self._refuse([f"check(shared) raised {_said(error)}"], error)
            self._refuse(["check(shared) returned False"] if held is False else [])
        self._replay(run)

    def _replay(self, run: Simulation) -> None:
        """Check that what is recorded comes to the same, without a call."""
        store = self._store
        if not any(info.run == RUN for info in store.runs()):
            raise TypeError("the function that is simulated does not give its journal to a run")
        store.copy(RUN, "replayed", store.info(RUN).rows)
        journal = self._checks.journal(store, None, "replayed")
        life = Life(journal)
        replayed = self._simulated(journal, life)
        assert replayed is not None
        wrong = [f"exec of {node!r} ran again in a replay of all" for _, node in life.calls]
        self._refuse(wrong + _differences(replayed, run, "a replay of all"), replayed.error)

    def compare(self, whole: "_Trial") -> None:
        """Check that the run has ended as that which nobody killed."""
        run, expected = self.ended, whole.ended
        assert run is not None
        assert expected is not None
        if self._was_done and run.error is None and run.action == expected.action:
            return  # a run that is done leaves shared as it is
        if self._checks.check is None or expected.error is not None:
            self._refuse(_differences(run, expected, "the run"), run.error)

    def _simulated(self, journal: MortalJournal, life: Life) -> Simulation | None:
        """Return the run of one process; None: it was killed."""
        checks = self._checks
        loops: list[SimulationLoop] = []
        try:
            return play(
                checks.work(journal), fresh(checks.shared), self._seed, [life],
                max_steps=checks.max_steps, prepare=lambda loop, _: loops.append(loop),
            )  # fmt: skip
        except KilledError:
            loops[0].forget_errors()
            return None

    def _refuse(self, wrong: list[str], cause: BaseException | None = None) -> None:
        if not wrong:
            return
        listed = "".join(f"\n  {line}" for line in dict.fromkeys(wrong))
        killed = " and again ".join(map(str, self._deaths))
        place = f", killed {killed}" if killed else ""
        raise AssertionError(f"seed {self._seed}{place}:{listed}") from cause


def _differences(run: Simulation, expected: Simulation, what: str) -> list[str]:
    """Return a line for each way in which a run has not ended as another one."""
    if (run.error is None) != (expected.error is None) or not same(run.error, expected.error):
        ended, should = (_ended(one) for one in (run, expected))
        return [f"{what} has ended {ended}, and should have ended {should}"]
    wrong = []
    if run.action != expected.action:
        wrong.append(f"{what} has returned {run.action!r}, and should have {expected.action!r}")
    if run.error is None and not same(run.shared, expected.shared):
        wrong.append(f"{what} has left shared as {run.shared!r}, not as {expected.shared!r}")
    return wrong


def _ended(run: Simulation) -> str:
    return "without an error" if run.error is None else f"with {_said(run.error)}"


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal; errors are by their class and what they say."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, BaseExceptionGroup):
        return one.message == other.message and same(one.exceptions, other.exceptions)
    if isinstance(one, BaseException):
        return str(one) == str(other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if is_dataclass(one) and not isinstance(one, type):
        timed = {"seconds"} if isinstance(one, Outcome) else set[str]()
        names = [field.name for field in fields(one) if field.compare and field.name not in timed]
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    compares = any("__eq__" in vars(cls) for cls in type(one).__mro__[:-1])
    if not compares and hasattr(one, "__dict__"):
        return same(vars(one), vars(other))
    return bool(one == other) or (one != one and other != other)
