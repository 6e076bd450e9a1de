"""Items that wait: what happens to their workers, to later items, and to what they set."""

from kaygraph.batch import fan_out, pool
from kaygraph.limits import permits
from tests.planted.checks_of_waiting import items_that_wait_hold_up_nobody
from tests.planted.planting import Bug

BUGS = [
    Bug(
        "an item that waits keeps its worker",
        items_that_wait_hold_up_nobody,
        "the last began after",
        {
            pool.WorkerPool.pause: """
                - if self._replaced >= self._max_waiting or self._has_ended():
                + if True:
            """
        },
    ),
    Bug(
        "any number of items wait",
        items_that_wait_hold_up_nobody,
        "items were taken up and had not begun",
        {
            pool.WorkerPool.pause: """
                - if self._replaced >= self._max_waiting or self._has_ended():
                + if self._has_ended():
            """
        },
    ),
    Bug(
        "a worker that was replaced goes on next to its replacement",
        items_that_wait_hold_up_nobody,
        "workers had no item",
        {
            fan_out.FanOut._worker: """
                - if slot.replaced and slot.is_surplus:
                -     return
            """
        },
    ),
    Bug(
        "a key that is free is offered to nobody after the first of its line has left",
        items_that_wait_hold_up_nobody,
        "deadlock|the last began after",
        {
            permits.KeyPermits.serve: """
                - offers = self.free
                + offers = 0
            """
        },
    ),
    Bug(
        "an item sees what the one before has set in a context variable",
        items_that_wait_hold_up_nobody,
        "has seen what item",
        {
            fan_out.FanOut._worker: """
                - unsettled = cancelled() or context != before
                + unsettled = cancelled()
            """
        },
    ),
]
