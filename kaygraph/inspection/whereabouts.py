"""Where in a user's code a call is."""

import asyncio
import os
import sysconfig
from collections.abc import Sequence
from typing import Any

from ..aio.code import ROOT, USER
from .looking import Look
from .stacks import Called, called, thread_calls, threads

LIBRARIES = tuple(
    {sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
SLEEP = asyncio.sleep.__code__


def exec_place(calls: Sequence[Called]) -> str | None:
    """Return where the innermost call of a user's code is, or else of a ready-made node's."""
    within = [
        call for call in calls if call.kind == USER and call.frame.f_code.co_name != "<module>"
    ]
    own = [
        call for call in within if not call.frame.f_code.co_filename.startswith((*LIBRARIES, ROOT))
    ]
    nodes = [call for call in within if call.frame.f_code.co_filename.startswith(ROOT + os.sep)]
    best = own or nodes or within
    return best[-1].place if best else None


def asleep_s(calls: Sequence[Called], now: float) -> float | None:
    """Return how long an ``asyncio.sleep`` at the end of the calls lasts; None without one."""
    if not calls or calls[-1].frame.f_code is not SLEEP:
        return None
    timer = calls[-1].local("h")
    return None if timer is None else max(0.0, timer.when() - now)


def place_of(iterator: Any) -> str | None:
    """Return where an async iterator is; None if unknown."""
    frame = getattr(iterator, "ag_frame", None)
    return None if frame is None else called(frame).place


def thread_places(look: Look) -> dict[str, list[str]]:
    """Return, by the names of nodes, where their calls in threads are."""
    places: dict[str, list[str]] = {}
    for thread in threads():
        calls = thread_calls(thread)
        for number, call in enumerate(calls):
            if not call.name.startswith("executors.") or "run_to_end" not in call.name:
                continue
            node = call.local("node") or call.local("self")
            name = look.names.get(node, getattr(node, "name", ""))
            place = exec_place(calls[number:])
            if place is not None:
                places.setdefault(name, []).append(place)
    return places
