"""The walk on random graphs, against an oracle that is slow and obviously right.

Set ``KAYGRAPH_EXAMPLES`` to try more graphs than the usual ones.
"""

import os

import pytest
from hypothesis import HealthCheck, given, settings

from kaygraph import AsyncNode, Graph
from tests.oracle import Oracle
from tests.random_graphs import Case, Scripted, built, cases, walked

EXAMPLES = int(os.environ.get("KAYGRAPH_EXAMPLES", "1000"))


class ScriptedNode(Scripted, AsyncNode):
    pass


@pytest.mark.proofs
@settings(
    max_examples=EXAMPLES,
    derandomize="KAYGRAPH_EXAMPLES" not in os.environ,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(cases())
def test_random_graph_walks_as_the_oracle_says(case: Case) -> None:
    """Each join runs once a round, nothing deadlocks, and exactly what the rules say has run."""
    inner = built(case, ScriptedNode, Graph)
    oracle = Oracle(
        case.successors,
        case.starts,
        {(source.name, target.name) for source, target in inner.plan.back_edges},
        [node.name for node in inner.plan.steps],
    )
    walked(case, Graph(inner, name="outer"), oracle)
