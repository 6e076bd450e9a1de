"""Values that overtake others, come twice, or are made without room or a permit."""

# ruff: noqa: E501 - a line of a diff is longer than the line that it changes

from kaygraph.batch import source
from kaygraph.node import call
from kaygraph.streams import order, outlet
from tests.planted.checks_of_yields import (
    values_go_on_once_in_order_and_under_a_permit,
    what_is_read_is_accounted_for,
)
from tests.planted.planting import Bug

BUGS = [
    Bug(
        "values overtake those that another worker hands over",
        values_go_on_once_in_order_and_under_a_permit,
        "came out",
        {
            order.Order.is_next: """
                - return index == self.next and not self._handing_over
                + return index == self.next
            """
        },
    ),
    Bug(
        "an exec is asked for values for which there is no room",
        values_go_on_once_in_order_and_under_a_permit,
        "values on their way",
        {
            outlet.StageOutlet.put: """
                - return len(self._sink) < self._size and count % TURN != 0
                + return count % TURN != 0
            """
        },
    ),
    Bug(
        "an item may be as far ahead of its turn as it likes",
        values_go_on_once_in_order_and_under_a_permit,
        "values on their way",
        {
            order.Order.free: """
                - return self._share - len(self._begun.get(index, ()))
                + return 1
            """
        },
    ),
    Bug(
        "an exec that has waited for room goes on without its permits",
        values_go_on_once_in_order_and_under_a_permit,
        "calls at once",
        {
            outlet.StageOutlet._held_up: """
                - await slot.go_on()
            """,
            outlet.StageOutlet.ready: """
                - if not self.slot.held:  # an earlier wait was cancelled, but not because of the item
                -     await self.slot.go_on()
            """,
        },
    ),
    Bug(
        "an exec keeps its permits while it waits for room",
        values_go_on_once_in_order_and_under_a_permit,
        "deadlock",
        {
            outlet.StageOutlet._held_up: """
                - slot.give()
            """
        },
    ),
    Bug(
        "an exec that has yielded is tried again",
        values_go_on_once_in_order_and_under_a_permit,
        "came out",
        {
            call.Calls._wait_after: """
                - if slot.outlet is not None and slot.outlet.count:  # its values would be passed on twice
                + if False:
            """
        },
    ),
    Bug(
        "an item on its way to a worker that is cancelled is forgotten",
        what_is_read_is_accounted_for,
        "reported as ended",
        {
            source.AsyncSource.take: """
                - self.left.append(asked.result())
                + pass
            """
        },
    ),
]
