"""The processors of the machine, that this process may use."""

import os

PROC = "/proc/thread-self/schedstat"  # Linux's statistics of how a thread was scheduled


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ready_s() -> float:
    """Return how long this thread has waited for a processor, in seconds; 0 if unknown."""
    try:
        with open(PROC, "rb", buffering=0) as schedstat:
            return int(schedstat.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
