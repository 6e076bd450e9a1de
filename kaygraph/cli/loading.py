"""Load the graph that ``module:name`` names, and parse JSON arguments."""

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from .._formatting import value_text
from ..errors import closest
from ..node.node import BaseNode
from .wrong import WrongCommandError


def load_graph(written: str) -> Any:
    """Return the graph named as ``flows.py:graph`` or ``package.module:graph``.

    The name is that of a graph (or a node), or of a function without arguments that returns one.

    Raises:
        WrongCommandError: There is no such graph.
    """
    thing = load_named(written, "a graph", "flows.py:graph")
    if not isinstance(thing, BaseNode) and callable(thing):
        thing = thing()
    if not isinstance(thing, BaseNode):
        raise WrongCommandError(
            f"{written} must be a graph or a function that returns one, got {type(thing).__name__}"
        )
    return thing


def load_named(written: str, what: str, example: str) -> Any:
    """Return what ``file.py:name`` or ``module:name`` names.

    Raises:
        WrongCommandError: There is nothing of that name.
    """
    place, colon, name = written.rpartition(":")
    if not colon or not place or not name:
        raise WrongCommandError(
            f"{what} must be FILE:NAME or MODULE:NAME, as in {example}; got {written!r}"
        )
    module = _module(place)
    thing: Any = module
    for part in name.split("."):
        if not hasattr(thing, part):
            raise WrongCommandError(
                f"{place} has no {part!r}.{closest(part, [n for n in dir(thing) if n[0] != '_'])}"
            )
        thing = getattr(thing, part)
    return thing


def _module(place: str) -> ModuleType:
    sys.path.insert(0, "")  # as python -m does, to find modules in the current folder
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        path = Path(place)
        if not path.is_file():
            raise WrongCommandError(f"there is no file {place!r}")
        # It imports its neighbours from its own folder, as if it were run as a script.
        sys.path.insert(0, str(path.resolve().parent))
        module = importlib.import_module(path.stem)
        found = getattr(module, "__file__", None)
        if found is None or not path.samefile(found):
            raise WrongCommandError(
                f"{place!r} has the same name as another module, {found or path.stem}: rename it"
            )
        return module
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != place.split(".")[0]:
            raise
        raise WrongCommandError(f"there is no module {place!r} here: {error}") from None


def from_json(text: str, what: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        WrongCommandError: It is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WrongCommandError(
            f"{what} must be JSON, as in 12, '\"text\"' or '{{\"key\": true}}'; "
            f"got {value_text(text)}: {error}"
        ) from None


def named_values(given: list[str]) -> dict[str, Any]:
    """Return the values of ``NAME=JSON`` arguments."""
    values = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals or not name:
            raise WrongCommandError(f"--set must be NAME=JSON, as in --set 'Total=12'; got {one!r}")
        values[name] = from_json(text, f"the value of {name}")
    return values
