"""The layers: a module imports only modules above it, and no third party but anyio."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import kaygraph

ROOT = Path(kaygraph.__file__).parent

# From the top, which imports nothing, to the bottom, which nothing imports.
LAYERS = [
    "errors",
    "_redaction",
    "_memory",
    "outcome",
    "events",
    "_settings",
    "retry",
    "_clock",
    "_tasks",
    "_timeouts",
    "adaptive",
    "_permits",
    "limits",
    "breaker",
    "_keywords",
    "_buffer",
    "_lifespan",
    "_frame",
    "_steps",
    "_conflicts",
    "_slow",
    "_source",
    "executors",
    "_hooks",
    "_call",
    "_signals",
    "_launch",
    "_fan_out",
    "_typing",
    "_wiring",
    "node",
    "batch",
    "plan",
    "draw",
    "_tokens",
    "_walk",
    "graph",
    "branches",
    "_stage",
    "streams",
    "map_reduce",
    "report",
    "__init__",
    "nodes",
    "patterns",
    "compat",
    "testing",
]
ALLOWED = {"anyio"}
LIBRARIES = {("nodes", "aiohttp"), ("nodes", "yarl")}  # that a layer stands on
LAZY = {("node", "structlog"), ("nodes", "structlog")}  # loads where it is used: in a function
PLUGIN = ("testing", "pytest")  # loads the kit, and not the other way round
MOST_LINES = 400


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


def complaints_of(path: Path, source: str | None = None) -> list[str]:
    """Return what is wrong with the imports of a module."""
    layer, found = layer_of(path), []
    for line, module, lazy, types_only in imports_of(path, source):
        if types_only:
            continue
        where = f"{path.relative_to(ROOT)}:{line} imports {module}"
        if module.startswith((".", "kaygraph")):
            asked = module.removeprefix("kaygraph").lstrip(".").split(".")[0]
            if not (ROOT / asked).is_dir() and not (ROOT / f"{asked}.py").is_file():
                asked = layer  # a name of the package around, as in `from . import run_to_end`
            if asked == layer:
                continue  # a package may import its own modules
            if LAYERS.index(asked) >= LAYERS.index(layer):
                found.append(f"{where}, which does not stand above it")
        elif module.split(".")[0] not in sys.stdlib_module_names:
            top = module.split(".")[0]
            known = (layer, top) in LIBRARIES | {PLUGIN} or (lazy and (layer, top) in LAZY)
            if top not in ALLOWED and not known:
                found.append(f"{where}, a third party")
    return found


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


@pytest.mark.parametrize(
    ("module", "source", "refused"),
    [
        ("errors", "from .outcome import Outcome", True),
        ("outcome", "from .errors import Drop", False),
        ("errors", "def f():\n    from . import graph", True),
        ("errors", "import kaygraph.graph", True),
        ("errors", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import rich", False),
        ("errors", "if TYPE_CHECKING:\n    pass\nelse:\n    import rich", True),
        ("graph", "import aiohttp", True),
        ("nodes/http", "import aiohttp", False),
        ("nodes/http", "import psycopg", True),
        ("nodes/http", "from ..patterns import x", True),
        ("patterns/race", "from ..nodes import HTTPNode", False),
        ("graph", "import anyio, asyncio", False),
        ("node", "import structlog", True),
        ("node", "def log():\n    import structlog", False),
        ("graph", "def log():\n    import structlog", True),
        ("executors/process", "from .._frame import Frame", False),
        ("executors/process", "from . import run_to_end", False),
        ("executors/process", "from ..graph import Graph", True),
    ],
)
def test_the_layer_test_can_fail(module: str, source: str, refused: bool) -> None:
    """It sees imports in functions and on both sides of TYPE_CHECKING."""
    assert bool(complaints_of(ROOT / f"{module}.py", source)) == refused
