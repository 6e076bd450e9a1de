"""Show which checks find which bugs; takes some minutes."""

import logging

from tests.planted.bugs import BUGS, CHECKS
from tests.planted.planting import Bug, Check


def finds(check: Check, bug: Bug) -> bool:
    """Return whether a check fails while a bug is planted."""
    with bug.planted():
        try:
            check()
        except (Exception, BaseExceptionGroup):
            return True
    return False


logging.disable()  # of what broken runs leave to the event loop's exception handler
for bug in BUGS:
    found_by = [check.__name__ for check in CHECKS if finds(check, bug)]
    print(f"{bug.name}: {', '.join(found_by) or 'NOT FOUND'}", flush=True)
