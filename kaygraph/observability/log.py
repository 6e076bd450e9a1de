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

# A line has its own time; what workers do and what items use is for the report.
LEFT_OUT = ("at", "worker", "whole", "usage", "waiting")


class StructlogObserver:
    """An observer that writes the run to structlog: a line when a node starts and when it ends.

    ``graph.run(shared, observers=[StructlogObserver()])``

    Starts, and what hooks say, are logged at debug level; ends at info level, with their
    ``seconds``. An item has a line, with its ``item`` and the attempts, when it fails or is
    retried: a warning, as for a node that fails; a run that fails is an error. Every line has
    ``run``, as those of ``self.log`` do, and what is bound to structlog's context variables. An
    error is given by its class and message, without its secrets.

    Raises:
        TypeError: ``logger`` is not a logger of structlog.

    Args:
        logger: Where the lines go; by default ``structlog.get_logger()``, so wherever the
            program has configured structlog to write.
        items: Whether items that start and that succeed have lines too, at debug level.
            Without them such items cost nothing.
    """

    def __init__(
        self, logger: "FilteringBoundLogger | None" = None, *, items: bool = False
    ) -> None:
        import structlog  # imported only when needed

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
    """A StructlogObserver that writes a line for each event, also of items.

    Args:
        logger: As for StructlogObserver.
    """

    def __init__(self, logger: "FilteringBoundLogger | None" = None) -> None:
        super().__init__(logger, items=True)


def level_of(event: Event) -> str:
    """Return the log level of an event."""
    match event:
        case NodeStarted() | ItemStarted() | AttemptStarted() | ItemFinished() | StageStarted():
            return "debug"
        case Said():
            return "debug"  # there may be many
        case ItemFailed(status="cancelled") | ItemFailed(error=Drop()):
            return "debug"  # as requested
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
