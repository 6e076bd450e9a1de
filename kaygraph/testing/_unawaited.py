"""Coroutines that are never awaited: Python warns of them once they are thrown away."""

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ._places import path_of


class Host(Protocol):
    """The loop of a simulation."""

    unawaited: list[str]


@contextmanager
def noted_coroutines(simulated: Callable[[], Host | None]) -> Iterator[None]:
    """Note coroutines that are thrown away in a simulation before they began; Python warns as ever.

    Those that the cyclic collector finds are left out: they may be of a run before this one, and it
    is not called per run, since that takes longer than most runs.
    """
    module: Any = warnings
    warn = module._warn_unawaited_coroutine  # what the interpreter calls
    collecting = False

    def collects(phase: str, _: dict[str, int]) -> None:
        nonlocal collecting
        collecting = phase == "start"

    def noted(coroutine: Any) -> None:
        loop = simulated()
        if loop is not None and not collecting:
            code = coroutine.cr_code
            place = f"{path_of(code.co_filename)}:{code.co_firstlineno}"
            loop.unawaited.append(f"{coroutine.__qualname__} ({place})")
        warn(coroutine)

    gc.callbacks.append(collects)
    module._warn_unawaited_coroutine = noted
    try:
        yield
    finally:
        module._warn_unawaited_coroutine = warn
        gc.callbacks.remove(collects)
