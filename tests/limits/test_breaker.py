"""The circuit breaker: what moves it, and above all what does not."""

import asyncio
import copy
import pickle
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from fractions import Fraction
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph.errors import CircuitOpenError, Drop
from kaygraph.limits.breaker import CircuitBreaker, Ticket
from tests.clock import VIRTUAL, VirtualClockLoop, run_virtually

pytestmark = pytest.mark.anyio

RESET_S = 8


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


def pass_time(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualClockLoop)
    loop.advance(seconds)


def call(breaker: CircuitBreaker, error: BaseException | None = None) -> str | None:
    """Make a call that ends at once, and return the state to which its end moves the breaker."""
    return breaker.leave(breaker.admit(), error)


def state_of(breaker: CircuitBreaker) -> str:
    return breaker.state  # through a function, or a type checker takes it for unchanging


def opened(**rules: Any) -> CircuitBreaker:
    """Return a breaker that one failure has opened."""
    breaker = CircuitBreaker(failures=1, **{"reset_after": RESET_S, **rules})
    assert call(breaker, OSError()) == "open"
    return breaker


# --- closed ---


async def test_failures_in_a_row_open_it() -> None:
    """The call that makes the row full moves it, and the next call is refused."""
    breaker = CircuitBreaker(failures=3)
    assert [call(breaker, OSError()) for _ in range(3)] == [None, None, "open"]
    assert state_of(breaker) == "open"
    with pytest.raises(CircuitOpenError):
        breaker.admit()


async def test_success_ends_the_row() -> None:
    """Two failures, a success and two failures are no three in a row."""
    breaker = CircuitBreaker(failures=3)
    moves = [call(breaker, error) for error in (OSError(), OSError(), None, OSError(), OSError())]
    assert moves == [None] * 5
    assert call(breaker, OSError()) == "open"


async def test_share_of_the_window_opens_it() -> None:
    """Failures that are never in a row open it, once the window is full and not before."""
    breaker = CircuitBreaker(failures=None, share=0.5, window=6)
    moves = [call(breaker, error) for error in (OSError(), None) * 3]
    assert moves == [None] * 5 + ["open"]


async def test_only_the_latest_calls_are_in_the_window() -> None:
    """Failures that have left it do not add up with later ones."""
    breaker = CircuitBreaker(failures=None, share=0.5, window=4)
    for _ in range(20):
        assert call(breaker, OSError()) is None
        assert [call(breaker) for _ in range(3)] == [None] * 3
    assert [call(breaker, OSError()) for _ in range(2)] == [None, "open"]


async def test_share_is_met_exactly() -> None:
    """7 of 100 are a share of 0.07, although 0.07 * 100 is more than 7 in floating point."""
    breaker = CircuitBreaker(failures=None, share=0.07, window=100)
    moves = [
        call(breaker, OSError() if number in range(0, 70, 10) else None) for number in range(100)
    ]
    assert moves == [None] * 99 + ["open"]


async def test_failures_in_a_row_are_no_reason_where_that_rule_is_off() -> None:
    """failures=None leaves the share alone to decide."""
    breaker = CircuitBreaker(failures=None, share=1.0, window=50)
    assert [call(breaker, OSError()) for _ in range(49)] == [None] * 49
    assert call(breaker, OSError()) == "open"


@pytest.mark.parametrize(
    ("on", "error", "counts"),
    [
        (Exception, KeyError(), True),
        (OSError, ConnectionError(), True),
        (OSError, KeyError(), False),
        ((KeyError, OSError), OSError(), True),
        ((KeyError, OSError), ValueError(), False),
        (lambda error: "503" in str(error), OSError("503"), True),
        (lambda error: "503" in str(error), OSError("404"), False),
        (Exception, Drop(), False),
        (lambda _: True, Drop(), False),
    ],
)
async def test_on_says_which_errors_are_failures(on: Any, error: Exception, counts: bool) -> None:
    """With any other error the service has answered: the row of failures ends."""
    breaker = CircuitBreaker(failures=2, on=on)
    assert call(breaker, error) is None
    assert call(breaker, error) == ("open" if counts else None)


@pytest.mark.parametrize("state", ["closed", "half_open"])
async def test_on_that_fails_itself_moves_nothing(state: str) -> None:
    """Its error comes through, and the place of the probe is free again."""

    def on(error: Exception) -> bool:
        return bool(error.args[0])

    breaker = CircuitBreaker(failures=1, reset_after=0, on=on)
    if state == "half_open":
        call(breaker, OSError(True))
    with pytest.raises(IndexError):
        call(breaker, OSError())
    assert state_of(breaker) == state
    call(breaker)
    assert state_of(breaker) == "closed"


# --- open and half open ---


async def test_open_lets_nobody_through_until_it_is_time() -> None:
    """The error says in how many seconds; one instant before there is still no call."""
    breaker = opened(name="search")
    pass_time(RESET_S - 0.5)
    with pytest.raises(CircuitOpenError) as caught:
        breaker.admit()
    assert caught.value.retry_after == 0.5
    assert str(caught.value) == (
        "circuit breaker 'search' is open after a failure (OSError): the next call is admitted "
        "in 0.5 s"
    )
    pass_time(0.5)
    assert state_of(breaker) == "open"  # nobody has come yet
    assert breaker.admit().moved
    assert state_of(breaker) == "half_open"


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"failures": 2}, "2 failures in a row (OSError)"),
        ({"failures": None, "share": 0.5, "window": 2}, "2 failures in 2 calls (OSError)"),
    ],
)
async def test_refusal_says_what_has_happened(rules: dict[str, Any], reason: str) -> None:
    """The message names the rule that was met and the kind of the last error."""
    breaker = CircuitBreaker(**rules)
    call(breaker, OSError())
    call(breaker, OSError())
    with pytest.raises(CircuitOpenError) as caught:
        breaker.admit()
    assert f"the circuit breaker is open after {reason}: the next call" in str(caught.value)


async def test_exactly_one_probe_of_many_that_come_at_once() -> None:
    """A thousand tasks come when it is time: one runs, all others are refused in the meantime."""
    breaker = opened()
    pass_time(RESET_S)
    running, release = asyncio.Event(), asyncio.Event()

    async def come() -> str | None:
        ticket = breaker.admit()
        running.set()
        await release.wait()
        return breaker.leave(ticket, None)

    tasks = [asyncio.create_task(come()) for _ in range(1000)]
    await running.wait()
    await asyncio.wait(tasks[1:])
    assert state_of(breaker) == "half_open"
    release.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[0] == "closed"
    assert all(isinstance(result, CircuitOpenError) for result in results[1:])


async def test_refusal_during_a_probe_says_so() -> None:
    """The wait is the one that follows if the probe fails now."""
    breaker = opened()
    pass_time(RESET_S)
    breaker.admit()
    with pytest.raises(CircuitOpenError, match=r"half open after a failure .* in 8\.0 s") as caught:
        breaker.admit()
    assert caught.value.retry_after == RESET_S


async def test_probe_that_works_closes_it_with_nothing_counted() -> None:
    """The failures of before are forgotten, by both rules."""
    breaker = CircuitBreaker(failures=3, share=0.5, window=4, reset_after=RESET_S)
    for _ in range(3):
        call(breaker, OSError())
    pass_time(RESET_S)
    assert call(breaker) == "closed"
    assert [call(breaker, error) for error in (OSError(), OSError(), None)] == [None] * 3
    assert call(breaker) == "open"  # two of four: the probe is none of them


async def test_probe_that_fails_opens_it_for_as_long_again() -> None:
    """From the end of the probe on, however long that took; one failure is enough."""
    breaker = CircuitBreaker(failures=3, reset_after=RESET_S)
    for _ in range(3):
        call(breaker, OSError())
    pass_time(RESET_S)
    probe = breaker.admit()
    pass_time(100)
    assert breaker.leave(probe, KeyError()) == "open"
    with pytest.raises(CircuitOpenError, match=r"a probe that failed \(KeyError\)") as caught:
        breaker.admit()
    assert caught.value.retry_after == RESET_S
    pass_time(RESET_S)
    assert breaker.admit().moved


async def test_probe_that_is_cancelled_leaves_its_place_free() -> None:
    """The next call is the probe at once, and moves nothing by coming."""
    breaker = opened()
    pass_time(RESET_S)
    first = breaker.admit()
    assert breaker.leave(first, asyncio.CancelledError()) is None
    assert state_of(breaker) == "half_open"
    second = breaker.admit()
    assert not second.moved
    with pytest.raises(CircuitOpenError):
        breaker.admit()
    assert breaker.leave(second, None) == "closed"


async def test_cancelled_probe_has_no_second_say() -> None:
    """Its ticket is used up: handing it in again moves nothing."""
    breaker = opened()
    pass_time(RESET_S)
    first = breaker.admit()
    breaker.leave(first, asyncio.CancelledError())
    assert breaker.leave(first, None) is None
    second = breaker.admit()
    assert breaker.leave(first, OSError()) is None
    assert breaker.leave(second, None) == "closed"


@pytest.mark.parametrize("error", [None, OSError()])
async def test_calls_from_before_a_move_move_nothing(error: Exception | None) -> None:
    """Slow calls that end when it is open, half open or closed again do not count."""
    breaker = CircuitBreaker(failures=2, reset_after=RESET_S)
    slow = [breaker.admit() for _ in range(6)]
    call(breaker, OSError())
    call(breaker, OSError())
    assert [breaker.leave(ticket, error) for ticket in slow[:2]] == [None, None]
    assert state_of(breaker) == "open"
    pass_time(RESET_S)
    probe = breaker.admit()
    assert [breaker.leave(ticket, error) for ticket in slow[2:4]] == [None, None]
    assert state_of(breaker) == "half_open"
    assert breaker.leave(probe, None) == "closed"
    call(breaker, OSError())
    assert [breaker.leave(ticket, error) for ticket in slow[4:]] == [None, None]
    assert call(breaker, OSError()) == "open"


# --- all rules against an oracle ---


class Oracle:
    """The rules word by word: it keeps everything since the last move and looks through it."""

    def __init__(self, failures: int | None, share: Fraction | None, window: int) -> None:
        self.failures, self.share, self.window = failures, share, window
        self.calls = set[int]()  # let through since the last move, and still running
        self.history = list[bool]()  # which of those that ended since then have failed
        self.state, self.since = "closed", 0.0

    def move(self, state: str, now: float) -> str:
        self.state, self.since = state, now
        self.calls, self.history = set(), []
        return state

    def refuses(self, now: float) -> bool:
        if self.state == "open":
            return now - self.since < RESET_S
        return self.state == "half_open" and bool(self.calls)

    def admit(self, number: int, now: float) -> bool:
        if self.state == "open" and now - self.since >= RESET_S:
            self.move("half_open", now)
        if self.state == "open" or (self.state == "half_open" and self.calls):
            return False
        self.calls.add(number)
        return True

    def leave(self, number: int, failed: bool | None, now: float) -> str | None:
        if number not in self.calls:
            return None
        self.calls.remove(number)
        if failed is None:
            return None
        if self.state == "half_open":
            return self.move("open" if failed else "closed", now)
        self.history.append(failed)
        row = self.failures is not None and self.history[-self.failures :] == [True] * self.failures
        latest = self.history[-self.window :]
        full = len(latest) == self.window
        many = self.share is not None and Fraction(sum(latest), self.window) >= self.share
        if row or (full and many):
            return self.move("open", now)
        return None


ENDS: dict[str, tuple[BaseException | None, bool | None]] = {
    "success": (None, False),
    "answer": (KeyError(), False),
    "drop": (Drop(), False),
    "failure": (ConnectionError(), True),
    "cancelled": (asyncio.CancelledError(), None),
    "interrupted": (KeyboardInterrupt(), None),
}
LOST = ["cancelled", "interrupted"]  # ends that move nothing

Step = tuple[str, Any]
RULES = st.tuples(
    st.none() | st.integers(1, 4),
    st.none() | st.builds(Fraction, st.integers(1, 6), st.just(6)),
    st.integers(1, 6),
).filter(lambda rules: rules[:2] != (None, None))
STEPS = st.lists(  # short ones would hardly ever see a probe
    st.just(("admit", None))
    | st.tuples(st.sampled_from(["failure"] * 4 + list(ENDS)), st.integers(0, 3))
    | st.tuples(st.just("wait"), st.sampled_from([1, RESET_S - 1, RESET_S, RESET_S])),
    min_size=20,
    max_size=60,
)


async def follow(rules: tuple[int | None, Fraction | None, int], steps: list[Step]) -> None:
    """Take the steps with a breaker and with the oracle, and compare all that can be seen."""
    failures, share, window = rules
    breaker = CircuitBreaker(
        failures,
        share=None if share is None else float(share),
        window=window,
        reset_after=RESET_S,
        on=OSError,
    )
    oracle = Oracle(*rules)
    start = now = asyncio.get_running_loop().time()
    running = dict[int, Ticket]()
    for number, (step, detail) in enumerate(steps):
        now = asyncio.get_running_loop().time() - start
        before = oracle.state
        with pytest.raises(CircuitOpenError) if oracle.refuses(now) else nullcontext():
            breaker.check()
        if step == "wait":
            pass_time(detail)
        elif step == "admit":
            if oracle.admit(number, now):
                running[number] = breaker.admit()
                assert running[number].moved == (oracle.state != before)
            else:
                with pytest.raises(CircuitOpenError) as caught:
                    breaker.admit()
                since = oracle.since if oracle.state == "open" else now
                assert caught.value.retry_after == since + RESET_S - now
        elif running:
            other = list(running)[detail % len(running)]
            error, failed = ENDS[step]
            assert breaker.leave(running.pop(other), error) == oracle.leave(other, failed, now)
        assert state_of(breaker) == oracle.state


@settings(max_examples=150, deadline=None)
@given(RULES, STEPS)
def test_breaker_does_what_the_rules_say(
    rules: tuple[int | None, Fraction | None, int], steps: list[Step]
) -> None:
    """Whatever comes in whatever order, the breaker is where the rules say it is."""
    run_virtually(follow(rules, steps))


@settings(max_examples=150, deadline=None)
@given(RULES, STEPS, st.lists(st.tuples(st.integers(0, 60), st.sampled_from(LOST))))
def test_cancellations_move_nothing(
    rules: tuple[int | None, Fraction | None, int],
    steps: list[Step],
    lost: list[tuple[int, str]],
) -> None:
    """With and without calls that are cancelled in between, it moves at the same steps."""

    async def moves(cancelled: list[tuple[int, str]]) -> list[Any]:
        breaker = CircuitBreaker(
            rules[0],
            share=None if rules[1] is None else float(rules[1]),
            window=rules[2],
            reset_after=RESET_S,
        )
        seen = list[Any]()
        for number, (step, detail) in enumerate(steps):
            for _, end in (one for one in cancelled if one[0] == number):
                if breaker.state == "open":
                    continue  # it would be refused, or make it half open: not cancelled
                assert breaker.leave(breaker.admit(), ENDS[end][0]) is None
            if step == "wait":
                pass_time(detail)
            else:
                try:
                    seen.append(call(breaker, ENDS.get(step, (None,))[0]))
                except CircuitOpenError as error:
                    seen.append(error.retry_after)
            seen.append(breaker.state)
        return seen

    assert run_virtually(moves(lost)) == run_virtually(moves([]))


# --- threads, loops and clocks ---


def at_once(count: int, work: Callable[[], Any]) -> list[Any]:
    """Return what ``work()`` returns in so many threads, which change places at every line."""
    barrier = threading.Barrier(count)

    def change_places(frame: FrameType, _: str, __: Any) -> Any:
        if frame.f_globals["__name__"] not in ("kaygraph.limits.breaker", __name__):
            return None
        time.sleep(1e-6)  # long enough for another thread to be woken
        return change_places

    def begin() -> Any:
        barrier.wait()
        sys.settrace(change_places)
        try:
            return work()
        finally:
            sys.settrace(None)

    with ThreadPoolExecutor(count) as threads:
        return [future.result() for future in [threads.submit(begin) for _ in range(count)]]


def test_no_two_probes_in_threads_that_race() -> None:
    """8 threads on a breaker that never closes: only one of their calls runs at a time."""
    breaker = CircuitBreaker(failures=1, reset_after=0)
    call(breaker, OSError())
    running, together = list[Ticket](), list[int]()

    def come() -> None:
        for _ in range(30):
            try:
                ticket = breaker.admit()
            except CircuitOpenError:
                continue
            running.append(ticket)
            together.append(len(running))
            running.remove(ticket)
            breaker.leave(ticket, OSError())

    at_once(8, come)
    assert set(together) == {1}


def test_threads_that_race_move_it_one_step_at_a_time() -> None:
    """Whatever 8 threads do at once, it opens, is half open and opens or closes, in turn."""
    breaker = CircuitBreaker(failures=2, reset_after=0)

    def come() -> list[str | None]:
        moves = list[str | None]()
        for number in range(30):
            try:
                ticket = breaker.admit()
            except CircuitOpenError:
                continue
            moves += ["half_open"] if ticket.moved else []
            moves.append(breaker.leave(ticket, None if number % 4 == 0 else OSError()))
        return moves

    moves = [move for thread in at_once(8, come) for move in thread]
    ends_open = breaker.state == "open"
    assert moves.count("open") - moves.count("half_open") == ends_open
    assert moves.count("half_open") > 0


def test_runs_one_after_another_share_its_state() -> None:
    """A run on a loop of its own finds what the run before has left, and so does no loop at all."""
    breaker = CircuitBreaker(failures=2)

    async def fail() -> str | None:
        return call(breaker, OSError())

    assert asyncio.run(fail()) is None
    assert asyncio.run(fail()) == "open"
    assert state_of(breaker) == "open"
    with pytest.raises(CircuitOpenError):
        breaker.admit()


def test_loop_with_a_clock_of_its_own_has_a_state_of_its_own() -> None:
    """A simulation opens it for itself: outside it is closed, and the other way round."""
    breaker = CircuitBreaker(failures=1, reset_after=RESET_S)

    async def simulate() -> list[str]:
        states = [state_of(breaker)]
        call(breaker, OSError())
        states.append(breaker.state)
        pass_time(RESET_S)
        call(breaker)
        return [*states, breaker.state]

    states = [state_of(breaker)]
    assert run_virtually(simulate()) == ["closed", "open", "closed"]
    states.append(breaker.state)
    call(breaker, OSError())
    assert run_virtually(simulate()) == ["closed", "open", "closed"]
    assert [*states, breaker.state] == ["closed", "closed", "open"]


# --- arguments and copies ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"failures": None}, r"would never open: give failures=5 \(in a row\), or share=0.5"),
        ({"failures": 0}, "failures must be at least 1, got 0"),
        ({"failures": True}, "failures must be a whole number of at least 1, got True"),
        ({"share": 0}, "share must be above 0 and at most 1, got 0"),
        ({"share": 1.5}, "share must be above 0 and at most 1, got 1.5"),
        ({"share": True}, "share must be above 0 and at most 1, got True"),
        ({"share": float("nan")}, "share must be above 0 and at most 1, got nan"),
        ({"share": "half"}, "share must be above 0 and at most 1, got 'half'"),
        ({"window": 0}, "window must be at least 1, got 0"),
        ({"reset_after": -1}, "reset_after must be a number of seconds, 0 or more, got -1"),
        ({"reset_after": None}, "reset_after must be a number of seconds, 0 or more, got None"),
        ({"on": 503}, r"on must be exception classes or \(error\) -> bool, got 503"),
        ({"on": str}, r"on must be exception classes or \(error\) -> bool, got <class 'str'>"),
        ({"on": (OSError, 5)}, r"on must be exception classes or \(error\) -> bool, got \("),
        ({"on": asyncio.CancelledError}, r"on must be exception classes"),
        ({"on": asyncio.sleep}, "on must be written 'def'"),
        ({"name": ""}, "name must be a non-empty string, got ''"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(
    arguments: dict[str, Any], message: str
) -> None:
    """The error names the argument, what it may be and what was given."""
    with pytest.raises(ValueError, match=message):
        CircuitBreaker(**arguments)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))])
async def test_copy_is_a_fresh_breaker_with_the_same_rules(again: Any) -> None:
    """A process that gets one counts for itself, from nothing."""
    breaker = opened(share=0.25, window=7, on=(OSError, KeyError), name="search")
    other = again(breaker)
    assert other.state == "closed"
    for setting in ("failures", "share", "window", "reset_after", "on", "name"):
        assert getattr(other, setting) == getattr(breaker, setting)


def test_repr_shows_the_rules_and_the_state() -> None:
    """Rules that are off are left out."""
    breaker = CircuitBreaker(failures=1, reset_after=5)
    assert repr(breaker) == "<CircuitBreaker(failures=1, reset_after=5) closed>"
    breaker = CircuitBreaker(None, share=0.5, window=10, name="search")
    shown = "<CircuitBreaker(share=0.5, window=10, reset_after=30, name='search') closed>"
    assert repr(breaker) == shown
