"""Streams that lose what they have taken, mix it up, take too much, or stand still."""

from kaygraph.batch import fan_out
from kaygraph.streams import stage
from tests.planted.checks_of_streams import streams_keep_order_and_measure_and_lose_nothing
from tests.planted.planting import Bug

BUGS = [
    Bug(
        "a pipeline reads its source as fast as it can",
        streams_keep_order_and_measure_and_lose_nothing,
        "items were under way",
        {
            stage.Stage.feed: """
                - if len(sink) >= size:
                + if len(sink) >= UNBOUNDED:
            """
        },
    ),
    Bug(
        "any number of results wait for one that is slow",
        streams_keep_order_and_measure_and_lose_nothing,
        "items were under way",
        {
            stage.Stage.worker: """
                - if ordered and self.taken - self.following >= self.window:
                -     await self._block(None, slot)
                -     continue
            """
        },
    ),
    Bug(
        "a stage passes items on in the order in which they were done",
        streams_keep_order_and_measure_and_lose_nothing,
        "came out",
        {
            stage.Stage.__init__: """
                - self.ordered = self.workers > 1 and getattr(node, "ordered", True)
                + self.ordered = False
            """
        },
    ),
    Bug(
        "workers that wait for the order are not told when it goes on",
        streams_keep_order_and_measure_and_lose_nothing,
        "deadlock",
        {
            stage.Stage._hand_over: """
                - while self.waiting:
                -     wake(self.waiting)
            """
        },
    ),
    Bug(
        "a pipeline that drains drops the item that it has just taken",
        streams_keep_order_and_measure_and_lose_nothing,
        "came out",
        {
            stage.Stage.feed: """
                  await self._block(outbox, values=(item,))
                + if run.draining:
                +     break
            """
        },
    ),
    Bug(
        "a batch that drains drops the item that it has just taken",
        streams_keep_order_and_measure_and_lose_nothing,
        "came out",
        {
            fan_out.FanOut._worker: """
                - item = END if run.draining else next(iterator, END)
                + item = next(iterator, END)
                + if run.draining:
                +     return
            """
        },
    ),
]
