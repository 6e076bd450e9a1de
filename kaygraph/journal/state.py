"""What is recorded for a run and not asked for yet, and what is added to it."""

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

# How many entries may wait for their commit before the workers of a batch wait, too.
BACKLOG = 4096


class State:
    """The journal of one run, as the recordings of its nodes need it.

    Attributes:
        log: What is recorded and not asked for yet.
        turns: The recorded order.
        changes: Whether anything is run again on purpose, so that what follows may differ.
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
        self.met: dict[bytes, int] = {}  # how often an item with equal ones has occurred
        self.changes = settings.changes or log.changed
        self.error: JournalError | None = None
        self.owner: Any = None  # an Owner, if nodes may write to the journal's own database
        self.writing: dict[int, Any] = {}  # a Once for each node that does, by its number
        self.replayed = self.called = self.added = 0
        self.prefix = ""  # of node names, if the run takes place inside another one
        self.rounds = 0  # in flight, of nodes with several rounds at once
        self.closed = False  # the run has ended, except for its last commit
        self.dropped: list[Turn] = []  # of what is recorded and was not handed over
        self.let_go = False  # a round gave up its permits while it waited for its turn
        self._sequences: dict[bytes, Sequence] = {}
        self.motion = Motion(self._may_stop, self._stopped)
        self._nothing = encoding.fingerprint(None)

    @property
    def is_behind(self) -> bool:
        """Whether too much waits for its commit to begin more."""
        return self._writer.backlog > BACKLOG

    @property
    def drains(self) -> bool:
        """Whether no more nodes and items start."""
        return self._run.draining

    @property
    def replaying(self) -> bool:
        """Whether anything recorded has not been handed over yet."""
        return not self.turns.are_over

    def name_of(self, node: Any, frame: Names) -> str:
        """Return the full name of a node: inside another run, the same as in its own."""
        name = frame.name_of(node)
        return name.removeprefix(self.prefix) if self.prefix else name

    def number_of(self, node: Any, name: str) -> int:
        """Return the number of a node in the log."""
        number = self.nodes.known(name, node)
        return self.nodes.number_of(name, node) if number is None else number

    def sequence(self, batch: bytes, workers: int) -> Sequence:
        """Return the order in which the items of a batch ended: one for all its workers."""
        known = self._sequences.get(batch)
        if known is None:
            known = self._sequences[batch] = Sequence(self.log.batches.get(batch, 0), workers)
        return known

    def key_of(self, name: str) -> Callable[[Any], Any] | None:
        """Return what identifies the items of a node, if the user has set it."""
        return self.settings.key_of(name)

    def add(self, entry: Entry) -> None:
        """Have an entry written."""
        self.added += 1
        self._writer.add(entry)

    def write(self, entry: Entry) -> Awaitable[None] | None:
        """Have an entry written; return the wait for that, None if it is committed already.

        It is committed at once if nothing is in flight whose entries it could be grouped with.
        """
        self.added += 1
        alone = self.motion.moving <= 1 and not self.rounds
        if alone and self._writer.commit_at_once(entry):
            return turn(self._run) if is_due(self._run) else None
        self._writer.add(entry)
        return self._writer.committed()

    async def committed(self) -> None:
        """Wait until everything that was added is written."""
        await self._writer.committed()

    def digest_of(self, value: Any) -> bytes | None:
        """Return the fingerprint of an input, or None if it has none."""
        if value is None:
            return self._nothing
        try:
            return self.encoding.fingerprint(value)
        except NotRecordableError:
            return None

    def holds(self, entry: Entry, digest: bytes | None, name: str) -> bool:
        """Whether a result belongs to this input; if it does not, the run has diverged.

        If something is run again on purpose, what follows has other inputs: it is run again as
        well.
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
                "self.random and self.uuid() in them instead of clocks and random numbers. To run "
                f"the node again with its new input: redo=[{name!r}]"
            )
        )

    def fatal(self, error: JournalError) -> JournalError:
        """End the run with an error of the journal, wherever it occurred."""
        if self.error is None:
            self.error = error
            if self._run.task is not None:  # if it reaches the top, nothing else is left
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
        """Let items continue that wait for those that have vanished from their source."""
        for sequence in self._sequences.values():
            sequence.give_up()

    def release(self, position: Position) -> None:
        """Give up what the rounds around a wait hold: others may come first."""
        if self.turns.are_over:
            return
        for around in position.rounds:
            if around.slot is not None and around.slot.held:
                around.slot.give()
                self.let_go = True

    async def regain(self, position: Position, slot: Slot) -> None:
        """Take again what was given up, before a call that has this slot.

        The call and the inner rounds hold nothing while a round waits: the owners of its permits
        may wait for theirs.
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
            async with around.taking:  # several nodes of a round may start at once
                await around.slot.take()

    async def never(self, position: Position) -> None:
        """Wait for the end of what runs here: a losing branch is not started again."""
        self.release(position)
        self.motion.stop(position)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.motion.go_on(position)

    def _may_stop(self) -> bool:
        """Whether anything waits for something that may never come."""
        raise NotImplementedError

    def _stopped(self) -> float | None:
        """Handle a run in which nothing moves; see ``Motion``."""
        raise NotImplementedError
