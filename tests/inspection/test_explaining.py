"""The waits that a user meets, named with cause and holder: by a run, its page, the command."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kaygraph import Watch
from kaygraph.cli import main
from kaygraph.types import RunTask
from tests.inspection.staged import STAGED, Staged, running

pytestmark = pytest.mark.anyio

EVERY = pytest.mark.parametrize("staged", STAGED.values(), ids=STAGED.keys())


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


@asynccontextmanager
async def waiting(
    staged: Staged, gate: threading.Event, folder: Path, **options: Any
) -> AsyncIterator[RunTask]:
    """Run until the wait is there; end the run behind the test."""
    async with running(staged.make(gate), **staged.options(folder), **options) as run:
        while not any(w.kind == staged.kind for w in run.snapshot().waits):  # noqa: ASYNC110
            await asyncio.sleep(0)
        try:
            yield run
        finally:
            gate.set()


@EVERY
async def test_a_run_says_why_it_waits(
    staged: Staged, gate: threading.Event, tmp_path: Path
) -> None:
    """The wait names the node, the cause and the holder."""
    async with waiting(staged, gate, tmp_path) as run:
        snapshot = run.snapshot()
    found = [w for w in snapshot.waits if (w.kind, w.node) == (staged.kind, staged.node)]
    assert any(staged.text in wait.text for wait in found), snapshot.explain()


@EVERY
async def test_its_page_says_so(staged: Staged, gate: threading.Event, tmp_path: Path) -> None:
    """The page has the same sentence."""
    async with (
        waiting(staged, gate, tmp_path, watch=(page := Watch())),
        aiohttp.ClientSession() as client,
        client.get(f"{page.address}state") as answer,
    ):
        state = await answer.json()
    assert staged.text in str(state)


@EVERY
async def test_the_command_says_so(
    staged: Staged, gate: threading.Event, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``kaygraph explain`` asks the page."""
    async with waiting(staged, gate, tmp_path, watch=(page := Watch())):
        assert page.address is not None
        code = await asyncio.to_thread(main, ["explain", page.address])
    assert code == 0
    assert staged.text in capsys.readouterr().out
