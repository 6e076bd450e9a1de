"""``max_workers="auto"`` against services with a known knee: the limit it finds, and how soon."""

import asyncio
import random
from bisect import bisect_left
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count, takewhile
from math import ceil, sqrt
from typing import Any, Literal

from benchmarks.harness import Figure, run
from kaygraph import Event, LimitChanged, ParallelBatchNode
from kaygraph.testing import run_virtually

JITTER = 0.3

Call = Callable[[], Awaitable[None]]
Limit = int | Literal["auto"]


class Refused(Exception):  # noqa: N818 - a status, as a service reports it
    """There are too many calls."""

    status = 429


class Queueing:
    """A service that processes ``knee`` calls at once, for ``latency`` seconds each; others wait.

    The duration of a call varies uniformly by 30 % in both directions.
    """

    def __init__(self, knee: int, latency: float) -> None:
        self.knee, self.latency = knee, latency
        self.inside = self.working = 0
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.random = random.Random(knee)

    async def call(self) -> None:
        self.inside += 1
        try:
            await self.enter()
            self.working += 1
            vary = self.random.uniform(1 - JITTER, 1 + JITTER)
            await asyncio.sleep(self.latency * vary * self.slowdown())
            self.working -= 1
            self.serve()
        finally:
            self.inside -= 1

    async def enter(self) -> None:
        if self.working >= self.knee:
            turn = asyncio.get_running_loop().create_future()
            self.waiting.append(turn)
            await turn
            self.working -= 1  # counted for it when it was let in

    def serve(self) -> None:
        while self.waiting and self.working < self.knee:
            self.working += 1
            self.waiting.popleft().set_result(None)

    def slowdown(self) -> float:
        return 1.0

    def move(self, knee: int) -> None:
        self.knee = knee
        self.serve()


class Congested(Queueing):
    """Each call beyond the knee slows down all of them by 1 %."""

    def slowdown(self) -> float:
        return float(1.01 ** max(0, self.inside - self.knee))


class Refusing(Queueing):
    """A call beyond the knee is refused, in a tenth of the time of a served one."""

    async def enter(self) -> None:
        if self.working >= self.knee:
            await asyncio.sleep(self.latency / 10)
            raise Refused


class Calls(ParallelBatchNode[int, None]):
    """Calls again and again until the time is over; keeps when each was served or refused."""

    on_error = "skip"

    def __init__(self, call: Call, until: float, max_workers: Limit) -> None:
        super().__init__(max_workers=max_workers)
        self.call, self.until = call, until
        self.served: list[float] = []
        self.refused: list[float] = []

    def prep(self, shared: Any) -> Iterable[int]:
        now = asyncio.get_running_loop().time
        return takewhile(lambda _: now() < self.until, count())

    async def exec(self, prep_res: int) -> None:
        now = asyncio.get_running_loop().time
        try:
            await self.call()
        except Exception:
            self.refused.append(now())
            raise
        self.served.append(now())


def within(times: Sequence[float], start: float, end: float) -> int:
    return bisect_left(times, end) - bisect_left(times, start)


class Trace:
    """The results of a run of calls. Times are in seconds from its start."""

    def __init__(self, started: float, node: Calls, limits: Sequence[LimitChanged]) -> None:
        self.served = [at - started for at in node.served]
        self.refused = [at - started for at in node.refused]
        self.limits = [(event.at - started, event.limit) for event in limits]

    def rate(self, start: float, end: float) -> float:
        """Return the calls served per second."""
        return within(self.served, start, end) / (end - start)

    def back(self, start: float, end: float, rate: float, latency: float) -> float | None:
        """Return how long after ``start`` a span begins in which 0.9 of the rate is served.

        The span is of five latencies, and long enough for sixty calls.
        """
        span, at = max(5 * latency, 60 / rate), start
        while at + span <= end:
            if self.rate(at, at + span) >= 0.9 * rate:
                return round(at - start, 3)
            at += span / 20
        return None

    def limit_back(self, start: float, end: float, knee: int) -> float | None:
        """Return how long after ``start`` the limit is within three square roots of the knee."""
        known = [limit for at, limit in self.limits if at < start][-1:]
        changes = [(at, limit) for at, limit in self.limits if start <= at < end]
        for at, limit in [*((start, limit) for limit in known), *changes]:
            if abs(limit - knee) <= 3 * sqrt(knee):
                return round(at - start, 3)
        return None


async def drive(call: Call, seconds: float, max_workers: Limit) -> Trace:
    """Call as often as the limit allows, for a number of seconds."""
    started, limits = asyncio.get_running_loop().time(), list[LimitChanged]()

    def note(event: Event, /) -> None:
        if type(event) is LimitChanged:
            limits.append(event)

    node = Calls(call, started + seconds, max_workers)
    await node.run_async({}, observers=[note] if max_workers == "auto" else [])
    return Trace(started, node, limits)


async def best_fixed(
    service: Queueing, call: Call, rounds: int, factors: Sequence[float]
) -> tuple[float, int]:
    """Return the most calls served per second at any of some fixed limits, and that limit."""
    found, warm = [], 5 * service.latency
    for limit in sorted({max(1, ceil(service.knee * factor)) for factor in factors}):
        trace = await drive(call, warm + rounds * service.latency, limit)
        found.append((trace.rate(warm, warm + rounds * service.latency), -limit))
    rate, limit = max(found)
    return rate, -limit


async def measure(
    service: Queueing,
    call: Call,
    phases: tuple[int, int, int],
    rounds: int,
    factors: Sequence[float],
) -> tuple[float, dict[str, Any]]:
    """Return the throughput with the automatic limit, divided by that with the best fixed one.

    It is measured after the limit has been found; how soon that is, and how it follows the knee, is
    reported, too.

    The knee falls to a third and rises again. ``phases`` and ``rounds`` are in latencies of the
    service: with the whole knee, a third of it, and the whole again; and with each fixed limit.
    """
    knee, third, latency = service.knee, max(1, service.knee // 3), service.latency
    best, best_limit = await best_fixed(service, call, rounds, factors)
    service.move(third)
    best_third, _ = await best_fixed(service, call, rounds, factors)
    service.move(knee)

    down = phases[0] * latency
    up = down + phases[1] * latency
    end = up + phases[2] * latency
    loop = asyncio.get_running_loop()
    loop.call_later(down, service.move, third)
    loop.call_later(up, service.move, knee)
    auto = await drive(call, end, "auto")
    steady = down * 0.4  # from here to the first move the start is left out
    limits = [limit for at, limit in auto.limits if steady <= at < down]
    refused = within(auto.refused, steady, down)
    return auto.rate(steady, down) / best, dict(
        best_fixed_limit=best_limit,
        best_fixed_per_s=round(best, 1),
        auto_per_s=round(auto.rate(steady, down), 1),
        with_start=round(auto.rate(0, down) / best, 3),
        limits=[min(limits, default=None), max(limits, default=None)],
        refused_share=round(refused / (refused + within(auto.served, steady, down)), 4),
        down_s=auto.back(down, up, best_third, latency),
        down_limit_s=auto.limit_back(down, up, third),
        down_steady=round(auto.rate((down + up) / 2, up) / best_third, 3),
        up_s=auto.back(up, end, best, latency),
        up_limit_s=auto.limit_back(up, end, knee),
        up_steady=round(auto.rate((up + end) / 2, end) / best, 3),
    )


MODELS = (Queueing, Congested, Refusing)


def cases(size: int) -> Iterator[Figure]:
    """Three models, three knees, three latencies on a clock that jumps; and over HTTP."""
    for model in MODELS:
        for knee in (8, 50, 200) if size == 1 else (8,):
            for latency in (0.005, 0.05, 0.5) if size == 1 else (0.05,):
                service = model(knee, latency)
                yield of_service("auto", service, partial(simulated, service))
    for model in MODELS if size == 1 else MODELS[-1:]:
        service = model(16, 0.05)
        yield of_service("auto-http", service, partial(real, service, size))


def of_service(
    kind: str, service: Queueing, measure: Callable[[], tuple[float, dict[str, Any]]]
) -> Figure:
    """Name the figure after the model, its knee and its latency."""
    model, ms = type(service).__name__.lower(), f"{service.latency * 1000:g}"
    return Figure(
        name=f"{kind}-{model}-{service.knee}-{ms}",
        what=f"{kind}, {model}, knee {service.knee}, {ms} ms: share of the best limit",
        measure=measure,
        target=0.9,
        at_least=True,
    )


def simulated(service: Queueing) -> tuple[float, dict[str, Any]]:
    """Measure on a clock that jumps."""
    factors = (1, 1.1, 1.25, 2)
    return run_virtually(measure(service, service.call, (200, 100, 100), 30, factors))


@asynccontextmanager
async def over_http(service: Queueing) -> AsyncIterator[Call]:
    """Serve it with aiohttp on a port of 127.0.0.1, and yield what calls it there."""
    from aiohttp import ClientSession, TCPConnector, web

    async def answer(request: web.Request) -> web.Response:
        try:
            await service.call()
        except Refused as error:
            return web.Response(status=error.status)
        return web.Response(text="served")

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with ClientSession(connector=TCPConnector(limit=0), raise_for_status=True) as session:

            async def call() -> None:
                async with session.get(url) as response:
                    await response.read()

            yield call
    finally:
        await runner.cleanup()


def real(service: Queueing, size: int) -> tuple[float, dict[str, Any]]:
    """The same over HTTP on 127.0.0.1 and by the machine's clock, smaller."""
    phases = (100, 80, 80) if size == 1 else (20, 10, 10)

    async def served() -> tuple[float, dict[str, Any]]:
        async with over_http(service) as call:
            return await measure(service, call, phases, 30 // size, (1, 1.25))

    return run(served)
