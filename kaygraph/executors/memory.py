"""How much memory a process has, and how much more it may ask for."""

import os
import sys
from contextlib import suppress

from ..errors import NodeDefinitionError

PROC = "/proc"  # where Linux shows its processes


def require_measurable() -> None:
    """Raise a NodeDefinitionError where the memory of a process cannot be seen."""
    if not os.path.exists(f"{PROC}/self/statm"):
        raise NodeDefinitionError(
            f"memory_limit needs Linux's {PROC}, which this system ({sys.platform}) lacks. Leave "
            "out memory_limit, or run this on Linux"
        )


def resident(process: int | str | None = "self") -> int:
    """Return how many bytes of memory a process holds, shared ones included; 0 when it is gone.

    What is swapped out is not counted.
    """
    return _sizes(process)[1]


def peak_resident() -> int:
    """Return the most bytes that this process has held since it began; 0 if that is unknown."""
    with suppress(OSError, LookupError, ValueError), open(f"{PROC}/self/status", "rb") as status:
        # Linux hands down ru_maxrss from the process that has started this one.
        fields = dict(line.split(b":", 1) for line in status)
        return int(fields[b"VmHWM"].split()[0]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    kilobytes: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else kilobytes * 1024


class GrowthLimit:
    """Let this process ask for ``limit`` bytes more than it has now, and for no more.

    Asking for more is a MemoryError at once, used or not. It counts what no other process can
    see (``RLIMIT_DATA``), with the stacks of threads, and is inherited by the processes that are
    started meanwhile.
    """

    _before: tuple[int, int] | None = None

    def __init__(self, limit: int | None) -> None:
        self._limit = limit

    def __enter__(self) -> None:
        if self._limit is None:
            return
        import resource  # only where there is a /proc: Windows has none of the two

        self._before = before = resource.getrlimit(resource.RLIMIT_DATA)
        most = _sizes("self")[5] + self._limit
        most = min(most, sys.maxsize, *(had for had in before if had != resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_DATA, (most, before[1]))

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_DATA, self._before)


def _sizes(process: int | str | None) -> list[int]:
    """Return the sizes in ``statm`` of proc(5), in bytes; zeros for a process that is gone."""
    try:
        with open(f"{PROC}/{process}/statm", "rb", buffering=0) as statm:
            page = os.sysconf("SC_PAGE_SIZE")  # here, for Windows has none
            return [int(pages) * page for pages in statm.read().split()]
    except OSError:
        return [0] * 7
