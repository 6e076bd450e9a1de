"""How fast and how reliable the network of a simulation is."""

import asyncio
from typing import Any

import pytest

from kaygraph.testing import Network, explore, simulate


async def ask(_: Any) -> None:
    """Ask a server once, over one connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write((await reader.readline()).upper())
        except ConnectionResetError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 80):
        reader, writer = await asyncio.open_connection("127.0.0.1", 80)
        try:
            writer.write(b"question\n")
            answer = await reader.readline()
            if not answer.endswith(b"\n"):
                raise EOFError
        finally:
            writer.close()


def test_latency_is_in_seconds() -> None:
    """An exchange takes two ways for the connection and two for the data."""
    slow = Network(latency=(1, 2), split=0)
    assert simulate(ask, seed=0, network=slow).seconds == 4
    assert all(4 <= simulate(ask, seed=seed, network=slow).seconds <= 9 for seed in range(1, 20))


def test_connections_are_refused_by_chance() -> None:
    """About as often as was asked for, and for the same seeds each time."""
    found = explore(ask, seeds=100, network=Network(refuse=0.5))
    again = explore(ask, seeds=100, network=Network(refuse=0.5))
    assert {type(failure.error) for failure in found} == {ConnectionRefusedError}
    assert 25 < len(found) < 75
    assert [one.seed for one in found] == [one.seed for one in again]


def test_connections_are_lost_by_chance() -> None:
    """At any of their segments; a program that expects it passes."""
    lost = 0

    async def patient(_: Any) -> None:
        nonlocal lost
        try:
            await ask(None)
        except ConnectionError:
            lost += 1

    careless = explore(ask, seeds=100, network=Network(lose=0.9))
    assert {type(failure.error) for failure in careless} == {ConnectionResetError}
    found = explore(patient, seeds=100, network=Network(lose=0.9))
    assert not found, str(found)
    assert lost > 10
    assert not explore(ask, seeds=100)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"latency": (2, 1)}, "the shortest and the longest"),
        ({"latency": (-1, 1)}, "the shortest and the longest"),
        ({"latency": (0, float("inf"))}, "the shortest and the longest"),
        ({"lose": 1.5}, r"lose must be between 0 and 1, got 1\.5"),
        ({"refuse": -1}, "refuse must be between"),
        ({"split": 2}, "split must be between"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], says: str) -> None:
    """They are errors when they are given, and say what would do."""
    with pytest.raises(ValueError, match=says):
        Network(**settings)


def test_something_else_than_a_network_is_refused() -> None:
    """A dict of settings, for one."""
    with pytest.raises(TypeError, match="must be a Network"):
        simulate(ask, network={"lose": 0.5})  # type: ignore[arg-type]
