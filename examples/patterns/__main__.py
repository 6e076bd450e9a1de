"""Run patterns: ``python -m examples.patterns [NAME …]``."""

import asyncio
import sys
from collections.abc import Sequence

from examples.patterns import NAMES, run_each


async def show(names: Sequence[str]) -> None:
    async for name, title, lines in run_each(names):
        print(f"── {name}: {title}", *lines, "", sep="\n")


for name in sys.argv[1:]:
    if name not in NAMES:
        sys.exit(f"error: there is no pattern {name!r}. Type one of: {', '.join(NAMES)}")
asyncio.run(show(sys.argv[1:] or NAMES))
