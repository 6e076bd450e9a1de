"""A real browser, Debian's Chromium, that is driven by its DevTools protocol over a WebSocket."""

import asyncio
import base64
import itertools
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

PROGRAM = shutil.which("chromium")
LONGEST_S = 30.0


class Tab:
    """One page.

    Attributes:
        complaints: What the browser has said on its console: errors, and what the policy refused.
    """

    def __init__(self, browser: "Browser", session: str) -> None:
        self._browser, self._session = browser, session
        self.complaints: list[str] = []
        browser.tabs[session] = self

    async def ask(self, method: str, **params: Any) -> Any:
        return await self._browser.ask(method, self._session, **params)

    def on_event(self, method: str, params: Any) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.complaints.append(str(params["args"]))

    async def open(self, address: str) -> None:
        await self.ask("Page.navigate", url=address)
        await self.until("document.readyState === 'complete'")

    async def js(self, expression: str) -> Any:
        """Return the value of an expression; a promise is waited for."""
        answer = await self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait until an expression is true, frame by frame, and return its value."""
        waits = (
            "new Promise((resolve, reject) => { const end = performance.now() + "
            f"{LONGEST_S * 1000}; const look = () => {{ const value = ({expression}); "
            "if (value) resolve(value); else if (performance.now() > end) reject(new Error("
            "'it has not come to that: ' + document.body.innerText.slice(0, 2000))); "
            "else setTimeout(look, 20); }; look(); })"
        )
        for last in (False, True):
            try:
                return await self.js(waits)
            except GoneError:  # it went to another page meanwhile
                if last:
                    raise
        raise AssertionError

    async def size(self, width: int, height: int, dark: bool = False) -> None:
        await self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height,
            deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.ask("Emulation.setEmulatedMedia", features=[scheme])

    async def press(self, key: str) -> None:
        codes = {"Tab": 9, "Enter": 13}
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            await self.ask(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key,
                windowsVirtualKeyCode=codes[key], **text,
            )  # fmt: skip

    async def screenshot(self, whole: bool = True) -> bytes:
        """Return a picture of the whole page, or of what is seen of it, as PNG."""
        answer = await self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])


class GoneError(Exception):
    """The page in which something was to be evaluated is no longer there."""


class Browser:
    """A running browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self.tabs: dict[str, Tab] = {}

    async def ask(self, method: str, session: str | None = None, **params: Any) -> Any:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json(message)
        return await asyncio.wait_for(answer, LONGEST_S + 10)

    async def receive(self) -> None:
        async for message in self._socket:
            data = message.json()
            answer = self._asked.pop(data.get("id"), None)
            if answer is not None:
                if answer.done():
                    continue
                error = data.get("error")
                if error is None:
                    answer.set_result(data["result"])
                else:
                    gone = "context was destroyed" in str(error) or "navigated" in str(error)
                    answer.set_exception((GoneError if gone else AssertionError)(str(error)))
            elif data.get("sessionId") in self.tabs:
                self.tabs[data["sessionId"]].on_event(data["method"], data["params"])

    async def tab(self, width: int = 1280, height: int = 900, dark: bool = False) -> Tab:
        made = await self.ask("Target.createTarget", url="about:blank")
        attached = await self.ask("Target.attachToTarget", targetId=made["targetId"], flatten=True)
        tab = Tab(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log"):
            await tab.ask(f"{domain}.enable")
        await tab.size(width, height, dark)
        return tab


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Browser]:
    """Start a browser with a profile of its own in a folder; it has ended when the block has."""
    assert PROGRAM is not None
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-first-run", "--hide-scrollbars", "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync", "--no-default-browser-check", "--remote-debugging-port=0",
        f"--user-data-dir={folder}", "about:blank",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    draining = None
    try:
        async with asyncio.timeout(LONGEST_S):
            while b"DevTools listening on " not in (line := await process.stderr.readline()):
                assert line, "the browser did not start"
        draining = asyncio.create_task(process.stderr.read())
        address = line.decode().rpartition("DevTools listening on ")[2].strip()
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(address, max_msg_size=0) as socket,
        ):
            running = Browser(socket)
            receiving = asyncio.create_task(running.receive())
            try:
                yield running
            finally:
                receiving.cancel()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if draining is not None:
            await draining
