"""W7: what ``import kaygraph`` costs, against ``import asyncio``."""

import os
import subprocess
import sys
from statistics import median

from benchmarks.harness import emit

HEAVY = ("aiohttp", "structlog", "rich", "anyio", "multiprocessing")

# Both are imported from bytecode, as everywhere but in a container that forbids to write it.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def import_ms(module: str) -> float:
    """Return the cumulative time of an import in a fresh interpreter, in milliseconds."""
    answer = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import {module}"],
        capture_output=True,
        check=True,
        text=True,
        env=ENVIRONMENT,
    )
    for line in answer.stderr.splitlines():
        *_, cumulative, name = line.split("|")
        if name[1:] == module:
            return int(cumulative) / 1000
    raise AssertionError(f"no import of {module} was seen")


def importing(rounds: int) -> None:
    """Medians over interleaved rounds, each in a process of its own."""
    import_ms("kaygraph")
    pairs = [(import_ms("asyncio"), import_ms("kaygraph")) for _ in range(rounds)]
    code = "import sys, kaygraph; print(*[m for m in sys.argv[1:] if m in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code, *HEAVY], capture_output=True, check=True, text=True,
        env=ENVIRONMENT,
    )  # fmt: skip
    emit(
        "W7",
        "import kaygraph / import asyncio",
        floor_ms=round(median(floor for floor, _ in pairs), 1),
        ours_ms=round(median(ours for _, ours in pairs), 1),
        ratio=round(median(ours / floor for floor, ours in pairs), 3),
        target="<= 1.5",
        heavy_modules_loaded=loaded.stdout.split(),
    )
