"""The pytest plugin: the test kit as fixtures.

========================  ==================================================================
``simulate``              ``kaygraph.testing.simulate``
``explore``               ``kaygraph.testing.explore``; the test fails when a seed fails
``cancel_everywhere``     ``kaygraph.testing.cancel_everywhere``
``kill_everywhere``       ``kaygraph.testing.kill_everywhere``
``assert_accounted``      ``kaygraph.testing.assert_accounted``
``faults``                ``kaygraph.testing.Faults``
``captured_events``       the events of every run that begins in the test
========================  ==================================================================
"""

from collections.abc import Iterator
from typing import Any

import pytest

from .. import testing
from ..events import Event


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kaygraph", "kaygraph: simulated runs")
    group.addoption(
        "--kaygraph-seeds",
        type=int,
        metavar="N",
        help="the number of seeds of the fixture `explore` when a test gives none (1000)",
    )


@pytest.fixture(scope="session")
def simulate() -> Any:
    """``simulate(graph, shared, seed=…)``: one run on a virtual clock, in a seeded order."""
    return testing.simulate


@pytest.fixture(scope="session")
def explore(request: pytest.FixtureRequest) -> Any:
    """``explore(graph, shared, check=…)``: many seeds; the test fails when a seed fails.

    It works like ``kaygraph.testing.explore`` and returns the same, but raises an AssertionError
    that shows the shortest failure. ``--kaygraph-seeds`` sets the default of ``seeds``.
    """
    default = request.config.getoption("--kaygraph-seeds") or 1000

    def explored(graph: Any, shared: Any = None, /, **settings: Any) -> Any:
        __tracebackhide__ = True
        found = testing.explore(graph, shared, **{"seeds": default, **settings})
        if found.shortest is not None:
            raise AssertionError(str(found)) from found.shortest.error
        return found

    return explored


@pytest.fixture(scope="session")
def cancel_everywhere() -> Any:
    """``cancel_everywhere(graph, shared)``: cancel at every step; nothing may be left."""
    return testing.cancel_everywhere


@pytest.fixture(scope="session")
def kill_everywhere() -> Any:
    """``kill_everywhere(graph, shared)``: kill at every write of a journal, and resume."""
    return testing.kill_everywhere


@pytest.fixture(scope="session")
def assert_accounted() -> Any:
    """``assert_accounted(report)``: every item that began has ended exactly once."""
    return testing.assert_accounted


@pytest.fixture
def faults() -> Any:
    """``faults(fail=0.1, …).wrap(node)``: the class ``Faults``."""
    return testing.Faults


@pytest.fixture
def captured_events() -> Iterator[list[Event]]:
    """The events of every run that begins in the test, in order."""
    with testing.capture_events() as events:
        yield events
