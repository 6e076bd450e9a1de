"""Map, combine, shuffle, reduce, in one node."""

import asyncio
import inspect
from collections.abc import Collection, Coroutine, Hashable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar, Literal, Self, Unpack

from .._validation import check_on_error
from ..aio.timeouts import within
from ..errors import NodeDefinitionError
from ..executors.cluster import Cluster
from ..executors.places import place_for
from ..executors.sessions import session_of
from ..limits.slots import Slot
from ..node.keywords import MapReduceSettings
from ..node.node import BaseNode
from ..node.settings import Checks, Limits, check_together, checks_of
from ..run.frame import Frame, Scope
from .grouping import (
    Combine,
    Groups,
    Part,
    dealt,
    divided,
    grouped,
    merge,
    part_of,
    stable_hash,
)
from .shuffle import Phases, Shuffle


def _check_on_error(name: str, value: Any) -> Any:
    if value == "collect":
        raise ValueError(
            "on_error='collect' has no place in a dict of results: use 'skip', or a number or "
            "share of failures to tolerate"
        )
    return check_on_error(name, value)


class MapReduceNode(BaseNode[Any, dict[Any, Any]], Limits):
    """Turn items into pairs, and the values of each key into one result.

    ``prep`` returns the items; ``exec_res`` is ``{key: reduce(key, values)}``, one partition's
    keys after another's. ``map`` and ``reduce`` are written ``def`` (they run in threads, or where
    ``run_in`` says) or ``async def``; ``map`` returns or yields pairs. Items are mapped, combined
    and shuffled concurrently; reducing starts when all are done. The values of a key come in the
    order in which their items ended, so a ``reduce`` that depends on the order has to sort.

    On a cluster (``run_in=Dask(...)``) what ``map`` gives stays there: see docs/how-to/clusters.md.

    Args:
        map_workers: How many items are mapped at once; 4 by default, and on a cluster as many as
            keep its workers busy. Unless you say how many, several threads run at once only while
            they leave the interpreter free: a ``def map`` that computes in Python gains nothing by
            them, one that waits does.
        reduce_workers: How many partitions are reduced at once, likewise; 2 by default.
        partitions: How many parts the keys are spread over; by default as many as
            ``reduce_workers``.
        max_waiting: How many items (and partitions) may wait while others go on, as for
            ParallelBatchNode.

    The other settings are those of BatchNode and count per item (or partition), except that
    ``on_error="collect"`` has no place in a dict of results and is refused.
    """

    map_workers: int = 4
    reduce_workers: int = 2
    partitions: int | None = None
    max_waiting: int | None = None
    on_error: str | float = "raise"
    batch_deadline: float | None = None
    chunksize: int | Literal["auto"] = "auto"

    _phases: "Phases | None" = None
    _checks: ClassVar[Checks] = {**checks_of(MapReduceSettings), "on_error": _check_on_error}
    _accepts: ClassVar[frozenset[str]] = frozenset(_checks)
    _hook_names = (BaseNode._hook_names - {"exec"}) | {"map", "combine", "partition", "reduce"}

    def __init__(self, **settings: Unpack[MapReduceSettings]) -> None:
        if settings:
            self._set_all(settings)
            check_together(self)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for hook in ("exec", "exec_fallback"):
            if hasattr(cls, hook) and getattr(cls, hook) is not getattr(BaseNode, hook, None):
                raise NodeDefinitionError(
                    f"{cls.__name__} defines {hook}(), which map-reduce does not call: its work is "
                    "map() and reduce()"
                )
        for hook in ("combine", "partition"):
            if inspect.iscoroutinefunction(getattr(cls, hook)):
                raise NodeDefinitionError(
                    f"{cls.__name__}.{hook} must be written 'def': it is called between awaits"
                )

    def _changed(self, names: Collection[str]) -> None:
        super()._changed(names)
        self.__dict__["_phases"] = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_phases": None}

    def with_parts(self, parts: Sequence[Any] | None = None) -> Self:
        copied = super().with_parts(parts)
        object.__setattr__(copied, "_phases", None)  # they belong to their owner
        return copied

    # --- the hooks ---------------------------------------------------------------------------

    def map(self, item: Any, /) -> Any:
        """Return or yield ``(key, value)`` pairs for an item.

        The items of a dict, such as ``Counter(words).items()``, are fastest.
        """
        raise NodeDefinitionError(
            f"{type(self).__name__} must define map(self, item), which yields (key, value) pairs"
        )

    def combine(self, key: Any, values: list[Any], /) -> Any:
        """Return one value for several of the same key, as if ``map`` had yielded it.

        Called where ``map`` runs, and again when values meet: numbers in pairs, anything
        else in groups of 64. Not called unless overridden.
        """
        raise NodeDefinitionError(
            f"{type(self).__name__} does not define combine(self, key, values)"
        )

    def partition(self, key: Hashable, /) -> int:
        """Return a whole number; keys for which it is the same (modulo) are reduced together.

        Not called unless overridden: by default keys are dealt out evenly, in the order in which
        they came. This one is the same in every process, unlike ``hash``.
        """
        return stable_hash(key)

    def reduce(self, key: Any, values: list[Any], /) -> Any:
        """Return the result for a key; by default, its values. ``raise Drop`` leaves it out."""
        return values

    # --- the engine ---------------------------------------------------------------------------

    def _exec(self, prep_res: Any, shared: Any, frame: Frame) -> Coroutine[Any, Any, Any]:
        phases = self._map_and_reduce(prep_res, frame)
        if self.batch_deadline is None:
            return phases
        return within(self.batch_deadline, "batch_deadline", repr(self.name), phases)

    async def _map_and_reduce(self, prep_res: Any, frame: Frame) -> dict[Any, Any]:
        if self._phases is None:  # once per node: its caps apply to all that it does in a run
            self.__dict__["_phases"] = Phases(self)
        assert self._phases is not None
        scope = Scope(f"{frame.name_of(self)}/")
        frame = frame.derive(scope=scope)
        results = self._together(await self._reduced(prep_res, frame, self._phases), frame)
        frame.record(results)
        return results

    async def _reduced(self, items: Any, frame: Frame, phases: "Phases") -> Iterable[Part]:
        """Map, shuffle and reduce; return the results, by partition."""
        mapper, reducer = phases.map, phases.reduce
        place = place_for(mapper, frame.rules)
        if isinstance(place, Cluster) and frame.run.journal is None:  # which records what map gives
            return await Shuffle(self, frame, phases, session_of(frame.run, place)).run(items)
        groups: list[Groups] = [{} for _ in range(self._parts if self._divides else 1)]
        combine = self._combine
        mapping = mapper.fan_out_of(items, frame)
        mapped = mapping.work

        async def run(item: Any, index: int, slot: Slot) -> None:
            for part, known in zip(await mapped.run(item, index, slot), groups, strict=True):
                merge(part, known, combine)

        mapping.bare, mapping.work = None, mapped._replace(run=run)
        await mapping.run()
        if frame.drains and frame.run.expired:  # no key can be reduced from half of its values
            raise asyncio.CancelledError
        # What was mapped is reduced, even while the run drains.
        frame = frame.derive(rules=frame.rules.changed(whole=True))
        if self._divides:
            parts = [part_of(known) for known in groups if known]
        else:
            parts = dealt(groups[0], self._parts)
        groups.clear()
        return await reducer.fan_out_of(parts, frame).run()

    def _together(self, reduced: Iterable[Part], frame: Frame) -> dict[Any, Any]:
        """Return the results of all partitions."""
        results: dict[Any, Any] = {}
        for part in reduced:
            known = len(results)
            results.update(zip(*part, strict=True))
            if len(results) < known + len(part[0]):
                which = f", one of them {_twice(reduced)!r}" if frame.rules.show_items else ""
                raise NodeDefinitionError(
                    f"{type(self).__name__}: equal keys went to different partitions{which}: "
                    "define partition(self, key) so that equal keys go together"
                )
        return results

    @property
    def _parts(self) -> int:
        return self.partitions or self.reduce_workers

    @property
    def _divides(self) -> bool:
        """Whether the class itself decides which keys go together."""
        return _is_given(self.partition, MapReduceNode.partition)

    @property
    def _combine(self) -> Combine | None:
        return self.combine if _is_given(self.combine, MapReduceNode.combine) else None

    def _has_told(self, setting: str) -> bool:
        """Whether a setting is given to it or by its class."""
        classes = type(self).__mro__
        owners = (self, *classes[: classes.index(MapReduceNode)])
        return any(setting in vars(owner) for owner in owners)

    def _grouped(self, pairs: Iterable[tuple[Any, Any]]) -> Part:
        """Group an item's pairs by key, and combine them."""
        if not isinstance(pairs, Iterable) or isinstance(pairs, Mapping | str):
            raise self._no_pairs(pairs)  # a dict would yield its keys, which may be pairs
        return grouped(pairs, self._combine, self._no_pairs)

    def _shuffled(self, part: Part) -> list[Part]:
        """Divide the keys into partitions, if the node itself says how."""
        return divided(part, self._parts, self.partition) if self._divides else [part]

    def _no_pairs(self, given: Any) -> NodeDefinitionError:
        text = f"map of {type(self).__name__} must return or yield (key, value) pairs, as in "
        return NodeDefinitionError(f"{text}counts.items(); got {type(given).__name__}")


def _is_given(hook: Any, inherited: Any) -> bool:
    return getattr(hook, "__func__", hook) is not inherited


def _twice(parts: Iterable[Part]) -> Any:
    """Return a key that is in several partitions."""
    met: set[Any] = set()
    for key in chain.from_iterable(keys for keys, _ in parts):
        if key in met:
            return key
        met.add(key)
    return None
