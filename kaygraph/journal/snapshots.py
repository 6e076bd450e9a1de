"""Snapshots of ``shared``, which keep the log of an endless loop short."""

from typing import Any

from ..errors import NotRecordableError, RunDivergedError
from ..run.recorder import Names
from .asking import Asking
from .log import SNAPSHOT
from .position import POSITION, Position


class Snapshots(Asking):
    """What a session does when a single token is in the outermost graph of its run."""

    root: Position  # of the graph's nodes
    _since = 0  # how many points had been handed over at the last snapshot

    def first(self, shared: Any) -> str | None:
        """Return the name of the node that a walk starts with, if not the graph's first.

        ``shared`` is restored to what it was there.
        """
        snapshot = self.log.snapshot
        if snapshot is None or POSITION.get() is not self.root:
            return None
        self.log.snapshot = None
        _, name, payload, visits, _ = snapshot
        self.root.restore(visits)
        _check_store(shared)
        shared.clear()
        shared.update(self.encoding.decode(payload))
        return str(name)

    def misses(self, name: str) -> RunDivergedError:
        """Return the error for a graph without the node at which a snapshot was taken."""
        error = RunDivergedError(
            f"the run continues at {name!r}, where its last snapshot was taken; the graph has no "
            "node of that name any more: restore the name, or begin another run"
        )
        self.fatal(error)
        return error

    @property
    def takes_snapshots(self) -> bool:
        return self.settings.snapshot_every is not None

    def stands(self, node: Any, frame: Names, shared: Any) -> None:
        """Take a snapshot before a node, if one is due: earlier records are not needed then."""
        every = self.settings.snapshot_every
        if every is None or POSITION.get() is not self.root or self.replaying:
            return
        if self.turns.handed_over - self._since < every:
            return
        self._since = self.turns.handed_over
        try:
            _check_store(shared)
            payload = self.encoding.encode(shared, "the snapshot of shared")
        except NotRecordableError as error:
            raise self.fatal(error) from None
        nodes = [[number, *known] for number, known in self.log.nodes.items()]
        self.met.clear()
        self.add([SNAPSHOT, self.name_of(node, frame), payload, self.root.visits, nodes])


def _check_store(shared: Any) -> None:
    if type(shared) is not dict:
        raise NotRecordableError(
            "snapshot_every needs a shared store that is a dict, but this is a "
            f"{type(shared).__name__}"
        )
