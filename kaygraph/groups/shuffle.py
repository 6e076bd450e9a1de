"""Map-reduce on a cluster: what ``map`` gives stays on the workers, and goes from one to another.

Each item leaves a part there, a ``Remote``. Parts of one worker are merged as they come together,
and in the end divided into buckets of keys. The program sees how many keys each bucket has, and
deals the buckets to the partitions. The buckets of a partition are merged where most of it is, and
reduced. All of these are pure calls, so that what is lost with a worker can be made again.
"""

import asyncio
from collections.abc import Iterable, Sequence, Set
from functools import cached_property
from typing import Any, Literal

from ..aio.tasks import Gathering
from ..errors import RemoteLostError, WorkerDiedError, add_note
from ..executors.references import Remote, home_of, lost_among
from ..limits.slots import Slot
from ..node.composed import most_attempts
from ..run.frame import FRAME, Frame
from ..run.worker_processes import Session
from .grouping import Combine, Groups, Part, Several, divided, merge, part_of, scattered
from .phases import Map, Phase, Reduce

FAN_IN = 32  # parts that are merged at a time
BUCKETS = 16  # of each partition, unless the node itself says which keys go together

Parts = Sequence[Remote[Part]]
Buckets = list[tuple[Remote[Part], int] | None]  # with the number of keys; None: there are none
LOST: Any = object()  # of a partition that is to be reduced again


def _width(workers: int, is_told: bool) -> int | Literal["auto"]:
    return workers if is_told else "auto"


class MapThere(Map):
    """``map`` on a cluster: the results are left there."""

    name = "map"

    def _workers(self, setting: int, is_told: bool) -> Any:
        return _width(setting, is_told)

    def _made(self, part: Part) -> Remote[Part]:
        return Remote(part)


class ReduceThere(Reduce):
    """``reduce`` on a cluster: the partitions are there."""

    name = "reduce"

    def _workers(self, setting: int, is_told: bool) -> Any:
        return _width(setting, is_told)

    def exec(self, part: Remote[Part], /) -> Any:  # type: ignore[override]
        return super().exec(part.value)


class Merge(Phase):
    """Makes one part of several."""

    name = "shuffle"
    hook = "map"

    def __init__(self, owner: Any) -> None:
        super().__init__(owner)
        self.__dict__["exec_kind"] = "sync"

    def exec(self, parts: Parts, /) -> Any:
        return Remote(_merged(parts, self.owner._combine))


class Split(Merge):
    """Makes buckets of several parts."""

    name = "shuffle"

    def exec(self, parts: Parts, /) -> Buckets:
        owner = self.owner
        number, place = owner._parts, owner.partition
        if not owner._divides:
            number, place = BUCKETS * number, scattered
        buckets = divided(_merged(parts, owner._combine), number, place)
        return [(Remote(one), len(one.keys)) if one.keys else None for one in buckets]


def _merged(parts: Parts, combine: Combine | None) -> Part:
    if len(parts) == 1:
        return parts[0].value
    groups: Groups = {}
    for keys, values in (part.value for part in parts):
        # What is left on a worker is not to change, so the lists in it are copied.
        own = [Several(value) if type(value) is Several else value for value in values]
        merge(Part(keys, own), groups, combine)
    return part_of(groups)


class Phases:
    """What a map-reduce consists of, here and on a cluster; each is made when it is needed."""

    def __init__(self, owner: Any) -> None:
        self._owner = owner

    @cached_property
    def map(self) -> Map:
        return Map(self._owner)

    @cached_property
    def reduce(self) -> Reduce:
        return Reduce(self._owner)

    @cached_property
    def map_there(self) -> Map:
        return MapThere(self._owner)

    @cached_property
    def reduce_there(self) -> Reduce:
        return ReduceThere(self._owner)

    @cached_property
    def merge(self) -> Merge:
        return Merge(self._owner)

    @cached_property
    def split(self) -> Merge:
        return Split(self._owner)


class Output:
    """What some of the items have come to, on a worker."""

    __slots__ = ("indices", "part")

    def __init__(self, indices: list[int], part: Remote[Part]) -> None:
        self.indices, self.part = indices, part


class Piece:
    """The same, divided into buckets."""

    __slots__ = ("buckets", "indices")

    def __init__(self, indices: list[int], buckets: Buckets) -> None:
        self.indices, self.buckets = indices, buckets


class Shuffle:
    """One map-reduce on a cluster.

    When a worker dies, what ``map`` had given there is lost. Those items are mapped again, where
    they can be had again and have attempts left.
    """

    def __init__(self, node: Any, frame: Frame, phases: Phases, session: Session) -> None:
        self._frame, self._phases, self._session = frame, phases, session
        self._partitions: int = node._parts
        self._divides: bool = node._divides
        self._items: dict[int, Any] | None = None  # by their places, if they can be had again
        self._outputs: dict[tuple[str, int], list[Output]] = {}  # by worker, and times merged
        self._pieces: list[Piece] = []
        self._missing: set[int] = set()  # the items whose results were lost
        self._dealt: list[list[int]] | None = None  # the buckets of each partition
        self._done: dict[int, Part] = {}  # what partitions have been reduced to
        self._losses = 0
        self._failure: Exception | None = None  # of a hook while parts were merged

    async def run(self, items: Any) -> Iterable[Part]:
        """Map, shuffle and reduce; return the results, by partition."""
        token = FRAME.set(self._frame)  # for the names of what is sent
        try:
            return await self._run(items)
        finally:
            FRAME.reset(token)

    async def _run(self, items: Any) -> Iterable[Part]:
        if isinstance(items, Sequence | Set):
            self._items = {}
        await self._map(items)
        if self._frame.drains and self._frame.run.expired:  # see MapReduceNode
            raise asyncio.CancelledError
        # What was mapped is reduced, even where the run drains.
        self._frame = self._frame.derive(rules=self._frame.rules.changed(whole=True))
        while self._outputs or self._missing or self._left():
            while self._outputs:
                await self._split()
            if self._missing:
                await self._map_again()
            else:
                ready = await self._gathered()
                if not self._missing:
                    await self._reduce(ready)
        return [self._done[partition] for partition in sorted(self._done)]

    # --- mapping ----------------------------------------------------------------------------------

    async def _map(self, items: Any, places: list[int] | None = None) -> None:
        """Map items; ``places`` are theirs, if these are only some of them."""
        mapping = self._phases.map_there.fan_out_of(items, self._frame)
        mapped = mapping.work

        async def run(item: Any, index: int, slot: Slot) -> None:
            part = await mapped.run(item, index, slot)
            place = index if places is None else places[index]
            if self._items is not None:
                self._items[place] = item
            try:
                await self._add(Output([place], part), 0)
            except Exception as error:
                self._failure = self._failure or error
                raise

        mapping.bare, mapping.work = None, mapped._replace(run=run)
        await mapping.run()
        if self._failure is not None:  # which on_error may have taken for that of an item
            raise self._failure

    async def _map_again(self) -> None:
        """Map the items whose results were lost."""
        places = sorted(self._missing)
        self._missing.clear()
        assert self._items is not None
        await self._map([self._items[place] for place in places], places)

    async def _add(self, output: Output, level: int) -> None:
        """Take what items have come to, and merge it with others of the same worker."""
        key = home_of(output.part), level
        outputs = self._outputs.setdefault(key, [])
        outputs.append(output)
        if len(outputs) >= FAN_IN:
            del self._outputs[key]
            part = await self._call(self._phases.merge, outputs)
            if part is not None:
                await self._add(Output(_indices(outputs), part), level + 1)

    async def _split(self) -> None:
        """Divide what there is on each worker into buckets."""
        of: dict[str, list[Output]] = {}
        for (home, _), outputs in self._outputs.items():
            of.setdefault(home, []).extend(outputs)
        self._outputs.clear()

        async def split(outputs: list[Output]) -> None:
            buckets = await self._call(self._phases.split, outputs)
            if buckets is not None:
                self._pieces.append(Piece(_indices(outputs), buckets))

        splitting = Gathering[None]("workers")
        splitting.add_all(split(outputs) for outputs in of.values())
        await splitting.ended()

    async def _call(self, phase: Merge, outputs: list[Output]) -> Any:
        """Return what a phase makes of parts, or None if some were lost meanwhile."""
        parts = [output.part for output in outputs]
        try:
            return await self._session.call(phase, parts, self._frame, None)
        except WorkerDiedError as error:
            lost = list[Output]()
            for output, gone in zip(outputs, await lost_among(parts), strict=True):
                if gone:
                    lost.append(output)
                else:
                    self._outputs.setdefault((home_of(output.part), 0), []).append(output)
            self._lose(_indices(lost), error)
            return None

    def _lose(self, indices: list[int], error: WorkerDiedError) -> None:
        """Note that what some items have come to was lost.

        Raises:
            WorkerDiedError: They cannot be mapped again.
        """
        if not self._missing:  # else it is the same loss, or another one before they are mapped
            self._losses += 1
        self._missing.update(indices)
        if self._items is None:
            add_note(error, f"{LOST_NOTE}: give them as a list, and they are, max_retries times")
            raise error
        if self._losses >= most_attempts(self._phases.map_there):
            add_note(error, f"{LOST_NOTE} again: raise max_retries")
            raise error

    # --- reducing ---------------------------------------------------------------------------------

    def _deal(self) -> list[list[int]]:
        """Deal the buckets to the partitions, the largest first, each to the smallest one."""
        if self._divides:
            return [[partition] for partition in range(self._partitions)]
        number = BUCKETS * self._partitions
        sizes = [0] * number
        for piece in self._pieces:
            for place, bucket in enumerate(piece.buckets):
                sizes[place] += 0 if bucket is None else bucket[1]
        dealt: list[list[int]] = [[] for _ in range(self._partitions)]
        filled = [0] * self._partitions
        for place in sorted(range(number), key=sizes.__getitem__, reverse=True):
            smallest = filled.index(min(filled))
            dealt[smallest].append(place)
            filled[smallest] += sizes[place]
        return dealt

    def _left(self) -> dict[int, Parts]:
        """Return the buckets of the partitions that are not reduced."""
        self._dealt = self._dealt or self._deal()
        left: dict[int, Parts] = {}
        for partition, places in enumerate(self._dealt):
            found = [piece.buckets[place] for piece in self._pieces for place in places]
            parts = [bucket[0] for bucket in found if bucket is not None]
            if parts and partition not in self._done:
                left[partition] = parts
        return left

    async def _gathered(self) -> dict[int, Remote[Part]]:
        """Bring the buckets of each partition together, where most of it is."""
        ready: dict[int, Remote[Part]] = {}

        async def gather(partition: int, parts: Parts) -> None:
            if len(parts) == 1:
                ready[partition] = parts[0]
                return
            try:
                merge = self._phases.merge
                ready[partition] = await self._session.call(merge, parts, self._frame, None)
            except WorkerDiedError as error:
                await self._lose_pieces(error)

        gathering = Gathering[None]("partitions")
        gathering.add_all(gather(partition, parts) for partition, parts in self._left().items())
        await gathering.ended()
        return ready

    async def _lose_pieces(self, error: WorkerDiedError) -> None:
        """Find out which pieces are gone, and have their items mapped again."""
        kept, indices = list[Piece](), list[int]()
        for piece in self._pieces:
            if any(await lost_among([bucket[0] for bucket in piece.buckets if bucket is not None])):
                indices += piece.indices
            else:
                kept.append(piece)
        self._pieces = kept
        self._lose(indices, error)

    async def _reduce(self, ready: dict[int, Remote[Part]]) -> None:
        """Reduce partitions."""
        reducing = self._phases.reduce_there.fan_out_of(list(ready.values()), self._frame)
        reduced = reducing.work
        errors: list[RemoteLostError] = []

        async def run(part: Any, index: int, slot: Slot) -> Any:
            try:
                return await reduced.run(part, index, slot)
            except RemoteLostError as error:
                errors.append(error)
                return LOST

        reducing.bare, reducing.work = None, reduced._replace(run=run)
        for partition, result in zip(ready, await reducing.run(), strict=True):
            if result is not LOST:
                self._done[partition] = result
        if errors:
            await self._lose_pieces(errors[0])


LOST_NOTE = "what map had given was lost with that worker, and the items are not mapped"


def _indices(outputs: Iterable[Output]) -> list[int]:
    return [index for output in outputs for index in output.indices]
