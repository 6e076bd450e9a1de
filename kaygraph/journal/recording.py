"""Runs the items of a node and records their results, or replays them."""

from hashlib import blake2b
from typing import Any

from ..aio.outlet import hand_on_all
from ..errors import Drop, NotRecordableError
from ..executors.kinds import YIELDING
from ..graph.graph import Graph
from ..limits.permits import AUTO_MOST
from ..limits.slots import Slot
from ..node.composed import most_attempts
from ..run.recorder import RunItem
from .log import (
    ATTEMPTS,
    BATCH,
    DROPPED,
    FAILED,
    KEY,
    PAYLOAD,
    PLACE,
    POINT,
    RESULT,
    SECONDS,
    Entry,
)
from .position import POSITION, Position
from .state import State
from .turns import SIZE


class Recording:
    """The items of one node at one place of a run.

    Args:
        state: The state of the run.
        node: The node.
        name: Its full name.
        run: Runs an item that is not recorded.
        kept: Whether results become visible only when all items have ended.
    """

    def __init__(self, state: State, node: Any, name: str, run: RunItem, kept: bool) -> None:
        self.state, self.node, self.name, self._run, self.kept = state, node, name, run, kept
        self.number = state.number_of(node, name)
        self.around = POSITION.get()
        # The visited node has a single exec, which needs no name of its own.
        self.is_visit = self.around.name == name and not hasattr(node, "fan_out_of")
        self.prefix = b"" if self.is_visit else self.around.key(f"{name}:items")
        self.key_of = state.key_of(name) if state.settings.key else None
        self.yields = node.exec_kind in YIELDING
        self.sequence = None
        if not getattr(node, "ordered", True):  # what follows sees the order in which they end
            workers = node.max_workers if isinstance(node.max_workers, int) else AUTO_MOST
            self.sequence = state.sequence(self.prefix, workers)
        self.retries = hasattr(node, "retry") and most_attempts(node) > 1  # a graph has none

    @property
    def runner(self) -> RunItem:
        """Return what runs or replays one item."""
        return self.run if self.is_visit or self.sequence is not None else self._item

    async def run(self, item: Any, index: Any, slot: Slot) -> Any:
        """Run or replay one item of a node that needs more than the items of a batch."""
        if self.is_visit and index is None:
            return await self._visit(item, slot)
        if not self.prefix:
            self.prefix = self.around.key(f"{self.name}:items")
        if self.sequence is None:
            return await self._item(item, index, slot)
        self.sequence.begin()
        try:
            return await self._item(item, index, slot)
        finally:
            self.sequence.end()

    async def _item(self, item: Any, index: Any, slot: Slot) -> Any:
        state = self.state
        key = self._key(item)
        entry = state.log.entries.pop(key, None)
        if entry is not None:
            return await self._replayed(entry, index, slot)
        position = self.around.item(key)
        value = await self._called(item, index, slot, position, key)
        if state.drains and position.is_cut:
            return await self._handed_on(value, index, slot)
        encoded, place = self._encoded(value), self._place()
        state.add([RESULT, key, self.number, encoded, slot.attempts, slot.seconds, *place])
        if not self.kept or state.is_behind:
            slot.give()  # a slow disk must not hold permits
            await state.committed()
        if place:
            await self._in_turn(place[0], slot)
        return await self._handed_on(value, index, slot)

    async def apart(self, item: Any, index: Any, slot: Slot) -> Any:
        """Run an item that is not recorded itself, but may contain recorded ones."""
        if not self.prefix:
            self.prefix = self.around.key(f"{self.name}:items")
        position = self.around.item(self._key(item))
        if self.state.turns.nest:
            self.state.turns.take_up(position.path)
        token = POSITION.set(position)
        if isinstance(self.node, Graph):
            position.slot = slot
        has_several = getattr(self.node, "max_workers", None) != 1
        self.state.rounds += has_several
        try:
            return await self._run(item, index, slot)
        finally:
            self.state.rounds -= has_several
            POSITION.reset(token)

    async def _visit(self, item: Any, slot: Slot) -> Any:
        """Run or replay the single exec of the visited node."""
        state, position = self.state, self.around
        key = position.digest
        entry = state.log.entries.pop(key, None)
        digest = state.digest_of(item)
        position.shown = True
        position.turn = state.turns.find(key)
        if entry is not None and state.holds(entry, digest, self.name):
            return await self._replayed(entry, None, slot)
        inside = position.inside()
        value = await self._called(item, None, slot, inside, key)
        if state.drains and inside.is_cut:
            position.shown, position.cut = False, True
            return value
        encoded, path = self._encoded(value), position.path
        figures = slot.attempts, slot.seconds
        entry = [POINT, key, self.number, encoded, *figures, path, digest, position.began]
        wait = state.write(entry)
        position.turn = position.turn or state.turns.add(key, path, self.name)
        if wait is not None:
            slot.give()
            await wait
        return value

    def _place(self) -> tuple[Any, ...]:
        """Return the place of an item that has ended, as recorded."""
        return () if self.sequence is None else (self.sequence.add(), self.prefix)

    async def _in_turn(self, place: int, slot: Slot) -> None:
        """Wait until an item is next."""
        assert self.sequence is not None
        if self.sequence.is_next(place):
            await self.sequence.take(place)
            return
        slot.give()
        motion, position = self.state.motion, self.around.item(b"")
        motion.begin(position)
        motion.stop(position)
        try:
            await self.sequence.take(place)
        finally:
            motion.go_on(position)
            motion.end(position)

    def _key(self, item: Any) -> bytes:
        """Return the key of an item: its content, and its number among equal ones."""
        state = self.state
        try:
            what = item if self.key_of is None else self.key_of(item)
            key = state.encoding.fingerprint(what, self.prefix)
        except NotRecordableError as error:
            raise state.fatal(
                NotRecordableError(
                    f"nothing distinguishes an item of {self.name!r} from others in the "
                    f"journal: {str(error).rstrip('.')}. Or give its key, as in "
                    f"Journal(..., key={{{self.name!r}: lambda item: item.id}})"
                )
            ) from error
        number = state.met.get(key, 0)
        state.met[key] = number + 1
        if number:
            key = blake2b(number.to_bytes(8, "big"), digest_size=SIZE, key=key).digest()
        return key

    async def _called(
        self, item: Any, index: Any, slot: Slot, position: Position, key: bytes
    ) -> Any:
        """Run an item; note a failure, which is recorded if the run tolerates it."""
        state = self.state
        if position.blocked:
            slot.give()
            await state.never(position)
        if state.let_go:  # its permits must be taken again
            await state.regain(position, slot)
        outlet = slot.outlet
        token = POSITION.set(position)
        if self.retries and slot.context is not None:  # another attempt starts in a copy of it
            slot.context.run(POSITION.set, position)
        motion = state.motion  # like its begin() and end(), but inline: every item comes here
        position.moves = True
        motion.moving += 1
        motion.changes += 1
        if state.turns.nest:
            state.turns.take_up(position.path)
        try:
            # The output of a generator is recorded as a whole before any of it moves on.
            slot.outlet = None
            state.called += 1
            return await self._run(item, index, slot)
        except Drop:
            if state.drains and position.is_cut:
                raise
            place = self._place()
            state.add([DROPPED, key, self.number, b"", slot.attempts, slot.seconds, *place])
            if place:
                await self._in_turn(place[0], slot)
            raise
        except Exception as error:
            place = self._place()
            figures = state.encoding.encode_error(error), slot.attempts, slot.seconds
            self._failed([FAILED, key, self.number, *figures, *place])
            if place:
                await self._in_turn(place[0], slot)
            raise
        finally:
            POSITION.reset(token)
            slot.outlet = outlet
            position.moves = False
            motion.changes += 1
            if not position.still:
                motion.moving -= 1
                if not motion.moving:
                    motion.look()
            if state.turns.nest:
                state.turns.leave(position.path)  # exec may take another path this time

    def _failed(self, entry: Entry) -> None:
        """Note a failure, which is recorded if the run continues without the item."""
        if self.around.ended is None:
            self.around.ended = []
        self.around.ended.append(entry)

    def _encoded(self, value: Any) -> bytes:
        try:
            return self.state.encoding.encode(value, f"what exec of {self.name!r} returned")
        except NotRecordableError as error:
            raise self.state.fatal(error) from None

    async def _replayed(self, entry: Entry, index: Any, slot: Slot) -> Any:
        """Return or raise the recorded result without a call."""
        state = self.state
        state.nodes.check(entry, self.number)
        state.replayed += 1
        if state.turns.nest:  # what ran within it will not be asked for
            key = b"" if entry[0] == POINT else entry[KEY]
            state.turns.leave(self.around.path_of(key))
        if self.sequence is not None and len(entry) > BATCH:
            await self._in_turn(entry[PLACE], slot)
        kind = entry[0]
        slot.attempts, slot.seconds = entry[ATTEMPTS], entry[SECONDS]
        if kind == FAILED:
            raise state.encoding.decode_error(entry[PAYLOAD])
        if kind == DROPPED:
            raise Drop
        return await self._handed_on(state.encoding.decode(entry[PAYLOAD]), index, slot)

    async def _handed_on(self, value: Any, index: Any, slot: Slot) -> Any:
        """Return a result, or emit the values of a generator."""
        if not self.yields or slot.outlet is None:
            return value
        slot.outlet.begin(index or 0)
        await hand_on_all(value, slot.outlet)
        return None
