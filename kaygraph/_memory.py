"""How much memory a process has, and how much it may have."""

import os
import re
import sys
from typing import Any

from .errors import NodeDefinitionError

PROC = "/proc"  # where Linux shows its processes

LEAST = 1_000_000  # no interpreter starts in less; whoever gives 512 has meant megabytes
UNITS = {"kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
SIZE = r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([kmg]i?b)"


def check_memory(name: str, value: Any) -> int | None:
    """Return a size of at least 1 MB in bytes, or None for no limit.

    A whole number is bytes. A string has a unit: KB, MB and GB are powers of 1000, KiB, MiB and
    GiB of 1024.
    """
    if value is None:
        return None
    size = value
    if isinstance(value, str) and (found := re.fullmatch(SIZE, value.strip(), re.IGNORECASE)):
        size = round(float(found[1]) * UNITS[found[2].lower()])
    if isinstance(size, bool) or not isinstance(size, int):
        raise ValueError(
            f"{name} must be a size such as '512 MB' or '2 GiB', or a whole number of bytes, got "
            f"{value!r}"
        )
    if size < LEAST:
        raise ValueError(f"{name} must be at least '1 MB' (a number is bytes), got {value!r}")
    return size


def human(size: int) -> str:
    """Return a size in a unit that suits it: ``256 MB``, ``1.5 GB``."""
    unit = "GB" if size >= UNITS["gb"] else "MB" if size >= UNITS["mb"] else "KB"
    return f"{size / UNITS[unit.lower()]:.4g} {unit}"


def require_measurable() -> None:
    """Raise a NodeDefinitionError where the memory of a process cannot be seen."""
    if not os.path.exists(f"{PROC}/self/statm"):
        raise NodeDefinitionError(
            f"memory_limit needs Linux's {PROC}, and there is none here ({sys.platform}). Leave "
            "memory_limit out, or run this on Linux"
        )


def resident(process: int | str | None = "self") -> int:
    """Return how many bytes of memory a process holds, shared ones included; 0 when it is gone.

    What is swapped out is not counted.
    """
    return _sizes(process)[1]


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
    """Return what proc(5) tells under ``statm``, in bytes; zeros for one that is gone."""
    try:
        with open(f"{PROC}/{process}/statm", "rb", buffering=0) as statm:
            page = os.sysconf("SC_PAGE_SIZE")  # here, for Windows has none
            return [int(pages) * page for pages in statm.read().split()]
    except OSError:
        return [0] * 7
