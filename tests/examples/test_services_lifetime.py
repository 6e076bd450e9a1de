"""The HTTP service of the examples: its stream, its start and its stop."""

import asyncio
import errno
import json
import signal
import socket
import sys

import aiohttp
import anyio
import pytest
from anyio.lowlevel import checkpoint

from examples.services import Services, fails
from tests.children import child, ran
from tests.examples.asking import get
from tests.examples.bundled import COMPANIES, HANDLES, RECORDS

pytestmark = pytest.mark.anyio


# The stream of records


async def test_stream_ends_at_its_limit(session: aiohttp.ClientSession) -> None:
    """limit=3 gives the first three records, numbered from one."""
    async with session.get("/records?limit=3") as response:
        assert response.headers["Content-Type"] == "application/x-ndjson"
        lines = (await response.text()).splitlines()
    assert [json.loads(line) for line in lines] == [
        {**record, "sequence": number} for number, record in enumerate(RECORDS[:3], start=1)
    ]


async def test_stream_begins_again_after_the_last_record(session: aiohttp.ClientSession) -> None:
    """After the thousandth record comes the first, and the sequence continues."""
    async with session.get("/records?limit=1002") as response:
        lines = (await response.text()).splitlines()
    assert len(lines) == 1002
    assert json.loads(lines[-1]) == {**RECORDS[1], "sequence": 1002}


async def test_stream_of_none_is_empty(session: aiohttp.ClientSession) -> None:
    """limit=0 is a good answer without a line."""
    async with session.get("/records?limit=0") as response:
        assert (response.status, await response.text()) == (200, "")


@pytest.mark.parametrize("limit", ["-1", "many", "2.5", ""])
async def test_wrong_limit_answers_400(session: aiohttp.ClientSession, limit: str) -> None:
    """An invalid limit is named in the error."""
    status, body = await get(session, f"/records?limit={limit}")
    assert status == 400
    assert repr(limit) in body["error"]


async def test_stream_waits_for_a_slow_reader(
    services: Services, session: aiohttp.ClientSession
) -> None:
    """A client that stops reading stops the endless stream, and others are still served."""
    async with session.get("/records") as response:
        await response.content.readline()
        await anyio.wait_all_tasks_blocked()
        written = services.records_sent
        assert (await get(session, "/places/Rome"))[0] == 200
        await anyio.wait_all_tasks_blocked()
        assert services.records_sent == written
        assert services.open_streams == 1
        for _ in range(written + 1):
            await response.content.readline()
        assert services.records_sent > written


async def test_stream_ends_quietly_when_the_client_goes_away(
    services: Services, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """Leaving an endless stream closes it on the server, without a word in the log."""
    async with session.get("/records") as response:
        assert json.loads(await response.content.readline())["sequence"] == 1
        assert services.open_streams == 1
    with anyio.fail_after(5):
        while services.open_streams:
            await checkpoint()
    assert not caplog.records
    assert (await get(session, "/places/Rome"))[0] == 200


# Starting and stopping


async def test_stop_leaves_no_task_and_no_socket(caplog: pytest.LogCaptureFixture) -> None:
    """Leaving ends an endless stream and a request in flight, and frees the port."""
    before = asyncio.all_tasks()
    async with aiohttp.ClientSession() as session:
        async with Services() as services:
            url = services.url
            response = await session.get(f"{url}/records")
            await response.content.readline()
            pending = asyncio.create_task(session.get(f"{url}/social/{HANDLES[0]}"))
            while not services.requests["social"]:
                await checkpoint()
        assert services.open_streams == 0
        assert asyncio.all_tasks() - before - {pending} == set()
        await asyncio.wait([pending])
        pending.exception()
        response.close()
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)
    assert not caplog.records


async def test_services_begin_anew_when_entered_again() -> None:
    """The second run counts from zero and fails at the same attempts as the first."""
    services = Services(seed=7)
    domain = next(c["domain"] for c in COMPANIES if fails(7, f"/companies/{c['domain']}", 1))
    for _ in range(2):
        async with services, aiohttp.ClientSession(services.url) as session:
            assert (await get(session, f"/companies/{domain}"))[0] == 503
            assert services.requests == {"companies": 1}


async def test_two_services_run_side_by_side() -> None:
    """Two services share nothing, neither port nor counters."""
    async with Services() as one, Services() as other:
        assert one.url != other.url
        async with aiohttp.ClientSession(one.url) as session:
            await get(session, "/")
        assert (one.requests["index"], other.requests["index"]) == (1, 0)


async def test_url_before_the_start_says_what_to_write() -> None:
    """A service that does not run has no address, and the error says how to start it."""
    with pytest.raises(RuntimeError, match="async with Services"):
        _ = Services().url


async def test_entering_twice_raises(services: Services) -> None:
    """A running service cannot be started a second time, and keeps running."""
    url = services.url
    with pytest.raises(RuntimeError, match="running already"):
        await services.__aenter__()
    assert services.url == url


async def test_taken_port_raises_and_leaves_no_task(services: Services) -> None:
    """Starting at a port in use raises OSError, and nothing stays behind."""
    before = asyncio.all_tasks()
    second = Services(port=int(services.url.rpartition(":")[2]))
    with pytest.raises(OSError, match=str(errno.EADDRINUSE)):
        await second.__aenter__()
    assert asyncio.all_tasks() == before


PROGRAM = (sys.executable, "-m", "examples.services")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
async def test_program_prints_its_address_and_stops_at_interrupt() -> None:
    """In the foreground it answers at the address that it prints, until Ctrl-C."""
    buffered = {"PYTHONUNBUFFERED": ""}
    with child(*PROGRAM, "--port", "0", "--seed", "9", env=buffered) as process:
        assert process.stdout is not None
        url = await asyncio.to_thread(process.stdout.readline)
        async with aiohttp.ClientSession(url.strip()) as session:
            assert (await get(session, "/"))[0] == 200
        process.send_signal(signal.SIGINT)
        assert process.communicate() == ("", "")
    assert process.returncode == 0


def test_program_with_a_taken_port_says_so_in_one_line() -> None:
    """A port in use is exit code 1 and one line that says what to type."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = ran(*PROGRAM, "--port", str(taken.getsockname()[1]))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "Try --port 0" in done.stderr
