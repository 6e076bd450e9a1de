"""Who looks at a run that the command begins."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import closest
from ..events import Observer
from ..observability.log import RunLog
from ..observability.report import RunReport
from ..progress.progress import Progress
from .arguments import Options
from .loading import load_named
from .wrong import WrongCommandError


class Observing:
    """The observers of a run, and what is to be said of it at its end.

    Attributes:
        observers: For ``run``.
        report: The run report, where it was asked for.
        code: What the command ends with.
    """

    def __init__(self) -> None:
        self.observers: list[Observer] = []
        self.report: RunReport | None = None
        self.code = 0
        self._prints = False

    def add_report(self, *, prints: bool) -> None:
        if self.report is None:
            self.report = RunReport()
            self.observers.append(self.report)
        self._prints = self._prints or prints

    def end(self) -> None:
        """Say what was asked for, on standard error."""
        if self.report is not None and self._prints:
            print(self.report, file=sys.stderr)


def _structlog() -> Observer:
    import structlog  # loads where it is used

    if structlog.is_configured():
        return RunLog()
    # The program has not said where its log goes, and standard output is for its results.
    return RunLog(structlog.wrap_logger(structlog.PrintLogger(sys.stderr)))


KNOWN: Mapping[str, Callable[[], Observer]] = {"structlog": _structlog}


def observing(options: Options) -> Observing:
    """Return who looks at the run.

    Raises:
        WrongCommandError: ``--observe`` names nothing that can.
    """
    found = Observing()
    for name in options.observe:
        if name == "report":
            found.add_report(prints=True)
        elif name in KNOWN:
            found.observers.append(KNOWN[name]())
        elif ":" in name:
            found.observers.append(_of_user(name))
        else:
            known = ["report", *KNOWN]
            raise WrongCommandError(
                f"--observe takes {', '.join(known)} or MODULE:NAME; got {name!r}."
                f"{closest(name, known)}"
            )
    if options.report is not None:
        found.add_report(prints=False)
    if options.progress:
        found.observers.append(Progress())
    return found


def _of_user(name: str) -> Observer:
    thing: Any = load_named(name, "an observer", "flows.py:MyObserver")
    if isinstance(thing, type):
        thing = thing()
    if not callable(thing):
        raise WrongCommandError(
            f"{name} is no observer, which can be called with an event: {type(thing).__name__}"
        )
    observer: Observer = thing
    return observer
