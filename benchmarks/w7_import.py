"""W7: what importing kaygraph costs, against ``import asyncio``."""

import os
import subprocess
import sys
from collections.abc import Iterator
from statistics import median
from typing import Any

from benchmarks.harness import Figure

HEAVY = ("aiohttp", "structlog", "rich", "anyio", "multiprocessing")

# All are imported from bytecode, as everywhere except in a container that forbids writing it.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

FLOOR = "import asyncio"
OURS = {
    "W7": "import asyncio, kaygraph",
    "W7-names": "from kaygraph import Graph, Node",
}


def cases(size: int) -> Iterator[Figure]:
    for name, statement in OURS.items():
        yield Figure(
            name=name,
            what=f"{statement}, against {FLOOR}",
            measure=lambda statement=statement: importing(statement, 9 // min(size, 3)),  # type: ignore[misc]
            target=1.4,
        )


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


def importing(statement: str, rounds: int) -> tuple[float, dict[str, Any]]:
    """Return the median of the ratios of interleaved rounds, each in a process of its own."""
    import_ms(statement)
    pairs = [(import_ms(FLOOR), import_ms(statement)) for _ in range(rounds)]
    code = f"{statement}; import sys; print(*[m for m in sys.argv[1:] if m in sys.modules])"
    return median(ours / floor for floor, ours in pairs), {
        "floor ms": round(median(floor for floor, _ in pairs), 1),
        "heavy modules": answer(code, *HEAVY).split(),
    }
