"""A pytest plugin: every test runs once as it is, and then once per seed on a simulation.

The tests, their fixtures and their plugins (pytest-asyncio, anyio's, ``unittest``) are unchanged:
each loop that they make is a simulation's. A test is left out when it fails as it is, and when the
order of asyncio itself (seed 0) breaks it, as tests do that need the real clock or real files.
``--each-seed N`` sets how many seeds there are, ``--for-seconds S`` how long all tests may take,
``--found FILE`` where the results go, a line of JSON for each test.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import seed as seed_random
from time import monotonic  # the real clock: by its name, simulations leave it alone
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from kaygraph.testing._schedule import Schedule
from kaygraph.testing._simulated import ACTIVE, SimulationLoop, simulating

MAX_STEPS = 100_000  # of a run; more is an endless one
ORDERS = "asyncio", "any"  # first what could happen on asyncio's own loop
MOST_TEXT = 2_000  # of an error that is kept


class _Loops(asyncio.DefaultEventLoopPolicy):
    """Makes loops of simulations while there is a seed, and notes whether it has made any."""

    seed: int | None = None
    order = "any"
    made = 0

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        if self.seed is None:
            return super().new_event_loop()
        self.made += 1
        ACTIVE.loop = loop = SimulationLoop(
            self.seed, Schedule(self.seed, order=self.order), max_steps=MAX_STEPS
        )
        seed_random(self.seed)
        return loop


_ENDS = pytest.StashKey[float]()

_LOOPS = _Loops()  # one for all: plugins keep the policy that they find first


@contextmanager
def _simulated(seed: int, order: str) -> Iterator[None]:
    """Have all loops that are made within be those of simulations."""
    with simulating():
        _LOOPS.seed, _LOOPS.order, _LOOPS.made = seed, order, 0
        try:
            yield
        finally:
            ACTIVE.loop = _LOOPS.seed = None


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--each-seed"):
        asyncio.set_event_loop_policy(_LOOPS)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("each seed")
    group.addoption("--each-seed", type=int, default=0, metavar="N")
    group.addoption("--for-seconds", type=float, default=float("inf"), metavar="S")
    group.addoption("--found", type=Path, metavar="FILE")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> object:
    seeds = item.config.getoption("--each-seed")
    if not seeds:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    result = _explored(item, seeds, _share(item, nextitem))
    # Once more as it is, so that fixtures of modules end with the last of their tests.
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        item.ihook.pytest_runtest_logreport(report=report)
    with item.config.getoption("--found").open("a") as file:
        file.write(json.dumps({"test": item.nodeid, **result}) + "\n")
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _share(item: pytest.Item, nextitem: pytest.Item | None) -> float:
    """Return how many seconds a test has: all that are left have equal shares of the time left."""
    config, items = item.config, item.session.items
    ends: float = config.stash.setdefault(_ENDS, monotonic() + config.getoption("--for-seconds"))
    left = 1 if nextitem is None else len(items) - items.index(item)
    return max(0.0, ends - monotonic()) / left


def _explored(item: pytest.Item, seeds: int, seconds: float) -> dict[str, Any]:
    """Return what became of a test: ``outcome``, and for some the ``seed`` and the ``error``."""
    began = monotonic()
    if error := _failure(item):
        return {"outcome": "skipped" if error == "skipped" else "fails as it is", "error": error}
    schedules = 0
    for number, order in enumerate(ORDERS, 1):
        ends = began + seconds * number / len(ORDERS)
        for seed in range(seeds):
            if seed > 1 and monotonic() > ends:
                break
            with _simulated(seed, order):
                error = _failure(item)
            if not _LOOPS.made:
                return {"outcome": "no loop"}
            if error == "skipped":
                return {"outcome": "skipped"}
            schedules += 1
            if error:
                outcome = f"found in order {order}" if seed else "not simulated"
                seen = {"seed": seed, "schedules": schedules, "error": error}
                return {"outcome": outcome, **seen}
    return {"outcome": "passes", "schedules": schedules}


class _Sibling:
    """Stands for a next test in the same module: fixtures of the module, or above, are kept."""

    def __init__(self, item: pytest.Item) -> None:
        self._chain = item.listchain()[:-1]

    def listchain(self) -> list[Any]:
        return self._chain


def _failure(item: pytest.Item) -> str | None:
    """Run a test with its fixtures; return its error as text, or None."""
    sibling: Any = _Sibling(item)
    reports = runtestprotocol(item, log=False, nextitem=sibling)
    if any(report.skipped for report in reports):
        return "skipped"
    failed = [report for report in reports if report.failed]
    if not failed:
        return None
    return f"{failed[0].when}: {failed[0].longreprtext[-MOST_TEXT:]}"
