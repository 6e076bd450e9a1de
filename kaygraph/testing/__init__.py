"""The test kit: repeatable runs, injected faults, and checks that nothing is left or lost.

=====================  =====================================================================
``simulate``           runs any coroutine function or graph once, in an order set by a seed
``explore``            simulates many seeds and returns those that fail
``watch``              fails a simulation in which two tasks write with no order between them
``cancel_everywhere``  cancels a run at every step and checks that nothing is left
``kill_everywhere``    kills a recorded run at every write of its journal and resumes it
``Network``            the connections of simulations: latency, parts, refusals and losses
``Faults``             makes the work of nodes fail, slow down or hang
``assert_accounted``   checks that every item that began has ended exactly once
``capture_events``     collects the events of runs without passing observers
``run_virtually``      runs a coroutine on a loop with a virtual clock
=====================  =====================================================================

``examples/testing.py`` has a page for each. Under pytest they are fixtures, and
``@pytest.mark.explore`` and ``--explore N`` run async tests under many seeds; see ``plugin``.
"""

from .._public import show_public
from ._accesses import UnorderedAccessError as UnorderedAccessError
from ._loop import DeadlockError as DeadlockError
from ._loop import EndlessRunError as EndlessRunError
from ._loop import SimulationError as SimulationError
from ._loop import VirtualClockLoop as VirtualClockLoop
from ._loop import run_virtually as run_virtually
from .accounting import assert_accounted as assert_accounted
from .cancellation import cancel_everywhere as cancel_everywhere
from .capture import capture_events as capture_events
from .exploration import explore as explore
from .faults import Faults as Faults
from .faults import InjectedError as InjectedError
from .killing import kill_everywhere as kill_everywhere
from .network.settings import Network as Network
from .simulation import simulate as simulate
from .watching import watch as watch

__all__ = [
    "DeadlockError",
    "EndlessRunError",
    "Faults",
    "InjectedError",
    "Network",
    "SimulationError",
    "UnorderedAccessError",
    "VirtualClockLoop",
    "assert_accounted",
    "cancel_everywhere",
    "capture_events",
    "explore",
    "kill_everywhere",
    "run_virtually",
    "simulate",
    "watch",
]

show_public()
