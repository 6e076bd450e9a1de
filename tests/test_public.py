"""What users can import, and what importing it costs."""

import ast
import inspect
import tomllib
from pathlib import Path
from typing import Any

import pytest

import kaygraph
from kaygraph.node.facts import Fact
from tests.children import python

ALIASES = {"Event", "Status"}  # unions of types, which have no place and no text of their own
HEAVY = [
    "aiohttp",
    "anyio",
    "concurrent.futures.process",
    "multiprocessing",
    "prompt_toolkit",
    "rich",
    "sqlite3",
    "structlog",
    "typing_extensions",
]


def members() -> list[Any]:
    """Return the public functions and properties of the public classes."""
    found = []
    for name in sorted(set(kaygraph.__all__) - ALIASES):
        thing = getattr(kaygraph, name)
        for member, value in vars(thing).items() if isinstance(thing, type) else ():
            if not member.startswith("_") and (
                inspect.isfunction(value) or isinstance(value, property | Fact)
            ):
                found.append(pytest.param(thing, member, id=f"{name}.{member}"))
    return found


def test_every_reexport_is_in_all() -> None:
    """`from .x import Name as Name` and __all__ say the same, each name once."""
    tree = ast.parse(Path(kaygraph.__file__).read_text())
    imported = [
        alias.asname
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    ]
    assert sorted(imported) == sorted(kaygraph.__all__)
    assert len(set(kaygraph.__all__)) == len(kaygraph.__all__)


@pytest.mark.parametrize("name", sorted(set(kaygraph.__all__) - ALIASES))
def test_a_public_name_shows_where_users_find_it(name: str) -> None:
    """Its __module__ is kaygraph, and its docstring is its own."""
    thing = getattr(kaygraph, name)
    assert thing.__module__ == "kaygraph"
    assert vars(thing).get("__doc__") if isinstance(thing, type) else thing.__doc__


@pytest.mark.parametrize(("owner", "member"), members())
def test_a_public_member_has_a_docstring(owner: Any, member: str) -> None:
    """Of its own, of the hook it overrides, or a line in its class's docstring."""
    elsewhere = any(member in vars(c) for c in owner.__mro__ if c.__module__ != "kaygraph")
    assert elsewhere or inspect.getdoc(getattr(owner, member)) or f"{member}:" in owner.__doc__


def test_star_import_gives_the_public_names() -> None:
    """And nothing that is private."""
    names: dict[str, Any] = {}
    exec("from kaygraph import *", names)
    del names["__builtins__"]
    assert sorted(names) == sorted(kaygraph.__all__)


def test_importing_kaygraph_imports_nothing_heavy() -> None:
    """Neither third parties nor process pools load before they are used."""
    script = f"import kaygraph, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert python("-c", script, check=True).stdout.strip() == "[]"


def test_types_are_shipped() -> None:
    """py.typed tells type checkers that the annotations count."""
    assert (Path(kaygraph.__file__).parent / "py.typed").is_file()


def test_the_version_is_that_of_the_project() -> None:
    """Said in two places, it is the same."""
    project = Path(kaygraph.__file__).parent.parent / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["version"] == kaygraph.__version__
