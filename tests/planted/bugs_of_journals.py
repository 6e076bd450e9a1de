"""Runs that are recorded too late, under a wrong key, or replayed in a wrong order."""

from kaygraph.journal import log, recording, sequence, session, turns, writer
from tests.planted.checks_of_journals import (
    a_log_is_in_the_order_of_its_entries,
    only_new_items_run,
    racy_graphs_are_replayed_as_they_were,
    runs_come_to_the_same_wherever_they_are_killed,
    what_ended_a_run_is_tried_again,
)
from tests.planted.planting import Bug

ANYTHING = "."

BUGS = [
    Bug(
        "a result is acknowledged before its commit",
        runs_come_to_the_same_wherever_they_are_killed,
        "was given a result that is not committed",
        {
            recording.Recording._visit: """
                - await wait
                + wait.close()
            """
        },
    ),
    Bug(
        "the end of a batch is acknowledged before its commit",
        runs_come_to_the_same_wherever_they_are_killed,
        "was given a result that is not committed",
        {
            session.Session.completed: """
                - await wait
                + wait.close()
            """
        },
    ),
    Bug(
        "an item is known by its index",
        only_new_items_run,
        "ran, and|a result of another item",
        {
            recording.Recording._item: """
                - key = self._key(item)
                + key = self._key(index)
            """
        },
    ),
    Bug(
        "equal items are not counted",
        runs_come_to_the_same_wherever_they_are_killed,
        "ran again",
        {
            recording.Recording._key: """
                - if number:
                + if False:
            """
        },
    ),
    Bug(
        "results are handed over as they come",
        racy_graphs_are_replayed_as_they_were,
        ANYTHING,
        {
            turns.Turns.is_free: """
                - return turn.passed or (self._queue[0] is turn and self._next_prep > self._passed)
                + return True
            """
        },
    ),
    Bug(
        "a prep does not wait for those that came before it",
        racy_graphs_are_replayed_as_they_were,
        ANYTHING,
        {
            session.Session.visited: """
                - if (turn := self.turns.prep(position.path)) is not None:
                -     await self._waited(turn, position)
            """
        },
    ),
    Bug(
        "items without order are replayed as they come",
        runs_come_to_the_same_wherever_they_are_killed,
        ANYTHING,
        {
            sequence.Sequence.is_next: """
                - return place <= self._next
                + return True
            """,
            sequence.Sequence.take: """
                - while place > self._next:
                + while False:
            """,
        },
    ),
    Bug(
        "results of losers are kept, and handed over in a replay",
        racy_graphs_are_replayed_as_they_were,
        ANYTHING,
        {
            session.Session._forget: """
                - self.add([VOID, turn.key])
            """
        },
    ),
    Bug(
        "a group decides anew in each process",
        runs_come_to_the_same_wherever_they_are_killed,
        ANYTHING,
        {
            session.Session.branch: """
                - if entry is None:
                + if True:
            """
        },
    ),
    Bug(
        "a failure is recorded before the run has gone on past it",
        what_ended_a_run_is_tried_again,
        "was replayed",
        {
            recording.Recording._failed: """
                - self.around.ended.append(entry)
                + self.around.ended.append(entry)
                + self.state.add(entry)
            """
        },
    ),
    Bug(
        "an error that was routed is not recorded",
        runs_come_to_the_same_wherever_they_are_killed,
        ANYTHING,
        {
            session.Session.went_on: """
                - self.add([LEFT, key, number, payload, None, None, path, after, position.began])
            """
        },
    ),
    Bug(
        "rounds take their keys from each other",
        racy_graphs_are_replayed_as_they_were,
        ANYTHING,
        {
            recording.Recording.apart: """
                - self.prefix = self.around.key(f"{self.name}:items")
                + pass
            """
        },
    ),
    Bug(
        "what was handed over at once stands in the log behind what still waited",
        racy_graphs_are_replayed_as_they_were,
        ANYTHING,
        {
            log.Log._place: """
                - before = cells.get(entry[AFTER], self._first) if entry[0] == LEFT else self._end
                + before = self._end
            """
        },
    ),
    Bug(
        "an entry overtakes those that the thread writes",
        a_log_is_in_the_order_of_its_entries,
        r"written as \[\[2\], \[1\]\]",
        {
            writer.Writer.commit_at_once: """
                - if at_once is None or self._sending or self._calls or self._broken:
                + if at_once is None:
            """
        },
    ),
    Bug(
        "what has failed to be written is acknowledged",
        runs_come_to_the_same_wherever_they_are_killed,
        ANYTHING,
        {
            writer.Writer._send: """
                - self._commit(entries)
                + pass
            """
        },
    ),
]
