"""The parts of a scenario: each with its node, and what a serial oracle says must come of it.

The oracle goes through the items one after another, and knows nothing of caps, rates, clocks or
tasks.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kaygraph import BatchGraph, Graph, Node, Pipeline
from kaygraph.types import BranchGroup
from tests.guarantees.leaves import (
    Blocking,
    Caps,
    Count,
    Many,
    ManyWithFallback,
    OneByOne,
    Round,
    Rounds,
    Single,
    SingleWithFallback,
    Splitting,
    fallback_of,
    keep,
    pieces_of,
    value_of,
)

if TYPE_CHECKING:
    from tests.guarantees.scenarios import Scenario

ON_ERROR: tuple[str | float, ...] = ("raise", "collect", "collect", "skip", 1, 2, 0.25, 0.5)

Done = frozenset[tuple[str, Round]]  # the nodes that have called post, and in which round
NOTHING: Done = frozenset()


class Expected(NamedTuple):
    """What must come of a part of the tree, in one round.

    Attributes:
        fails: Whether it raises, where nothing around it fails or is cancelled.
        done: What has called ``post`` when it does not.
    """

    fails: bool
    done: Done = NOTHING


class Results(NamedTuple):
    """What ``post`` gets from a batch or a pipeline."""

    values: list[Any]
    ordered: bool = True


class Around(NamedTuple):
    """What encloses a node: caps, rounds, and the settings of graphs for the inner ones."""

    counts: tuple[Count, ...] = ()
    rounds: tuple[Rounds, ...] = ()
    workers: int | None = None


class Flow(Pipeline):
    caps: Caps

    def post(self, _: Any, __: Any, result: Any) -> None:
        keep(self, result)


class Repeated(BatchGraph):
    caps: Caps
    count = 0

    def prep(self, _: Any) -> Any:
        return [{self.name: number} for number in range(self.count)]

    def post(self, _: Any, __: Any, actions: Any) -> None:
        keep(self, actions)


class Source(Node[Any, Any]):
    """The first stage of a pipeline that does nothing but give items."""

    caps: Caps
    items: Sequence[int] = ()

    def prep(self, _: Any) -> Any:
        return self.items

    def post(self, _: Any, __: Any, report: Any) -> None:
        keep(self, report)


def fails(on_error: str | float, failures: int, items: int) -> bool:
    """Return whether so many failures are more than what is tolerated."""
    match on_error:
        case "raise":
            return failures > 0
        case "collect" | "skip":
            return False
        case int():
            return failures > on_error
        case _:
            assert isinstance(on_error, float)
            return failures > on_error * items


def worked(scenario: "Scenario", node: Any, round_: Round, items: Sequence[Any]) -> tuple[Any, ...]:
    """Go through items one by one; return results, failures, skipped and whether it fails.

    What is a tuple is an outcome of an earlier stage, and passes by.
    """
    values: list[Any] = []
    failures = skipped = passed = 0
    for item in items:
        if isinstance(item, tuple):
            values.append(item)
            passed += 1
            continue
        status, attempts = scenario.tried(node, round_, item)
        if status == "ok":
            pieces = pieces_of(item) if isinstance(node, Splitting) else None
            one = value_of(item)
            values += [one] if pieces is None else [one + number for number in range(pieces)]
        elif status == "ok with fallback":
            values.append(fallback_of(item))
        elif status == "skipped":
            skipped += 1
        else:
            failures += 1
            values.append((status, item, attempts))
    on_error = getattr(node, "on_error", "raise")  # a node of one item has no such setting
    return values, failures, skipped, fails(on_error, failures, len(items) - passed)


class Block:
    """A part of the tree: its node, and what must come of it."""

    node: Any

    def expect(self, round_: Round) -> Expected:
        raise NotImplementedError


class Batch(Block):
    """A batch, or a node with one item."""

    def __init__(self, scenario: "Scenario", around: Around) -> None:
        self.scenario = scenario
        kinds: list[Any] = [Many] * 5 + [ManyWithFallback, OneByOne, Blocking]
        kind = scenario.random.choice([*kinds, Single, Single, SingleWithFallback])
        self.single = issubclass(kind, Single)
        self.node = scenario.configured(
            kind(name=scenario.named("leaf")), around, batch=not self.single
        )
        if not self.single:
            self.node.items = range(scenario.random.randint(0, min(4, max(1, scenario.budget))))
        if isinstance(self.node, Many):
            self.node.source = scenario.random.choice(["list", "iterator", "async"])
        scenario.budget -= 1 if self.single else len(self.node.items)

    def expect(self, round_: Round) -> Expected:
        node = self.node
        items = (1,) if self.single else node.items
        values, _, _, failed = worked(self.scenario, node, round_, items)
        place = (node.name, round_)
        ordered = not isinstance(node, Many) or node.ordered or node.max_workers == 1
        if self.single and not failed:
            values = values[0]
        self.scenario.results[place] = Results(values, ordered)
        return Expected(failed, frozenset([place]))


class Flowing(Block):
    """A pipeline of two or three stages."""

    def __init__(self, scenario: "Scenario", around: Around) -> None:
        self.scenario = scenario
        kinds: list[Any] = [Many] * 4 + [ManyWithFallback, OneByOne, Single, Blocking, Splitting]
        chosen = scenario.random.choices(kinds, k=scenario.random.randint(1, 3))
        self.stages = [
            scenario.configured(kind(name=scenario.named("stage")), around, batch=True)
            for kind in chosen
        ]
        if isinstance(self.stages[0], Single) or len(chosen) == 1:
            self.stages.insert(0, Source(name=scenario.named("source")))
            self.stages[0].caps = Caps(scenario.play)
        first = self.stages[0]
        first.items = range(scenario.random.randint(0, min(4, max(1, scenario.budget))))
        if isinstance(first, Many):
            first.source = scenario.random.choice(["list", "iterator", "async"])
        scenario.budget -= len(first.items)
        self.node = Flow(
            *self.stages, buffer=scenario.random.randint(1, 3), name=scenario.named("flow")
        )
        self.node.caps = Caps(scenario.play)

    def expect(self, round_: Round) -> Expected:
        scenario = self.scenario
        values: list[Any] = list(self.stages[0].items)
        failed, ordered = False, True
        places = []
        for stage in self.stages:
            items = sum(not isinstance(value, tuple) for value in values)
            failures = skipped = 0
            if not isinstance(stage, Source):
                values, failures, skipped, too_many = worked(scenario, stage, round_, values)
                failed = failed or too_many
                ordered = ordered and (stage.ordered or stage.max_workers == 1) if isinstance(
                    stage, Many
                ) else ordered  # fmt: skip
            figures = (items, items - failures - skipped, failures, skipped)
            scenario.play.reports[stage.name, round_] = figures
            places.append((stage.name, round_))
        places.append((self.node.name, round_))
        scenario.results[self.node.name, round_] = Results(values, ordered)
        return Expected(failed, frozenset(places))


class Line(Block):
    """One after another."""

    def __init__(self, scenario: "Scenario", around: Around, depth: int) -> None:
        settings, around = scenario.settings(around, scenario.named("line"))
        self.parts = scenario.blocks(around, depth)
        for before, after in zip(self.parts, self.parts[1:], strict=False):
            before.node >> after.node
        self.node = Graph(self.parts[0].node, **settings)

    def expect(self, round_: Round) -> Expected:
        expected = [part.expect(round_) for part in self.parts]
        return Expected(
            any(part.fails for part in expected), NOTHING.union(*(part.done for part in expected))
        )


class Fork(Line):
    """Several at once."""

    def __init__(self, scenario: "Scenario", around: Around, depth: int) -> None:
        settings, around = scenario.settings(around, scenario.named("fork"))
        self.parts = scenario.blocks(around, depth)
        self.node = Graph([part.node for part in self.parts], **settings)


class InRounds(Block):
    """A BatchGraph."""

    def __init__(self, scenario: "Scenario", around: Around, depth: int) -> None:
        self.scenario = scenario
        self.name = scenario.named("rounds")
        at_once = scenario.random.randint(1, 3)
        settings: dict[str, Any] = {"name": self.name, "max_workers": at_once}
        rounds = Rounds(self.name, len(around.rounds) + 1, at_once)
        scenario.play.rounds.append(rounds)
        around = around._replace(rounds=(*around.rounds, rounds))
        if scenario.chance(0.2):
            settings["max_parallel_tasks"] = most = scenario.random.randint(1, 3)
            count = scenario.play.count(f"{self.name} tasks", most)
            around = around._replace(counts=(*around.counts, count), workers=most)
        scenario.budget //= 2
        self.part = scenario.block(around, depth + 1)
        self.node = Repeated(self.part.node, **settings)
        self.node.caps = Caps(scenario.play)
        self.node.count = scenario.random.randint(1, 3)
        self.node.on_error = scenario.random.choice(ON_ERROR)

    def expect(self, round_: Round) -> Expected:
        expected = [self.part.expect((*round_, number)) for number in range(self.node.count)]
        failures = sum(one.fails for one in expected)
        values: list[Any] = [None if not one.fails else ("failed", n)
                             for n, one in enumerate(expected)]  # fmt: skip
        if self.node.on_error == "skip":
            values = [value for value in values if value is None]
        place = (self.name, round_)
        self.scenario.results[place] = Results(values)
        done = NOTHING.union(*(one.done for one in expected if not one.fails))
        return Expected(fails(self.node.on_error, failures, self.node.count), done | {place})


class Group(Block):
    """A group: all of them, a quorum, the first, or all to their end."""

    def __init__(self, scenario: "Scenario", around: Around, depth: int) -> None:
        name = scenario.named("group")
        settings, around = scenario.settings(around, f"around {name}")
        self.parts = scenario.blocks(around, depth)
        self.needed = scenario.random.choice([None, None, len(self.parts), 1])
        branches = [part.node for part in self.parts]
        self.node = Graph(BranchGroup(*branches, needed=self.needed, name=name), **settings)

    def expect(self, round_: Round) -> Expected:
        expected = [part.expect(round_) for part in self.parts]
        good = [part.done for part in expected if not part.fails]
        known = self.needed is None or self.needed == len(self.parts)
        return Expected(
            self.needed is not None and len(good) < self.needed,
            NOTHING.union(*good) if known else NOTHING,
        )
