"""One look at a run for all readers of its stream."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from kaygraph.snapshot import BreakerSnapshot, CapSnapshot, NodeSnapshot, RunSnapshot, Waiting
from kaygraph.watching.hub import Hub, Shown
from kaygraph.watching.records import Records
from kaygraph.watching.view import _cleaned, clean

pytestmark = pytest.mark.anyio

FETCH = NodeSnapshot("Fetch", "running", running=1, total=10, items=3, ok=2)
RUN = RunSnapshot("1", "Crawl", 1.0, seconds=0.5, nodes=(FETCH,))


class Staged:
    """A run that is at whatever the test says."""

    def __init__(self, snapshot: RunSnapshot = RUN) -> None:
        self.now = snapshot
        self.looks = 0
        self.hub = Hub(Shown("1", "Crawl", self.look, Records(), interval=lambda: 0.0))

    def look(self) -> RunSnapshot:
        self.looks += 1
        return self.now

    def has_done(self, items: int) -> None:
        self.now = replace(self.now, nodes=(replace(FETCH, ok=items),))


def data_of(message: bytes) -> Any:
    assert message.startswith(b"data: ")
    return json.loads(message[6:])


async def test_a_reader_gets_all_and_then_what_has_changed() -> None:
    """A change names only what is new."""
    staged = Staged(
        replace(RUN, nodes=(FETCH, NodeSnapshot("Plan", "finished", runs=1, seconds=2.0)))
    )
    stream = staged.hub.stream()
    first = data_of(await anext(stream))
    assert first["full"]
    assert first["nodes"]["Fetch"] == {
        "state": "running", "running": 1, "total": 10, "items": 3, "ok": 2,
    }  # fmt: skip
    staged.now = replace(staged.now, nodes=(replace(FETCH, ok=3), staged.now.nodes[1]))
    change = data_of(await anext(stream))
    assert list(change["nodes"]) == ["Fetch"]
    assert "waits" not in change
    assert "full" not in change
    await stream.aclose()


async def test_one_that_comes_late_gets_all() -> None:
    """As those that were there first were, piece by piece."""
    staged = Staged()
    first = staged.hub.stream()
    await anext(first)
    staged.has_done(7)
    await anext(first)
    late = staged.hub.stream()
    shown = data_of(await anext(late))
    assert shown["full"]
    assert shown["nodes"]["Fetch"]["ok"] == 7
    await first.aclose()
    await late.aclose()


async def test_one_that_does_not_read_misses_changes_and_gets_all_later() -> None:
    """Nothing is kept for it."""
    staged = Staged()
    quick, slow = staged.hub.stream(), staged.hub.stream()
    await anext(quick)
    await anext(slow)
    for done in (4, 5, 6):
        staged.has_done(done)
        await anext(quick)
    shown = data_of(await anext(slow))
    assert shown["full"]
    assert shown["nodes"]["Fetch"]["ok"] == 6
    await quick.aclose()
    await slow.aclose()


async def test_nobody_looks_while_nobody_reads() -> None:
    """Not before the first reader, and not after the last."""
    staged = Staged()
    assert staged.looks == 0
    stream = staged.hub.stream()
    await anext(stream)
    await stream.aclose()
    looks = staged.looks
    await asyncio.sleep(0.25)
    assert staged.looks == looks


async def test_many_readers_are_one_look() -> None:
    """They share it, and its text."""
    staged = Staged()
    streams = [staged.hub.stream() for _ in range(50)]
    await asyncio.gather(*(anext(stream) for stream in streams))
    assert staged.looks == 1
    staged.has_done(5)
    messages = await asyncio.gather(*(anext(stream) for stream in streams))
    assert len({id(message) for message in messages}) == 1
    for stream in streams:
        await stream.aclose()


async def test_the_end_is_sent_to_all_and_is_the_last() -> None:
    """Also to one that comes afterwards."""
    staged = Staged()
    stream = staged.hub.stream()
    await anext(stream)
    staged.now = replace(RUN, state="finished")
    staged.hub.end()
    staged.hub.end()
    assert data_of(await anext(stream))["state"] == "finished"
    assert (await anext(stream)).startswith(b"event: end")
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    late = [message async for message in staged.hub.stream()]
    assert data_of(late[0])["state"] == "finished"
    assert len(late) == 2


async def test_a_run_that_cannot_be_looked_at_is_said() -> None:
    """The page goes on."""
    staged = Staged()

    def fails() -> RunSnapshot:
        raise RuntimeError("no such thing with token=abcdef")

    staged.hub.shown.snapshot = fails
    assert "RuntimeError: no such thing with token=***" in str((await staged.hub.state())["error"])


async def test_what_is_shown_is_bounded_and_without_secrets() -> None:
    """However many wait, and whatever their names say."""
    waits = tuple(
        Waiting(f"N{number}", "rate", 1, "a rate", f"N{number} waits: token=abcdef")
        for number in range(500)
    )
    caps = tuple(CapSnapshot("'Fetch'", 1, 1, number, key=str(number)) for number in range(5000))
    breaker = BreakerSnapshot("Fetch", None, "open", reason="failed with token=abcdef")
    staged = Staged(
        replace(RUN, waits=waits, caps=caps, breakers=(breaker,), name="with password=hunter2")
    )
    state = await staged.hub.state()
    assert len(state["waits"]) == 60
    assert state["more_waits"] == 440
    assert len(state["caps"]) == 100
    assert state["caps"][0]["waiting"] == 4999
    text = json.dumps(state)
    assert "abcdef" not in text
    assert "hunter2" not in text


async def test_a_text_without_end_is_cut_before_it_is_kept() -> None:
    """Also one that is reported again and again."""
    text = "x" * 10_000_000
    assert len(clean(text)) == 600
    assert _cleaned.cache_parameters()["maxsize"] == 2048
    assert clean("token=abc " * 1000).startswith("token=*** token=***")


async def test_busy_workers_over_time_are_kept_short() -> None:
    """Of nodes that have several; what stays the same is one step."""
    staged = Staged()
    for second in range(3000):
        fetch = replace(FETCH, workers=40, in_flight=second % 7, ok=second)
        plan = NodeSnapshot("Plan", "running", workers=1, in_flight=1, ok=second)
        same = NodeSnapshot("Same", "running", workers=4, in_flight=4, ok=second)
        staged.now = replace(RUN, seconds=float(second), nodes=(fetch, plan, same))
        state = await staged.hub.state()
    assert set(state["loads"]) == {"Fetch", "Same"}
    assert state["loads"]["Same"] == [(0.0, 4), (2999.0, 4)]
    assert 60 <= len(state["loads"]["Fetch"]) <= 120


async def test_throughput_over_time_is_kept_short() -> None:
    """A long run has coarser steps."""
    staged = Staged()
    for second in range(3000):
        staged.now = replace(RUN, seconds=float(second), nodes=(replace(FETCH, ok=second),))
        state = await staged.hub.state()
    assert len(state["points"]) <= 400
    assert state["points"][-1] == (2999.0, 2999)
