"""``kaygraph watch``: show the runs of a journal in the browser."""

import errno
import sys
from contextlib import ExitStack

from ..journal.journal import Journal
from ..progress.screen import is_terminal
from ..watching.watch import Watch
from .arguments import Command, Options, flag, takes
from .wrong import WrongCommandError


def watch(options: Options) -> int:
    """Serve the page until Ctrl-C."""
    journal = Journal(options.journal)
    journal.runs()  # reports a missing journal before the page is opened
    page = page_of(options.port, options, journal)
    with ExitStack() as stack:
        opened(page, stack)
        print("press Ctrl-C to stop", file=sys.stderr)
        page.wait()
    return 0


def page_of(
    port: int | None, options: Options, journal: Journal | None, save: str | None = None
) -> Watch:
    """Return the page that a command asks for.

    Raises:
        WrongCommandError: The options do not fit together.
    """
    try:
        return Watch(port, host=options.host, control=options.control, journal=journal, save=save)
    except ValueError as error:
        raise WrongCommandError(str(error)) from None


def opened(page: Watch | None, stack: ExitStack) -> None:
    """Open a page until the stack is closed.

    Raises:
        WrongCommandError: Another program is using the port.
    """
    assert page is not None
    try:
        stack.enter_context(page)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise WrongCommandError(
            f"port {page.port} is in use: type another one, or none for any free port"
        ) from None


def stay(page: Watch | None) -> None:
    """Keep the page until Ctrl-C if a person at the terminal may be looking at it."""
    if page is not None and is_terminal(sys.stderr) and is_terminal(sys.stdin):
        print(f"{page.address} stays open until Ctrl-C", file=sys.stderr)
        page.wait()


HOST = takes(
    "--host", "ADDRESS", default="127.0.0.1",
    help="where the page listens; any other than 127.0.0.1 requires the printed token",
)  # fmt: skip
CONTROL = flag("--control", "let the page answer waiting runs, and end runs")

EXAMPLES = """\
  kaygraph watch --journal runs.db
  kaygraph watch --journal runs.db --port 8765 --control
  kaygraph run flows.py:graph --watch
"""

COMMAND = Command(
    "watch",
    watch,
    "show the runs of a journal in the browser",
    (
        takes("--journal", "ADDRESS", help="a SQLite file, or postgresql://…"),
        takes("--port", "PORT", type=int, default=0, help="by default, any free port"),
        HOST,
        CONTROL,
    ),
    EXAMPLES,
)
