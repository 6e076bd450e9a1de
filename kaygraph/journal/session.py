"""The recorder of a run: what is replayed, what is new, and whose turn it is."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from ..aio.tasks import stop
from ..errors import RunDivergedError
from ..graph.graph import Graph
from ..groups.branches import BranchGroup
from ..outcome import Outcome
from ..run.recorder import Begin, Names, RunItem
from .log import DECIDED, ENDED, LEFT, PAYLOAD, VOID, Entry
from .position import POSITION, Position
from .recording import Recording
from .snapshots import Snapshots

T = TypeVar("T")

# Nothing moves for so many seconds: then it is not for a hook that takes a moment.
STUCK_S = 1.0


class Session(Snapshots):
    """The recorder of one run."""

    _stopped_at = -1  # how much had changed when nothing moved

    # --- what the core asks -----------------------------------------------------------------------

    def recorded(self, node: Any, frame: Names, run: RunItem, *, kept: bool) -> RunItem:
        return Recording(self, node, frame.name_of(node), run, kept).run

    def apart(self, node: Any, frame: Names, run: RunItem) -> RunItem:
        return Recording(self, node, frame.name_of(node), run, kept=False).apart

    async def visited(self, node: Any, frame: Names, begin: Begin[T]) -> T:
        around, name = POSITION.get(), frame.name_of(node)
        position = around.visit(name)
        token = POSITION.set(position)
        is_leaf = not isinstance(node, Graph | BranchGroup)
        if is_leaf:
            self.motion.begin(position)
        entries = self.log.entries
        left = entries.pop(position.key("left"), None) if entries else None
        try:
            if left is not None:
                return await self._failed_again(position, left, begin)
            return await begin()
        except Exception:
            if left is None:  # its turn: nothing recorded is to come behind it
                around.failed = {**(around.failed or {}), name: position}
                await self._turn(None, counts=False)
            raise
        finally:
            POSITION.reset(token)
            self.turns.leave(position.path)
            if is_leaf:
                self.motion.end(position)

    async def completed(self, node: Any) -> None:
        if isinstance(node, Graph | BranchGroup):
            return
        position = POSITION.get()
        if position.shown:
            await self._turn(position.point)
            return
        key = position.digest
        self.log.entries.pop(key, None)
        place = self.turns.places.get(key)
        for failure in position.ended or ():
            self.add(failure)
        number = self.nodes.number_of(position.name)
        if place is None and node.has_exec:
            self.add([ENDED, key, number, None, None, None, position.path, None])
        if node.has_exec:
            await self.committed()
        await self._turn(place)
        if place is None and not node.has_exec:
            before = self._handed_over - 1
            self.add([ENDED, key, number, None, None, None, position.path, before])

    def went_on(self, name: str, error: Exception) -> None:
        failed = POSITION.get().failed or {}
        position = failed.pop(name, None)
        if position is None:  # it is recorded already
            return
        number = self.nodes.number_of(name)
        payload = self.encoding.encode_error(error)
        before, self._handed_over = self._handed_over, self._handed_over + 1
        self.add([LEFT, position.key("left"), number, payload, None, None, position.path, before])

    def branch(self, index: int, begin: Begin[T]) -> Begin[T]:
        position = POSITION.get()
        entry = self.log.entries.get(position.key("decided"))
        if entry is None:
            return begin
        status, error = entry[PAYLOAD][index]
        if status == "ok":
            return begin
        return lambda: self._lost(position, error, begin)

    def needed(self, needed: int | None) -> int | None:
        entry = self.log.entries.get(POSITION.get().key("decided"))
        if entry is None or needed is None:
            return needed
        return sum(1 for status, _ in entry[PAYLOAD] if status == "ok")

    async def decided(self, outcomes: Sequence[Outcome[Any]]) -> list[Outcome[Any]]:
        position = POSITION.get()
        key = position.key("decided")
        place = self.turns.places.get(key)
        entry = self.log.entries.pop(key, None)
        if entry is None:
            number = self.nodes.number_of(position.name)
            encode = self.encoding.encode_error
            came_to = [
                [outcome.status, None if outcome.error is None else encode(outcome.error)]
                for outcome in outcomes
            ]
            self.add([DECIDED, key, number, came_to, None, None, position.path])
            await self.committed()
            await self._turn(place)
            return list(outcomes)
        await self._turn(place)
        decode = self.encoding.decode_error
        return [
            outcome
            if outcome.status == status
            else replace(outcome, status=status, error=None if error is None else decode(error))
            for outcome, (status, error) in zip(outcomes, entry[PAYLOAD], strict=True)
        ]

    # --- replay -----------------------------------------------------------------------------------

    async def _failed_again(self, position: Position, left: Entry, begin: Begin[T]) -> T:
        """Run a node as far as it is recorded, and raise what it failed with in its turn."""
        place = self.turns.places[position.key("left")]
        await self._cut_short(position, begin, place)
        self.turns.drop(place)
        raise self.encoding.decode_error(left[PAYLOAD])

    async def _lost(self, position: Position, error: bytes | None, begin: Begin[T]) -> T:
        """Run a branch of a group as far as it is recorded, since others had decided then."""
        branch = Position(position.path, position.name, True, position)
        POSITION.set(branch)  # in a task of its own
        place = self.turns.places[position.key("decided")]
        await self._cut_short(branch, begin, None if error is None else place)
        assert error is not None  # else it was waited for until its cancellation
        raise self.encoding.decode_error(error)

    async def _cut_short(self, position: Position, begin: Begin[T], place: int | None) -> None:
        """Run what is recorded until it is the turn of a point; None: until it is cancelled."""
        position.blocked = True
        loop = asyncio.get_running_loop()
        work = loop.create_task(begin())
        self.motion.stop(position)
        try:
            if place is None:
                await loop.create_future()
            else:
                await self.turns.reach(place)
        finally:
            self.motion.go_on(position)
            await stop([work])
            with suppress(BaseException):
                work.result()  # what it came to is recorded

    async def _turn(self, place: int | None, *, counts: bool = True) -> None:
        """Wait for the turn of a result: the recorded one, or behind all that is recorded."""
        if self.turns.is_free(place):
            await self.turns.take(place)
        else:
            position = POSITION.get()
            self.motion.stop(position)
            try:
                await self.turns.take(place)
            finally:
                self.motion.go_on(position)
        if place is None and counts:
            self._handed_over += 1

    def _may_stop(self) -> bool:
        return bool(self.turns.waiting or self.waits)

    def _stopped(self) -> float | None:
        if self.turns.are_over:
            return self._only_waits()
        if self._stopped_at != self.motion.changes:
            self._stopped_at = self.motion.changes
            return STUCK_S
        if not self.changes:
            self.fatal(self._not_asked_for())
            return None
        for point in self.turns.skip():  # what was recorded there does not happen any more
            self.add([VOID, point.key])
        return STUCK_S

    def _not_asked_for(self) -> RunDivergedError:
        name = self.turns.next.name
        return RunDivergedError(
            f"a result of {name!r} is recorded, and this run does not ask for it: the graph has "
            "changed, or a prep or post decides by something else than what it reads from shared "
            f"and self.now(). Run it as it was, or go on from what is left with redo=[{name!r}]"
        )

    def check_end(self) -> None:
        """Refuse a run that has ended without asking for all that is recorded."""
        if self.turns.are_over or self._run.draining:
            return
        if self.changes:
            return
        raise self._not_asked_for()
