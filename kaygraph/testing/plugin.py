"""The pytest plugin: async tests under many schedules, and the test kit as fixtures.

``@pytest.mark.explore(seeds=1000)`` runs an async test under so many seeds, as ``explore`` does, on
a virtual clock, each with new fixtures. ``pytest --explore 100`` does so for all async tests, those
of pytest-asyncio and of anyio's plugin too. ``docs/races.md`` says more.

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
from ._exploring_tests import ExploredTest, Settings, explores
from ._schedule import ORDERS

SEEDS = 1000


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kaygraph", "kaygraph: simulated runs")
    group.addoption(
        "--explore",
        type=int,
        metavar="N",
        help="run each async test under N schedules, on a virtual clock",
    )
    group.addoption(
        "--explore-seed",
        type=int,
        metavar="SEED",
        help="run each async test under this schedule alone",
    )
    group.addoption(
        "--explore-order",
        choices=ORDERS,
        help="'asyncio': ready tasks run in asyncio's own order (the default of --explore); "
        "'any': in any order (the default of @pytest.mark.explore)",
    )
    group.addoption(
        "--kaygraph-seeds",
        type=int,
        metavar="N",
        help="the number of seeds of the fixture and of the mark `explore` when a test gives none "
        "(1000)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "explore(seeds=1000, order='any', leftovers=True, jitter=0.001, max_steps=100000, "
        "max_seconds=None, network=None): run an async test under many schedules, on a virtual "
        "clock",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    settings = _settings_of(item)
    if settings is None:
        return
    if not explores(item):
        if item.get_closest_marker("explore") is not None and not hasattr(item, "callspec"):
            pytest.fail(f"explore is for async tests: write 'async def {item.name}'", pytrace=False)
        return
    test = ExploredTest(item, settings, _command(item))
    # Fixtures are those of each seed; what pytest's setup() of a case sets is None.
    vars(item).update(setup=lambda: None, runtest=test.run, _explicit_tearDown=None)


def _settings_of(item: pytest.Item) -> Settings | None:
    """Return how a test is explored: as its mark and the command line say; None if not."""
    option = item.config.getoption
    mark, seeds, seed = (
        item.get_closest_marker("explore"),
        option("explore"),
        option("explore_seed"),
    )
    if mark is None and seeds is None and seed is None:
        return None
    chosen: dict[str, Any] = {"seeds": seeds or option("kaygraph_seeds") or SEEDS}
    chosen["order"] = "asyncio" if mark is None else "any"
    if mark is not None:
        chosen |= {**dict(zip(("seeds",), mark.args, strict=False)), **mark.kwargs}
    if seed is not None:
        chosen["seeds"] = [seed]
    if option("explore_order") is not None:
        chosen["order"] = option("explore_order")
    return Settings(**chosen)


def _command(item: pytest.Item) -> str:
    """Return what runs a test again."""
    order = item.config.getoption("explore_order")
    name = f"'{item.nodeid}'" if "[" in item.nodeid else item.nodeid
    return f"pytest {name}" if order is None else f"pytest {name} --explore-order {order}"


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
    default = request.config.getoption("--kaygraph-seeds") or SEEDS

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
