"""The test kit: runs that can be repeated, broken on purpose and checked for what they leave.

=====================  =====================================================================
``simulate``           one run on a virtual clock, in an order of tasks that a seed decides
``explore``            many of them, and those that break what must hold
``cancel_everywhere``  a run cancelled at every step, after which nothing may be left
``Faults``             makes the work of nodes fail, take its time or hang
``assert_accounted``   every item begun has ended, exactly once
``capture_events``     what runs tell, without handing observers over
``run_virtually``      a coroutine on a loop whose clock jumps
=====================  =====================================================================

``examples/testing.py`` has a page for each. Under pytest they are fixtures; see ``plugin``.
"""

from .._public import show_public
from ._loop import DeadlockError as DeadlockError
from ._loop import EndlessRunError as EndlessRunError
from ._loop import SimulationError as SimulationError
from ._loop import VirtualClockLoop as VirtualClockLoop
from ._loop import run_virtually as run_virtually
from .accounting import assert_accounted as assert_accounted
from .cancellation import cancel_everywhere as cancel_everywhere
from .capture import capture_events as capture_events
from .exploration import Exploration as Exploration
from .exploration import Failure as Failure
from .exploration import explore as explore
from .faults import Faults as Faults
from .faults import InjectedError as InjectedError
from .simulation import Simulation as Simulation
from .simulation import simulate as simulate

__all__ = [
    "DeadlockError",
    "EndlessRunError",
    "Exploration",
    "Failure",
    "Faults",
    "InjectedError",
    "Simulation",
    "SimulationError",
    "VirtualClockLoop",
    "assert_accounted",
    "cancel_everywhere",
    "capture_events",
    "explore",
    "run_virtually",
    "simulate",
]

show_public()
