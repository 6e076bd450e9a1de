"""Branch groups: who wins, who is cancelled, and what is known of each branch afterwards."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from kaygraph import (
    AsyncNode,
    BatchGraph,
    Drop,
    Graph,
    Node,
    Outcome,
    ParallelBatchNode,
    all_of,
    at_least,
    first_of,
    settle,
)
from kaygraph.types import BranchGroup
from tests.oracle import settle as let_run

pytestmark = pytest.mark.anyio


class Ask(AsyncNode):
    """Waits for ``gate``, then returns ``answer`` or raises it; notes that its ``finally`` ran."""

    def __init__(
        self, name: str, answer: Any = None, gate: asyncio.Event | None = None, **settings: Any
    ) -> None:
        super().__init__(name=name, **settings)
        self.answer, self.gate = answer, gate
        self.began = self.left = 0

    async def exec(self, prep_res: Any) -> Any:
        self.began += 1
        try:
            if self.gate is not None:
                await self.gate.wait()
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer
        finally:
            self.left += 1


class Reads(Node):
    """Stores the outcomes that it can read."""

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["outcomes"] = self.outcomes


class ReadsItsOwn(BranchGroup):
    """Stores its outcomes; it is not a graph, which would refuse a part that cannot work."""

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["outcomes"] = self.outcomes


@pytest.mark.parametrize("broken", [0, 1])
async def test_a_branch_that_cannot_work_is_an_outcome(broken: int) -> None:
    """Wherever it stands: its siblings run to their end."""
    branches: list[Any] = [Ask("a", 1), Ask("b", 2)]
    branches[broken] = Graph(name="broken")
    shared: dict[str, Any] = {}
    await ReadsItsOwn(*branches).run_async(shared)
    found = [outcome.status for outcome in shared["outcomes"]]
    assert found == (["failed", "ok"] if broken == 0 else ["ok", "failed"])


def statuses(outcomes: Sequence[Outcome[Any]]) -> list[tuple[str, str, Any]]:
    return [(outcome.name, outcome.status, outcome.value) for outcome in outcomes]


async def outcomes_of(group: Any) -> Sequence[Outcome[Any]]:
    """Run a group in a graph and return what the node after it reads."""
    shared: dict[str, Any] = {}
    async with asyncio.timeout(10):
        await Graph(group >> Reads()).run_async(shared)
    outcomes: Sequence[Outcome[Any]] = shared["outcomes"]
    return outcomes


def never() -> asyncio.Event:
    return asyncio.Event()


# --- the four policies ---------------------------------------------------------------------------


async def test_all_of_waits_for_all_and_keeps_the_written_order() -> None:
    """Outcomes stand in the order written, not in the order in which the branches end."""
    gate = asyncio.Event()

    class Opens(Ask):
        async def exec(self, prep_res: Any) -> Any:
            gate.set()
            return await super().exec(prep_res)

    outcomes = await outcomes_of(all_of(Ask("slow", 1, gate), Opens("fast", 2)))
    assert statuses(outcomes) == [("slow", "ok", 1), ("fast", "ok", 2)]
    assert [outcome.index for outcome in outcomes] == [0, 1]


async def test_all_of_raises_the_first_failure_and_cancels_the_rest() -> None:
    """The failure is raised as itself; the others have been cancelled and have ended."""
    failure = ValueError("eu")
    us = Ask("us", 1, never())
    with pytest.raises(ValueError, match="eu") as caught:
        await Graph(all_of(Ask("eu", failure), us, name="both")).run_async()
    assert caught.value is failure
    assert caught.value.__notes__ == ["in node 'both/eu'"]
    assert (us.began, us.left) == (1, 1)


async def test_several_failures_at_once_are_raised_as_a_group() -> None:
    """No error is lost, and they stand in the order written."""
    gate = asyncio.Event()
    group = all_of(Ask("a", ValueError("a"), gate), Ask("b", KeyError("b"), gate))
    run = asyncio.create_task(group.run_async())
    await let_run()
    gate.set()
    with pytest.raises(ExceptionGroup) as caught:
        await run
    assert [type(error) for error in caught.value.exceptions] == [ValueError, KeyError]


async def test_first_of_takes_the_first_success_and_cancels_the_rest() -> None:
    """The losers are cancelled and awaited: their finally ran before the next node began."""
    losers = [Ask("a", 1, never()), Ask("c", 3, never())]
    outcomes = await outcomes_of(first_of(losers[0], Ask("b", 2), losers[1]))
    assert statuses(outcomes) == [
        ("a", "cancelled", None),
        ("b", "ok", 2),
        ("c", "cancelled", None),
    ]
    assert [(loser.began, loser.left) for loser in losers] == [(1, 1), (1, 1)]


async def test_first_of_waits_for_the_cleaning_up_of_a_loser() -> None:
    """A loser that takes its time to leave is waited for."""
    cleaned: list[str] = []

    class Slow(AsyncNode):
        async def exec(self, prep_res: Any) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await let_run()
                cleaned.append("loser")

    class After(Node):
        def prep(self, shared: Any) -> None:
            cleaned.append("after")

    await Graph(first_of(Slow(), Ask("quick", 1)) >> After()).run_async()
    assert cleaned == ["loser", "after"]


async def test_first_of_overlooks_failures_while_somebody_may_win() -> None:
    """A failed branch is an outcome as long as another succeeds."""
    failure = ValueError("a")
    outcomes = await outcomes_of(first_of(Ask("a", failure), Ask("b", 2)))
    assert statuses(outcomes) == [("a", "failed", None), ("b", "ok", 2)]
    assert outcomes[0].error is failure


async def test_first_of_raises_when_all_fail() -> None:
    """All errors are in the group."""
    with pytest.raises(ExceptionGroup) as caught:
        await first_of(Ask("a", ValueError("a")), Ask("b", KeyError("b"))).run_async()
    assert [type(error) for error in caught.value.exceptions] == [ValueError, KeyError]


async def test_at_least_is_a_quorum() -> None:
    """Two of three are enough; the third is cancelled then."""
    late = Ask("us", 2, never())
    outcomes = await outcomes_of(at_least(2, Ask("eu", 1), late, Ask("asia", 3)))
    assert statuses(outcomes) == [
        ("eu", "ok", 1),
        ("us", "cancelled", None),
        ("asia", "ok", 3),
    ]
    assert late.left == 1


async def test_at_least_raises_as_soon_as_the_quorum_cannot_be_reached() -> None:
    """Two failures of three: the third is not waited for."""
    late = Ask("c", 3, never())
    with pytest.raises(ExceptionGroup):
        await at_least(2, Ask("a", ValueError()), Ask("b", ValueError()), late).run_async()
    assert late.left == 1


async def test_settle_lets_all_run_to_their_end() -> None:
    """Failures are outcomes, not exceptions, and cancel nobody."""
    failure = ValueError("b")
    outcomes = await outcomes_of(settle(Ask("a", 1), Ask("b", failure), Ask("c", 3)))
    assert statuses(outcomes) == [("a", "ok", 1), ("b", "failed", None), ("c", "ok", 3)]
    assert outcomes[1].error is failure


async def test_settle_of_failures_only_raises_nothing() -> None:
    """The next node decides what to make of it."""
    outcomes = await outcomes_of(settle(Ask("a", ValueError()), Ask("b", ValueError())))
    assert [outcome.status for outcome in outcomes] == ["failed", "failed"]


async def test_outcome_says_timed_out_and_skipped() -> None:
    """A branch that ran out of time and one that dropped its item have a status of their own."""
    outcomes = await outcomes_of(
        settle(Ask("slow", 1, never(), timeout=0.001), Ask("out", Drop()), Ask("ok", 1))
    )
    assert [outcome.status for outcome in outcomes] == ["timed_out", "skipped", "ok"]


async def test_outcome_counts_attempts_and_measures_seconds() -> None:
    """Attempts are those of the last exec, of a branch that succeeds and of one that fails."""

    class Third(Ask):
        async def exec(self, prep_res: Any) -> int:
            if self.attempt < 3:
                raise ValueError(self.attempt)
            return self.attempt

    outcomes = await outcomes_of(
        settle(Third("works", max_retries=3), Ask("fails", ValueError(), max_retries=2), Ask("one"))
    )
    assert [outcome.attempts for outcome in outcomes] == [3, 2, 1]
    assert all(0 <= outcome.seconds < 5 for outcome in outcomes)


# --- branches and outcomes -----------------------------------------------------------------------


async def test_branch_may_be_a_chain_or_a_graph() -> None:
    """The value is what the exec of the branch's last node returned."""
    chain = Ask("a", 1) >> Ask("a2", 2)
    graph = Graph(Ask("b", 3) >> Ask("b2", 4), name="inner")
    outcomes = await outcomes_of(settle(chain, graph, Ask("c", 5)))
    assert statuses(outcomes) == [("a", "ok", 2), ("inner", "ok", 4), ("c", "ok", 5)]


async def test_branch_that_is_a_batch_has_its_results_as_value() -> None:
    """A batch returns a list, and so does a group within a group."""

    class Squares(ParallelBatchNode):
        def prep(self, shared: Any) -> range:
            return range(4)

        async def exec(self, item: int) -> int:
            return item * item

    inner = settle(Ask("x", 1), Ask("y", 2), name="inner")
    outcomes = await outcomes_of(all_of(Squares(), inner))
    assert statuses(outcomes) == [("Squares", "ok", [0, 1, 4, 9]), ("inner", "ok", [1, 2])]


async def test_exec_res_of_a_group_is_the_values_of_those_that_succeeded() -> None:
    """They stand in the order written, and the group's own post reads its outcomes."""

    class Own(BranchGroup):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            shared["exec_res"], shared["outcomes"] = exec_res, self.outcomes
            return "done"

    shared: dict[str, Any] = {}
    own = Own(Ask("a", 1), Ask("b", ValueError()), Ask("c", 3))
    assert await own.run_async(shared) == "done"
    assert shared["exec_res"] == [1, 3]
    assert [outcome.status for outcome in shared["outcomes"]] == ["ok", "failed", "ok"]


async def test_outcomes_are_those_of_the_group_before() -> None:
    """With two groups in a row each next node reads its own; a node after none reads nothing."""

    class Keeps(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared[self.name] = [outcome.value for outcome in self.outcomes]

    first, last = settle(Ask("a", 1)), settle(Ask("b", 2))
    shared: dict[str, Any] = {}
    chain = Keeps(name="k0") >> first >> Keeps(name="k1") >> last >> Keeps(name="k2")
    await Graph(chain >> Keeps(name="k3")).run_async(shared)
    assert shared == {"k0": [], "k1": [1], "k2": [2], "k3": []}


async def test_outcomes_of_rounds_that_run_at_once_are_kept_apart() -> None:
    """In a BatchGraph each round reads its own group."""

    class Echo(AsyncNode):
        def prep(self, shared: Any) -> Any:
            return self.params["number"]

        async def exec(self, number: int) -> int:
            await asyncio.sleep(0)
            return number

    class Collects(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared[self.params["number"]] = [outcome.value for outcome in self.outcomes]

    class Rounds(BatchGraph):
        def prep(self, shared: Any) -> Any:
            return [{"number": number} for number in range(6)]

    shared: dict[int, Any] = {}
    await Rounds(settle(Echo(), Echo()) >> Collects(), max_workers=6).run_async(shared)
    assert shared == {number: [number, number] for number in range(6)}


async def test_branches_have_names_of_their_own() -> None:
    """The second `Ask` is `Ask-2`; names that only look alike are left alone."""

    class Plain(AsyncNode):
        pass

    twice = Plain()
    assert [o.name for o in await outcomes_of(settle(Plain(), Plain(), Plain()))] == [
        "Plain",
        "Plain-2",
        "Plain-3",
    ]
    assert [o.name for o in await outcomes_of(settle(twice, twice))] == ["Plain", "Plain-2"]
    assert [o.name for o in await outcomes_of(settle(Ask("us-east"), Ask("us")))] == [
        "us-east",
        "us",
    ]
    names = [o.name for o in await outcomes_of(settle(Ask("Plain-2"), Plain(), Plain()))]
    assert len(set(names)) == 3


async def test_groups_nest() -> None:
    """An inner group that fails is a failed branch of the outer one; losers end on all levels."""
    inner_loser, outer_loser = Ask("x", 1, never()), Ask("z", 1, never())
    group = first_of(
        all_of(inner_loser, Ask("y", ValueError("y")), name="inner"),
        at_least(1, Ask("w", 5), outer_loser, name="other"),
    )
    outcomes = await outcomes_of(group)
    assert statuses(outcomes) == [("inner", "failed", None), ("other", "ok", [5])]
    assert (inner_loser.left, outer_loser.left) == (1, 1)


async def test_cap_of_the_graph_around_holds_for_branches() -> None:
    """`Graph(max_workers=2)` runs no more than two branches' exec at once, and all of them."""
    now = most = 0

    class Busy(AsyncNode):
        async def exec(self, prep_res: Any) -> int:
            nonlocal now, most
            now += 1
            most = max(most, now)
            for _ in range(3):
                await asyncio.sleep(0)
            now -= 1
            return 1

    group = all_of(*(Busy() for _ in range(3)), all_of(Busy(), Busy() >> Busy()))
    shared: dict[str, Any] = {}
    await Graph(group >> Reads(), max_workers=2).run_async(shared)
    assert most == 2
    assert [outcome.value for outcome in shared["outcomes"]] == [1, 1, 1, [1, 1]]


async def test_cancelled_run_cancels_all_branches() -> None:
    """A cancellation is never turned into an outcome."""
    branches = [Ask("a", 1, never()), Ask("b", 2, never())]
    run = asyncio.create_task(Graph(settle(*branches)).run_async())
    await let_run()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert [branch.left for branch in branches] == [1, 1]


async def test_failed_group_takes_its_error_route() -> None:
    """A group is a node: it may fail, and be listened to; its outcomes are there to read."""
    group, reads = first_of(Ask("a", ValueError("a"))), Reads()
    group - "error" >> reads
    shared: dict[str, Any] = {}
    await Graph(group).run_async(shared)
    assert [outcome.status for outcome in shared["outcomes"]] == ["failed"]


@pytest.mark.parametrize("make", [all_of, first_of, settle, lambda: at_least(1)])
async def test_group_without_branches_is_refused(make: Any) -> None:
    """There is nothing to run."""
    with pytest.raises((TypeError, ValueError), match="branch"):
        make()


@pytest.mark.parametrize("make", [all_of, first_of, settle])
async def test_what_is_not_an_exception_is_not_an_outcome(make: Any) -> None:
    """What pytest's fail() raises, say: it ends the run, and the others are cancelled."""

    class Unusual(BaseException):
        pass

    class Raises(AsyncNode):
        async def exec(self, _: Any) -> None:
            raise Unusual

    waiting = Ask("waiting", gate=never())
    with pytest.raises(Unusual):
        await outcomes_of(make(waiting, Raises()))
    assert (waiting.began, waiting.left) == (1, 1)


async def test_quorum_that_cannot_be_is_refused() -> None:
    """Zero, a bool, or more than there are branches."""
    for needed in (0, -1, True, 3):
        with pytest.raises(ValueError, match="needed"):
            at_least(needed, Ask("a"), Ask("b"))
    with pytest.raises(TypeError, match="a branch is a node"):
        settle("a")
