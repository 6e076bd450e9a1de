"""The pytest plugin: the test kit as fixtures.

========================  ==================================================================
``simulate``              ``kaygraph.testing.simulate``
``explore``               the same as there, and the test fails when a seed breaks
``cancel_everywhere``     ``kaygraph.testing.cancel_everywhere``
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
        help="how many seeds the fixture `explore` runs where a test names no number (1000)",
    )


@pytest.fixture(scope="session")
def simulate() -> Any:
    """``simulate(graph, shared, seed=…)``: one run on a virtual clock, in a seeded order."""
    return testing.simulate


@pytest.fixture(scope="session")
def explore(request: pytest.FixtureRequest) -> Any:
    """``explore(graph, shared, check=…)``: many seeds; fails the test when one breaks.

    As ``kaygraph.testing.explore``, and returns what that returns, but raises an AssertionError
    that shows the shortest failure. ``--kaygraph-seeds`` is how many where ``seeds`` is left out.
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
    """``cancel_everywhere(graph, shared)``: cancelled at every step, and nothing may be left."""
    return testing.cancel_everywhere


@pytest.fixture(scope="session")
def assert_accounted() -> Any:
    """``assert_accounted(report)``: every item begun has ended, exactly once."""
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
