"""The limit that finds itself: what moves it, where it settles, and what it never does."""

import asyncio
import random
from collections.abc import Callable, Sequence
from http import HTTPStatus
from itertools import pairwise
from math import sqrt
from typing import Any
from urllib.error import HTTPError, URLError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.auto_limit import Congested, Queueing, Refusing, Trace, drive
from kaygraph import AttemptTimeoutError, CircuitOpenError
from kaygraph.limits.adaptive import INITIAL_LIMIT, MAX_LIMIT, Adaptive, overloaded
from tests.clock import run_virtually

LATENCY_S = 0.05
MODELS = [Queueing, Congested, Refusing]

Sample = tuple[float, float, int, bool]


def never(number: int, running: int) -> bool:
    return False


def flat(running: int) -> float:
    return LATENCY_S


def queue(knee: int, latency: float = LATENCY_S) -> Callable[[int], float]:
    """Return how long calls take where more than ``knee`` at once wait for one another."""
    return lambda running: latency * max(1.0, running / knee)


def cap(most: int) -> Callable[[int, int], bool]:
    """Return which calls are refused where more than ``most`` at once are."""
    return lambda number, running: number % running >= most


def feed(
    adaptive: Adaptive,
    calls: int,
    latency: Callable[[int], float] = flat,
    refused: Callable[[int, int], bool] = never,
    demand: int = MAX_LIMIT,
    now: float = 0.0,
) -> tuple[float, list[int]]:
    """End so many calls, evenly one after another; return the time then, and all limits seen."""
    limits = [adaptive.limit]
    for number in range(calls):
        running = min(adaptive.limit, demand)
        seconds = latency(running)
        now += seconds / running
        changed = adaptive.sampled(seconds, now, running, refused(number, running))
        assert changed == (adaptive.limit != limits[-1])
        limits.append(adaptive.limit)
    return now, limits


samples = st.lists(
    st.tuples(st.floats(0, 10), st.floats(0, 10), st.integers(1, 600), st.booleans()), max_size=300
)


@given(samples, st.integers(1, 600))
def test_whatever_ends_the_limit_stays_within_its_bounds(
    calls: Sequence[Sample], most: int
) -> None:
    """Never below 1, never above the most, and True exactly when it has changed."""
    adaptive, now = Adaptive(most), 0.0
    for seconds, pause, in_flight, refused in calls:
        now, before = now + pause, adaptive.limit
        changed = adaptive.sampled(seconds, now, in_flight, refused)
        assert changed == (adaptive.limit != before)
        assert 1 <= adaptive.limit <= most
        assert isinstance(adaptive.limit, int)


@given(samples)
def test_the_same_calls_give_the_same_limits(calls: Sequence[Sample]) -> None:
    """Nothing but the calls decides."""
    one, other, now = Adaptive(), Adaptive(), 0.0
    for seconds, pause, in_flight, refused in calls:
        now += pause
        one.sampled(seconds, now, in_flight, refused)
        other.sampled(seconds, now, in_flight, refused)
        assert one.limit == other.limit


def test_one_window_halves_the_limit_at_most() -> None:
    """When all are refused it falls by half at most, once a round, down to 1."""
    adaptive = Adaptive()
    now, _ = feed(adaptive, 10_000)
    _, limits = feed(adaptive, 20_000, refused=lambda *_: True, now=now)
    falls = [index for index, (one, next_) in enumerate(pairwise(limits)) if one != next_]
    assert all(limits[index] > limits[index + 1] >= limits[index] // 2 for index in falls)
    assert all(later - index >= limits[later] for index, later in pairwise(falls))
    assert limits[-1] == 1


def test_it_grows_to_the_most_where_there_is_no_knee() -> None:
    """Latency that stays the same lets the limit double until its bound."""
    adaptive = Adaptive()
    _, limits = feed(adaptive, 3000)
    assert adaptive.limit == MAX_LIMIT
    assert sorted(set(limits)) == [8, 16, 32, 64, 128, 256, 512]


@pytest.mark.parametrize("demand", [1, 4, 7])
def test_it_does_not_grow_where_it_is_not_in_use(demand: int) -> None:
    """With fewer calls than it allows, nothing is known of more: it stays where it began."""
    _, limits = feed(Adaptive(), 20_000, demand=demand)
    assert max(limits) == INITIAL_LIMIT


def test_unused_it_does_not_grow_again_after_it_has_found_a_knee() -> None:
    """Probes and windows without load leave an unused limit where it is, or lower it."""
    adaptive = Adaptive()
    now, settled = feed(adaptive, 5000, queue(30))
    _, limits = feed(adaptive, 20_000, queue(30), demand=10, now=now)
    assert max(limits) <= max(settled[-2000:])


@pytest.mark.parametrize("knee", [2, 8, 50, 200])
def test_it_settles_a_headroom_above_the_knee_of_a_queue(knee: int) -> None:
    """Within two square roots: enough to keep the service busy, and a short queue."""
    adaptive = Adaptive()
    now, _ = feed(adaptive, 1000 * knee, queue(knee))
    _, limits = feed(adaptive, 20 * knee, queue(knee), now=now)
    assert knee - 2 * sqrt(knee) <= min(limits)
    assert max(limits) <= knee + 3 * sqrt(knee)


@pytest.mark.parametrize("knee", [1, 2, 8, 50, 200])
def test_it_settles_under_a_cap_and_tries_it_now_and_then(knee: int) -> None:
    """Where more than so many are refused, few calls are: one limit above is tried, no more."""
    adaptive, refusals = Adaptive(), list[int]()
    now, _ = feed(adaptive, 100 * knee, refused=cap(knee))

    def refused(number: int, running: int) -> bool:
        if cap(knee)(number, running):
            refusals.append(number)
        return cap(knee)(number, running)

    _, limits = feed(adaptive, 300 * knee, refused=refused, now=now)
    assert knee <= max(limits) <= knee + 1
    assert sum(limit == knee for limit in limits) > 0.7 * len(limits)
    assert 1 <= len(refusals) <= 0.03 * len(limits) + 2


def test_a_raise_at_which_a_call_is_refused_is_taken_back_at_once() -> None:
    """From 16 to 32, one refusal, and it is 16 again."""
    adaptive, now = Adaptive(), 0.0
    while adaptive.limit < 32:
        now, _ = feed(adaptive, 1, now=now)
    assert adaptive.sampled(0.001, now + 0.002, 32, True)
    assert adaptive.limit == 16


def test_one_refusal_at_a_limit_that_has_been_safe_is_let_pass() -> None:
    """It may have other reasons than load; the limit stays."""
    adaptive = Adaptive()
    now, _ = feed(adaptive, 10_000)
    _, limits = feed(adaptive, 2_000, refused=lambda number, _: number == 1000, now=now)
    assert set(limits) == {MAX_LIMIT}


def test_calls_begun_under_another_limit_say_nothing() -> None:
    """A hundred that began before the last change and were refused do not lower it again."""
    adaptive, now = Adaptive(), 0.0
    while adaptive.limit < 64:
        now, _ = feed(adaptive, 1, now=now)
    for number in range(100):
        assert not adaptive.sampled(1.0, now + number / 1000, 64, True)


def test_calls_that_end_while_too_many_run_say_nothing() -> None:
    """As long as more run than the limit allows, it is not in effect and teaches nothing."""
    adaptive = Adaptive()
    for number in range(1, 1000):
        assert not adaptive.sampled(LATENCY_S, number / 10, INITIAL_LIMIT + 1, False)


def test_a_knee_that_falls_in_the_middle_of_a_probe_is_seen() -> None:
    """A probe with a higher latency than under load tells of the move, not of the service."""
    adaptive = Adaptive()
    now, limits = feed(adaptive, 5_000, queue(50))
    while adaptive.limit > 50 - sqrt(50) / 4:
        now, limits = feed(adaptive, 1, queue(50), now=now)
    now, limits = feed(adaptive, 1_500, queue(12), now=now)
    assert max(limits) <= 50
    assert limits[-1] <= 12 + 3 * sqrt(12)


@pytest.mark.parametrize("slower", [1.5, 3.0, 10.0])
def test_a_slower_service_is_not_taken_for_a_lower_knee(slower: float) -> None:
    """Where latency does not follow the limit down, the limit goes back to where it was."""
    adaptive = Adaptive()
    now, _ = feed(adaptive, 10_000, queue(50))
    now, limits = feed(adaptive, 2_000, queue(50, LATENCY_S * slower), now=now)
    assert min(limits) < 50  # it did try
    now, _ = feed(adaptive, 3_000, queue(50, LATENCY_S * slower), now=now)
    _, limits = feed(adaptive, 2_000, queue(50, LATENCY_S * slower), now=now)
    assert min(limits) >= 50 - 2 * sqrt(50)


def test_a_faster_service_is_followed() -> None:
    """With a third of the latency and the same knee, the limit comes back to that knee."""
    adaptive = Adaptive()
    now, _ = feed(adaptive, 10_000, queue(50))
    now, _ = feed(adaptive, 10_000, queue(50, LATENCY_S / 3), now=now)
    _, limits = feed(adaptive, 5_000, queue(50, LATENCY_S / 3), now=now)
    assert 50 - 2 * sqrt(50) <= min(limits) <= max(limits) <= 50 + 3 * sqrt(50)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_failures_that_come_at_any_limit_do_not_lower_it(share: float) -> None:
    """Some calls fail whatever the limit: it still finds the knee."""
    adaptive, chance = Adaptive(), random.Random(3)
    now, _ = feed(adaptive, 20_000, queue(50), lambda *_: chance.random() < share)
    _, limits = feed(adaptive, 10_000, queue(50), lambda *_: chance.random() < share, now=now)
    assert sum(limits) / len(limits) >= 45


def test_after_an_outage_it_grows_again() -> None:
    """All calls refused for a while take it to 1; served again, it finds the knee again."""
    adaptive = Adaptive()
    now, _ = feed(adaptive, 10_000, queue(50))
    now, _ = feed(adaptive, 20_000, lambda _: 0.02, lambda *_: True, now=now)
    assert adaptive.limit == 1
    now, _ = feed(adaptive, 5_000, queue(50), now=now)
    assert 50 - 2 * sqrt(50) <= adaptive.limit <= 50 + 3 * sqrt(50)


def test_calls_that_take_no_time_do_not_break_it() -> None:
    """Latencies of zero are latencies: the limit grows."""
    adaptive, now = Adaptive(), 1.0
    for _ in range(1000):
        now += 0.001
        adaptive.sampled(0.0, now, adaptive.limit, False)
    assert adaptive.limit > INITIAL_LIMIT


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("knee", [8, pytest.param(40, marks=pytest.mark.proofs)])
def test_auto_serves_nine_tenths_of_what_is_possible(model: type[Queueing], knee: int) -> None:
    """A batch with ``max_workers="auto"`` comes close to the best that the service can do."""
    service = model(knee, LATENCY_S)
    trace = run_virtually(drive(service.call, 160 * LATENCY_S, "auto"))
    most = knee / LATENCY_S
    assert trace.rate(60 * LATENCY_S, 160 * LATENCY_S) >= 0.9 * most
    late = sum(at > 60 * LATENCY_S for at in trace.refused)
    assert late <= 0.02 * len(trace.served)


@pytest.mark.proofs
@pytest.mark.parametrize("model", MODELS)
def test_auto_follows_a_knee_that_moves(model: type[Queueing]) -> None:
    """Down to a third and up again, it is back within 10 % in five seconds each time."""
    knee, third = 30, 10

    async def moved() -> Trace:
        service, loop = model(knee, LATENCY_S), asyncio.get_running_loop()
        loop.call_later(6, service.move, third)
        loop.call_later(12, service.move, knee)
        return await drive(service.call, 18, "auto")

    trace = run_virtually(moved())
    for start, now in ((6, third), (12, knee)):
        back = trace.back(start, start + 6, now / LATENCY_S, LATENCY_S)
        assert back is not None
        assert back <= 5
        assert trace.rate(start + 5, start + 6) >= 0.85 * now / LATENCY_S
        limit = trace.limit_back(start, start + 6, now)
        assert limit is not None
        assert limit <= 5


def test_a_lowered_limit_takes_effect_though_nobody_waits() -> None:
    """When every worker there can be is at work, a lower limit still sends some of them waiting."""
    service, inside = Queueing(600, LATENCY_S), list[int]()

    async def lowered() -> Trace:
        loop = asyncio.get_running_loop()
        loop.call_later(1, service.move, 50)
        loop.call_later(4, lambda: inside.append(service.inside))
        return await drive(service.call, 4.1, "auto")

    trace = run_virtually(lowered())
    assert max(limit for _, limit in trace.limits) == MAX_LIMIT
    assert trace.limits[-1][1] < MAX_LIMIT / 2
    assert inside[0] < MAX_LIMIT / 2


class StatusError(Exception):
    def __init__(self, **facts: Any) -> None:
        super().__init__(facts)
        self.__dict__.update(facts)


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TimeoutError(), True),
        (AttemptTimeoutError("timeout"), True),
        (ConnectionResetError(), True),
        (OSError(113, "No route to host"), True),
        (URLError("refused"), True),
        (StatusError(status=429), True),
        (StatusError(status_code=502), True),
        (StatusError(code=503), True),
        (StatusError(status=HTTPStatus.GATEWAY_TIMEOUT), True),
        (StatusError(response=StatusError(status_code=429)), True),
        (StatusError(response=StatusError(status=503)), True),
        (HTTPError("http://localhost", 429, "slow down", {}, None), True),  # type: ignore[arg-type]
        (raised_from(RuntimeError("read"), TimeoutError()), True),
        (HTTPError("http://localhost", 404, "not found", {}, None), False),  # type: ignore[arg-type]
        (StatusError(status=500), False),
        (StatusError(status="429"), False),
        (StatusError(code=lambda: 429), False),
        (raised_from(StatusError(status=400), TimeoutError()), False),
        (ValueError("a bad record"), False),
        (KeyError("status"), False),
        (FileNotFoundError("data.csv"), False),
        (PermissionError("data.csv"), False),
        (MemoryError(), False),
        (CircuitOpenError("open"), False),
        (raised_from(CircuitOpenError("open"), TimeoutError()), False),
    ],
    ids=repr,
)
def test_what_counts_as_overload(error: Exception, expected: bool) -> None:
    """Timeouts, broken connections and the four statuses do; a bad record does not."""
    assert overloaded(error) is expected
