"""Print one digest of the traces of many simulated runs: ``python digests.py FIRST COUNT``.

Run as a program, so that tests can compare processes.
"""

import hashlib
import sys

from kaygraph.testing import Faults
from kaygraph.testing.simulation import play
from tests.testing.graphs import SHAPES


def digest_of(first: int, count: int) -> str:
    """Return a digest over all shapes: the seed decides the order, the jitter and the faults.

    One half of the shapes takes turns with the other, with faults and without.
    """
    digest = hashlib.sha256()
    faults = Faults(fail=0.1, delay=(0, 1.0), hang=0.01)
    shapes = [make() for make in SHAPES]
    graphs = shapes, [faults.wrap(graph) for graph in shapes]
    for seed in range(first, first + count):
        for graph in graphs[seed % 2][seed // 2 % 2 :: 2]:
            run = play(graph, {}, seed)  # an error is kept, and the trace goes up to it
            digest.update("\n".join([*run.trace, type(run.error).__name__]).encode())
    return digest.hexdigest()


if __name__ == "__main__":
    litter = {str(number): object() for number in range(int(sys.argv[3]))}  # other addresses
    print(digest_of(int(sys.argv[1]), int(sys.argv[2])))
    del litter
