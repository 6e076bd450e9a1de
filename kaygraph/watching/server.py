"""The page's server: a thread with its own loop, to answer even while a hook blocks the run's."""

import asyncio
import errno
import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError

LOG = logging.getLogger("kaygraph.watching")

SHUTDOWN_S = 0.5  # for pages to read the end of their streams


def _is_own(record: logging.LogRecord) -> bool:
    """Whether it is not about an unreadable request: those are answered, and not a run's fault."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


LOG.addFilter(_is_own)


class Server:
    """Serves an application until it is stopped.

    Attributes:
        port: The port it listens on; known once started.
        ended: Done when everything is closed.
    """

    def __init__(
        self,
        application: Callable[[], web.Application],
        host: str,
        port: int,
        end: Callable[[], None],
    ) -> None:
        self._application, self._host, self.port, self._end = application, host, port, end
        self._started: Future[None] = Future()
        self.ended: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._thread = Thread(target=self._main, name="kaygraph-page", daemon=True)

    def start(self) -> None:
        """Start to listen.

        Raises:
            OSError: The port is in use.
        """
        self._thread.start()
        try:
            self._started.result()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise OSError(
                errno.EADDRINUSE,
                f"port {self.port} of {self._host} is in use: choose another, or watch=True for "
                f"any free one; concurrent runs can share one, as in page = Watch({self.port})",
            ) from None

    def call(self, call: Callable[..., object], *arguments: Any) -> None:
        """Call a function in the server's thread soon; do nothing if that has ended."""
        if self._loop is not None:
            with suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(call, *arguments)

    def stop(self) -> None:
        """Start to close: readers are sent how the run ended, and no new ones are admitted."""
        self.call(self._stopping.set)

    def join(self, seconds: float) -> None:
        """Wait in this thread until it has ended, for at most this many seconds."""
        self._thread.join(seconds)

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
        finally:
            self.ended.set_result(None)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            logger=LOG,
            handler_cancellation=True,  # a reader that has gone is no longer written to
            shutdown_timeout=SHUTDOWN_S,
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self.port)
            await site.start()
            self.port = runner.addresses[0][1]
            self._started.set_result(None)
            await self._stopping.wait()
            self._end()
            await site.stop()
        finally:
            await runner.cleanup()
