"""ResilientBranch: one result in every case, and what it says."""

import asyncio
from typing import Any

import pytest

from kaygraph import (
    CircuitBreaker,
    CircuitOpenError,
    Drop,
    Graph,
    Node,
    NodeDefinitionError,
    ParallelBatchNode,
    RateLimit,
)
from kaygraph.patterns import RefusedAnswerError, ResilientBranch, ResilientResult
from kaygraph.testing import Faults, InjectedError, cancel_everywhere, explore, simulate


class Quote(ResilientBranch[int]):
    """Answers after a second, or in a given way."""

    timeout = 2

    async def call(self, request: Any) -> int:
        await asyncio.sleep(request.get("seconds", 1))
        if "error" in request:
            raise request["error"]
        price: int = request["price"]
        return price

    def check(self, price: int) -> bool | str:
        return price > 0 or "a price is above 0"


class Cached(Quote):
    """The same with a fallback, which takes a second too."""

    async def fallback(self, request: Any) -> int:
        await asyncio.sleep(1)
        return 42


def answered(node: Any, **request: Any) -> ResilientResult[Any]:
    result: ResilientResult[Any] = simulate(node, {"request": request}).shared["quote"]
    return result


def keys(**settings: Any) -> Any:
    return {"reads": "request", "writes": "quote", **settings}


def test_a_good_answer_is_a_success() -> None:
    """With whose value it is and what it took."""
    result = answered(Cached(**keys()), price=7)
    assert result == ResilientResult("success", 7, "primary", None, 1, 1.0)
    assert result.ok


def test_what_fails_falls_back() -> None:
    """After all attempts; the error says why."""
    error = OSError("down")
    result = answered(Cached(**keys(max_retries=3, wait=1)), error=error)
    assert (result.status, result.value, result.source) == ("fallback", 42, "fallback")
    assert (result.attempts, result.seconds) == (3, 6.0)
    assert isinstance(result.error, OSError)


def test_a_refused_answer_is_a_failed_attempt() -> None:
    """It is asked for again, and then the fallback is."""
    result = answered(Cached(**keys(max_retries=2)), price=0)
    assert (result.status, result.attempts) == ("fallback", 2)
    assert isinstance(result.error, RefusedAnswerError)
    assert str(result.error) == "check of 'call' refused the answer: a price is above 0"


def test_too_slow_is_a_failure() -> None:
    """The timeout is that of one attempt of the call."""
    result = answered(Cached(**keys()), seconds=60)
    assert (result.status, result.seconds) == ("fallback", 3.0)
    assert isinstance(result.error, TimeoutError)


def test_a_deadline_is_the_calls() -> None:
    """What falls back afterwards has its own time."""
    result = answered(Cached(**keys(timeout=None, deadline=5)), seconds=60)
    assert (result.status, result.seconds) == ("fallback", 6.0)


def test_without_a_fallback_it_has_failed() -> None:
    """Which is a result, and not an error."""
    result = answered(Quote(**keys()), error=OSError("down"))
    assert (result.status, result.value, result.source, result.ok) == ("failed", None, None, False)
    assert isinstance(result.error, OSError)


def test_a_fallback_that_fails_is_reported() -> None:
    """Both errors are kept, the call's first."""

    class Broken(Quote):
        def fallback(self, request: Any) -> int:
            raise KeyError("no cache")

    result = answered(Broken(**keys()), error=OSError("down"))
    assert result.status == "failed"
    assert isinstance(result.error, ExceptionGroup)
    assert [type(error) for error in result.error.exceptions] == [OSError, KeyError]


def test_a_fallback_has_a_timeout_of_its_own() -> None:
    """None of the call's limits is its."""
    result = answered(Cached(**keys(fallback_timeout=0.5)), error=OSError("down"))
    assert (result.status, result.seconds) == ("failed", 1.5)
    slow = answered(Cached(**keys(timeout=0.5)), seconds=1)
    assert (slow.status, slow.seconds) == ("fallback", 1.5)


def test_a_fallback_sees_why_it_is_asked() -> None:
    """As a node on an error route does."""

    class Tells(Quote):
        def fallback(self, request: Any) -> Any:
            return str(self.error)

    assert answered(Tells(**keys()), error=OSError("down")).value == "down"


def test_an_open_breaker_falls_back_without_a_call() -> None:
    """No attempt is made, and the count of them says so."""
    node = Cached(**keys(breaker=CircuitBreaker(failures=1, reset_after=60)))

    async def twice(shared: Any) -> None:
        for _ in range(2):
            await node.run_async(shared)
            shared.setdefault("results", []).append(shared["quote"])

    first, second = simulate(twice, {"request": {"price": -1}}).shared["results"]
    assert isinstance(first.error, RefusedAnswerError)  # the breaker has counted it
    assert isinstance(second.error, CircuitOpenError)
    assert (second.status, second.attempts, second.seconds) == ("fallback", 0, 1.0)


def test_a_rate_holds_for_each_attempt() -> None:
    """It is the call's, as every setting is."""
    result = answered(Cached(**keys(max_retries=3, rate=RateLimit(1, per=10))), error=OSError())
    assert (result.attempts, result.seconds) == (3, 22.0)


@pytest.mark.parametrize(
    ("request_", "way"),
    [({"price": 1}, "success"), ({"price": 0}, "fallback"), ({"price": 0, "no": 1}, "failed")],
)
def test_each_result_has_a_way(request_: Any, way: str) -> None:
    """And is the last action of a run that nothing follows."""

    class Note(Node[Any, Any]):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["went"] = self.name

    class Branch(Quote):
        def fallback(self, request: Any) -> int:
            if "no" in request:
                raise KeyError
            return 1

    branch = Branch(**keys())
    assert simulate(branch, {"request": request_}).action == way
    for action in ("success", "fallback", "failed"):
        branch - action >> Note(name=action)
    assert simulate(Graph(branch), {"request": request_}).shared["went"] == way


def test_several_branches_join_whatever_came_of_them() -> None:
    """Where only >> is wired, what follows begins in every case."""

    class Report(Node[Any, Any]):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["report"] = [shared[name].status for name in ("good", "flaky", "slow")]

    good = Quote(name="good", reads="a", writes="good")
    flaky = Quote(name="flaky", reads="b", writes="flaky")
    slow = Cached(name="slow", reads="c", writes="slow")
    shared = {"a": {"price": 1}, "b": {"error": OSError()}, "c": {"seconds": 9}}
    graph = Graph([good, flaky, slow] >> Report())
    assert simulate(graph, shared).shared["report"] == ["success", "failed", "fallback"]


def test_functions_and_nodes_do_as_well() -> None:
    """Given to the constructor; an answer of a node is checked, too."""

    class Ask(Node[Any, Any]):
        async def exec(self, request: Any) -> Any:
            return request["price"]

    class Positive(Node[Any, Any]):
        async def exec(self, request: Any) -> Any:
            return "none"

    node = ResilientBranch(Ask(), check=lambda price: price > 0, fallback=Positive(), **keys())
    assert answered(node, price=1).status == "success"
    assert answered(node, price=0).value == "none"


def test_a_blocking_call_is_checked_where_it_runs() -> None:
    """A def in a thread, with a def."""

    def call(request: Any) -> int:
        return int(request["price"])

    node = ResilientBranch(call, check=lambda price: price > 0, **keys())
    assert answered(node, price="7").value == 7
    assert isinstance(answered(node, price="0").error, RefusedAnswerError)


def test_a_check_of_another_kind_than_the_call_is_refused() -> None:
    """A thread cannot await."""

    async def check(_: Any) -> bool:
        return True

    class Checks:
        async def __call__(self, answer: Any) -> bool:
            return True

    for one in (check, Checks()):
        with pytest.raises(NodeDefinitionError, match="write both alike"):
            ResilientBranch(print, check=one)


@pytest.mark.parametrize("check", [7, Node(name="check")])
def test_a_check_that_cannot_be_called_is_refused(check: Any) -> None:
    """At construction, as a call and a fallback that cannot be."""
    with pytest.raises(TypeError, match="check of <ResilientBranch> must be a callable, got"):
        ResilientBranch(print, check=check)


def test_a_check_that_says_neither_refuses() -> None:
    """For example, a count is not an acceptance."""
    result = answered(ResilientBranch(lambda _: 1, check=lambda _: 1, **keys()))
    assert (result.status, type(result.error)) == ("failed", TypeError)


def test_an_answer_that_is_dropped_falls_back() -> None:
    """There is always a result."""
    assert answered(Cached(**keys()), error=Drop("no")).status == "fallback"


def test_nothing_to_call_is_refused() -> None:
    """With what to write."""
    with pytest.raises(TypeError, match=r"nothing to call: define call\(self, request\)"):
        ResilientBranch()


def test_the_answer_is_in_no_error() -> None:
    """It may hold a secret."""
    result = answered(ResilientBranch(lambda _: "secret", check=lambda _: False, **keys()))
    assert "secret" not in repr(result)


def test_under_faults_every_request_has_one_result() -> None:
    """In every interleaving, with a breaker and a cap over all of them."""

    class Ask(Node[Any, Any]):
        async def exec(self, request: Any) -> Any:
            await asyncio.sleep(1)
            return request

    faults = Faults(fail=0.4, delay=(0.0, 3.0), hang=0.2)
    ask, spare = faults.wrap(Ask(timeout=2, max_retries=2)), faults.wrap(Ask(name="B", timeout=2))
    node = ResilientBranch(ask, fallback=spare, writes="results", max_workers=3)

    class Requests(ParallelBatchNode[Any, Any]):
        def prep(self, shared: Any) -> Any:
            return range(6)

    def accounted(shared: Any) -> bool:
        results = shared["results"]
        right = all(
            (one.source is None)
            == (one.status == "failed")
            == isinstance(one.error, ExceptionGroup)
            for one in results
        )
        return len(results) == 6 and right

    found = explore(Graph(Requests() | node, max_workers=2), check=accounted, seeds=60)
    assert not found.failures, found
    statuses = {
        one.status
        for seed in range(20)
        for one in simulate(Requests() | node, seed=seed).shared["results"]
    }
    assert statuses == {"success", "fallback", "failed"}
    assert issubclass(InjectedError, Exception)


def test_cancelled_anywhere_it_leaves_nothing() -> None:
    """In the call, between its attempts, and in the fallback."""
    graph = Graph(Cached(**keys(max_retries=2, wait=1)), max_workers=1)
    assert cancel_everywhere(graph, {"request": {"seconds": 9}}, seeds=2) > 10


def test_limits_for_a_node_that_has_its_own_are_refused() -> None:
    """They would have no effect: the error comes when the branch is created."""

    class Ask(Node[Any, Any]):
        async def exec(self, request: Any, /) -> Any:
            return request

    with pytest.raises(ValueError, match="timeout is for a callable: the Node <Ask> has settings"):
        ResilientBranch(Ask(), timeout=2)
