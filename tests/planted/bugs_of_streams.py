"""Streams that lose what they have taken, mix it up, take too much, or stand still."""

from kaygraph.batch import fan_out, source
from kaygraph.streams import feeding, order, stage, workers
from tests.planted.checks_of_streams import streams_keep_order_and_measure_and_lose_nothing
from tests.planted.planting import Bug

BUGS = [
    Bug(
        "a pipeline reads its source as fast as it can",
        streams_keep_order_and_measure_and_lose_nothing,
        "items were in flight",
        {
            feeding._read: """
                - if len(sink) >= size:
                + if len(sink) >= UNBOUNDED:
            """
        },
    ),
    Bug(
        "any number of results wait for one that is slow",
        streams_keep_order_and_measure_and_lose_nothing,
        "items were in flight",
        {
            order.Order.__init__: """
                - self.window = window
                + self.window = 2**62
            """
        },
    ),
    Bug(
        "a stage passes items on in the order in which they were done",
        streams_keep_order_and_measure_and_lose_nothing,
        "came out",
        {
            stage.Stage.__init__: """
                - self.order = Order(window, self.workers) if ordered else None
                + self.order = None
            """
        },
    ),
    Bug(
        "workers that wait for items do not learn that no more will come",
        streams_keep_order_and_measure_and_lose_nothing,
        "deadlock",
        {
            workers.Workers.item_came: """
                - if not more:
                -     self._wake_all()
            """
        },
    ),
    Bug(
        "a pipeline that drains drops the item that it has just taken",
        streams_keep_order_and_measure_and_lose_nothing,
        "came out",
        {
            feeding._read: """
                  await stage._wait_for_room(values=(item,))
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
                - item = pull(iterator, END) if ready and not run.draining else END
                + item = pull(iterator, END) if ready else END
                + if run.draining:
                +     return
            """
        },
    ),
    Bug(
        "an async source is not closed",
        streams_keep_order_and_measure_and_lose_nothing,
        "an async generator that .* closed: Source.awaited",
        {
            source.AsyncSource.aclose: """
                - await close(self._items)
            """
        },
    ),
]
