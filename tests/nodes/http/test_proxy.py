"""Behind a proxy that compresses: Debian's haproxy, if it is installed."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kaygraph import Graph
from kaygraph.nodes import ChatNode, HTTPLines
from tests.servers import serving

HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed"),
]

CONFIGURATION = """
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
frontend front
    bind fd@{listening}
    compression algo gzip
    compression type application/json text/event-stream
    default_backend back
backend back
    server one 127.0.0.1:{port}
"""


@asynccontextmanager
async def behind_haproxy(port: int, folder: Path) -> AsyncIterator[str]:
    """Start a proxy before a server; it takes over a socket that listens already."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        path = folder / "haproxy.cfg"
        path.write_text(CONFIGURATION.format(listening=listening.fileno(), port=port))
        proxy = await asyncio.create_subprocess_exec(
            str(HAPROXY), "-db", "-q", "-f", path, pass_fds=[listening.fileno()],
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            proxy.kill()
            await proxy.wait()


class Quiet:
    """Sends a piece when the one before has been taken, and says how it was asked."""

    def __init__(self, kind: str, *pieces: bytes) -> None:
        self.kind, self.pieces = kind, pieces
        self.taken = asyncio.Semaphore(0)
        self.encodings: list[str | None] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.encodings.append(request.headers.get("Accept-Encoding"))
        response = web.StreamResponse(headers={"Content-Type": self.kind})
        await response.prepare(request)
        for piece in self.pieces:
            await response.write(piece)
            await self.taken.acquire()
        return response


async def test_the_last_line_of_a_quiet_stream_comes(tmp_path: Path) -> None:
    """haproxy holds back the last bytes of what it compresses; it is not asked to."""
    quiet = Quiet("application/json", b"1\n", b"2\n", b"3\n")
    async with serving(quiet) as site, behind_haproxy(site.port, tmp_path) as url:
        seen = []
        async with asyncio.timeout(30) as limit:
            async for outcome in HTTPLines(url).stream({}):
                seen.append(outcome.value)
                quiet.taken.release()
        assert not limit.expired()
    assert (seen, quiet.encodings) == ([1, 2, 3], ["identity"])


async def test_the_last_piece_of_an_answer_comes(tmp_path: Path) -> None:
    """A language model may think for long after a word."""
    event = b'data: {"choices": [{"delta": {"content": "%c"}}]}\n\n'
    pieces = [event % letter for letter in b"abc"]
    quiet = Quiet("text/event-stream", *pieces, b"data: [DONE]\n\n")
    received: list[str] = []

    class Hears(ChatNode):
        def receive(self, item: Any, text: str, /) -> None:
            received.append(text)
            quiet.taken.release()

    async with serving(quiet) as site, behind_haproxy(site.port, tmp_path) as url:
        node = Hears(url + "v1", "tiny", streaming=True, reads="prompt", writes="answer")
        async with asyncio.timeout(30) as limit:
            await Graph(node).run_async(shared := {"prompt": "Hello"})
        assert not limit.expired()
    assert (shared["answer"], received, quiet.encodings) == ("abc", ["a", "b", "c"], ["identity"])
