"""``kaygraph watch``: the runs of a journal in the browser."""

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
    journal.runs()  # one that is not there is told before the page is
    page = page_of(options.port, options, journal)
    with ExitStack() as stack:
        opened(page, stack)
        print("Ctrl-C ends it", file=sys.stderr)
        page.wait()
    return 0


def page_of(
    port: int | None, options: Options, journal: Journal | None, save: str | None = None
) -> Watch:
    """Return the page that a command asks for.

    Raises:
        WrongCommandError: It cannot be such a page.
    """
    try:
        return Watch(port, host=options.host, control=options.control, journal=journal, save=save)
    except ValueError as error:
        raise WrongCommandError(str(error)) from None


def opened(page: Watch | None, stack: ExitStack) -> None:
    """Open a page until the stack is closed.

    Raises:
        WrongCommandError: Another program has its port.
    """
    assert page is not None
    try:
        stack.enter_context(page)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise WrongCommandError(
            f"port {page.port} is taken: type another one, or none for any that is free"
        ) from None


def stay(page: Watch | None) -> None:
    """Leave the page there until Ctrl-C, where a person is at the terminal who may look at it."""
    if page is not None and is_terminal(sys.stderr) and is_terminal(sys.stdin):
        print(f"{page.address} stays until Ctrl-C", file=sys.stderr)
        page.wait()


HOST = takes(
    "--host", "ADDRESS", default="127.0.0.1",
    help="of the page; any but 127.0.0.1 needs the token that is printed",
)  # fmt: skip
CONTROL = flag("--control", "the page may answer what runs wait for, and end them")

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
        takes("--journal", "ADDRESS", help="a file, or postgresql://…"),
        takes("--port", "PORT", type=int, default=0, help="by default one that is free"),
        HOST,
        CONTROL,
    ),
    EXAMPLES,
)
