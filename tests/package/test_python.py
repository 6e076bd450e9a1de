"""What Python may complain of: warnings of an import, and what its next versions remove."""

import ast
from collections.abc import Iterator
from pathlib import Path
from pkgutil import walk_packages

import pytest

import kaygraph
from tests.children import ROOT, python

# Deprecated in Python 3.14, to be removed in 3.16.
GONE = {
    "AbstractEventLoopPolicy",
    "DefaultEventLoopPolicy",
    "WindowsProactorEventLoopPolicy",
    "WindowsSelectorEventLoopPolicy",
    "get_event_loop_policy",
    "set_event_loop_policy",
    "asyncio.iscoroutinefunction",
}
FOLDERS = ["kaygraph", "examples", "benchmarks"]  # tests set a policy, as programs of users may
SETS_A_POLICY = Path("benchmarks/races/each_seed.py")  # for the tests of others, on this Python


def test_no_module_warns_when_it_is_imported() -> None:
    """Each one, alone in the order of their names, with any warning as an error."""
    modules = [info.name for info in walk_packages(kaygraph.__path__, "kaygraph.")]
    public = [name for name in modules if not name.endswith("__main__")]
    program = "import importlib\nfor name in {names!r}: importlib.import_module(name)"
    assert len(public) > 200
    python("-W", "error", "-c", program.format(names=public), check=True)


def used(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a module imports from asyncio or has as attributes of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
            if isinstance(node.value, ast.Name):
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield alias.name
                yield f"{node.module}.{alias.name}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_that_python_is_about_to_remove_is_used(folder: str) -> None:
    """Neither policies of event loops nor asyncio's own iscoroutinefunction; inspect has one."""
    found = {
        str(path.relative_to(ROOT)): sorted(gone)
        for path in sorted(Path(ROOT, folder).rglob("*.py"))
        if path != Path(ROOT, SETS_A_POLICY)
        and (gone := GONE.intersection(used(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert found == {}
