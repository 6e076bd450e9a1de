"""W7: what importing kaygraph costs, against ``import asyncio``."""

import os
import subprocess
import sys
from statistics import median

from benchmarks.harness import emit

HEAVY = ("aiohttp", "structlog", "rich", "anyio", "multiprocessing")

# All are imported from bytecode, as everywhere but in a container that forbids to write it.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

FLOOR = "import asyncio"
OURS = {
    "import kaygraph": "import asyncio, kaygraph",
    "from kaygraph import Graph, Node": "from kaygraph import Graph, Node",
}


def answer(code: str, *arguments: str) -> str:
    """Run a program in a fresh interpreter and return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        check=True,
        text=True,
        env=ENVIRONMENT,
    ).stdout


def import_ms(statement: str) -> float:
    """Return how long an import takes in a fresh interpreter, in milliseconds of processor time."""
    code = f"import time; t = time.process_time(); {statement}; print(time.process_time() - t)"
    return float(answer(code)) * 1000


def importing(rounds: int) -> None:
    """Medians over interleaved rounds, each in a process of its own."""
    for statement in OURS.values():
        import_ms(statement)
    floor, *ours = zip(
        *(tuple(map(import_ms, (FLOOR, *OURS.values()))) for _ in range(rounds)), strict=True
    )
    for (what, statement), times in zip(OURS.items(), ours, strict=True):
        code = f"{statement}; import sys; print(*[m for m in sys.argv[1:] if m in sys.modules])"
        emit(
            "W7",
            f"{what} / {FLOOR}",
            floor_ms=round(median(floor), 1),
            ours_ms=round(median(times), 1),
            ratio=round(median(o / f for f, o in zip(floor, times, strict=True)), 3),
            target="<= 1.4",
            heavy_modules_loaded=answer(code, *HEAVY).split(),
        )
