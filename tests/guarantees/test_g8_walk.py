"""G8: joins run exactly once, whatever the shape, and no graph deadlocks."""

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from kaygraph.testing import simulate
from tests.guarantees.figures import cases, tell
from tests.guarantees.walks import AFTER, HERE, LEAVE, Case, Record, built, case

GRAPHS, SOAK_GRAPHS = 20_000, 80_000


def walk(seed: int) -> tuple[Case, list[Record], int]:
    """Walk a random graph and compare each walk with the oracle; return how many joins ran."""
    random = Random(seed)
    outer = Case({"g": {LEAVE: [AFTER]}, AFTER: {}}, ["g"], {"g": [], AFTER: []}, {}, None)
    outer.nested["g"] = case(random, "abcdefgh", nested=True)
    records: list[Record] = []
    graph = built(outer, records, name="whole")
    # A store that is checked for conflicts, or none: walks then use other code.
    shared = {} if random.random() < 0.5 else object()
    watched = random.random() < 0.3

    async def main(shared: object) -> None:
        HERE.set(Record(Case({}, [], {"whole": []}, {}, None), graph.oracle))
        await graph.run_async(shared)

    run = simulate(main, shared, seed=seed, watched=watched, order="turns", jitter=0)
    assert not run.left
    return outer.nested["g"], records, sum(one.oracle.compare(one.log) for one in records)


@pytest.mark.parametrize("seeds", cases(GRAPHS, size=1_000, soak=SOAK_GRAPHS))
def test_random_graphs_walk_as_the_oracle_says(
    seeds: range, tally: Callable[[str, int], None]
) -> None:
    """Each join runs once per round, nothing deadlocks, and exactly the expected nodes have run."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        try:
            graph, records, joins = walk(seed)
        except BaseException as error:
            error.add_note(f"walk({seed}) repeats this")
            raise
        counts["graphs"] += 1
        counts["graphs within them"] += len(graph.nested)
        counts["visits of nodes"] += sum(sum(one.visits.values()) for one in records)
        counts["joins that ran"] += joins
        counts["graphs with loops"] += any(one.oracle.back_edges for one in records)
    tell(tally, "G8", counts, counts["graphs"])
