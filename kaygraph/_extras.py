"""Libraries that only a part of kaygraph needs; they are imported where they are used."""

from importlib import import_module
from typing import Any


class MissingExtraError(ImportError):
    """A required library is not installed; the message says how to install it."""


def extra(module: str, name: str) -> Any:
    """Import and return a module that the extra ``name`` installs.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f"{module} is not installed. Type: python -m pip install 'kaygraph[{name}]'"
        ) from None
