"""Faults: work that fails, takes its time or hangs, in a way that can be repeated."""

from typing import Any

import pytest

from kaygraph import (
    BatchGraph,
    Drop,
    Graph,
    ItemFailed,
    ItemFinished,
    ItemRetried,
    Node,
    Outcome,
)
from kaygraph.testing import DeadlockError, Faults, InjectedError, explore, simulate
from tests.testing.graphs import Sleep
from tests.testing.kinds import KINDS, Gets, GetsInThread, statuses

# --- by script ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_script_says_what_each_attempt_meets(kind: type[Gets]) -> None:
    """Per item a step an attempt; what is not in the script works; so does what comes after it."""
    script = {
        1: [ValueError("first"), "ok"],
        2: [ValueError, ValueError, ValueError],
        3: [5.0],
        4: [(2.0, KeyError)],
    }
    node = Faults(script=script).wrap(kind(range(6), max_retries=3, max_workers=6))
    run = simulate(node)
    ended = {item: how for (_, item), how in statuses(run.events).items()}
    assert ended == {
        0: ("ok", 1),
        1: ("ok", 2),
        2: ("failed", 3),
        3: ("ok", 1),
        4: ("ok", 2),
        5: ("ok", 1),
    }
    assert run.seconds == 5
    times = {event.item: event.at for event in run.events if isinstance(event, ItemFinished)}
    assert (times[0], times[3], times[4]) == (0, 5, 2)
    errors = [event.error for event in run.events if isinstance(event, ItemRetried)]
    assert sorted(type(error).__name__ for error in errors) == ["KeyError", *["ValueError"] * 3]
    assert "first" in [str(error) for error in errors]


def test_a_sequence_is_a_script_for_every_item() -> None:
    """Each item goes through it by itself."""
    run = simulate(Faults(script=[ValueError, 1.5, "ok"]).wrap(Gets(range(4), max_retries=2)))
    assert set(statuses(run.events).values()) == {("ok", 2)}
    assert run.seconds == 1.5


def test_a_coroutine_that_hangs_ends_at_its_timeout() -> None:
    """And without one, the run is a deadlock that names it."""
    hang = Faults(script=["hang", "ok"])
    run = simulate(hang.wrap(Gets([1], timeout=3, max_retries=2)))
    assert statuses(run.events) == {("Gets", 0): ("ok", 2)}
    assert run.seconds == 3
    with pytest.raises(DeadlockError, match="of 'Gets'"):
        simulate(hang.wrap(Gets([1])))


def test_a_def_that_hangs_is_waited_for() -> None:
    """For an hour, by default otherwise; its timeout reports the overrun."""
    node = GetsInThread([1], timeout=3)
    run = simulate(Faults(script=["hang"]).wrap(node))
    assert statuses(run.events) == {("GetsInThread", 0): ("timed_out", 1)}
    assert run.seconds == 3600
    assert simulate(Faults(script=["hang"], hang_s=60).wrap(node)).seconds == 60


def test_drop_is_an_instruction_here_too() -> None:
    """An item can be left out by a script."""
    run = simulate(Faults(script={2: [Drop]}).wrap(Gets(range(4))))
    assert statuses(run.events)["Gets", 2] == ("skipped", 1)


def test_an_exception_is_copied_for_each_attempt() -> None:
    """Notes and tracebacks of one are not those of the other."""
    error = ValueError("same", 7)
    run = simulate(Faults(script=[error]).wrap(Gets(range(3))))
    errors = [event.error for event in run.events if isinstance(event, ItemFailed)]
    assert [other.args for other in errors] == [("same", 7)] * 3
    assert len({id(other) for other in (error, *errors)}) == 4
    assert not hasattr(error, "__notes__")
    assert error.__traceback__ is None


@pytest.mark.parametrize(
    "step", ["Ok", -1.0, True, None, (1.0, "ok"), (-1.0, ValueError), int, KeyboardInterrupt]
)
def test_a_step_that_means_nothing_is_refused(step: Any) -> None:
    """At once, with what a step may be."""
    with pytest.raises(ValueError, match=r"a step of a script is 'ok', 'hang', seconds"):
        Faults(script=[step])
    with pytest.raises(ValueError, match="a step of a script"):
        Faults(script={"item": ["ok", step]})


@pytest.mark.parametrize(
    "settings",
    [
        {"fail": 2},
        {"hang": -0.1},
        {"fail": True},
        {"delay": (2, 1)},
        {"delay": -1},
        {"delay": (0, 1, 2)},
        {"error": "boom"},
        {"error": KeyboardInterrupt},
        {"key": "name"},
    ],
)
def test_what_faults_take_is_checked(settings: Any) -> None:
    """Shares are from 0 to 1, times are not negative and in order, errors are exceptions."""
    with pytest.raises(ValueError, match=r"must be|comes first"):
        Faults(**settings)


@pytest.mark.parametrize("script", ["ok", ValueError, 3.0, {"item": "hang"}, {"item": OSError}])
def test_a_single_step_is_no_script(script: Any) -> None:
    """A script is a sequence: of a step alone it would not be clear which attempts it is for."""
    with pytest.raises(ValueError, match="a script is a sequence of steps, as in"):
        Faults(script=script)


# --- by chance ---


@pytest.mark.parametrize("kind", KINDS)
def test_about_the_share_asked_for_fails(kind: type[Gets]) -> None:
    """A thousand attempts, a third of them failing."""
    run = simulate(Faults(1, fail=1 / 3).wrap(kind(range(1000))))
    failed = sum(how == ("failed", 1) for how in statuses(run.events).values())
    assert 280 < failed < 390
    errors = [event.error for event in run.events if isinstance(event, ItemFailed)]
    assert {type(error) for error in errors} == {InjectedError}


def test_delays_lie_between_the_least_and_the_most() -> None:
    """Evenly, and on the loop's clock."""
    run = simulate(Faults(2, delay=(3, 5)).wrap(Gets(range(200), max_workers=200)))
    times = [event.seconds for event in run.events if isinstance(event, ItemFinished)]
    assert all(3 <= seconds <= 5 for seconds in times)
    assert sum(times) / len(times) == pytest.approx(4, abs=0.15)
    assert simulate(Faults(delay=7).wrap(Gets([1]))).seconds == 7


def test_some_hang_and_some_fail() -> None:
    """In the shares asked for, each attempt for itself."""
    faults = Faults(5, fail=0.3, hang=0.2, error=OSError)
    run = simulate(faults.wrap(Gets(range(500), timeout=1)))
    how = [status for status, _ in statuses(run.events).values()]
    assert 70 < how.count("timed_out") < 130
    assert 90 < how.count("failed") < 150


def test_what_happens_does_not_depend_on_the_order_of_things() -> None:
    """Other seeds of the schedule, other numbers of workers: the same fate for each item."""
    found = []
    for seed, workers in ((0, 1), (1, 4), (2, 9), (9, 30)):
        node = Gets(range(60), max_workers=workers, max_retries=3, wait=1, timeout=2)
        faults = Faults(7, fail=0.3, hang=0.1, delay=(0, 1.5))
        found.append(statuses(simulate(faults.wrap(Graph(node)), seed=seed).events))
    assert found[0] == found[1] == found[2] == found[3]
    assert len(set(found[0].values())) > 3
    other = Faults(8, fail=0.3, hang=0.1, delay=(0, 1.5)).wrap(Graph(node))
    assert statuses(simulate(other).events) != found[0]


def test_what_happens_is_the_same_outside_of_a_simulation() -> None:
    """On a real loop, in real threads, at other places of the input."""
    faults = Faults(7, fail=0.4)
    run = simulate(faults.wrap(GetsInThread(range(40))))
    shared: dict[str, Any] = {}
    faults.wrap(GetsInThread(reversed(range(40)))).run(shared)
    fates = shared["results"][::-1]
    assert fates == run.shared["results"]
    assert 5 < fates.count("failed") < 35


def test_a_node_in_a_loop_meets_another_fate_each_time() -> None:
    """So a loop that tries until it works comes to its end; a script goes on where it was."""
    again = Node(name="again")
    flaky = Sleep(0)
    flaky - "error" >> again >> flaky
    graph = Faults(fail=0.7).wrap(Graph(flaky))
    assert not explore(graph, seeds=50, max_steps=5000)
    scripted = Faults(script=[ValueError, ValueError, "ok"]).wrap(Graph(flaky))
    for _ in range(2):  # each run counts for itself
        events = simulate(scripted).events
        assert sum(isinstance(event, ItemFailed) for event in events) == 2


def test_rounds_with_other_params_meet_other_fates() -> None:
    """params are part of what decides."""

    class Rounds(BatchGraph):
        on_error = "collect"

        def prep(self, _: Any) -> Any:
            return [{"round": number} for number in range(60)]

        def post(self, shared: Any, _: Any, results: Any) -> None:
            shared["failed"] = [isinstance(result, Outcome) for result in results]

    graph = Faults(3, fail=0.5).wrap(Rounds(Sleep(0), max_workers=5))
    failed = simulate(graph).shared["failed"]
    assert 15 < sum(failed) < 45
    assert simulate(graph, seed=4).shared["failed"] == failed


def test_items_are_known_by_their_text_or_their_key() -> None:
    """Objects without a text of their own are all alike, unless a key tells them apart."""

    class Thing:
        def __init__(self, number: int) -> None:
            self.number = number

    things = [Thing(number) for number in range(40)]
    alike = simulate(Faults(1, fail=0.5).wrap(Gets(things)))
    assert len(set(statuses(alike.events).values())) == 1
    keyed = Faults(1, fail=0.5, key=lambda thing: thing.number)
    found = statuses(simulate(keyed.wrap(Gets(things))).events)
    assert found == statuses(simulate(Faults(1, fail=0.5).wrap(Gets(range(40)))).events)
    assert len(set(found.values())) == 2


def test_sets_and_dicts_are_known_whatever_their_order() -> None:
    """Equal items have one text, in every process."""
    from kaygraph.testing._fates import text_of

    assert text_of({"b": {2, 1}, "a": frozenset("xyz")}) == text_of(
        {"a": frozenset("zyx"), "b": {1, 2}}
    )
    assert text_of([object()]) == "[<object object>]"
    assert text_of(("a", 1)) != text_of(("a", "1"))
    assert text_of(Outcome("n", 1, "ok", {2})) == text_of(Outcome("n", 1, "ok", {2}))
