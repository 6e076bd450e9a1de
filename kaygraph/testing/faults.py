"""``Faults``: faults in the work of nodes, by chance or by script, and repeatable."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from .._validation import check_callable, check_seconds
from ..errors import KayGraphError, copied
from ..node.node import BaseNode
from ..run.run import Run
from ._fates import chances, text_of
from ._simulated import ACTIVE
from ._wrapping import Wrapping

N = TypeVar("N", bound=BaseNode[Any, Any])

# "ok", "hang", seconds to take, an error to raise, or seconds and then an error.
Step = str | float | type[Exception] | Exception | tuple[float, type[Exception] | Exception]
Script = Sequence[Step] | Mapping[Any, Sequence[Step]]

HANG_S = 3600.0


class InjectedError(KayGraphError):
    """The default error of an attempt that ``Faults`` makes fail."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one attempt: it is delayed, then hangs, fails or continues."""

    seconds: float = 0.0
    hangs: bool = False
    error: type[Exception] | Exception | None = None


class Faults:
    """Makes the work of nodes fail, slow down or hang.

    ::

        faults = Faults(fail=0.1, delay=(0.0, 2.0), hang=0.01)
        graph = faults.wrap(Graph(Fetch(timeout=5, max_retries=3) >> Store()))
        found = explore(graph, {"urls": [...]})

    The fault of an attempt depends only on the seed, the name of the node, its ``params``, the item
    and the number of the attempt, not on the order in which things run. Each item of a batch counts
    its own attempts, and equal items get the same faults. A node that runs again (in a loop)
    continues its count.

    Args:
        seed: The seed of the faults. By default that of the surrounding simulation, so every seed
            of ``explore`` gives other faults; 0 outside of a simulation.
        fail: The fraction of attempts that raise ``error``, from 0 to 1.
        hang: The fraction of attempts that never return (a ``def`` hangs for ``hang_s`` seconds).
        delay: The delay before the work of an attempt, in seconds: one number, or a tuple of
            minimum and maximum. It is by the loop's clock; a ``def`` calls ``time.sleep``.
        error: The error to raise: an exception class, or an exception, which is copied for each
            attempt. An InjectedError by default.
        script: Faults without chance. Each attempt is ``"ok"``, ``"hang"``, a delay in seconds, an
            error, or ``(seconds, error)``. A sequence applies to every item. A mapping from items
            (or their keys) to sequences applies to these items, and chance to all others. Attempts
            after the end of a sequence are ``"ok"``.
        key: ``key(item)`` identifies an item. By default, an item is identified by its ``repr``
            without memory addresses, so items with the default ``repr`` of their class are equal.
        hang_s: How long a ``def`` hangs, in seconds; it cannot be stopped.
    """

    def __init__(
        self,
        seed: int | None = None,
        *,
        fail: float = 0.0,
        hang: float = 0.0,
        delay: float | tuple[float, float] = 0.0,
        error: type[Exception] | Exception | None = None,
        script: Script | None = None,
        key: Callable[[Any], Any] | None = None,
        hang_s: float = HANG_S,
    ) -> None:
        self.seed, self.key = seed, check_callable("key", key)
        self.error = InjectedError("injected") if error is None else error
        if not _raises(self.error):
            raise ValueError(f"error must be an exception or a class of them, got {error!r}")
        self.fail, self.hang = _share("fail", fail), _share("hang", hang)
        least, most = delay if isinstance(delay, tuple) and len(delay) == 2 else (delay, delay)
        self.delay = check_seconds("delay", least), check_seconds("delay", most)
        if least > most:
            raise ValueError(f"delay={delay!r}: the least comes first")
        self.hang_s = check_seconds("hang_s", hang_s)
        self.script = _checked(script)
        self._counts: WeakKeyDictionary[Run, Counter[str]] = WeakKeyDictionary()

    def wrap(self, node: N) -> N:
        """Return a copy of a node with faults in its work.

        For a graph, a group or a pipeline, all nodes inside it are wrapped. The copy keeps names,
        settings and the kind of ``exec``; the given node is not changed. Nodes with the same name
        that are wrapped separately get the same faults; give them different names to avoid that.
        """
        wrapped: N = Wrapping(self)(node)
        return wrapped

    def __repr__(self) -> str:
        return (
            f"Faults(seed={self.seed}, fail={self.fail:g}, hang={self.hang:g}, delay={self.delay})"
        )

    def fate(self, name: str, item: Any, attempt: int, params: Mapping[str, Any]) -> Fate:
        """Return the fate of an attempt (counted from 1) for an item of a node."""
        known = item if self.key is None else self.key(item)
        steps = self._steps(known)
        if steps is not None:
            return _scripted(steps[attempt - 1]) if attempt <= len(steps) else Fate()
        place = (self._seed(), name, text_of(dict(params)), text_of(known), attempt)
        hang, fail, delay = chances(repr(place))
        least, most = self.delay
        seconds = least + (most - least) * delay
        if hang < self.hang:
            return Fate(seconds, hangs=True)
        return Fate(seconds, error=self.error if fail < self.fail else None)

    def count(self, run: Run, name: str, item: Any, attempt: int, params: Mapping[str, Any]) -> int:
        """Return the number of an attempt at an item that one node may work on again and again."""
        key = item if self.key is None else self.key(item)
        place = f"{name} {text_of(dict(params))} {text_of(key)}"
        counts = self._counts.setdefault(run, Counter())
        counts[place] += 1
        return max(counts[place], attempt)  # in a process, every attempt is the first that it sees

    def __getstate__(self) -> dict[str, Any]:
        # Where it goes there is no simulation around: the seed of the one here goes with it.
        return {**vars(self), "_counts": None, "seed": self._seed()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _counts=WeakKeyDictionary())

    def _seed(self) -> int:
        if self.seed is not None:
            return self.seed
        loop = getattr(ACTIVE, "loop", None)
        return 0 if loop is None else int(loop.seed)

    def _steps(self, key: Any) -> Sequence[Step] | None:
        if isinstance(self.script, Mapping):
            return self.script.get(key) if isinstance(key, Hashable) else None
        return self.script

    async def meet(self, fate: Fate) -> None:
        """Let a coroutine meet its fate."""
        if fate.seconds:
            await asyncio.sleep(fate.seconds)
        if fate.hangs:
            await asyncio.get_running_loop().create_future()
        _fail(fate)

    def meet_blocking(self, fate: Fate) -> None:
        """Let a ``def`` meet its fate."""
        seconds = fate.seconds + (self.hang_s if fate.hangs else 0.0)
        if seconds:
            time.sleep(seconds)
        _fail(fate)


def _fail(fate: Fate) -> None:
    if isinstance(fate.error, Exception):
        raise copied(fate.error)  # a traceback and notes of its own
    if fate.error is not None:
        raise fate.error


def _share(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a share from 0 to 1, got {value!r}")
    return float(value)


def _checked(script: Script | None) -> Script | None:
    """Return a script in which every step means something."""
    if script is not None:
        for steps in script.values() if isinstance(script, Mapping) else [script]:
            if isinstance(steps, str) or not isinstance(steps, Sequence):
                raise ValueError(
                    f"a script is a sequence of steps, as in ['hang', 'ok']; got {steps!r}"
                )
            for step in steps:
                _scripted(step)
    return script


def _scripted(step: Step) -> Fate:
    match step:
        case "ok":
            return Fate()
        case "hang":
            return Fate(hangs=True)
        case bool():
            pass
        case int() | float() if step >= 0:
            return Fate(float(step))
        case (int() | float() as seconds, error) if seconds >= 0 and _raises(error):
            return Fate(float(seconds), error=error)
        case type() | Exception() if _raises(step):
            return Fate(error=step)
    raise ValueError(
        f"a step of a script is 'ok', 'hang', seconds, an exception, or (seconds, exception); "
        f"got {step!r}"
    )


def _raises(error: Any) -> bool:
    kind = error if isinstance(error, type) else type(error)
    return issubclass(kind, Exception)
