"""What is recorded of a run and was not asked for yet, and what is added to it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ..aio.cancelling import cancel
from ..errors import JournalError, NotRecordableError, RunDivergedError
from ..executors.calling_thread import is_due, turn
from ..limits.slots import Slot
from ..run.recorder import Names
from ..run.run import Run
from .encoding import Encoding
from .log import DIGEST, POINT, Entry, Log
from .motion import Motion
from .nodes import Nodes
from .position import Position
from .sequence import Sequence
from .settings import Settings
from .turns import Turn, Turns
from .writer import Writer

# So many entries may wait for their commit before the workers of a batch wait as well.
BACKLOG = 4096


class State:
    """The journal of one run, as the recordings of its nodes need it.

    Attributes:
        log: What is recorded and was not asked for yet.
        turns: The recorded order.
        changes: Something is run again on purpose, so that what follows may differ.
        replayed: How many results came from the journal.
        called: How many items were run.
        added: How many entries were added.
    """

    def __init__(
        self, log: Log, settings: Settings, encoding: Encoding, run: Run, writer: Writer
    ) -> None:
        self.log, self.settings, self.encoding = log, settings, encoding
        self._run, self._writer = run, writer
        self.turns = Turns(log.points)
        self.nodes = Nodes(log, settings, self)
        self.met: dict[bytes, int] = {}  # how often an item was met that is equal to others
        self.changes = settings.changes or log.changed
        self.error: JournalError | None = None
        self.owner: Any = None  # an Owner, where nodes may write to the journal's own database
        self.writing: dict[int, Any] = {}  # a Once for each node that does, by its number
        self.replayed = self.called = self.added = 0
        self.prefix = ""  # of the names of nodes, where the run takes place within another one
        self.rounds = 0  # that are under way of nodes that have several at once
        self.closed = False  # the run has ended, but for its last commit
        self.dropped: list[Turn] = []  # of what is recorded, and was not handed over
        self.let_go = False  # a round has given its permits back while it waited for its turn
        self._sequences: dict[bytes, Sequence] = {}
        self.motion = Motion(self._may_stop, self._stopped)
        self._nothing = encoding.fingerprint(None)

    @property
    def is_behind(self) -> bool:
        """Whether so much waits for its commit that no more should begin."""
        return self._writer.backlog > BACKLOG

    @property
    def drains(self) -> bool:
        """Whether no more nodes and items begin."""
        return self._run.draining

    @property
    def replaying(self) -> bool:
        """Whether something that is recorded has not been handed over yet."""
        return not self.turns.are_over

    def name_of(self, node: Any, frame: Names) -> str:
        """Return the full name of a node: also within another run what it has in one of its own."""
        name = frame.name_of(node)
        return name.removeprefix(self.prefix) if self.prefix else name

    def number_of(self, node: Any, name: str) -> int:
        """Return the number of a node in the log."""
        number = self.nodes.known(name, node)
        return self.nodes.number_of(name, node) if number is None else number

    def sequence(self, batch: bytes, workers: int) -> Sequence:
        """Return the order in which the items of a batch have ended: one for all its workers."""
        known = self._sequences.get(batch)
        if known is None:
            known = self._sequences[batch] = Sequence(self.log.batches.get(batch, 0), workers)
        return known

    def key_of(self, name: str) -> Callable[[Any], Any] | None:
        """Return what tells the items of a node from each other, if the user has said so."""
        return self.settings.key_of(name)

    def add(self, entry: Entry) -> None:
        """Have an entry written."""
        self.added += 1
        self._writer.add(entry)

    def write(self, entry: Entry) -> Awaitable[None] | None:
        """Have an entry written; return the wait for that, None where it is committed already.

        It is committed at once where nothing is under way whose entries it could be grouped with.
        """
        self.added += 1
        alone = self.motion.moving <= 1 and not self.rounds
        if alone and self._writer.commit_at_once(entry):
            return turn(self._run) if is_due(self._run) else None
        self._writer.add(entry)
        return self._writer.committed()

    async def committed(self) -> None:
        """Wait until all that was added is written."""
        await self._writer.committed()

    def digest_of(self, value: Any) -> bytes | None:
        """Return what tells an input from another one, or None if nothing can."""
        if value is None:
            return self._nothing
        try:
            return self.encoding.fingerprint(value)
        except NotRecordableError:
            return None

    def holds(self, entry: Entry, digest: bytes | None, name: str) -> bool:
        """Whether a result is that of this input; if it is not, the run has diverged.

        Where something is done again on purpose, what follows from it has other inputs: it is run
        again as well.
        """
        known = entry[DIGEST] if entry[0] == POINT else None
        if known is None or digest is None or known == digest:
            return True
        if self.changes:
            return False
        raise self.fatal(
            RunDivergedError(
                f"prep of {name!r} has returned something else than in the recorded run. What prep "
                "and post read must be the same when a run is resumed: use self.now(), "
                "self.random and self.uuid() in them in place of clocks and random numbers. To run "
                f"the node again with what it is given now: redo=[{name!r}]"
            )
        )

    def fatal(self, error: JournalError) -> JournalError:
        """End the run with an error of the journal, wherever it came up."""
        if self.error is None:
            self.error = error
            if self._run.task is not None:  # where it is raised all the way up, nothing is left
                self._run.task.get_loop().call_soon_threadsafe(self._cancel)
        return error

    def _cancel(self) -> None:
        if self._run.task is not None and not self.closed:
            cancel(self._run.task)

    @property
    def is_sequenced(self) -> bool:
        """Whether an item waits for others of its batch."""
        sequences = self._sequences
        return bool(sequences) and any(sequence.waits for sequence in sequences.values())

    def give_up(self) -> None:
        """Have items go on that wait for those that have gone from their source."""
        for sequence in self._sequences.values():
            sequence.give_up()

    def release(self, position: Position) -> None:
        """Give back what the rounds hold that something waits in: others may come first."""
        if self.turns.are_over:
            return
        for around in position.rounds:
            if around.slot is not None and around.slot.held:
                around.slot.give()
                self.let_go = True

    async def regain(self, position: Position, slot: Slot) -> None:
        """Take again what was given back, before a call that has this slot.

        Nothing of the call and of the rounds within is held while a round waits: those that hold
        its permits may wait for theirs.
        """
        rounds = position.rounds
        for place, around in enumerate(rounds):
            assert around.slot is not None
            if around.slot.held or (not around.taking.locked() and around.slot.try_take()):
                continue
            slot.give()
            for inner in rounds[place + 1 :]:
                assert inner.slot is not None
                inner.slot.give()
            async with around.taking:  # several nodes of a round may begin at once
                await around.slot.take()

    async def never(self, position: Position) -> None:
        """Wait for the end of what runs here: what lost is not begun again."""
        self.release(position)
        self.motion.stop(position)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.motion.go_on(position)

    def _may_stop(self) -> bool:
        """Whether anything waits that nothing may come to."""
        raise NotImplementedError

    def _stopped(self) -> float | None:
        """Deal with a run in which nothing moves; see ``Motion``."""
        raise NotImplementedError
