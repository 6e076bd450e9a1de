"""The calls of the engine by which a look at a run knows what it is at."""

import ast
from pathlib import Path

import pytest

import kaygraph
from kaygraph.inspection import looking

ROOT = Path(kaygraph.__file__).parent
NAMES = sorted({*looking.WAITS, *looking.WITHOUT_ITEM, *looking.READ})


def functions_of(module: str) -> set[str]:
    """Return the qualified names of the coroutine functions and methods of a module."""
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    names = set[str]()
    for node in tree.body:
        if isinstance(node, ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}.{inner.name}"
                for inner in node.body
                if isinstance(inner, ast.AsyncFunctionDef)
            }
    return names


@pytest.mark.parametrize("name", NAMES)
def test_the_engine_has_the_function_that_is_looked_for(name: str) -> None:
    """A function that gets another name would not be seen any more."""
    module, _, function = name.partition(":")
    assert function in functions_of(module)
