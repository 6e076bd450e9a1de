"""The observers of a run that the command starts."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TextIO, cast

from .._extras import extra
from ..errors import closest
from ..events import Observer
from ..inspection.prometheus import Prometheus
from ..observability.log import RunLog, StructlogObserver
from ..observability.report import RunReport
from ..observability.tracing import OpenTelemetry
from ..progress.progress import Progress
from ..progress.screen import Errors
from .arguments import Options
from .loading import load_named
from .wrong import WrongCommandError


class Observing:
    """The observers of a run, and what to report at its end.

    Attributes:
        observers: For ``run``.
        report: The run report, if one was requested.
        code: The exit code of the command.
    """

    def __init__(self) -> None:
        self.observers: list[Observer] = []
        self.report: RunReport | None = None
        self.code = 0
        self.closes: list[Callable[[], object]] = []
        self._prints = False

    def add_report(self, *, prints: bool) -> None:
        if self.report is None:
            self.report = RunReport()
            self.observers.append(self.report)
        self._prints = self._prints or prints

    def end(self) -> None:
        """Print the requested report on standard error, and close what was opened."""
        if self.report is not None and self._prints:
            print(self.report, file=sys.stderr)
        while self.closes:
            self.closes.pop()()


def _logger() -> Any:
    import structlog  # loaded only where it is used

    # Unless the program has configured its log: standard output is for results.
    configured = structlog.is_configured()
    return (
        None if configured else structlog.wrap_logger(structlog.PrintLogger(cast(TextIO, Errors())))
    )


def _otel() -> Observer:
    found = OpenTelemetry()
    api = import_module("opentelemetry.trace")
    if isinstance(api.get_tracer_provider(), api.ProxyTracerProvider):
        print(
            "note: no tracer provider is set, so traces are lost: type opentelemetry-instrument "
            "kaygraph run …, or set a provider in the module of the graph",
            file=sys.stderr,
        )
    return found


KNOWN: Mapping[str, Callable[[], Observer]] = {
    "structlog": lambda: StructlogObserver(_logger()),
    "log": lambda: RunLog(_logger()),
    "otel": _otel,
}


def observing(options: Options) -> Observing:
    """Return the observers of the run.

    Raises:
        WrongCommandError: ``--observe`` does not name an observer.
    """
    found = Observing()
    for name in options.observe:
        if name == "report":
            found.add_report(prints=True)
        elif name in KNOWN:
            found.observers.append(KNOWN[name]())
        elif name.startswith("prometheus"):
            found.observers.append(_prometheus(name, found))
        elif ":" in name:
            found.observers.append(_of_user(name))
        else:
            known = ["report", *KNOWN, "prometheus=PORT"]
            raise WrongCommandError(
                f"--observe must be {', '.join(known)} or MODULE:NAME; got {name!r}."
                f"{closest(name, known)}"
            )
    if options.report is not None:
        found.add_report(prints=False)
    if options.progress:
        found.observers.append(Progress())
    return found


def _prometheus(name: str, found: Observing) -> Observer:
    """Return an observer whose metrics are served at a port until the run ends."""
    port = name.removeprefix("prometheus").removeprefix("=")
    if not port.isdecimal() or int(port) > 65535:
        raise WrongCommandError(
            f"Prometheus needs a port: type --observe prometheus=9000; got {name!r}"
        )
    observer = Prometheus()
    try:
        client = extra("prometheus_client", "prometheus")
        server, _ = client.start_http_server(int(port), "127.0.0.1")
    except OSError as error:
        raise WrongCommandError(f"--observe {name}: {error.strerror}") from None
    found.closes += [server.server_close, server.shutdown]
    print(f"metrics at http://127.0.0.1:{server.server_port}/metrics", file=sys.stderr)
    return observer


def _of_user(name: str) -> Observer:
    thing: Any = load_named(name, "an observer", "flows.py:MyObserver")
    if isinstance(thing, type):
        thing = thing()
    if not callable(thing):
        raise WrongCommandError(
            f"{name} is not an observer, which can be called with an event: it is of type "
            f"{type(thing).__name__}"
        )
    observer: Observer = thing
    return observer
