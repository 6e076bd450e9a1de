"""The layers: imports point one way, also those for type checkers, and nothing is too long."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import kaygraph

ROOT = Path(kaygraph.__file__).parent

# From the top, which imports nothing, to the bottom, which nothing imports.
LAYERS = [
    "_public",
    "_stores",
    "_extras",
    "_addresses",
    "errors",
    "_formatting",
    "_validation",
    "_schemas",
    "drawing",
    "outcome",
    "events",
    "snapshot",
    "aio",
    "limits",
    "run",
    "executors",
    "observability",
    "node",
    "batch",
    "graph",
    "streams",
    "groups",
    "journal",
    "inspection",
    "progress",
    "watching",
    "types",
    "__init__",
    "nodes",
    "patterns",
    "compat",
    "testing",
    "tracing",
    "cli",
    "__main__",
]
ALLOWED = {"anyio"}
LIBRARIES = {  # that a layer stands on
    ("nodes", "aiohttp"),
    ("nodes", "yarl"),
    ("watching", "aiohttp"),
}
LAZY = {
    ("executors", "cloudpickle"),
    ("executors", "dask"),
    ("executors", "distributed"),
    ("executors", "structlog"),
    ("node", "structlog"),
    ("inspection", "prometheus_client"),
    ("observability", "opentelemetry"),
    ("observability", "structlog"),
    ("nodes", "structlog"),
    ("cli", "structlog"),
    ("progress", "IPython"),
}  # loads where it is used: in a function
PLUGIN = ("testing", "pytest")  # loads the kit, and not the other way round
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 65


class Import(NamedTuple):
    """One import: where it stands and what it asks for."""

    line: int
    module: str  # relative to kaygraph, with a leading dot; else absolute
    lazy: bool  # in a function
    types_only: bool  # under `if TYPE_CHECKING`


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports_of(path: Path, source: str | None = None) -> Iterator[Import]:
    """Yield every import of a module, at whatever depth it stands."""
    package = path.relative_to(ROOT).parent.parts
    tree = ast.parse(path.read_text() if source is None else source)
    stack: list[tuple[ast.AST, bool, bool]] = [(tree, False, False)]
    while stack:
        node, lazy, types_only = stack.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, lazy, types_only)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield Import(node.lineno, node.module or "", lazy, types_only)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            asked = [node.module] if node.module else [alias.name for alias in node.names]
            for name in asked:
                yield Import(node.lineno, "." + ".".join((*base, name)), lazy, types_only)
        for child in ast.iter_child_nodes(node):
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            in_body = guarded and isinstance(node, ast.If) and child in node.body
            stack.append((child, lazy or function, types_only or in_body))


def asked_of(module: str) -> str | None:
    """Return the module of kaygraph that an import asks for, with its package, or None."""
    if not module.startswith((".", "kaygraph")):
        return None
    name = module.removeprefix("kaygraph").lstrip(".")
    while name and not file_of(name).is_file():
        name = name.rpartition(".")[0]
    return name or "__init__"


def file_of(name: str) -> Path:
    path = ROOT / name.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def complaints_of(path: Path, source: str | None = None) -> list[str]:
    """Return what is wrong with the imports of a module."""
    layer, found = layer_of(path), []
    for line, module, lazy, types_only in imports_of(path, source):
        where = f"{path.relative_to(ROOT)}:{line} imports {module}"
        asked = asked_of(module)
        if asked is not None:
            above = asked.split(".")[0]
            if above == layer:
                continue  # of its own package, see test_modules_of_a_package_point_one_way
            if LAYERS.index(above) >= LAYERS.index(layer):
                found.append(f"{where}, which does not stand above it")
        elif module.split(".")[0] not in sys.stdlib_module_names and not types_only:
            top = module.split(".")[0]
            known = (layer, top) in LIBRARIES | {PLUGIN} or (lazy and (layer, top) in LAZY)
            if top not in ALLOWED and not known:
                found.append(f"{where}, a third party")
    return found


def circle_in(package: str) -> list[str]:
    """Return modules of a package that import each other in a circle, if there are any."""
    arrows: dict[str, set[str]] = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        asked = {asked_of(line.module) for line in imports_of(path)}
        arrows[name] = {one for one in asked if one and one.startswith(f"{package}.")} - {name}
    free: set[str] = set()
    while ready := [name for name, to in arrows.items() if name not in free and to <= free]:
        free.update(ready)
    return sorted(set(arrows) - free)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_up(path: Path) -> None:
    """Every import of the module names one that stands above it, or the standard library."""
    assert complaints_of(path) == []


def test_every_module_has_its_layer() -> None:
    """A new module is given a place, and a removed one gives its place up."""
    assert {layer_of(path) for path in modules()} == set(LAYERS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    """No module has more than four hundred lines."""
    assert len(path.read_text().splitlines()) <= MOST_LINES


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_function_can_be_seen_at_once(path: Path) -> None:
    """No function has more than sixty-five lines; how many paths it may have, the linter says."""
    # Not by name: methods of several classes may have the same.
    lengths = [((f.end_lineno or 0) - f.lineno + 1, f.name) for f in functions_of(path)]
    assert [one for one in lengths if one[0] > MOST_LINES_OF_A_FUNCTION] == []


@pytest.mark.parametrize("package", [layer for layer in LAYERS if (ROOT / layer).is_dir()])
def test_modules_of_a_package_point_one_way(package: str) -> None:
    """There is an order in which each imports only those before it."""
    assert circle_in(package) == []


# What named tuples show.
SHOWN = {"_asdict", "_field_defaults", "_fields", "_replace"}
# Of others' objects: handles of asyncio, tests of pytest.
FOREIGN = {
    "handle._callback",
    "handle._cancelled",
    "handle._run",
    "item._request",
    "os._exit",
    "ready[0]._cancelled",
}


@cache
def private_names() -> dict[str, set[str]]:
    """Return the names with an underscore that the classes and modules of each package define."""
    names: dict[str, set[str]] = {}
    for path in modules():
        own = names.setdefault(layer_of(path), set())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                    own.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                own.add(node.value)  # put with object.__setattr__, say
    return {
        layer: {name for name in own if name.startswith("_") and not name.startswith("__")}
        for layer, own in names.items()
    }


def private_accesses(path: Path, source: str | None = None) -> list[str]:
    """Return where a module reaches for what another package keeps for itself."""
    names, layer, found = private_names(), layer_of(path), []
    others = set[str]().union(*(own for other, own in names.items() if other != layer))
    for node in ast.walk(ast.parse(path.read_text() if source is None else source)):
        if not isinstance(node, ast.Attribute) or node.attr in names[layer] | SHOWN:
            continue
        owner = ast.unparse(node.value)
        if owner in ("self", "cls") or owner.startswith("super("):
            continue
        if node.attr in others and f"{owner}.{node.attr}" not in FOREIGN:
            found.append(f"{path.relative_to(ROOT)}:{node.lineno} reads {owner}.{node.attr}")
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_package_keeps_to_what_others_show(path: Path) -> None:
    """No attribute with an underscore is read of another package's object."""
    assert private_accesses(path) == []


def test_the_test_of_private_names_can_fail() -> None:
    """It sees a private name of another package, and not one of its own."""
    walk = ROOT / "graph" / "walk.py"
    assert private_accesses(walk, "node._successors") != []
    assert private_accesses(walk, "walk._ended(step, action)") == []


@pytest.mark.parametrize(
    ("module", "source", "refused"),
    [
        ("errors", "from .outcome import Outcome", True),
        ("outcome", "from .errors import Drop", False),
        ("errors", "def f():\n    from . import graph", True),
        ("errors", "import kaygraph.graph", True),
        ("errors", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import rich", False),
        ("errors", "if TYPE_CHECKING:\n    from .graph import Graph", True),
        ("errors", "if TYPE_CHECKING:\n    pass\nelse:\n    import rich", True),
        ("graph/walk", "import aiohttp", True),
        ("graph/walk", "from ..node.node import BaseNode", False),
        ("graph/walk", "from ..streams import Pipeline", True),
        ("limits/permits", "from ..aio.tasks import gather", False),
        ("aio/tasks", "from ..limits.permits import Permits", True),
        ("nodes/http", "import aiohttp", False),
        ("nodes/http", "import psycopg", True),
        ("nodes/http", "from ..patterns import x", True),
        ("patterns/race", "from ..nodes import HTTPNode", False),
        ("graph/graph", "import anyio, asyncio", False),
        ("node/node", "import structlog", True),
        ("node/node", "def log():\n    import structlog", False),
        ("graph/graph", "def log():\n    import structlog", True),
        ("executors/process", "from ..run.frame import Frame", False),
        ("executors/process", "from . import elsewhere", False),
        ("executors/process", "from ..graph import Graph", True),
    ],
)
def test_the_layer_test_can_fail(module: str, source: str, refused: bool) -> None:
    """It sees imports in functions, of packages and modules, and on both sides of TYPE_CHECKING."""
    assert bool(complaints_of(ROOT / f"{module}.py", source)) == refused
