"""The time limits of requests: one timer for many, and each end is exact."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from kaygraph.nodes import HTTPNode, HTTPTimeoutError
from kaygraph.nodes.http._sessions import Session, SessionKey
from kaygraph.nodes.http._timing import FACTORY, REPLACED, Connection, Timer, TotalTimeout
from kaygraph.nodes.http.messages import Request
from tests.clock import VIRTUAL
from tests.servers import reply, saying, serving, speaking

pytestmark = pytest.mark.anyio

ON_A_VIRTUAL_CLOCK = pytest.mark.parametrize("anyio_backend", [VIRTUAL])


def limit_of(timer: Timer, seconds: float | None) -> TotalTimeout:
    return TotalTimeout(timer, seconds, Request(url="http://host/"), URL("http://host/"))


class CountingLoop:
    """Counts the timers that are made in a loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.time = self.loop.time
        self.made: list[asyncio.TimerHandle] = []

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        self.made.append(self.loop.call_at(when, callback))
        return self.made[-1]


@ON_A_VIRTUAL_CLOCK
@pytest.mark.parametrize("seed", range(20))
async def test_each_of_many_waits_ends_exactly_at_its_limit(seed: int) -> None:
    """Whenever it begins, however long it may take, and whatever the others do meanwhile."""
    random, timer = Random(seed), Timer(asyncio.get_running_loop())
    now = asyncio.get_running_loop().time
    ends: list[tuple[float, float]] = []

    async def wait() -> None:
        await asyncio.sleep(random.randint(0, 50) / 10)
        seconds, takes = random.randint(0, 30) / 10, random.randint(1, 30) / 10
        begun, limit = now(), limit_of(timer, seconds)
        try:
            for _ in range(random.randint(1, 3)):
                with limit:
                    await asyncio.sleep(takes)
        except HTTPTimeoutError:
            ends.append((begun + seconds, now()))
        else:
            assert now() - begun <= max(seconds, takes)

    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(wait())
    assert len(ends) > 30
    assert all(ended == pytest.approx(end) for end, ended in ends)


@ON_A_VIRTUAL_CLOCK
async def test_requests_one_after_another_share_a_timer() -> None:
    """It is made once, and looks again when it rings too early."""
    counting = CountingLoop()
    timer = Timer(counting)  # type: ignore[arg-type]
    for _ in range(99):
        with limit_of(timer, 10):
            await asyncio.sleep(0.1)
    assert len(counting.made) == 1
    with (
        pytest.raises(
            HTTPTimeoutError, match="<GET http://host/> took longer than total_timeout=3"
        ),
        limit_of(timer, 3),
    ):
        await asyncio.sleep(4)
    assert counting.time() == pytest.approx(99 * 0.1 + 3)


@ON_A_VIRTUAL_CLOCK
async def test_a_shorter_limit_is_not_kept_by_a_longer_one() -> None:
    """The timer is set to the earlier end."""
    timer, now = Timer(asyncio.get_running_loop()), asyncio.get_running_loop().time
    ends: list[float] = []

    async def wait(seconds: float) -> None:
        with (
            pytest.raises(HTTPTimeoutError, match=f"total_timeout={seconds}"),
            limit_of(timer, seconds),
        ):
            await asyncio.sleep(20)
        ends.append(now())

    await asyncio.gather(wait(9), wait(2))
    assert ends == [2, 9]


@ON_A_VIRTUAL_CLOCK
async def test_a_task_that_is_cancelled_as_well_ends_cancelled() -> None:
    """The time limit takes back its own cancellation only."""
    timer = Timer(asyncio.get_running_loop())

    async def wait() -> None:
        with limit_of(timer, 5):
            await asyncio.sleep(20)

    task = asyncio.ensure_future(wait())
    asyncio.get_running_loop().call_at(5, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


@ON_A_VIRTUAL_CLOCK
async def test_the_count_of_cancellations_is_as_before_when_the_limit_has_ended_a_wait() -> None:
    """A later cancellation is not taken for an earlier one."""
    timer, task = Timer(asyncio.get_running_loop()), asyncio.current_task()
    assert task is not None
    with pytest.raises(HTTPTimeoutError), limit_of(timer, 1):
        await asyncio.sleep(2)
    assert task.cancelling() == 0


@ON_A_VIRTUAL_CLOCK
async def test_an_error_at_the_limit_is_raised_as_itself() -> None:
    """What the wait has made of its cancellation is not covered by the time limit."""
    timer, task = Timer(asyncio.get_running_loop()), asyncio.current_task()
    assert task is not None

    async def wait() -> None:
        try:
            await asyncio.sleep(2)
        except asyncio.CancelledError:
            raise ValueError("mine") from None

    with pytest.raises(ValueError, match="mine"), limit_of(timer, 1):
        await wait()
    assert task.cancelling() == 0


@ON_A_VIRTUAL_CLOCK
async def test_without_a_limit_no_timer_is_made() -> None:
    """None means no limit, and costs nothing."""
    counting = CountingLoop()
    with limit_of(Timer(counting), None):  # type: ignore[arg-type]
        await asyncio.sleep(1_000_000)
    assert counting.made == []


@ON_A_VIRTUAL_CLOCK
async def test_a_timer_that_is_closed_does_not_ring() -> None:
    """It ends with its session, and nothing of it stays in the loop."""
    counting = CountingLoop()
    timer = Timer(counting)  # type: ignore[arg-type]
    with limit_of(timer, 10):
        pass
    timer.close()
    assert [handle.cancelled() for handle in counting.made] == [True]


async def test_aiohttp_has_what_is_replaced_of_its_connections() -> None:
    """Where it has gone, look for another: until then aiohttp's own timers are used."""
    assert hasattr(aiohttp.TCPConnector(), FACTORY)
    assert [name for name in REPLACED if not hasattr(ResponseHandler, name)] == []


async def test_connections_are_our_own() -> None:
    """Those that a session makes."""
    async with serving(reply({})) as site, Session(SessionKey(True, None)) as session:
        async with session.http.get(site.url) as response:
            connection: Any = response.connection
            kind = None if connection is None else type(connection.protocol)
        assert kind in (Connection, None)
        pool = session.http.connector._conns  # type: ignore[union-attr]
        assert {type(one) for line in pool.values() for one, _ in line} == {Connection}


class Wire(asyncio.Transport):
    """A transport over which the test itself says what comes."""

    def is_closing(self) -> bool:
        return False


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"


def connected(read_timeout: float | None) -> tuple[Connection, CountingLoop]:
    """Return a connection on which a request has just been sent."""
    counting = CountingLoop()
    connection = Connection(counting)  # type: ignore[arg-type]
    connection.connection_made(Wire())
    connection.set_response_params(read_timeout=read_timeout)
    connection.start_timeout()
    return connection, counting


@ON_A_VIRTUAL_CLOCK
async def test_the_answer_is_late_when_a_piece_is() -> None:
    """The time counts from one piece to the next, with the first one from the request."""
    connection, counting = connected(3)
    for piece in (HEAD[:9], HEAD[9:], b"1", b"2"):
        await asyncio.sleep(2.5)
        connection.data_received(piece)
    assert connection.exception() is None
    await asyncio.sleep(2.9)
    assert connection.exception() is None
    await asyncio.sleep(0.2)
    assert isinstance(connection.exception(), aiohttp.SocketTimeoutError)
    assert counting.time() == pytest.approx(4 * 2.5 + 3.1)


@ON_A_VIRTUAL_CLOCK
async def test_a_connection_that_is_kept_is_not_late_between_requests() -> None:
    """One timer serves many requests, and fires for nothing if none follows."""
    connection, counting = connected(3)
    for number in range(10):
        connection.data_received(HEAD + b"123")
        await asyncio.sleep(1 if number < 9 else 100)
        connection.start_timeout()
    assert connection.exception() is None
    assert len(counting.made) < 8
    await asyncio.sleep(3)
    assert isinstance(connection.exception(), aiohttp.SocketTimeoutError)


@ON_A_VIRTUAL_CLOCK
async def test_a_shorter_read_timeout_holds_on_a_connection_that_had_a_longer_one() -> None:
    """Nodes with other settings use the connections of one session."""
    connection, _ = connected(100)
    connection.data_received(HEAD + b"123")
    connection.set_response_params(read_timeout=2)
    connection.start_timeout()
    await asyncio.sleep(1.9)
    assert connection.exception() is None
    await asyncio.sleep(0.2)
    assert isinstance(connection.exception(), aiohttp.SocketTimeoutError)


@ON_A_VIRTUAL_CLOCK
async def test_a_server_is_not_late_while_nobody_takes_up_what_it_has_sent() -> None:
    """While reading is paused, the server is not expected to continue."""
    connection, _ = connected(3)
    connection.data_received(HEAD)
    connection.pause_reading()
    await asyncio.sleep(100)
    assert connection.exception() is None
    connection.resume_reading()
    await asyncio.sleep(3.1)
    assert isinstance(connection.exception(), aiohttp.SocketTimeoutError)


@ON_A_VIRTUAL_CLOCK
@pytest.mark.parametrize("read_timeout", [None, 3])
async def test_a_connection_that_is_lost_leaves_no_timer(read_timeout: float | None) -> None:
    """Without a limit there is no timer at all."""
    connection, counting = connected(read_timeout)
    connection.connection_lost(None)
    assert [handle.cancelled() for handle in counting.made] == [True] * (read_timeout is not None)


async def test_without_those_names_the_timers_are_those_of_aiohttp(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A later aiohttp may have others; a node keeps its time all the same."""
    monkeypatch.setattr("kaygraph.nodes.http._sessions.FACTORY", "_gone")
    async with speaking(saying(HEAD + b"1", then="silence")) as site:
        node = HTTPNode(site.url, read_timeout=0.2, max_retries=1)
        with pytest.raises(HTTPTimeoutError, match="the answer stopped"):
            await node.run_async({})
