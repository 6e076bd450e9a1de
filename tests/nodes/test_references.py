"""References such as "json:loads": what they lead to, and the errors when they do not."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kaygraph import KayGraphError
from kaygraph.executors.kinds import kind_of
from kaygraph.nodes._references import (
    check_function,
    check_plain_function,
    check_plain_functions,
    keep_from_binding,
    resolve,
)
from kaygraph.nodes.errors import FunctionReferenceError


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that writes a module which can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    written: list[str] = []

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        written.append(name)

    yield write
    for name in written:
        sys.modules.pop(name, None)


def test_a_reference_leads_to_its_function() -> None:
    """In a package, and in a class of a module."""
    from os.path import join

    assert resolve("os.path:join") is join
    assert resolve("pathlib:Path.cwd") == Path.cwd


@pytest.mark.parametrize(
    "reference",
    ["", "json", "json.loads", "json:", ":loads", "json:loads()", "json:loads;1", "a b:c", "..x:y"],
)
def test_a_reference_that_is_written_otherwise_is_refused(reference: str) -> None:
    """Nothing is evaluated: only names, with one colon between."""
    with pytest.raises(FunctionReferenceError, match="'module:function', as in") as caught:
        resolve(reference)
    assert caught.value.reference == reference


def test_a_module_that_is_not_there_is_named() -> None:
    """Also where only the last part of its name is wrong."""
    with pytest.raises(FunctionReferenceError, match=r"there is no module 'json\.nowhere'"):
        resolve("json.nowhere:loads")
    with pytest.raises(FunctionReferenceError, match="there is no module 'no_such_module'"):
        resolve("no_such_module.inner:loads")


def test_a_name_that_is_not_there_gets_the_closest() -> None:
    """Each error is of the one class, and a ValueError."""
    with pytest.raises(
        FunctionReferenceError, match=r"'json' has no 'load_s'\. Did you mean 'load"
    ):
        resolve("json:load_s")
    assert issubclass(FunctionReferenceError, KayGraphError)
    assert issubclass(FunctionReferenceError, ValueError)


def test_what_cannot_be_called_is_refused() -> None:
    """It is not a function, whatever else it is."""
    with pytest.raises(FunctionReferenceError, match="it is a str, not a function"):
        resolve("os:sep")


def test_a_modules_own_missing_import_is_raised_unchanged(module: Any) -> None:
    """The module is there: its own error says more than ours would."""
    module("misses_another", "import no_such_module_either")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_either") as caught:
        resolve("misses_another:run")
    assert not isinstance(caught.value, FunctionReferenceError)
    module("is_broken", "1 / 0")
    with pytest.raises(ZeroDivisionError):
        resolve("is_broken:run")


def test_only_functions_and_references_are_taken() -> None:
    """A number is neither."""
    assert check_function("function", "json:loads") is resolve("json:loads")
    assert check_function("function", len) is len
    with pytest.raises(ValueError, match="function must be a function or 'module:function', got 3"):
        check_function("function", 3)


async def _waits(value: Any) -> Any:
    return value


def _yields(value: Any) -> Any:
    yield value


class _Waits:
    async def __call__(self, value: Any) -> Any:
        return value


def test_every_callable_has_a_kind() -> None:
    """Functions, partials, methods, objects with a __call__, classes and builtins."""
    assert kind_of(_waits) == kind_of(partial(_waits, 1)) == "async"
    assert kind_of(_Waits()) == kind_of(_Waits().__call__) == "async"
    assert kind_of(_yields) == "generator"
    assert kind_of(len) == kind_of(_Waits) == kind_of(str) == "sync"


@pytest.mark.parametrize("function", [_waits, _yields, _Waits()])
def test_a_plain_function_is_written_def(function: Any) -> None:
    """What is called between awaits can neither wait nor yield."""
    with pytest.raises(ValueError, match="where must be written 'def'"):
        check_plain_function("where", function)


def test_functions_by_name_are_checked_one_by_one() -> None:
    """The error names the one that is wrong."""
    given = {"a": len, "b": "json:loads"}
    assert check_plain_functions("fields", given) == {"a": len, "b": resolve("json:loads")}
    with pytest.raises(ValueError, match=r"fields\['b'\] must be a function"):
        check_plain_functions("fields", {"a": len, "b": 1})
    with pytest.raises(ValueError, match="fields must be a mapping of names to functions"):
        check_plain_functions("fields", [len])


def test_a_function_that_a_class_has_as_a_setting_is_no_method() -> None:
    """It is called with what the node gives it, and not with the node."""

    class Owner:
        def defined(*values: int) -> tuple[int, ...]:
            return values

    keep_from_binding(Owner, "defined")
    assert Owner().defined(1, 2) == (1, 2)
