"""Errors are restored as themselves if their class is known, and as RecordedError otherwise."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest

from kaygraph import (
    AttemptTimeoutError,
    Drop,
    Outcome,
    RecordedError,
    TooManyFailuresError,
    UnknownActionError,
)
from kaygraph.errors import NotRecordableError
from kaygraph.journal.encoding import Encoding
from tests.journal.recorded import Elsewhere, OutOfStock


def caught(work: Callable[[], Any]) -> Exception:
    try:
        work()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def back(error: BaseException, *types: type) -> Any:
    encoding = Encoding(types)
    return encoding.decode_error(encoding.encode_error(error))


ERRORS: dict[str, BaseException] = {
    "arguments": ValueError("a", (1, {2})),
    "none": Exception(),
    "key": KeyError(("a", 1)),
    "file": caught(Path("/no/such/file").read_text),
    "decoding": caught(lambda: b"\xff".decode()),
    "syntax": caught(lambda: compile("a b", "<program>", "exec")),
    "import": caught(lambda: __import__("no_such_module")),
    "stop": StopIteration((1,)),
    "cancelled": asyncio.CancelledError("x"),
    "timeout": AttemptTimeoutError("late"),
    "action": UnknownActionError("Review", "aprove", ["approve"]),
    "drop": Drop("no use"),
    "recorded": RecordedError("shop.OutOfStock", "no tea"),
    "group": TooManyFailuresError("two", [ValueError(1), ExceptionGroup("in", [KeyError(2)])]),
    "registered": OutOfStock("tea", left=1),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_errors_of_known_classes_come_back_as_themselves(error: BaseException) -> None:
    """Class, arguments, attributes and text are the same."""
    twin = back(error, OutOfStock)
    assert type(twin) is type(error)
    assert (str(twin), repr(twin), vars(twin)) == (str(error), repr(error), vars(error))


def test_the_built_in_part_of_an_error_comes_back() -> None:
    """State outside ``args`` and ``__dict__`` is restored, too."""
    assert back(ERRORS["file"]).filename == "/no/such/file"
    assert back(ERRORS["decoding"]).reason == "invalid start byte"
    assert back(ERRORS["syntax"]).lineno == 1
    assert back(ERRORS["import"]).name == "no_such_module"
    assert back(ERRORS["stop"]).value == (1,)


def test_another_error_comes_back_as_a_recorded_error() -> None:
    """It has the class and the text, without secrets, and keeps its notes."""

    class RefusedError(ValueError):
        pass

    error = RefusedError("https://user:abc@shop")
    error.add_note("in node 'Buy'")
    twin = back(error)
    assert type(twin) is RecordedError
    assert twin.class_name.endswith("RefusedError")
    assert twin.text == "https://***@shop"
    assert twin.__notes__ == ["in node 'Buy'"]


def test_an_error_of_a_class_in_another_language_is_a_recorded_error() -> None:
    """Its parts are not accessible: it cannot be registered."""
    error = caught(lambda: pydantic.TypeAdapter(int).validate_python("a"))
    assert "pydantic_core" in back(error).class_name
    with pytest.raises(TypeError, match="types cannot contain ValidationError"):
        Encoding([pydantic.ValidationError])


def test_notes_cause_and_context_come_back() -> None:
    """They show where an error comes from; errors may refer to each other in a cycle."""
    error, cause = ValueError("a"), OutOfStock("tea", left=0)
    error.add_note("in node 'Buy'")
    error.__cause__, cause.__context__ = cause, error
    twin = back(error)
    assert twin.__notes__ == ["in node 'Buy'"]
    assert twin.__suppress_context__
    assert isinstance(twin.__cause__, RecordedError)
    assert twin.__cause__.__context__ is twin
    error = ValueError("a")
    error.__context__, error.__suppress_context__ = KeyError(1), True  # raise … from None
    twin = back(error)
    assert (repr(twin.__context__), twin.__suppress_context__) == ("KeyError(1)", True)


def test_what_cannot_be_recorded_of_an_error_is_left_out() -> None:
    """A note says so; no error is refused."""
    error = OutOfStock("tea", left=print)  # type: ignore[arg-type]
    twin = back(error, OutOfStock)
    assert type(twin) is OutOfStock
    assert twin.product == "tea"
    assert not hasattr(twin, "left")
    assert twin.__notes__ == ["left out of the record: 'left'"]


def test_an_error_without_a_text_is_recorded() -> None:
    """Neither a failing ``__str__`` nor an error that contains itself stops it."""

    class SilentError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert back(SilentError()).text == "<SilentError without a text>"
    assert back(ValueError("\ud800")).args == ("\ud800",)
    endless = ValueError()
    endless.args = (endless,)
    assert back(endless).__notes__ == ["left out of the record: 'args'"]


def test_an_error_with_odd_attributes_is_recorded() -> None:
    """Computed attributes may fail, and names need not be strings."""
    error = OutOfStock("tea", left=0)
    vars(error).update({1: 2, "\ud800": 3, "at": Elsewhere(1)})
    twin = back(error, OutOfStock, Elsewhere)
    assert (type(twin), twin.product) == (OutOfStock, "tea")

    class OddError(Exception):
        __cause__ = property(lambda self: print)  # type: ignore[assignment]

    assert back(OddError()).class_name.endswith("OddError")


def test_the_error_of_an_outcome_is_never_refused() -> None:
    """The outcome of a failed item is restored, whatever the class of its error."""
    encoding = Encoding()
    outcome = Outcome[int]("Buy", 0, "failed", error=OutOfStock("tea", left=0))
    twin = encoding.decode(encoding.encode([outcome], "it"))[0]
    assert type(twin) is Outcome
    assert (twin.status, str(twin.error)) == (
        "failed",
        f"{__package__}.recorded.OutOfStock: only 0 of tea",
    )


def test_an_error_as_a_value_is_refused_where_it_would_be_another() -> None:
    """What ``exec`` returns is restored as an equal value, also if it is an error."""
    encoding = Encoding()
    assert repr(encoding.decode(encoding.encode([ValueError(1)], "it"))) == "[ValueError(1)]"
    group = ExceptionGroup("two", [ValueError(1), OutOfStock("tea", left=0)])
    for error in (OutOfStock("tea", left=0), ValueError(print), group):
        with pytest.raises(NotRecordableError, match="is an error"):
            encoding.encode([error], "it")


def test_errors_of_ready_made_nodes_come_back_as_themselves() -> None:
    """What kaygraph itself defines needs no registration."""
    from kaygraph.nodes import HTTPConnectionError

    encoding = Encoding()
    value = {"errors": [HTTPConnectionError("no answer")]}
    (back,) = encoding.decode(encoding.encode(value, "a result"))["errors"]
    assert type(back) is HTTPConnectionError
    assert str(back) == "no answer"
