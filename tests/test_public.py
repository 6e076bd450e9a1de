"""What users can import, and what importing it costs."""

import ast
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest

import kaygraph
from kaygraph import types
from kaygraph._public import NAMES, PLACES, TYPE_PLACES, TYPES
from kaygraph.node.facts import Fact
from tests.children import python

ALIASES = {"Event", "Status"}  # unions of types, which have no place and no text of their own
PUBLIC = [
    (home, name)
    for home, names in ((kaygraph, kaygraph.__all__), (types, types.__all__))
    for name in names
    if name not in ALIASES
]
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
    for home, name in PUBLIC:
        thing = getattr(home, name)
        for member, value in vars(thing).items() if isinstance(thing, type) else ():
            if not member.startswith("_") and (
                inspect.isfunction(value) or isinstance(value, property | Fact)
            ):
                found.append(pytest.param(thing, member, id=f"{name}.{member}"))
    return found


@pytest.mark.parametrize(
    ("home", "names", "places"), [(kaygraph, NAMES, PLACES), (types, TYPES, TYPE_PLACES)]
)
def test_each_name_stands_where_type_checkers_look_for_it(
    home: Any, names: dict[str, tuple[str, ...]], places: dict[str, str]
) -> None:
    """The table and `from .x import Name as Name` under TYPE_CHECKING say the same."""
    tree = ast.parse(Path(home.__file__).read_text())
    imported = [
        (alias.asname, statement.module)
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    ]
    assert sorted(imported) == sorted(places.items())
    assert home.__all__ == sorted(places)
    assert sum(map(len, names.values())) == len(places)


def test_a_name_has_one_home() -> None:
    """What only annotations need is not in kaygraph as well."""
    assert not set(kaygraph.__all__) & set(types.__all__)


def test_dir_has_all_names_before_they_are_loaded() -> None:
    """Completion and help() find them."""
    program = "import kaygraph; print(*set(kaygraph.__all__) - set(dir(kaygraph)))"
    assert python("-c", program, check=True).stdout.strip() == ""
    assert "MapReduceNode" in python("-c", "import kaygraph; help(kaygraph)", check=True).stdout


def test_a_wrong_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="module 'kaygraph' has no attribute 'Grap'"):
        kaygraph.Grap  # type: ignore[attr-defined]  # noqa: B018 - it is looked up
    with pytest.raises(AttributeError, match=r"module 'kaygraph\.types' has no attribute 'Grap'"):
        types.Grap  # type: ignore[attr-defined]  # noqa: B018 - it is looked up
    with pytest.raises(ImportError, match="cannot import name 'Grap'"):
        exec("from kaygraph import Grap")


@pytest.mark.parametrize("module", ["errors", "events", "limits", "types"])
def test_a_module_of_public_names_needs_no_import_of_its_own(module: str) -> None:
    """`import kaygraph` is enough for `kaygraph.errors`, whatever has been loaded before."""
    program = f"import kaygraph; print(kaygraph.{module}.__name__)"
    assert python("-c", program, check=True).stdout.strip() == f"kaygraph.{module}"


@pytest.mark.parametrize(("home", "name"), PUBLIC)
def test_a_public_name_shows_where_users_find_it(home: Any, name: str) -> None:
    """Its __module__ is that one, and its docstring is its own."""
    thing = getattr(home, name)
    assert thing.__module__ == home.__name__
    assert vars(thing).get("__doc__") if isinstance(thing, type) else thing.__doc__


@pytest.mark.parametrize(("owner", "member"), members())
def test_a_public_member_has_a_docstring(owner: Any, member: str) -> None:
    """Of its own, of the hook it overrides, or a line in its class's docstring."""
    elsewhere = any(
        member in vars(c) for c in owner.__mro__ if not c.__module__.startswith("kaygraph")
    )
    assert elsewhere or inspect.getdoc(getattr(owner, member)) or f"{member}:" in owner.__doc__


@pytest.mark.parametrize(
    "program",
    [
        "from kaygraph import Node",
        "from kaygraph import Node; Node() | Node()",
        "from kaygraph.nodes import ReadText",
        "import kaygraph.patterns",
        "import kaygraph.compat",
        "import kaygraph.testing",
    ],
)
def test_what_comes_along_shows_where_users_find_it(program: str) -> None:
    """Also the classes that nobody has asked for by name, as those of errors and bases."""
    program += f"""
import sys
for name, module in {PLACES | TYPE_PLACES!r}.items():
    thing = vars(sys.modules.get("kaygraph." + module, sys)).get(name)
    if isinstance(thing, type) and thing.__module__ == "kaygraph." + module:
        print(thing)
print("kaygraph.node.node" in sys.modules)"""
    assert python("-c", program, check=True).stdout.split() == ["True"]


@pytest.mark.parametrize(
    ("home", "name"),
    [
        (kaygraph, "NodeStarted"),
        (kaygraph, "RunReport"),
        (kaygraph, "UnknownActionError"),
        (kaygraph, "all_of"),
        (types, "StageReport"),
    ],
)
def test_a_pickle_finds_a_public_name_in_a_fresh_process(home: Any, name: str) -> None:
    """It has the module that users import from, which loads what it names."""
    dumped = pickle.dumps(getattr(home, name))
    assert b"kaygraph." not in dumped.replace(b"kaygraph.types", b"")
    program = f"import pickle; print(pickle.loads({dumped!r}).__name__)"
    assert python("-c", program, check=True).stdout.strip() == name


@pytest.mark.parametrize("home", [kaygraph, types])
def test_star_import_gives_the_public_names(home: Any) -> None:
    """And nothing that is private."""
    names: dict[str, Any] = {}
    exec(f"from {home.__name__} import *", names)
    del names["__builtins__"]
    assert sorted(names) == sorted(home.__all__)


@pytest.mark.parametrize(
    "program", ["import kaygraph", "from kaygraph import *", "from kaygraph.types import *"]
)
def test_importing_kaygraph_imports_nothing_heavy(program: str) -> None:
    """Neither third parties nor process pools load before they are used."""
    script = f"{program}; import sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert python("-c", script, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("program", "modules"),
    [
        ("import kaygraph", set()),
        ("from kaygraph import KayGraphError", {"errors"}),
        ("from kaygraph import RateLimit", {"limits.rate"}),
        ("from kaygraph import Graph, Node", {"graph.graph", "node.node"}),
        ("from kaygraph import Node; Node() | Node()", {"streams.pipeline"}),
    ],
)
def test_a_module_loads_when_one_of_its_names_is_asked_for(program: str, modules: set[str]) -> None:
    """A program without reports and branches does not load either."""
    later = {"groups.branches", "groups.map_reduce", "observability.report"}
    program += f"; import sys; print(*[m for m in {[*NAMES]!r} if 'kaygraph.' + m in sys.modules])"
    loaded = set(python("-c", program, check=True).stdout.split())
    assert modules <= loaded
    assert not later & loaded
    assert modules or not loaded


def test_types_are_shipped() -> None:
    """py.typed makes type checkers use the annotations."""
    assert (Path(kaygraph.__file__).parent / "py.typed").is_file()
