"""capture_events(): what runs tell, without handing observers over."""

import threading

import pytest

from kaygraph import Graph, ItemFinished, RunStarted
from kaygraph.run.run import Run
from kaygraph.testing import assert_accounted, capture_events, simulate
from tests.testing.graphs import Fails, Sleep, Work


def test_the_events_of_every_run_within_are_collected() -> None:
    """Several runs one after another; none before and none after."""
    graph = Graph(Work([0, 0], name="w"))
    graph.run({})
    with capture_events() as events:
        graph.run({})
        Graph(Work([0], name="x")).run({})
    graph.run({})
    assert [event.node for event in events if isinstance(event, RunStarted)] == ["Graph", "Graph"]
    assert [event.node for event in events if isinstance(event, ItemFinished)] == ["w", "w", "x"]
    assert_accounted(events)


def test_observers_that_were_handed_over_hear_all_the_same() -> None:
    """Both get the same events."""
    heard: list[object] = []
    with capture_events() as events:
        Graph(Work([0])).run({}, observers=[heard.append])
    assert heard == events
    assert len(events) > 4


def test_captures_stand_within_each_other() -> None:
    """The outer one gets all, the inner one what happens within; equal lists are two."""
    with capture_events() as outer:
        with capture_events() as inner:
            Graph(Work([0])).run({})
        assert inner == outer
        assert len(inner) > 4
        Graph(Work([0])).run({})
    assert len(outer) == 2 * len(inner)
    assert Run.ambient == ()


def test_a_capture_ends_with_an_error_too() -> None:
    """What was told up to then is there, and nobody watches afterwards."""
    with pytest.raises(ValueError, match="broken"), capture_events() as events:
        Graph(Fails(0)).run({})
    assert events[-1].error is not None  # type: ignore[union-attr]
    assert Run.ambient == ()


def test_runs_in_other_threads_are_captured() -> None:
    """Within the block, whoever begins a run is watched."""
    with capture_events() as events:
        thread = threading.Thread(target=Graph(Work([0])).run, args=({},))
        thread.start()
        thread.join()
    assert_accounted(events)
    assert len(events) > 4


def test_streams_are_captured() -> None:
    """They are runs as well."""

    async def read(_: object) -> None:
        async for _ in Work([1, 2]).stream():
            pass
        async for _ in (Work([1]) | Work()).stream():
            pass

    with capture_events() as events:
        simulate(read)
    assert sum(isinstance(event, RunStarted) for event in events) == 2


def test_a_simulation_is_captured() -> None:
    """Under its own clock."""
    with capture_events() as events:
        run = simulate(Graph(Sleep(500)))
    assert events == run.events
    assert events[-1].at == 500
