"""asyncio's streams over the network of a simulation."""

import asyncio
import socket
import ssl
from typing import Any

import pytest

from kaygraph.testing import DeadlockError, explore, run_virtually, simulate

SEEDS = 100


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes, until the other side has ended."""
    while data := await reader.read(1000):
        writer.write(data)
        await writer.drain()
    writer.close()


def port_of(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


def all_pass(main: Any, **settings: Any) -> None:
    found = explore(main, **{"seeds": SEEDS, **settings})
    assert not found, str(found)


def test_a_server_echoes_to_several_clients() -> None:
    """Each of them gets back what it has sent, whatever the order of all others."""

    async def main(_: Any) -> None:
        async def client(text: bytes) -> None:
            reader, writer = await asyncio.open_connection("localhost", port_of(server))
            writer.write(text)
            assert await reader.readexactly(len(text)) == text
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(echo, "localhost", 0) as server:
            await asyncio.gather(*(client(b"hello %d" % number) for number in range(3)))

    all_pass(main)


def test_the_seed_decides_which_connection_is_first() -> None:
    """Two clients that send at the same moment arrive in either order."""

    async def main(arrived: list[bytes]) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            arrived.append(await reader.readexactly(1))
            writer.close()

        async def client(text: bytes) -> None:
            reader, writer = await asyncio.open_connection("localhost", port_of(server))
            writer.write(text)
            await reader.read()
            writer.close()

        async with await asyncio.start_server(serve, "localhost", 0) as server:
            await asyncio.gather(client(b"a"), client(b"b"))

    orders = [b"".join(simulate(main, [], seed=seed).shared) for seed in range(50)]
    assert orders[0] == b"ab"
    assert set(orders) == {b"ab", b"ba"}
    assert orders == [b"".join(simulate(main, [], seed=seed).shared) for seed in range(50)]


def test_what_is_sent_at_once_may_arrive_in_parts() -> None:
    """``read`` is not ``readexactly``; what arrives is complete and in order all the same."""

    async def main(parts: list[bytes]) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while part := await reader.read(100):
                parts.append(part)
            writer.close()

        async with await asyncio.start_server(serve, "localhost", 0) as server:
            reader, writer = await asyncio.open_connection("localhost", port_of(server))
            writer.write(b"0123456789")
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()

    parts = [simulate(main, [], seed=seed).shared for seed in range(50)]
    assert parts[0] == [b"0123456789"]
    assert {b"".join(part) for part in parts} == {b"0123456789"}
    assert len({len(part) for part in parts}) > 2


def test_a_side_that_has_ended_still_reads() -> None:
    """``write_eof`` closes one direction, and the answer comes in the other."""

    async def main(_: Any) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            whole = await reader.read()
            writer.write(whole.upper())
            writer.close()

        async with await asyncio.start_server(serve, "::1", 7777):
            reader, writer = await asyncio.open_connection("::1", 7777)
            writer.write(b"question")
            writer.write_eof()
            assert await reader.read() == b"QUESTION"
            writer.close()

    all_pass(main)


def test_a_writer_waits_for_a_reader_that_is_slow() -> None:
    """A megabyte is not in flight at once: ``drain`` returns when the other side has read."""
    size = 2**20

    async def main(_: Any) -> None:
        slow = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await slow.wait()
            assert len(await reader.read()) == size
            writer.close()

        async with await asyncio.start_server(serve, "localhost", 0) as server:
            reader, writer = await asyncio.open_connection("localhost", port_of(server))
            writer.write(bytes(size))
            draining = asyncio.create_task(writer.drain())
            await asyncio.sleep(60)
            assert not draining.done()
            slow.set()
            await draining
            writer.write_eof()
            await reader.read()
            writer.close()

    all_pass(main, seeds=5)


def test_a_port_without_a_server_refuses() -> None:
    """Before it listens, after it is closed, and at another address."""

    async def main(_: Any) -> None:
        async def refused(host: str) -> None:
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(host, 8000)

        await refused("127.0.0.1")
        async with await asyncio.start_server(echo, "127.0.0.1", 8000):
            await refused("other.example")
            reader, writer = await asyncio.open_connection("127.0.0.1", 8000)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
        await refused("127.0.0.1")

    all_pass(main)


def test_a_port_is_taken_once() -> None:
    """A second server at the same address is an error, as it is elsewhere."""

    async def main(_: Any) -> None:
        async with await asyncio.start_server(echo, "0.0.0.0", 8000):
            with pytest.raises(OSError, match="in use"):
                await asyncio.start_server(echo, "127.0.0.1", 8000)
        server = await asyncio.start_server(echo, "127.0.0.1", 8000)
        server.close()

    simulate(main)


def test_every_name_has_an_address() -> None:
    """Two services listen at one port, each under its own name."""

    async def main(_: Any) -> None:
        def serving(name: bytes) -> Any:
            async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(name)
                writer.close()

            return serve

        for name in ("orders.example", "users.example"):
            await asyncio.start_server(serving(name.encode()), name, 80)
        for name in ("users.example", "orders.example"):
            reader, writer = await asyncio.open_connection(name, 80)
            assert await reader.read() == name.encode()
            writer.close()
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo("users.example", 80)
        assert await loop.getnameinfo(infos[0][4]) == ("users.example", "80")
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("users.example", 80, flags=socket.AI_NUMERICHOST)

    simulate(main)


def test_data_for_a_closed_side_resets_the_connection() -> None:
    """The client goes on to send after the server has closed, and gets an error for it."""

    async def main(_: Any) -> None:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async with await asyncio.start_server(serve, "localhost", 0) as server:
            reader, writer = await asyncio.open_connection("localhost", port_of(server))
            assert await reader.read() == b""
            writer.write(b"anybody?")
            await asyncio.sleep(1)
            writer.write(b"hello?")
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                await writer.drain()
            writer.close()

    all_pass(main)


def test_a_race_over_the_network_is_found() -> None:
    """Two clients of a correct server read a number, add to it and write it back."""

    def program(locked: bool) -> Any:
        async def main(_: Any) -> None:
            value, lock = 0, asyncio.Lock()

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                nonlocal value
                while line := await reader.readline():
                    if line != b"get\n":
                        value = int(line)
                    writer.write(b"%d\n" % value)
                    await writer.drain()
                writer.close()

            async def add(begins: float) -> None:
                await asyncio.sleep(begins)
                reader, writer = await asyncio.open_connection("localhost", port_of(server))
                if locked:
                    await lock.acquire()
                writer.write(b"get\n")
                writer.write(b"%d\n" % (int(await reader.readline()) + 1))
                await reader.readline()
                if locked:
                    lock.release()
                writer.write_eof()
                await reader.read()
                writer.close()

            async with await asyncio.start_server(serve, "localhost", 0) as server:
                await asyncio.gather(add(0), add(0.005))
            assert value == 2

        return main

    found = explore(program(locked=False), seeds=SEEDS)
    assert found
    assert found.failures[0].seed != 0
    assert "assert 1 == 2" in str(found)
    all_pass(program(locked=True))


def test_tls_says_that_it_is_not_simulated() -> None:
    """And what to do in place of it."""

    async def main(_: Any) -> None:
        async with await asyncio.start_server(echo, "localhost", 443):
            await asyncio.open_connection("localhost", 443, ssl=True)

    async def serving(_: Any) -> None:
        await asyncio.start_server(echo, "localhost", 443, ssl=ssl.create_default_context())

    for program in (main, serving):
        with pytest.raises(NotImplementedError, match=r"TLS is not simulated.*http://"):
            simulate(program)


def test_what_blocks_says_so() -> None:
    """A blocking socket in a coroutine would stop the clock for all."""

    async def main(_: Any) -> None:
        async with await asyncio.start_server(echo, "localhost", 80):
            socket.create_connection(("127.0.0.1", 80))

    with pytest.raises(NotImplementedError, match="would stop the clock"):
        simulate(main)


def test_real_sockets_are_refused_and_stay_as_they_are() -> None:
    """One that was made outside is not part of the simulation, and works again after it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        async def main(_: Any) -> None:
            assert isinstance(listening, socket.socket)
            assert isinstance(socket.socket(), socket.socket)
            listening.setblocking(False)
            await asyncio.get_running_loop().sock_accept(listening)

        before = socket.socket
        with pytest.raises(NotImplementedError, match="not a socket of this simulation"):
            simulate(main)
        assert socket.socket is before
        listening.setblocking(True)
        with socket.create_connection(listening.getsockname()), listening.accept()[0]:
            pass


def test_nothing_is_sent_outside() -> None:
    """A real server at the same address gets no connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()

        async def main(_: Any) -> None:
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*address)

        simulate(main)
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_a_virtual_clock_alone_has_no_network() -> None:
    """``run_virtually`` has no seed, and says what has."""

    async def main() -> None:
        await asyncio.open_connection("127.0.0.1", 80)

    with pytest.raises(NotImplementedError, match="no network"):
        run_virtually(main())


def test_a_deadlock_over_the_network_is_found() -> None:
    """Both sides wait for the other to begin, and no timer would end it."""

    async def main(_: Any) -> None:
        async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.readline()

        async with await asyncio.start_server(serve, "localhost", 0) as server:
            connection = await asyncio.open_connection("localhost", port_of(server))
            await connection[0].readline()

    with pytest.raises(DeadlockError, match="serve") as caught:
        simulate(main)
    assert "main" in str(caught.value)
