"""Items that are lost, counted twice, tried too seldom or too often, or put in another's place."""

from kaygraph.aio import contexts
from kaygraph.batch import fan_out, source
from kaygraph.node import call
from tests.planted.checks_of_items import items_end_as_an_oracle_says
from tests.planted.planting import Bug

BUGS = [
    Bug(
        "attempts are counted on the node, which its items share",
        items_end_as_an_oracle_says,
        "expected",
        {
            call.Calls.run: """
                - slot.attempts, slot.seconds, slot.waiting = 0, 0.0, False
                + slot.attempts, slot.seconds, slot.waiting = 0, 0.0, False
                + self.node.__dict__["tried"] = 0
                ...
                - slot.attempts = made + 1
                + self.node.__dict__["tried"] += 1
                + slot.attempts = self.node.__dict__["tried"]
            """
        },
    ),
    Bug(
        "there is one attempt too many",
        items_end_as_an_oracle_says,
        "expected",
        {
            call.Calls._wait_after: """
                - if slot.attempts >= most_attempts(self.node):
                + if slot.attempts > most_attempts(self.node):
            """
        },
    ),
    Bug(
        "a worker's next item begins with the number of the attempt before",
        items_end_as_an_oracle_says,
        "expected",
        {
            call.Calls._settled: """
                - if slot.attempts > 1:
                -     FRAME.set(self.frame)
            """,
            contexts.settled: """
                - return lambda *args: Apart(context.copy(), called(*args)), copy_context()
                + return call, copy_context()
            """,
        },
    ),
    Bug(
        "an attempt that is tried again is counted as an item that failed",
        items_end_as_an_oracle_says,
        "ended without having begun",
        {
            call.Calls._retried: """
                - self.emit(ItemRetried(*where, last, wait))
                + from kaygraph.events import ItemFailed
                + self.emit(ItemFailed(*where, slot.seconds, "failed", last))
            """
        },
    ),
    Bug(
        "the time limit of an attempt is one for all attempts",
        items_end_as_an_oracle_says,
        "expected",
        {
            call.Calls.run: """
                - timer.attempt = started + self.timeout
                + timer.attempt = started + self.timeout - slot.seconds  # those before
            """
        },
    ),
    Bug(
        "results stand in the order in which they were done",
        items_end_as_an_oracle_says,
        "results .* expected",
        {
            fan_out.FanOut.__init__: """
                - self.ordered, self.sink = ordered, sink
                + self.ordered, self.sink = False, sink
            """
        },
    ),
    Bug(
        "a source is read to its end before anything begins",
        items_end_as_an_oracle_says,
        "items were taken and had not ended",
        {
            source.opened: """
                - return SyncSource(items, alone)
                + return SyncSource(list(items), alone)
            """
        },
    ),
]
