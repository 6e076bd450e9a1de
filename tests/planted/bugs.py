"""All bugs that are planted."""

from tests.planted import (
    bugs_of_endings,
    bugs_of_items,
    bugs_of_journals,
    bugs_of_limits,
    bugs_of_stores,
    bugs_of_streams,
    bugs_of_waiting,
    bugs_of_walks,
    bugs_of_yields,
)
from tests.planted.planting import Bug

BUGS: list[Bug] = [
    *bugs_of_endings.BUGS,
    *bugs_of_items.BUGS,
    *bugs_of_journals.BUGS,
    *bugs_of_limits.BUGS,
    *bugs_of_stores.BUGS,
    *bugs_of_streams.BUGS,
    *bugs_of_waiting.BUGS,
    *bugs_of_walks.BUGS,
    *bugs_of_yields.BUGS,
]

CHECKS = list(dict.fromkeys(bug.check for bug in BUGS))
