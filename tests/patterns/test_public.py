"""What kaygraph.patterns exports, and what importing it costs."""

import ast
import inspect
from pathlib import Path

import pytest

import kaygraph
from kaygraph import patterns
from tests.children import python

NODES = [
    getattr(patterns, name)
    for name in patterns.__all__
    if isinstance(getattr(patterns, name), type)
    and issubclass(getattr(patterns, name), kaygraph.Node)
]


def test_every_reexport_is_in_all() -> None:
    """`from .x import Name as Name` and __all__ agree, each name once."""
    tree = ast.parse(Path(patterns.__file__).read_text())
    imported = [
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
    ]
    assert sorted(imported) == sorted(set(patterns.__all__)) == sorted(patterns.__all__)


@pytest.mark.parametrize("name", patterns.__all__)
def test_a_public_name_shows_where_users_find_it(name: str) -> None:
    """Its __module__ is kaygraph.patterns, and its docstring is its own."""
    thing = getattr(patterns, name)
    assert thing.__module__ == "kaygraph.patterns"
    assert vars(thing).get("__doc__") if isinstance(thing, type) else thing.__doc__


@pytest.mark.parametrize("node", NODES)
def test_every_argument_is_in_the_docstring(node: type) -> None:
    """Every keyword is documented."""
    for name in inspect.signature(node).parameters:
        assert name == "settings" or f"{name}:" in (node.__doc__ or "")


def test_every_node_stands_in_the_table() -> None:
    """The package's docstring names each."""
    for node in NODES:
        assert f"``{node.__name__}``" in (patterns.__doc__ or "")


def test_importing_patterns_imports_no_http_client() -> None:
    """Nor anything else that is heavy."""
    script = (
        "import kaygraph.patterns, sys; "
        "print([m for m in ('aiohttp', 'anyio', 'rich', 'structlog') if m in sys.modules])"
    )
    assert python("-c", script, check=True).stdout.strip() == "[]"
