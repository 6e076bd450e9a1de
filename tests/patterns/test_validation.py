"""Validation: the result of each check, and the next node of the record."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from kaygraph import AttemptTimeoutError, Drop, Graph, Node
from kaygraph.patterns import ParallelValidationNode, ValidationSummary, check
from kaygraph.patterns.validation import ValidationFailure
from kaygraph.testing import cancel_everywhere, explore, simulate


class Order(ParallelValidationNode[dict[str, Any]]):
    """Five checks, of which some find something in a bad order."""

    timeout = 5

    @check
    async def amount(self, order: dict[str, Any]) -> bool | str:
        await asyncio.sleep(1)
        return order["amount"] > 0 or "the amount must be above 0"

    @check
    def address(self, order: dict[str, Any]) -> Iterator[str]:
        if not order["street"]:
            yield "no street"
            yield "no house"

    @check(timeout=1, max_retries=2)
    async def credit(self, order: dict[str, Any]) -> None:
        await asyncio.sleep(order["credit_s"])


GOOD = {"amount": 1, "street": "Elm", "credit_s": 0.5}
BAD = {"amount": 0, "street": "", "credit_s": 9}


def summary_of(node: Any, record: Any) -> Any:
    return simulate(node, {"record": record}).shared["summary"]


def only(function: Any, **settings: Any) -> ValidationSummary[Any]:
    """Return the summary of one check."""
    checks = {"one": check(function, **settings)}
    found: ValidationSummary[Any] = summary_of(
        ParallelValidationNode(checks, reads="record", writes="summary"), 7
    )
    return found


def test_all_checks_run_at_once_and_a_good_record_passes() -> None:
    """The whole takes as long as the slowest check, and the names stand in the order written."""
    run = simulate(Order(reads="record", writes="summary"), {"record": GOOD})
    assert (run.action, run.seconds) == ("valid", 1.0)
    summary = run.shared["summary"]
    assert summary.valid
    assert summary.passed == ("amount", "address", "credit")
    assert summary.seconds == {"amount": 1.0, "address": 0.0, "credit": 0.5}
    assert summary.record == GOOD


def test_a_bad_record_has_all_of_its_problems() -> None:
    """Problems by check, and apart from them the check that could not be carried out."""
    run = simulate(Order(reads="record", writes="summary"), {"record": BAD})
    summary = run.shared["summary"]
    assert run.action == "invalid"
    assert summary.problems == [
        ("amount", "the amount must be above 0"),
        ("address", "no street"),
        ("address", "no house"),
    ]
    assert list(summary.errors) == ["credit"]
    assert isinstance(summary.errors["credit"], AttemptTimeoutError)
    assert summary.attempts == {"amount": 1, "address": 1, "credit": 2}
    assert summary.seconds["credit"] == 2.0


def test_a_check_that_could_not_be_carried_out_lets_nothing_pass() -> None:
    """An error is not a problem of the record, but no reason to trust it either."""
    summary = only(lambda record: record["no such"])
    assert not summary.valid
    assert (summary.failed, list(summary.errors)) == ({}, ["one"])


@pytest.mark.parametrize("found", [None, True, [], (), set()])
def test_a_check_passes_when_it_finds_nothing(found: Any) -> None:
    """None, True, or no problems."""
    assert only(lambda _: found).passed == ("one",)


@pytest.mark.parametrize(
    ("found", "problems"),
    [
        (False, ("does not pass",)),
        ("late", ("late",)),
        (["late", "dear"], ("late", "dear")),
        ({"field": "a"}, ({"field": "a"},)),
    ],
)
def test_a_check_fails_with_the_problems_it_returns(found: Any, problems: Any) -> None:
    """A list is several, anything else is one."""
    assert only(lambda _: found).failed == {"one": problems}


@pytest.mark.parametrize("found", [0, 1, "", {}, 0.0])
def test_what_is_neither_a_pass_nor_a_problem_is_an_error(found: Any) -> None:
    """For example, a number of errors must not let a record pass by mistake."""
    error = only(lambda _: found).errors["one"]
    assert isinstance(error, TypeError)
    assert f"check 'one' returned {found!r}" in str(error)


def strict(record: Any) -> None:
    raise ValidationFailure("too old", record)


async def strict_later(record: Any) -> None:
    strict(record)


@pytest.mark.parametrize("function", [strict, strict_later])
def test_a_raised_verdict_is_a_failure_and_is_not_retried(function: Any) -> None:
    """ValidationFailure is an answer, and no mishap."""
    summary = only(function, max_retries=3)
    assert summary.failed == {"one": ("too old", 7)}
    assert summary.attempts == {"one": 1}


def test_a_verdict_of_a_node_is_a_failure() -> None:
    """Nodes can be checks, and raise it as well."""

    class Strict(Node):
        async def exec(self, record: Any) -> None:
            raise ValidationFailure

    node = ParallelValidationNode({"one": Strict()}, reads="record", writes="summary")
    assert summary_of(node, 1).failed == {"one": ("does not pass",)}


def test_a_check_that_is_not_for_the_record_is_skipped() -> None:
    """It neither lets the record pass nor refuses it, and says why."""

    def foreign(_: Any) -> None:
        raise Drop("only for orders from abroad")

    summary = only(foreign)
    assert summary.valid
    assert (summary.passed, summary.skipped) == ((), {"one": "only for orders from abroad"})


@pytest.mark.parametrize("problems", [[], ["first", "second"]])
@pytest.mark.parametrize("is_async", [False, True])
def test_problems_may_come_from_a_generator_that_is_returned(
    problems: list[str], is_async: bool
) -> None:
    """It is not a problem itself: its values are, and the record passes if there are none."""

    def found(_: Any) -> Iterator[str]:
        return (problem for problem in problems)

    async def later(record: Any) -> Iterator[str]:
        return found(record)

    summary = only(later if is_async else found)
    assert summary.problems == [("one", problem) for problem in problems]
    assert summary.valid == (not problems)


def test_problems_may_come_from_an_async_generator() -> None:
    """All that it yields are problems."""

    async def slowly(record: Any) -> AsyncIterator[str]:
        yield "first"
        await asyncio.sleep(1)
        yield "second"

    assert only(slowly).failed == {"one": ("first", "second")}


def test_a_verdict_chooses_the_way_on() -> None:
    """Two edges, as for any node's actions."""

    class Note(Node[Any, Any]):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["went"] = self.name

    order = Order(reads="record", writes="summary")
    order - "valid" >> Note(name="ship")
    order - "invalid" >> Note(name="refuse")
    graph = Graph(order)
    assert simulate(graph, {"record": GOOD}).shared["went"] == "ship"
    assert simulate(graph, {"record": BAD}).shared["went"] == "refuse"


def test_the_record_may_be_left_out_of_a_stream() -> None:
    """A subclass makes of the summary what it needs."""

    class Valid(Order):
        async def exec(self, record: dict[str, Any], /) -> Any:
            summary = await super().exec(record)
            if not summary.valid:
                raise Drop
            return record

    class Records(Node[Any, Any]):
        def prep(self, shared: Any) -> Any:
            return [GOOD, BAD, GOOD]

    line = Records() | Valid(max_workers=3, writes="good")
    run = simulate(line)
    assert run.shared["good"] == [GOOD, GOOD]
    assert run.seconds == 2.0  # all three at once, and BAD waits for its credit twice


def test_a_node_without_checks_is_refused() -> None:
    """It would find every record valid."""
    with pytest.raises(TypeError, match="ParallelValidationNode has no check: mark methods"):
        ParallelValidationNode()


@pytest.mark.parametrize("seed", [0, 1])
def test_cancelled_anywhere_it_leaves_nothing(seed: int) -> None:
    """No task, no permit, and every check that was begun has ended."""
    graph = Graph(Order(reads="record", writes="summary"), max_workers=2)
    assert cancel_everywhere(graph, {"record": BAD}, seeds=[seed]) > 20


def test_the_order_in_which_checks_run_changes_nothing() -> None:
    """The summary is the same in every interleaving."""

    def same(shared: Any) -> bool:
        summary = shared["summary"]
        return [c for c, _ in summary.problems] == ["amount", "address", "address"] and list(
            summary.errors
        ) == ["credit"]

    found = explore(Order(reads="record", writes="summary"), {"record": BAD}, check=same, seeds=50)
    assert not found.failures, found
