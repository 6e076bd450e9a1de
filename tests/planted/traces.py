"""Print what happens in simulated runs, with the bugs planted whose names are given."""

import sys
from contextlib import ExitStack

from tests.planted.bugs import BUGS
from tests.planted.checks_of_walks import traces

with ExitStack() as stack:
    for bug in BUGS:
        if bug.name in sys.argv[1:]:
            stack.enter_context(bug.planted())
    print("\n".join(traces()))
