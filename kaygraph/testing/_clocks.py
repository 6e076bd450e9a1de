"""The clocks of the module ``time``, as those see them who run on a simulation."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# What `time.time()` gives when a simulation begins: 2000-01-01 in UTC.
EPOCH = 946_684_800

# Returns the SimulationLoop of this thread, or None.
Simulated = Callable[[], Any]

_REAL: dict[str, Callable[..., Any]] = {
    name: getattr(time, name)
    for name in (
        "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep", "time", "time_ns",
    )
}  # fmt: skip
_SCALES = {
    "monotonic": (0, 1),
    "perf_counter": (0, 1),
    "time": (EPOCH, 1),
    "monotonic_ns": (0, 10**9),
    "perf_counter_ns": (0, 10**9),
    "time_ns": (EPOCH, 10**9),
}


@contextmanager
def virtual_clocks(simulated: Simulated) -> Iterator[None]:
    """Have the clocks of ``time`` follow that of the loop where ``simulated()`` is not None.

    So does ``time.sleep``. What was imported by name before (``from time import monotonic``) is
    the real one.
    """
    around = {name: getattr(time, name) for name in _REAL}
    for name, virtual in _virtual(simulated).items():
        setattr(time, name, virtual)
    try:
        yield
    finally:
        for name, before in around.items():
            setattr(time, name, before)


def _virtual(simulated: Simulated) -> dict[str, Callable[..., Any]]:
    def clock(name: str) -> Callable[[], Any]:
        real, (epoch, scale) = _REAL[name], _SCALES[name]

        def now() -> Any:
            loop = simulated()
            if loop is None:
                return real()
            return (epoch + loop.time()) if scale == 1 else round((epoch + loop.time()) * scale)

        return now

    def sleep(seconds: Any, /) -> None:
        loop = simulated()
        (_REAL["sleep"] if loop is None else loop.threads.sleep)(seconds)

    return {**{name: clock(name) for name in _SCALES}, "sleep": sleep}
