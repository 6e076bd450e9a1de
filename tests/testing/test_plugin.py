"""The pytest plugin: the kit as fixtures, in a pytest of its own."""

import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent.parent

GRAPHS = """
import asyncio

from kaygraph import Graph, Node, ParallelBatchNode


class Add(Node):
    def prep(self, shared):
        return shared["total"]

    async def exec(self, total):
        await asyncio.sleep(1)

    def post(self, shared, total, _):
        shared["total"] = total + 1


class Many(ParallelBatchNode):
    def prep(self, shared):
        return range(5)

    async def exec(self, item):
        await asyncio.sleep(item)


def both_count(shared):
    return shared["total"] == 2
"""


@pytest.fixture
def results(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> object:
    """Run tests with nothing but pytest and the plugin; return what they came to."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(tests: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(GRAPHS + tests)
        plugin = ("-p", "kaygraph.testing.plugin", "-p", "no:cacheprovider")
        return pytester.runpytest_inprocess(*plugin, *arguments)

    return run


def test_every_tool_is_a_fixture(results) -> None:
    """Each under the name that it has in kaygraph.testing."""
    result = results(
        """
def test_simulate(simulate):
    assert simulate(Graph(Add()), {"total": 1}, seed=3).seconds == 1

def test_explore(explore):
    assert not explore(Graph(Add() >> Add()), {"total": 0}, check=both_count)

def test_cancel_everywhere(cancel_everywhere):
    assert cancel_everywhere(Graph(Many())) > 5

def test_kill_everywhere(kill_everywhere):
    assert kill_everywhere(Graph(Many())) > 5

def test_faults(simulate, faults):
    run = simulate(faults(script=[OSError, "ok"]).wrap(Many(max_retries=2)))
    assert run.report.retries == 5

def test_assert_accounted(simulate, assert_accounted):
    assert_accounted(simulate(Many()).report)

def test_captured_events(captured_events, assert_accounted):
    assert captured_events == []
    Graph(Many()).run({}) if False else Graph(Node()).run({})
    assert type(captured_events[0]).__name__ == "RunStarted"
    assert_accounted(captured_events)

def test_events_of_the_test_before_are_gone(captured_events):
    assert captured_events == []
"""
    )
    result.assert_outcomes(passed=8)


def test_explore_fails_the_test_and_shows_the_shortest_failure(results) -> None:
    """The count, the error, what repeats it, and the trace."""
    result = results(
        """
def test_race(explore):
    graph = Graph([Add(name="left"), Add(name="right")], on_conflict="ignore")
    explore(graph, {"total": 0}, check=both_count)
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*AssertionError: 1000 of 1000 seeds break it; the shortest:",
            "E*AssertionError: check(shared) returned False",
            "E*simulate(*seed=0) repeats this run",
            "*shared: {'total': 1}",
            "*0.0 task-2 NodeStarted left",
        ]
    )
    result.stdout.no_fnmatch_line("*def explored*")  # the kit's own lines are no help


def test_the_number_of_seeds_is_an_option(results) -> None:
    """For tests that name none; a test that names its own keeps it."""
    result = results(
        """
def test_as_many_as_asked_for(explore):
    assert explore(Graph(Node())).seeds == 17

def test_as_many_as_named(explore):
    assert explore(Graph(Node()), seeds=3).seeds == 3
""",
        "--kaygraph-seeds=17",
    )
    result.assert_outcomes(passed=2)


def test_the_fixtures_are_documented(results) -> None:
    """`pytest --fixtures` says what each is for."""
    result = results("", "--fixtures", "-q")
    text = result.stdout.str()
    for name in (
        "simulate",
        "explore",
        "cancel_everywhere",
        "kill_everywhere",
        "faults",
        "assert_accounted",
        "captured_events",
    ):
        lines = text[text.index(f"\n{name} ") :].splitlines()
        assert "plugin.py" in lines[1]
        assert "``" in lines[2] or "events" in lines[2]


def test_the_plugin_is_in_the_entry_points() -> None:
    """Installed, it is found by pytest on its own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"kaygraph": "kaygraph.testing.plugin"}
