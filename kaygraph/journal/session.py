"""The recorder of a run: it replays, records, and keeps the order of turns."""

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from ..aio.tasks import stop
from ..errors import RunDivergedError
from ..graph.graph import Graph
from ..graph.rounds import BatchGraph
from ..groups.branches import BranchGroup
from ..node.node import BaseNode
from ..outcome import Outcome
from ..run.frame import FRAME
from ..run.recorder import Begin, Names, RunItem
from .log import DECIDED, ENDED, LEFT, PAYLOAD, VOID, Entry
from .once import Once
from .position import POSITION, Position
from .recording import Recording
from .snapshots import Snapshots
from .turns import Turn

T = TypeVar("T")

COMPOUND = (Graph, BranchGroup)  # nodes whose exec runs other nodes

# Seconds without any movement: longer than a hook that only takes a moment.
STUCK_S = 1.0
# The same, if the next one belongs to an item that is not in flight. It may be gone, or wait
# behind others that have all workers; its record is then no longer waited for.
LATE_S = 0.1


class Session(Snapshots):
    """The recorder of one run."""

    _stopped_at = -1  # the change count when nothing moved

    # --- called by the core -----------------------------------------------------------------------

    def recorded(self, node: Any, frame: Names, run: RunItem, *, kept: bool) -> RunItem:
        return Recording(self, node, self.name_of(node, frame), run, kept).runner

    def apart(self, node: Any, frame: Names, run: RunItem) -> RunItem:
        return Recording(self, node, self.name_of(node, frame), run, kept=False).apart

    async def visited(self, node: Any, frame: Names, begin: Begin[T]) -> T:
        around, name = POSITION.get(), self.name_of(node, frame)
        position = around.visit(name)
        token = POSITION.set(position)
        is_leaf = not isinstance(node, COMPOUND)
        if is_leaf:
            self.motion.begin(position)
        entries = self.log.entries
        left = entries.pop(position.key("left"), None) if entries else None
        try:
            if (turn := self.turns.prep(position.path)) is not None:
                await self._waited(turn, position)
            if left is not None:
                return await self._failed_again(position, left, begin)
            return await self._begun(position, begin)
        except Exception:
            if left is None:  # its turn: nothing recorded comes after it
                around.failed = {**(around.failed or {}), name: position}
                end = self.turns.find(position.digest)  # items were added, and one fails
                end = end or self.turns.add(b"", position.path, name, counts=False)
                await self._turn(end, position)
            raise
        finally:
            POSITION.reset(token)
            if (mine := position.turn) is not None and not mine.passed:
                self._drop(mine)
            self.dropped += self.turns.leave(position.path)
            if is_leaf:
                self.motion.end(position)

    def _begun(self, position: Position, begin: Begin[T]) -> Coroutine[Any, Any, T]:
        """Start the lifecycle of a node, whose first step calls ``prep``."""
        self.turns.begun(position.path)
        position.began = self.turns.last
        return begin()

    async def completed(self, node: Any) -> None:
        position = POSITION.get()
        if isinstance(node, COMPOUND):
            if _has_no_hooks(node):
                return
        elif position.shown:
            assert position.turn is not None
            if not self.turns.take_free(position.turn):
                await self._turn(position.turn, position)
            return
        key, path, name = position.digest, position.path, position.name or node.name
        self.log.entries.pop(key, None)
        if self._is_cut(position):  # what it has not begun is still to come: it has not ended
            position.cut = True
            await self.committed()
            return
        for failure in position.ended or ():
            self.add(failure)
        position.turn = self.turns.find(key)
        if position.turn is None:
            number = self.nodes.number_of(name)
            entry: Entry = [ENDED, key, number, None, None, None, path, None, position.began]
            position.turn = self.turns.add(key, path, name)
            if not node.has_exec:
                self.add(entry)
            elif (wait := self.write(entry)) is not None:
                await wait
        await self._turn(position.turn, position)

    def cut_short(self) -> None:
        if (position := POSITION.get(None)) is not None:
            position.cut = True

    def _is_cut(self, position: Position) -> bool:
        """Whether a node may have done less than it should, because the run is draining."""
        frame = FRAME.get()
        return self.drains and (frame.drains or frame.run.expired or position.is_cut)

    def went_on(self, name: str, error: Exception) -> None:
        name = name.removeprefix(self.prefix)
        failed = POSITION.get().failed or {}
        position = failed.pop(name, None)
        if position is None or (self.drains and position.is_cut):  # or it is already recorded
            return
        self._forget(position.path)
        number, key, path = self.nodes.number_of(name), position.key("left"), position.path
        payload = self.encoding.encode_error(error)
        after = self.turns.last
        self.add([LEFT, key, number, payload, None, None, path, after, position.began])
        self.turns.note(key)

    def branch(self, index: int, node: Any, frame: Names, begin: Begin[T]) -> Begin[T]:
        position = POSITION.get()
        if not _has_no_hooks(node):
            begin = partial(self.visited, node, frame, begin)
        entry = self.log.entries.get(position.key("decided"))
        if entry is None:
            return begin if self.turns.are_over else lambda: self._undecided(position, begin)
        status, error = entry[PAYLOAD][index]
        if status == "ok":
            return lambda: self._won(position, begin)
        return lambda: self._lost(position, error, begin)

    def needed(self, needed: int | None) -> int | None:
        entry = self.log.entries.get(POSITION.get().key("decided"))
        if entry is None or needed is None:
            return needed
        return sum(1 for status, _ in entry[PAYLOAD] if status == "ok")

    async def decided(self, outcomes: Sequence[Outcome[Any]]) -> list[Outcome[Any]]:
        position = POSITION.get()
        key, path = position.key("decided"), position.path
        turn, entry = self.turns.find(key), self.log.entries.pop(key, None)
        if entry is None and self._is_cut(position):
            return list(outcomes)
        if entry is None:
            self._forget(path)
            number = self.nodes.number_of(position.name)
            encode = self.encoding.encode_error
            came_to = [
                [outcome.status, None if outcome.error is None else encode(outcome.error)]
                for outcome in outcomes
            ]
            self.add([DECIDED, key, number, came_to, None, None, path, None, position.began])
            position.turn = turn or self.turns.add(key, path, position.name)
            await self.committed()
            await self._turn(position.turn, position)
            return list(outcomes)
        assert turn is not None
        await self._turn(turn, position)
        decode = self.encoding.decode_error
        return [
            outcome
            if outcome.status == status
            else replace(outcome, status=status, error=None if error is None else decode(error))
            for outcome, (status, error) in zip(outcomes, entry[PAYLOAD], strict=True)
        ]

    def once(self, node: Any, frame: Names) -> Once:
        name = self.name_of(node, frame)
        number = self.number_of(node, name)
        known: Once | None = self.writing.get(number)
        if known is None:
            known = self.writing[number] = Once(self, self.owner, number, name)
        return known

    # --- replay -----------------------------------------------------------------------------------

    async def _failed_again(self, position: Position, left: Entry, begin: Begin[T]) -> T:
        """Run a node as far as it is recorded, and raise its recorded error in its turn."""
        turn = self.turns.find(position.key("left"))
        assert turn is not None

        async def begun() -> T:
            return await self._begun(position, begin)

        await self._cut_short(position, begun, turn)
        self.turns.drop(turn)
        raise self.encoding.decode_error(left[PAYLOAD])

    async def _undecided(self, position: Position, begin: Begin[T]) -> T:
        """Run a branch of a group, and end after everything recorded in the other branches.

        The recorded run came that far: its end may decide the group, which cancels the others.
        """
        try:
            result = await begin()
        except Exception:
            await self._after_others(position)
            raise
        await self._after_others(position)
        return result

    async def _after_others(self, position: Position) -> None:
        turn = self.turns.after(position.path, position.name)
        if turn is not None:
            await self._waited(self.turns.take(turn), position)

    async def _won(self, position: Position, begin: Begin[T]) -> T:
        """Run a branch of a group, and end when the group was decided: not before its turn."""
        result = await begin()
        turn = self.turns.find(position.key("decided"))
        assert turn is not None
        if not self.turns.is_free(turn):
            await self._waited(self.turns.reach(turn), position)
        return result

    async def _lost(self, position: Position, error: bytes | None, begin: Begin[T]) -> T:
        """Run a branch of a group as far as it is recorded, because others decided then."""
        branch = Position(position.path, position.name, True, position)
        POSITION.set(branch)  # in its own task
        turn = None if error is None else self.turns.find(position.key("decided"))
        await self._cut_short(branch, begin, turn)
        assert error is not None  # otherwise its cancellation was awaited
        raise self.encoding.decode_error(error)

    async def _cut_short(self, position: Position, begin: Begin[T], turn: Turn | None) -> None:
        """Run the recorded part until it is a turn; None: until it is cancelled."""
        position.blocked = True
        loop = asyncio.get_running_loop()
        work = loop.create_task(begin())
        self.release(position)
        self.motion.stop(position)
        try:
            if turn is None:
                await loop.create_future()
            else:
                await self.turns.reach(turn)
        finally:
            self.motion.go_on(position)
            await stop([work])
            with suppress(BaseException):
                work.result()  # its result is recorded

    async def _turn(self, turn: Turn, position: Position) -> None:
        """Wait for a turn, and take it."""
        if self.turns.take_free(turn):
            return
        try:
            await self._waited(self.turns.take(turn), position)
        except BaseException:  # it was cancelled, and will not be handed over
            if turn.counts:
                self.dropped.append(turn)
            raise

    async def _waited(self, turn: Awaitable[None], position: Position) -> None:
        """Wait for a turn."""
        self.release(position)
        self.motion.stop(position)
        try:
            await turn
        finally:
            self.motion.go_on(position)

    def _drop(self, turn: Turn) -> None:
        """Note that a result, possibly recorded already, will not be handed over."""
        self.turns.drop(turn)
        self.dropped.append(turn)

    def _forget(self, path: str) -> None:
        """Make void what was recorded at or below a path, and not handed over."""
        below = f"{path}/", f"{path}["
        for turn in tuple(self.dropped):
            if turn.path == path or turn.path.startswith(below):
                self.dropped.remove(turn)
                self.add([VOID, turn.key])

    def _may_stop(self) -> bool:
        return bool(self.turns.waiting or self.waits or self.is_sequenced)

    def _stopped(self) -> float | None:
        if self.is_sequenced:
            self.give_up()
            return 0.0
        if self.turns.are_over:
            return self._only_waits()
        if self._stopped_at != self.motion.changes:
            self._stopped_at = self.motion.changes
            return LATE_S if self.turns.is_late else STUCK_S
        if self.turns.skip_late():
            return LATE_S
        if self.drains:  # what is waited for will not start any more
            self.leave()
            return None
        if not self.changes:
            self.fatal(self._not_asked_for())
            return None
        for key in self.turns.skip():  # what was recorded there will not happen
            self.add([VOID, key])
        return STUCK_S

    def _not_asked_for(self) -> RunDivergedError:
        name = self.turns.missing
        return RunDivergedError(
            f"a result of {name!r} is recorded, but this run does not ask for it: the graph has "
            "changed, or a prep or post decides by something other than what it reads from shared "
            f"and self.now(). Run it unchanged, or continue with what is left: redo=[{name!r}]"
        )

    def check_end(self) -> None:
        """Refuse a run that ended without asking for everything that is recorded."""
        self.turns.skip_late()
        if self.turns.are_over or self.drains:
            return
        if self.changes:
            return
        raise self._not_asked_for()


def _has_no_hooks(node: Any) -> bool:
    """Whether a graph or a group does not touch ``shared`` itself."""
    prep, post = getattr(node.prep, "__func__", None), getattr(node.post, "__func__", None)
    return prep is BaseNode.prep and post in (BaseNode.post, Graph.post, BatchGraph.post)
