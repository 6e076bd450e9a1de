"""Limits that are exceeded, multiplied, leaked, unfair, or in the way of each other."""

from kaygraph.batch import fan_out
from kaygraph.graph import graph
from kaygraph.limits import breaker, permits, rate, slots
from kaygraph.node import call, composed
from tests.planted.checks_of_breakers import breakers_act_as_the_reference_does
from tests.planted.checks_of_deadlines import nothing_takes_longer_than_its_deadline
from tests.planted.checks_of_limits import limits_hold
from tests.planted.planting import Bug

BUGS = [
    Bug(
        "an inner graph has a cap in place of the outer one",
        limits_hold,
        "the outer graph allows",
        {
            graph.Graph._caps: """
                - return (permits, *frame.caps)
                + return (permits,)
            """
        },
    ),
    Bug(
        "each round of a graph has a cap of its own",
        limits_hold,
        "the inner graph allows",
        {
            graph.Graph._caps: """
                - permits = frame.run.permits(self, min(most))
                + permits = Permits(min(most))
            """
        },
    ),
    Bug(
        "the permits of a key are forgotten with its first item",
        limits_hold,
        "key allows",
        {
            permits.KeyedPermits.end: """
                - if not permits.items:
                -     del self.known[permits.key]
                + if self.known.pop(permits.key, None):  # others may be in flight
            """
        },
    ),
    Bug(
        "a permit is held during the wait for another attempt",
        limits_hold,
        "while nobody worked",
        {
            call.Calls._retried: """
                - slot.give()  # another item may run while we wait
            """
        },
    ),
    Bug(
        "a graph holds a permit while its nodes wait for theirs",
        limits_hold,
        "deadlock",
        {
            graph.Graph._walk_within: """
                - return self._walk(shared, frame, self._inside(frame, plan), params, plan)
                + from kaygraph.limits.slots import Slot
                + inside = self._inside(frame, plan)
                + slot = Slot(inside.caps)
                + async def holding():
                +     await slot.take()
                +     try:
                +         return await self._walk(shared, frame, inside, params, plan)
                +     finally:
                +         slot.give()
                + return holding()
            """
        },
    ),
    Bug(
        "limits are taken one after the other, by each in another order",
        limits_hold,
        "deadlock|has not ended",  # a rate's timer goes on for ever
        {
            slots.Slot.begin: """
                - obstacle = entered(whole)
                - if obstacle is not None:
                -     await self._wait(whole, obstacle)
                + for cap in whole if self.worker % 2 else whole[::-1]:
                +     if entered((cap,)) is not None:
                +         await self._wait((cap,), cap)
            """
        },
    ),
    Bug(
        "the one who came last is served first",
        limits_hold,
        "items ahead",
        {
            permits.Waiter.__init__: """
                - self.age = next(_ages)
                + self.age = -next(_ages)
            """
        },
    ),
    Bug(
        "a worker keeps its permits though others wait for them",
        limits_hold,
        "items ahead",
        {
            fan_out.FanOut._worker: """
                - if own.free < 0 or ((own.waiting or capped) and slot.wanted):
                -     slot.give()
            """
        },
    ),
    Bug(
        "who gives back several permits wakes those in one line only",
        limits_hold,
        "deadlock",
        {
            slots._serve: """
                - for cap in lines:
                -     cap.serve()
                + for cap in lines[:1]:
                +     cap.serve()
            """
        },
    ),
    Bug(
        "a rate is counted from one full window to the next",
        limits_hold,
        "calls in 10 s",
        {
            rate._Window.forget: """
                - if gone == len(times) or times[gone] + per > now:
                -     return
                ...
                - while gone < len(times) and times[gone] + per <= now:
                + while gone < len(times) and times[gone] < now - now % per:
            """,
            rate._Window.room_at: """
                - due = self._times[place] + per
                + due = self._times[place] - self._times[place] % per + per
            """,
        },
    ),
    Bug(
        "a rate does not count other attempts than the first",
        limits_hold,
        "calls in 10 s",
        {
            composed.Composed._at_once: """
                  if self.rate is not None:
                +     if slot.attempts:
                +         return bool(slot.held)
            """,
            composed.Composed._acquire: """
                - if slot.item:
                -     await slot.begin()
                + if slot.item and not slot.attempts:
                +     await slot.begin()
            """,
        },
    ),
    Bug(
        "a breaker counts cancellations as failures",
        breakers_act_as_the_reference_does,
        "a call was refused",
        {
            breaker.CircuitBreaker._is_failure: """
                - if not isinstance(error, Exception):
                -     return None
                + if not isinstance(error, Exception):
                +     return True
            """
        },
    ),
    Bug(
        "a breaker that is half open lets everybody through",
        breakers_act_as_the_reference_does,
        "a call was made during the probe",
        {
            breaker.CircuitBreaker.admit: """
                - if circuit.state == "half_open" and not circuit.probing:
                + if circuit.state == "half_open":
            """,
            breaker.CircuitBreaker.check: """
                - if circuit.probing or (circuit.state == "open" and now < circuit.until):
                + if circuit.state == "open" and now < circuit.until:
            """,
        },
    ),
    Bug(
        "a breaker whose probe is cancelled waits for it for ever",
        breakers_act_as_the_reference_does,
        "a call was refused: half_open",
        {
            breaker.CircuitBreaker._count: """
                - probe, circuit.probing = circuit.probing, False
                - if failed is None:
                + probe = circuit.probing
                + circuit.probing = probe and failed is None
                + if failed is None:
            """
        },
    ),
    Bug(
        "a breaker is moved by calls that began before it opened",
        breakers_act_as_the_reference_does,
        "a call was refused|was made|it is",
        {
            breaker.CircuitBreaker._count: """
                - if ticket.generation != circuit.generation:
                -     return None
            """
        },
    ),
    Bug(
        "a deadline begins when an item has its turn",
        nothing_takes_longer_than_its_deadline,
        "has taken",
        {
            call.Calls.run: """
                + if not slot.held:
                +     await slot.take()
                  if self.prepares and again is None and self._taken_up(item, index, slot):
            """
        },
    ),
    Bug(
        "a deadline is one for each attempt",
        nothing_takes_longer_than_its_deadline,
        "has taken",
        {
            composed.Composed.__init__: """
                - timeout = frame.rules.timeout if node.timeout is None else node.timeout
                + timeout = node.deadline if node.timeout is None else node.timeout
                ...
                - self.deadline, self.breaker = node.deadline, node.breaker
                + self.deadline, self.breaker = None, node.breaker
            """
        },
    ),
]
