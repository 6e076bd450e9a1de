"""G7: whatever fails in the same moment, every error is kept, with its place in its notes.

Each form of failure is tried with random numbers of items and branches, of which a random number
fails in one moment. What has left ``exec`` for good is kept by the test, and every one of these
errors must be met again: in what is raised, in results, in outcomes or on an error route.
"""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from kaygraph import Graph, Node, Outcome, Pipeline, all_of
from kaygraph.types import BranchGroup
from tests.guarantees.failures import (
    Fails,
    FailsInMap,
    FailsInRound,
    FailsInThreads,
    FailsOnSome,
    Form,
    Ledger,
    Rounds,
    check_note,
    check_policy,
    check_raised,
    failed_items,
    leaves,
    policy,
    wrapped,
)
from tests.guarantees.figures import cases

SEEDS = 5_004


def batch(random: Random, seed: int) -> int:
    """Items of a batch, under every policy."""
    ledger, count = Ledger(), random.randint(2, 8)
    bad = random.sample(range(count), random.randint(1, count))
    on_error, workers = policy(random, count), random.choice([count, count, count, 2])
    kind = random.choice([FailsOnSome, FailsOnSome, FailsInThreads])
    settings: Any = {"max_workers": workers, "max_retries": random.randint(1, 3)}
    node = kind(ledger, range(count), bad, on_error=on_error, name="batch", **settings)
    graph, path = wrapped(random, node)
    error, events = ledger.play(graph, seed)
    at_once = workers == count and kind is FailsOnSome
    if kind is FailsInThreads:  # a call that has begun ends, though its item was cancelled
        ledger.raised = failed_items(events)
    check_policy(ledger, on_error, range(count), bad, at_once, error, node.results)
    assert sorted(map(id, failed_items(events))) == sorted(map(id, ledger.raised))
    for failure in ledger.raised:
        item = getattr(failure, "item", None)
        attempt = f", attempt {node.max_retries} of {node.max_retries}"
        place = f"'{path}batch', item {item} ({item}){attempt if node.max_retries > 1 else ''}"
        check_note(failure, place)
    return len(ledger.raised)


def rounds(random: Random, seed: int) -> int:
    """Rounds of a BatchGraph, under every policy."""
    ledger, count = Ledger(), random.randint(2, 6)
    bad = random.sample(range(count), random.randint(1, count))
    on_error, workers = policy(random, count), random.choice([count, count, 2])
    node = Rounds(
        FailsInRound(ledger, name="work"), max_workers=workers, on_error=on_error, name="rounds"
    )
    node.items, node.bad = range(count), bad
    graph, path = wrapped(random, node)
    error, _ = ledger.play(graph, seed)
    check_policy(ledger, on_error, range(count), bad, workers == count, error, node.results)
    for failure in ledger.raised:
        check_note(failure, f"'{path}rounds/work'")
    return len(ledger.raised)


def map_reduce(random: Random, seed: int) -> int:
    """Items that are mapped."""
    ledger, count = Ledger(), random.randint(2, 6)
    bad = random.sample(range(count), random.randint(1, count))
    on_error: Any = random.choice(["raise", "skip"])
    node = FailsInMap(
        ledger, range(count), bad, on_error=on_error, map_workers=count, name="counts"
    )
    graph, path = wrapped(random, node)
    error, events = ledger.play(graph, seed)
    assert len(ledger.raised) == len(bad)
    if on_error == "raise":
        check_raised(error, ledger.raised)
        for failure in ledger.raised:
            item = getattr(failure, "item", None)
            check_note(failure, f"'{path}counts/map', item {item} ({item})")
    else:
        assert error is None
        assert node.results == {item: [item] for item in range(count) if item not in bad}
        assert sorted(map(id, failed_items(events))) == sorted(map(id, ledger.raised))
    return len(ledger.raised)


def pipeline(random: Random, seed: int) -> int:
    """Items of one stage or of two, in the same moment."""
    ledger, count = Ledger(), random.randint(2, 8)
    on_error, workers = policy(random, count), random.choice([count, (count + 1) // 2])
    bad, bad_later = (random.sample(range(count), random.randint(1, count)) for _ in range(2))
    first = FailsOnSome(
        ledger, range(count), bad, on_error=on_error, max_workers=workers, name="first"
    )
    later = FailsOnSome(ledger, (), [], seconds=0, on_error=on_error, name="later")
    if random.random() < 0.5:  # the second wave of the first, and what the second has of the first
        later.bad, later.seconds = bad_later, 1.0
    source = FailsOnSome(ledger, range(count), [], seconds=0, max_workers=1, name="source")
    graph, path = wrapped(random, Pipeline(source, first, later, name="flow"))
    error, _ = ledger.play(graph, seed)
    if error is not None:
        raised = [e for e in ledger.raised if on_error == "raise" or e in leaves(error)]
        check_raised(error, raised)
        if later.seconds == 0 and workers == count:
            assert len(leaves(error)) == len(bad)
    else:
        assert on_error != "raise"
        results = later.results or []
        kept = [result.error for result in results if isinstance(result, Outcome)]
        assert on_error == "skip" or sorted(map(id, kept)) == sorted(map(id, ledger.raised))
        good = [item for item in range(count) if item not in bad and item not in later.bad]
        assert [result for result in results if not isinstance(result, Outcome)] == good
    for failure in ledger.raised:
        item, name = getattr(failure, "item", None), getattr(failure, "name", None)
        assert f"in node '{path}flow/{name}', item " in failure.__notes__[0]
        assert failure.__notes__[0].endswith(f"({item})")
    return len(ledger.raised)


def fork(random: Random, seed: int) -> int:
    """Branches of a fork: nodes, or lines whose last node fails."""
    ledger, count = Ledger(), random.randint(2, 8)
    bad = random.sample(range(count), random.randint(1, count))
    branches: list[Any] = []
    for number in range(count):
        seconds = 1.0 if number in bad else random.choice([0.5, 1.0, 5.0])
        node = Fails(ledger, number in bad, seconds, name=f"b{number}")
        quick = Fails(ledger, fails=False, seconds=0.0, name=f"q{number}")
        branches.append(quick >> node if random.random() < 0.3 else node)
    graph, path = wrapped(random, Graph(branches, name="fork"))
    error, _ = ledger.play(graph, seed)
    check_raised(error, ledger.raised)
    names = [f"b{number}" for number in sorted(bad)]
    assert [getattr(leaf, "name", None) for leaf in leaves(error)] == names  # in their order
    for failure in ledger.raised:
        check_note(failure, f"'{path}fork/{getattr(failure, 'name', None)}'")
    return len(ledger.raised)


class Reads(Node[Any, Any]):
    """The node after a group."""

    read: Any = ()

    def prep(self, _: Any) -> None:
        self.read = self.outcomes


def group(random: Random, seed: int) -> int:
    """Branches of a group: settle, first_of, at_least, all_of."""
    ledger, count = Ledger(), random.randint(2, 6)
    needed = random.choice([None, 1, random.randint(1, count), count])
    ends = [(random.random() < 0.6, random.choice([1.0, 1.0, 1.0, 2.0])) for _ in range(count)]
    branches = [Fails(ledger, *end, name=f"b{number}") for number, end in enumerate(ends)]
    together, reads = BranchGroup(*branches, needed=needed, name="group"), Reads()
    graph, path = wrapped(random, Graph(together >> reads, name="around"))
    error, _ = ledger.play(graph, seed)
    # Decided at the first second at which enough have worked, or too many have failed.
    decided = works = 2.0
    for second in (1.0, 2.0):
        failed = sum(fails and seconds <= second for fails, seconds in ends)
        works = sum(not fails and seconds <= second for fails, seconds in ends)
        if needed is not None and (works >= needed or failed > count - needed):
            decided = second
            break
    succeeds = needed is None or works >= needed
    if not succeeds:
        check_raised(error, ledger.raised)
    else:
        assert error is None
        expected = [
            "cancelled" if seconds > decided else "failed" if fails else "ok"
            for fails, seconds in ends
        ]
        assert [outcome.status for outcome in reads.read] == expected
        kept = [outcome.error for outcome in reads.read if outcome.error is not None]
        assert sorted(map(id, kept)) == sorted(map(id, ledger.raised))
    assert len(ledger.raised) == sum(fails and seconds <= decided for fails, seconds in ends)
    for failure in ledger.raised:
        check_note(failure, f"'{path}around/group/{getattr(failure, 'name', None)}'")
    return len(ledger.raised)


class Handles(Node[Any, Any]):
    """On an error route: keeps what it is handed."""

    def __init__(self, ledger: Ledger, **settings: Any) -> None:
        super().__init__(**settings)
        self.ledger = ledger

    def prep(self, _: Any) -> None:
        self.ledger.found.append(self.error)  # type: ignore[arg-type]


def error_routes(random: Random, seed: int) -> int:
    """Branches with error routes: each to a node of its own, or all to one that joins them."""
    ledger, count = Ledger(), random.randint(2, 6)
    bad = random.sample(range(count), random.randint(1, count))
    form = random.choice(["own", "joined", "graph"])
    nodes = [Fails(ledger, number in bad, name=f"b{number}") for number in range(count)]
    handler = Handles(ledger, name="handler")
    if form == "graph":
        inner = Graph(list(nodes), name="inner")
        inner - "error" >> handler
        whole: Graph = Graph(inner, name="whole")
    else:
        for number, node in enumerate(nodes):
            own = Handles(ledger, name=f"handler{number}")
            node - "error" >> (handler if form == "joined" else own)
        whole = Graph(list(nodes), name="whole")
    error, _ = ledger.play(whole, seed)
    assert error is None
    assert len(ledger.raised) == len(bad)
    if form == "own":
        assert sorted(map(id, ledger.found)) == sorted(map(id, ledger.raised))
    else:
        (found,) = ledger.found  # once
        check_raised(found, ledger.raised)
    return len(ledger.raised)


def half_routed(random: Random, seed: int) -> int:
    """Branches, some of which have an error route, while the failure of another ends all."""
    ledger, count = Ledger(), random.randint(2, 6)
    handler = Handles(ledger, name="handler")  # waits for all that may come to it
    branches: list[Any] = []
    for number in range(count):
        fails = Fails(ledger, name=f"b{number}")
        roll = random.random()
        if roll < 0.6:
            own = Handles(ledger, name=f"handler{number}")
            fails - "error" >> (handler if roll < 0.4 else own)
        branches.append(fails)
    error, _ = ledger.play(Graph(branches, name="whole"), seed)
    found = [*leaves(error), *(leaf for one in ledger.found for leaf in leaves(one))]
    assert {id(failure) for failure in ledger.raised} <= {id(failure) for failure in found}
    assert len(ledger.raised) == count
    return count


def nested(random: Random, seed: int) -> int:
    """Forks, groups, batches, rounds and pipelines within each other, all failing at once."""
    ledger, names = Ledger(), iter(range(1000))

    def part(depth: int) -> Any:
        name = f"n{next(names)}"
        roll = random.random()
        if depth < 3 and roll < 0.4:
            parts = [part(depth + 1) for _ in range(random.randint(1, 3))]
            if random.random() < 0.7:
                return Graph(parts, name=name)
            return all_of(*parts, name=name)
        count = random.randint(1, 3)
        if roll < 0.6:
            return FailsOnSome(ledger, range(count), range(count), name=name)
        if roll < 0.7:
            source = FailsOnSome(ledger, range(count), (), 0, name=f"n{next(names)}")
            fails = FailsOnSome(ledger, (), range(count), name=f"n{next(names)}")
            return Pipeline(source, fails, name=name)
        if roll < 0.8:
            node = Rounds(FailsInRound(ledger, name=f"n{next(names)}"), max_workers=9, name=name)
            node.items = node.bad = range(count)
            return node
        return Fails(ledger, name=name)

    graph = Graph([part(0) for _ in range(random.randint(2, 3))], name="whole")
    error, _ = ledger.play(graph, seed)
    assert len(ledger.raised) > 1
    check_raised(error, ledger.raised)
    for failure in ledger.raised:
        (note,) = [note for note in failure.__notes__ if note.startswith("in node ")]
        name = getattr(failure, "name", None)
        assert f"/{name}'" in note or f"'{name}'" in note
    return len(ledger.raised)


FORMS: list[Form] = [
    batch,
    rounds,
    map_reduce,
    pipeline,
    fork,
    group,
    error_routes,
    half_routed,
    nested,
]


@pytest.mark.parametrize("seeds", cases(SEEDS // len(FORMS), size=1_000))
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_error_of_one_moment_is_kept(
    form: Form, seeds: range, tally: Callable[[str, int], None]
) -> None:
    """k errors at once are k errors in what is raised, in outcomes, in results or on a route."""
    errors = several = 0
    for seed in seeds:
        try:
            found = form(Random(seed), seed)
        except BaseException as error:
            error.add_note(f"{form.__name__}(Random({seed}), {seed}) repeats this")
            raise
        errors += found
        several += found > 1
    tally("G7 seeds", len(seeds))
    tally("G7 errors", errors)
    tally("G7 seeds with several errors at once", several)
    assert several > len(seeds) / 3
