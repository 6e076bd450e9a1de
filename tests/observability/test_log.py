"""RunLog and StructlogObserver: a run as lines of a log."""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import structlog

from kaygraph import (
    AsyncNode,
    BaseNode,
    CircuitBreaker,
    Drop,
    Graph,
    ParallelBatchNode,
    RunLog,
    StructlogObserver,
)
from kaygraph.run.observers import Observers
from tests.children import python

Line = dict[str, Any]


class Invert(ParallelBatchNode[int, float]):
    """Drops what is negative, and cannot invert zero."""

    def prep(self, shared: Any, /) -> list[int]:
        return list(shared["numbers"])

    async def exec(self, number: int, /) -> float:
        if number < 0:
            raise Drop
        return 1 / number


class Fails(AsyncNode[None, None]):
    def __init__(self, error: BaseException, **settings: Any) -> None:
        super().__init__(**settings)
        self.failure = error

    async def exec(self, prep_res: None, /) -> None:
        raise self.failure


@pytest.fixture(autouse=True)
def _unconfigured() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def lines_of(node: BaseNode[Any, Any], *numbers: int) -> list[Line]:
    """Run a node and return what RunLog writes."""
    with structlog.testing.capture_logs() as lines, suppress(Exception, KeyboardInterrupt):
        node.run({"numbers": numbers}, observers=[RunLog()])
    return lines  # type: ignore[return-value]


def levels_of(lines: list[Line], *fields: str) -> list[tuple[Any, ...]]:
    return [(line["log_level"], line["event"], *map(line.get, fields)) for line in lines]


def test_a_run_that_works_is_reported_from_start_to_end() -> None:
    """What begins is for debugging, what came of the nodes and the run is information."""
    lines = lines_of(Graph(Invert(max_workers=1)), 4)
    assert levels_of(lines, "node", "item", "attempts") == [
        ("info", "run started", "Graph", None, None),
        ("debug", "node started", "Invert", None, None),
        ("debug", "item started", "Invert", 0, None),
        ("debug", "item finished", "Invert", 0, 1),
        ("info", "batch finished", "Invert", None, None),
        ("info", "node finished", "Invert", None, None),
        ("info", "run finished", "Graph", None, None),
    ]
    assert lines[-1]["seconds"] >= lines[-2]["seconds"] >= 0
    assert not any("error" in line or "action" in line or "at" in line for line in lines)


def test_failures_and_retries_are_warnings_and_a_failed_run_is_an_error() -> None:
    """They say what they failed with."""
    lines = lines_of(Graph(Invert(max_workers=1, max_retries=2)), 0)
    assert levels_of(lines[3:], "attempt", "attempts", "status") == [
        ("warning", "item retried", 1, None, None),
        ("debug", "attempt started", 2, None, None),
        ("warning", "item failed", None, 2, "failed"),
        ("info", "batch finished", None, None, None),
        ("warning", "node finished", None, None, None),
        ("error", "run finished", None, None, None),
    ]
    assert {line["error"] for line in lines[3:] if "error" in line} == {
        "ZeroDivisionError: division by zero"
    }


def test_what_was_asked_for_is_not_a_warning() -> None:
    """Neither an item that its node drops nor a cancellation is; a failure that is skipped is."""
    lines = lines_of(Invert(max_workers=1, on_error="skip"), -1, 0)
    failed = [line for line in lines if line["event"] == "item failed"]
    assert levels_of(failed, "status") == [
        ("debug", "item failed", "skipped"),
        ("warning", "item failed", "skipped"),
    ]
    lines = lines_of(Fails(KeyboardInterrupt()))
    assert levels_of(lines[-2:], "error") == [
        ("debug", "item failed", "KeyboardInterrupt"),
        ("info", "run finished", "KeyboardInterrupt"),
    ]


def test_a_circuit_that_opens_is_a_warning() -> None:
    """The service behind it fails."""
    lines = lines_of(Fails(OSError(), breaker=CircuitBreaker(failures=1)))
    changed = [line for line in lines if line["event"] == "circuit changed"]
    assert levels_of(changed, "state") == [("warning", "circuit changed", "open")]


def test_an_error_is_reported_without_its_secrets() -> None:
    """They are hidden as in every text of an error; one that has no text is named."""

    class UntoldError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    failed = Fails(ValueError("token=abc is not that of https://me:word@host/"))
    texts = {line["error"] for line in lines_of(failed) if "error" in line}
    assert texts == {"ValueError: token=*** is not that of https://***@host/"}
    assert lines_of(Fails(UntoldError()))[-1]["error"] == "UntoldError"


def test_lines_of_a_run_have_its_id() -> None:
    """The same as the lines of its nodes have, and another than the next run."""

    class Tells(AsyncNode[None, None]):
        def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
            self.log.info("working")

    first, second = lines_of(Graph(Tells())), lines_of(Graph(Tells()))
    assert "working" in {line["event"] for line in first}
    assert len({line["run"] for line in first}) == len({line["run"] for line in second}) == 1
    assert first[0]["run"] != second[0]["run"]


def test_lines_go_where_the_program_has_configured_structlog_to_write(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Here to the standard library's logging, as JSON, with what is bound to the context."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    observer = RunLog()
    with (
        caplog.at_level(logging.INFO),
        structlog.contextvars.bound_contextvars(request="r1"),
    ):
        with pytest.raises(ZeroDivisionError):
            Graph(Invert()).run({"numbers": [0]}, observers=[observer])
        structlog.configure(processors=[structlog.processors.KeyValueRenderer(True, ["event"])])
        Graph(Invert()).run({"numbers": [1]}, observers=[observer])
    texts = [record.getMessage() for record in caplog.records]
    first = [json.loads(text) for text in texts if text.startswith("{")]
    assert [line["event"] for line in first][-2:] == ["node finished", "run finished"]
    assert first[-1]["level"] == "error"
    assert {line["request"] for line in first} == {"r1"}
    assert "event='run finished'" in texts[-1]


@pytest.mark.parametrize("logger", [3, logging.getLogger("x"), structlog.BoundLogger])
def test_a_logger_that_is_not_of_structlog_is_refused(logger: Any) -> None:
    """Before the run, not with its first line."""
    for observer in (StructlogObserver, RunLog):
        with pytest.raises(TypeError, match="logger must be a logger of structlog"):
            observer(logger)


def test_lines_go_to_the_logger_that_is_given() -> None:
    """With what is bound to it, and no lines below its level."""
    lines: list[Line] = []

    def keep(_: Any, __: str, line: Any) -> Any:
        lines.append(dict(line))
        raise structlog.DropEvent

    logger = structlog.wrap_logger(
        structlog.PrintLogger(),
        processors=[keep],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        tenant="t1",
    )
    with pytest.raises(ZeroDivisionError):
        Graph(Invert()).run({"numbers": [0, 1]}, observers=[RunLog(logger)])
    assert [line["event"] for line in lines] == ["item failed", "node finished", "run finished"]
    assert {line["tenant"] for line in lines} == {"t1"}


def test_structlog_loads_with_the_first_log() -> None:
    """A run that nobody logs does not wait for it."""
    program = (
        "import sys; from kaygraph import Node, RunLog, RunReport\n"
        "Node().run(observers=[RunReport()]); print('structlog' in sys.modules)\n"
        "RunLog(); print('structlog' in sys.modules)"
    )
    assert python("-c", program, check=True).stdout.split() == ["False", "True"]


# --- StructlogObserver ---------------------------------------------------------------------------


def observer_lines_of(node: BaseNode[Any, Any], *numbers: int, **settings: Any) -> list[Line]:
    """Run a node and return what a StructlogObserver writes."""
    with structlog.testing.capture_logs() as lines, suppress(Exception, KeyboardInterrupt):
        node.run({"numbers": numbers}, observers=[StructlogObserver(**settings)])
    return lines  # type: ignore[return-value]


def test_a_node_has_a_line_where_it_begins_and_where_it_ends() -> None:
    """Its items have no lines while they run; their results are reported in one."""
    lines = observer_lines_of(Graph(Invert()), 1, 2, 4)
    assert levels_of(lines, "node", "items", "ok") == [
        ("info", "run started", "Graph", None, None),
        ("debug", "node started", "Invert", None, None),
        ("info", "batch finished", "Invert", 3, 3),
        ("info", "node finished", "Invert", None, None),
        ("info", "run finished", "Graph", None, None),
    ]
    assert all(line["seconds"] >= 0 for line in lines[2:])
    assert len({line["run"] for line in lines}) == 1


def test_an_item_that_fails_or_is_tried_again_has_a_line() -> None:
    """With its place in the batch and its attempts."""
    lines = observer_lines_of(Graph(Invert(max_workers=1, max_retries=2, on_error="skip")), 1, 0)
    items = [line for line in lines if "item" in line]
    assert levels_of(items, "node", "item", "attempt", "attempts", "status") == [
        ("warning", "item retried", "Invert", 1, 1, None, None),
        ("warning", "item failed", "Invert", 1, None, 2, "skipped"),
    ]
    assert {line["error"] for line in items} == {"ZeroDivisionError: division by zero"}


def test_items_have_lines_where_that_is_asked_for() -> None:
    """As a RunLog writes them."""
    with_items = observer_lines_of(Graph(Invert(max_workers=1)), 1, items=True)
    as_log = lines_of(Graph(Invert(max_workers=1)), 1)
    assert levels_of(with_items, "node", "item") == levels_of(as_log, "node", "item")
    assert ("debug", "item finished") in levels_of(with_items)


def test_items_cost_nothing_where_they_have_no_lines() -> None:
    """Nobody tells of them."""
    assert Observers([StructlogObserver()]).of_items is None
    assert Observers([RunLog()]).of_items is not None


def test_runs_at_once_are_distinguished() -> None:
    """Also by what each is bound to in the context where it began, in threads as well."""

    class Tells(ParallelBatchNode[int, None]):
        def prep(self, shared: Any, /) -> list[int]:
            return [1, 2]

        def exec(self, number: int, /) -> None:
            structlog.get_logger().info("working")

    lines: list[Line] = []

    def keep(_: Any, __: str, line: Any) -> Any:
        lines.append(dict(line))
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep])

    async def run(request: str) -> None:
        with structlog.contextvars.bound_contextvars(request=request):
            await Graph(Tells()).run_async(observers=[StructlogObserver()])

    async def run_both() -> None:
        await asyncio.gather(run("r1"), run("r2"))

    asyncio.run(run_both())
    ids = {request: {line.get("run") for line in lines if line["request"] == request}
           for request in ("r1", "r2")}  # fmt: skip
    assert [len(run - {None}) for run in ids.values()] == [1, 1]
    assert ids["r1"] != ids["r2"]
    assert [line["request"] for line in lines if line["event"] == "working"].count("r1") == 2
