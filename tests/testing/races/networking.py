"""Races over connections: what arrives in parts, in another order, or after the other side left."""

import asyncio
from contextlib import suppress
from typing import Any

from tests.testing.races.planting import MS, lock_if, race, steps, together

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def open_to(server: asyncio.Server) -> Streams:
    return await asyncio.open_connection(*server.sockets[0].getsockname()[:2])


async def ended(streams: Streams) -> None:
    """Say that nothing more will come, and wait until the other side has ended too."""
    reader, writer = streams
    with suppress(ConnectionError):
        if writer.can_write_eof():
            writer.write_eof()
        await reader.read()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def served(handler: Any) -> asyncio.Server:
    return await asyncio.start_server(handler, "127.0.0.1", 0)


@race
async def read_is_a_message(fixed: bool) -> None:
    """``read`` is expected to return what was written at once; it may return a part of it."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await (reader.readexactly(20) if fixed else reader.read(100)))
        await reader.read()
        writer.close()

    async with await served(serve) as server:
        streams = await open_to(server)
        streams[1].write(b"a message of 20 byte")
        await ended(streams)
    assert got == [b"a message of 20 byte"], got


@race
async def two_writers_of_one_connection(fixed: bool) -> None:
    """Two tasks each write a head and a body with a wait in between, and their messages mix."""
    got: list[bytes] = []
    lock = lock_if(fixed)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read())
        while part := await reader.read():
            got.append(part)
        writer.close()

    async def send(writer: asyncio.StreamWriter, name: bytes, begins: float) -> None:
        await asyncio.sleep(begins)
        async with lock:
            writer.write(b"<" + name)
            await asyncio.sleep(2 * MS)  # reads the body from a file
            writer.write(name + b">")

    async with await served(serve) as server:
        streams = await open_to(server)
        await together(send(streams[1], b"a", 0), send(streams[1], b"b", 2.5 * MS))
        await ended(streams)
    assert b"".join(got) in (b"<aa><bb>", b"<bb><aa>"), got


@race
async def two_readers_of_one_connection(fixed: bool) -> None:
    """Two requests share a connection, and one reads the answer while the other waits for it."""
    lock = lock_if(fixed)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    async def ask(streams: Streams, begins: float) -> None:
        await asyncio.sleep(begins)
        async with lock:
            streams[1].write(b"%f\n" % begins)
            assert await streams[0].readline() == b"%f\n" % begins

    async with await served(serve) as server:
        streams = await open_to(server)
        try:
            await together(ask(streams, 0), ask(streams, 6 * MS))
        finally:
            with suppress(RuntimeError):
                await ended(streams)


@race
async def clients_read_and_write_back(fixed: bool) -> None:
    """Two clients get a number, add one to it and set it; one of the two additions is lost."""
    number, lock = 0, lock_if(fixed)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        while line := await reader.readline():
            if line != b"get\n":
                number = int(line)
            writer.write(b"%d\n" % number)
        writer.close()

    async def add(server: asyncio.Server, begins: float) -> None:
        await asyncio.sleep(begins)
        reader, writer = streams = await open_to(server)
        async with lock:
            writer.write(b"get\n")
            writer.write(b"%d\n" % (int(await reader.readline()) + 1))
            await reader.readline()
        await ended(streams)

    async with await served(serve) as server:
        await together(add(server, 0), add(server, 12 * MS))
    assert number == 2, number


@race
async def events_overtake_on_another_connection(fixed: bool) -> None:
    """Words "created" and "deleted" are sent over two connections and expected in this order."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            got.append(line)
            writer.write(line)
        writer.close()

    async with await served(serve) as server:
        one, other = await open_to(server), await open_to(server)
        one[1].write(b"created\n")
        if fixed:
            await one[0].readline()
        else:
            await asyncio.sleep(2 * MS)
        other[1].write(b"deleted\n")
        await together(ended(one), ended(other))
    assert got == [b"created\n", b"deleted\n"], got


@race
async def idle_connection_reused(fixed: bool) -> None:
    """A client takes a connection from its pool that the server is just closing as idle."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(TimeoutError, ConnectionError):
            while True:
                async with asyncio.timeout(20 * MS):
                    line = await reader.readline()
                if not line:
                    break
                writer.write(line)
        writer.close()

    async def ask(streams: Streams, text: bytes) -> bytes:
        with suppress(ConnectionError):
            streams[1].write(text)
            return await streams[0].readline()
        return b""

    async with await served(serve) as server:
        streams = await open_to(server)
        await ask(streams, b"first\n")
        await asyncio.sleep(17 * MS)
        answer = await ask(streams, b"second\n")
        await ended(streams)
        if fixed and not answer:  # as clients do that know of it: once more, on a new one
            streams = await open_to(server)
            answer = await ask(streams, b"second\n")
            await ended(streams)
    assert answer == b"second\n", answer


@race
async def closed_while_the_answer_is_on_its_way(fixed: bool) -> None:
    """A client closes after a while that was enough for the server's answer when it was tested."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        await asyncio.sleep(2 * MS)
        with suppress(ConnectionError):
            writer.write(line)
        writer.close()

    async def listen(reader: asyncio.StreamReader) -> None:
        if line := await reader.readline():
            got.append(line)

    async with await served(serve) as server:
        reader, writer = await open_to(server)
        listening = asyncio.create_task(listen(reader))
        writer.write(b"question\n")
        if fixed:
            await listening
        else:
            await asyncio.sleep(7 * MS)
        writer.close()
        await asyncio.wait([listening])
        await asyncio.sleep(20 * MS)
        await steps()
    assert got == [b"question\n"], got
