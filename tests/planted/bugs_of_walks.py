"""Joins that run too often, too early or never, and what differs from process to process."""

from kaygraph.graph import joins, tokens, walk
from kaygraph.groups import grouping
from tests.planted.checks_of_walks import (
    the_same_seed_is_the_same_run_in_every_process,
    walks_go_as_an_oracle_says,
)
from tests.planted.planting import Bug

BUGS = [
    Bug(
        "a join runs once for each branch",
        walks_go_as_an_oracle_says,
        "was not to run|the oracle says",
        {
            tokens.Tokens.move: """
                - elif target not in self.waiting:
                + else:
            """
        },
    ),
    Bug(
        "a join does not wait for a branch that is slow",
        walks_go_as_an_oracle_says,
        "was not to run|the oracle says",
        {
            tokens.Tokens._first_ready: """
                - for mask in self.masks:
                -     running |= mask
            """
        },
    ),
    Bug(
        "a join never runs when a branch takes another way",
        walks_go_as_an_oracle_says,
        "the oracle says",
        {
            tokens.Tokens.move: """
                  del masks[mask]
                - changed = True
            """
        },
    ),
    Bug(
        "a join runs before a branch has left its loop",
        walks_go_as_an_oracle_says,
        "was not to run|the oracle says",
        {
            joins.Joins.__init__: """
                - if layout.back and bit > 1:
                -     self.masks = _Holding(layout, before, self.bits, self.forward).masks
            """
        },
    ),
    Bug(
        "a join that waits for another one does not",
        walks_go_as_an_oracle_says,
        "was not to run|the oracle says",
        {
            tokens.Tokens._first_ready: """
                - if not any(other.mask & join.bit for other in self.waiting if other is not join):
                -     return join
                + return join
            """
        },
    ),
    Bug(
        "a walk takes itself for a line while a join waits",
        walks_go_as_an_oracle_says,
        "was not to run|the oracle says",
        {
            vars(tokens.Tokens)["single"].fget: """
                - if self.waiting or len(self.masks) > 1:
                + if len(self.masks) > 1:
            """
        },
    ),
    Bug(
        "branches begin in the order of a set",
        the_same_seed_is_the_same_run_in_every_process,
        "the traces differ",
        {
            walk.Walk._forked: """
                + named = {step.name: step for step in steps}
                + steps = tuple(named[name] for name in set(named))
                  fork = Fork(len(steps), around)
            """
        },
    ),
    Bug(
        "keys are spread by a hash that each process has for itself",
        the_same_seed_is_the_same_run_in_every_process,
        "the traces differ",
        {
            grouping.stable_hash: """
                - if isinstance(key, str):
                -     return crc32(key.encode(errors="surrogatepass"))
                + if isinstance(key, str):
                +     return hash(key)
            """
        },
    ),
]
