"""A run as lines of a log, made from its events."""

from typing import TYPE_CHECKING

from .._formatting import error_text, value_text
from .._validation import check_flag
from ..errors import Drop
from ..events import (
    AttemptStarted,
    CircuitChanged,
    Event,
    ItemFailed,
    ItemFinished,
    ItemRetried,
    ItemStarted,
    NodeFinished,
    NodeStarted,
    RunFinished,
    Said,
    StageStarted,
)
from ..run.frame import FRAME

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

# A line has its own time; what workers do and what items take is for the report.
LEFT_OUT = ("at", "worker", "whole", "usage", "waiting")


class StructlogObserver:
    """An observer that writes the run to structlog: a line where a node begins, and where it ends.

    ``graph.run(shared, observers=[StructlogObserver()])``

    What begins, and what hooks say, is for debugging; what has ended is information, with its
    ``seconds``. An item has a line, with its ``item`` and the attempts, where it fails or is tried
    again: a warning, as is a node that fails; a run that fails is an error. Every line says
    ``run``, as those of ``self.log`` do, and what is bound to structlog's context variables. An
    error stands as its class and message, without its secrets.

    Raises:
        TypeError: ``logger`` is not a logger of structlog.

    Args:
        logger: Where the lines go; by default ``structlog.get_logger()``, and so wherever the
            program has configured structlog to write.
        items: Whether items that begin, and that end well, have lines as well, for debugging.
            Without them such items cost nothing.
    """

    def __init__(
        self, logger: "FilteringBoundLogger | None" = None, *, items: bool = False
    ) -> None:
        import structlog  # loads where it is used

        # Nothing is asked of a lazy logger here: its first use may freeze structlog's settings.
        if logger is not None and (isinstance(logger, type) or not hasattr(logger, "bind")):
            raise TypeError(
                "logger must be a logger of structlog, as in "
                f"StructlogObserver(structlog.get_logger()); got {logger!r}"
            )
        self.items = check_flag("items", items)
        self._log: FilteringBoundLogger = structlog.get_logger() if logger is None else logger

    def __call__(self, event: Event, /) -> None:
        frame = FRAME.get(None)
        line: dict[str, object] = {} if frame is None else {"run": frame.run.id}
        for name, value in event._asdict().items():
            if isinstance(value, BaseException):
                line[name] = error_text(value)
            elif name == "value":  # that was said
                line[name] = value_text(value)
            elif value is not None and name not in LEFT_OUT:
                line[name] = round(value, 6) if isinstance(value, float) else value
        getattr(self._log, level_of(event))(words_of(event), **line)


class RunLog(StructlogObserver):
    """A StructlogObserver that writes a line for each event, of items too.

    Args:
        logger: As for StructlogObserver.
    """

    def __init__(self, logger: "FilteringBoundLogger | None" = None) -> None:
        super().__init__(logger, items=True)


def level_of(event: Event) -> str:
    """Return how much attention an event asks for."""
    match event:
        case NodeStarted() | ItemStarted() | AttemptStarted() | ItemFinished() | StageStarted():
            return "debug"
        case Said():
            return "debug"  # there may be many
        case ItemFailed(status="cancelled") | ItemFailed(error=Drop()):
            return "debug"  # as was asked for
        case RunFinished(error=Exception() | BaseExceptionGroup()):
            return "error"
        case ItemRetried() | ItemFailed() | CircuitChanged(state="open"):
            return "warning"
        case NodeFinished(error=Exception() | BaseExceptionGroup()):
            return "warning"
    return "info"


def words_of(event: Event) -> str:
    """Return ``node finished`` for a NodeFinished."""
    name = type(event).__name__
    return "".join(f" {char.lower()}" if char.isupper() else char for char in name).strip()
