"""Enrichment: what is found, what is missing and why, and how far to trust it."""

import asyncio
from typing import Any

import pytest

from kaygraph import Drop, Graph, Node, Outcome
from kaygraph.patterns import Enrichment, MissingSourcesError, ParallelEnrichmentNode, source
from kaygraph.testing import Faults, InjectedError, cancel_everywhere, explore, simulate


class Person(ParallelEnrichmentNode[dict[str, Any]]):
    """Four sources: one answers, one is slow, one knows nothing, one was not asked."""

    timeout = 2

    @source(confidence=0.8)
    async def profile(self, person: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(1)
        return {"name": person["email"].partition("@")[0]}

    @source(max_retries=2)
    async def social(self, person: dict[str, Any]) -> None:
        await asyncio.sleep(60)

    @source
    def company(self, person: dict[str, Any]) -> None:
        return None

    @source
    async def place(self, person: dict[str, Any]) -> str:
        if "city" not in person:
            raise Drop("no city is known")
        return f"{person['city']} on the map"


ANNE = {"email": "anne@example.org"}


def enriched(node: Any, record: Any = ANNE) -> Enrichment[Any]:
    found: Enrichment[Any] = simulate(node, {"record": record}).shared["person"]
    return found


def test_partial_results_come_with_reasons() -> None:
    """What one source cannot tell does not keep back what another can."""
    run = simulate(Person(reads="record", writes="person"), {"record": ANNE})
    person = run.shared["person"]
    assert run.seconds == 4.0
    assert person.found == {"profile": {"name": "anne"}}
    assert person.missing == {
        "social": "AttemptTimeoutError: exec of 'social' ran longer than timeout=2 s (2 attempts)",
        "company": "knows nothing about it",
        "place": "no city is known",
    }
    assert list(person.errors) == ["social"]
    assert person.attempts == {"profile": 1, "social": 2, "company": 1, "place": 1}
    assert not person.complete


def test_confidence_is_the_mean_over_all_sources() -> None:
    """A source without an answer counts 0, whatever its answers would be worth."""
    assert enriched(Person(reads="record", writes="person")).confidence == 0.8 / 4
    there = {**ANNE, "city": "Oslo"}
    person = Person(reads="record", writes="person", confidence={"place": 0.4})
    assert enriched(person, there).confidence == pytest.approx((0.8 + 0.4) / 4)


def test_a_complete_answer_of_trusted_sources_has_confidence_one() -> None:
    """The confidence of a source is 1 by default."""
    node = ParallelEnrichmentNode(
        {"a": lambda record: record + 1, "b": lambda record: 0}, reads="record", writes="person"
    )
    person = enriched(node, 1)
    assert (person.found, person.confidence, person.complete) == ({"a": 2, "b": 0}, 1.0, True)


def test_required_sources_fail_the_record_when_they_are_missing() -> None:
    """After all have ended, with the cause and with what is known all the same."""
    node = Person(reads="record", writes="person", required=("profile", "social", "place"))
    with pytest.raises(MissingSourcesError, match="social: AttemptTimeoutError") as caught:
        simulate(node, {"record": ANNE})
    assert "place: no city is known" in str(caught.value)
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert caught.value.enrichment.found == {"profile": {"name": "anne"}}


def test_several_required_sources_that_failed_are_all_kept() -> None:
    """As a group, in the order of the sources."""
    faults = Faults(fail=1.0)

    class Ask(Node[Any, Any]):
        async def exec(self, record: Any) -> Any:
            return record

    node = ParallelEnrichmentNode(
        {"a": faults.wrap(Ask()), "b": faults.wrap(Ask())}, required=("a", "b")
    )
    with pytest.raises(MissingSourcesError) as caught:
        simulate(node)
    group = caught.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert [type(error) for error in group.exceptions] == [InjectedError, InjectedError]


@pytest.mark.parametrize(("required", "enough"), [(1, True), (2, False)])
def test_a_number_of_sources_may_be_required(required: int, enough: bool) -> None:
    """Whichever they are."""
    node = Person(reads="record", writes="person", required=required)
    if enough:
        assert enriched(node).found
    else:
        with pytest.raises(MissingSourcesError, match=f"requires {required} of 4 sources"):
            enriched(node)


def test_a_missing_required_source_can_be_routed() -> None:
    """It is a failure of the node, for which there is an edge."""

    class Note(Node[Any, Any]):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["went"] = self.error

    person = Person(reads="record", writes="person", required="place")
    person - "error" >> Note()
    run = simulate(Graph(person), {"record": ANNE})
    assert isinstance(run.shared["went"], MissingSourcesError)


def test_reasons_hide_secrets() -> None:
    """They are shown to people, and errors hold addresses."""

    async def leaks(_: Any) -> None:
        raise ValueError("GET https://api.example/x?token=abc123 failed")

    node = ParallelEnrichmentNode({"leaks": leaks}, reads="record", writes="person")
    assert "abc123" not in enriched(node).missing["leaks"]


def test_a_subclass_says_which_failures_it_can_bear() -> None:
    """What reason() raises fails the record."""

    class Strict(Person):
        def reason(self, outcome: Outcome[Any], /) -> str:
            if isinstance(outcome.error, TimeoutError):
                raise outcome.error
            return super().reason(outcome)

    with pytest.raises(TimeoutError):
        enriched(Strict(reads="record", writes="person"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"required": ("profil",)}, r"no source 'profil'.*Did you mean 'profile'\?"),
        ({"required": 5}, "required=5, but there are 4 sources"),
        ({"required": 0}, "required must be at least 1"),
        ({"confidence": {"profile": 2}}, "confidence of 'profile' must be a number from 0 to 1"),
        ({"confidence": {"nobody": 1}}, "no source 'nobody'"),
    ],
)
def test_what_cannot_be_is_refused_at_construction(settings: Any, message: str) -> None:
    """With the names that are known."""
    with pytest.raises(ValueError, match=message):
        Person(**settings)


def test_a_node_without_sources_is_refused() -> None:
    """It would know nothing of anybody."""
    with pytest.raises(TypeError, match="ParallelEnrichmentNode has no source"):
        ParallelEnrichmentNode()


def test_cancelled_anywhere_it_leaves_nothing() -> None:
    """No task, no permit, and every source that was asked has ended."""
    graph = Graph(Person(reads="record", writes="person"), max_workers=2)
    assert cancel_everywhere(graph, {"record": ANNE}, seeds=2) > 20


def test_whatever_fails_every_source_is_accounted_for() -> None:
    """Found or missing, and never both, under faults in every interleaving."""

    class Ask(Node[Any, Any]):
        async def exec(self, record: Any) -> Any:
            await asyncio.sleep(1)
            return record

    faults = Faults(fail=0.4, delay=(0.0, 3.0), hang=0.1)
    asks = {name: faults.wrap(Ask(name=name, timeout=2, max_retries=2)) for name in "abcd"}
    node = ParallelEnrichmentNode(asks, reads="record", writes="person")

    def accounted(shared: Any) -> bool:
        person = shared["person"]
        return sorted([*person.found, *person.missing]) == list("abcd")

    exploration = explore(Graph(node, max_workers=3), {"record": 1}, check=accounted, seeds=100)
    assert not exploration.failures, exploration
