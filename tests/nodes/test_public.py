"""What users can import from kaygraph.nodes, and what importing it costs."""

import ast
import inspect
from pathlib import Path
from types import ModuleType

import pytest

import kaygraph.nodes as nodes
from kaygraph.nodes import errors, types
from tests.children import python

LIBRARIES = ["aiohttp", "aiosmtplib", "jsonschema", "msgspec", "psycopg"]


def loaded_by(program: str) -> set[str]:
    """Run a program in a process of its own and return which of the libraries it has loaded."""
    listing = f"{program}; import sys; print(*sys.modules)"
    return set(LIBRARIES) & set(python("-c", listing, check=True).stdout.split())


def test_each_name_stands_where_type_checkers_look_for_it() -> None:
    """The table and the imports under TYPE_CHECKING agree."""
    tree = ast.parse(Path(nodes.__file__).read_text())
    imported = {
        alias.name: statement.module
        for statement in ast.walk(tree)
        if isinstance(statement, ast.ImportFrom) and statement.level == 1
        for alias in statement.names
    }
    assert imported == nodes._PLACES
    assert list(nodes._PLACES) == sorted(nodes._PLACES) == nodes.__all__ == dir(nodes)


@pytest.mark.parametrize(
    ("home", "name"), [(home, name) for home in (nodes, errors, types) for name in home.__all__]
)
def test_each_name_is_there_and_says_what_it_is(home: ModuleType, name: str) -> None:
    """It can be imported, and has a text of its own."""
    thing = getattr(home, name)
    assert inspect.getdoc(thing)
    if isinstance(thing, type) and thing.__mro__[1:]:
        assert thing.__doc__ not in [base.__doc__ for base in thing.__mro__[1:]]


def test_a_wrong_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="has no attribute 'HTTPNod'"):
        nodes.HTTPNod  # type: ignore[attr-defined]  # noqa: B018 - it is looked up


def test_a_name_has_one_home() -> None:
    """What is in kaygraph.nodes.errors and kaygraph.nodes.types is not in kaygraph.nodes too."""
    assert not set(nodes.__all__) & {*errors.__all__, *types.__all__}


@pytest.mark.proofs
@pytest.mark.parametrize(
    ("program", "libraries"),
    [
        ("import kaygraph.nodes", set()),
        ("from kaygraph.nodes import MergeNode, SwitchNode, node", set()),
        ("from kaygraph.nodes import ReadCSV, WriteCSV, FileMap", set()),
        ("from kaygraph.nodes import SQLRead; SQLRead('postgresql://h/d', 'SELECT 1')", set()),
        ("from kaygraph.nodes import HTTPNode, NotifyNode, Email, ChatNode", {"aiohttp"}),
        ("import kaygraph.patterns", set()),
        ("import kaygraph.compat", set()),
    ],
)
def test_a_library_loads_where_it_is_used(program: str, libraries: set[str]) -> None:
    """A program that makes no HTTP request does not load an HTTP client."""
    assert loaded_by(program) == libraries
