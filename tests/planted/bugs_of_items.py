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
            call.call: """
                - slot.attempts, slot.seconds, slot.waiting = 0, 0.0, False
                + slot.attempts, slot.seconds, slot.waiting = 0, 0.0, False
                + node.__dict__["tried"] = 0
            """,
            call._attempt: """
                - slot.attempts += 1
                + node.__dict__["tried"] += 1
                + slot.attempts = node.__dict__["tried"]
            """,
        },
    ),
    Bug(
        "there is one attempt too many",
        items_end_as_an_oracle_says,
        "expected",
        {
            call._wait_after: """
                - if slot.attempts >= (node.max_retries if retry is None else retry.attempts):
                + if slot.attempts > (node.max_retries if retry is None else retry.attempts):
            """
        },
    ),
    Bug(
        "a worker's next item begins with the number of the attempt before",
        items_end_as_an_oracle_says,
        "expected",
        {
            call.call: """
                - if slot.attempts > 1:
                -     FRAME.set(frame)
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
            call._attempts: """
                - ItemRetried(
                -     outer.name_of(node), _now(), index or 0, slot.worker, slot.attempts,
                -     error, wait,
                - )
                + ItemFailed(
                +     outer.name_of(node), _now(), index or 0, slot.worker, slot.attempts,
                +     slot.seconds, "failed", error,
                + )
            """
        },
    ),
    Bug(
        "the time limit of an attempt is one for all attempts",
        items_end_as_an_oracle_says,
        "expected",
        {
            call._attempt: """
                      return await execute(node, item, frame, slot, timeout)
                + timeout -= slot.seconds  # which earlier attempts have taken
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
