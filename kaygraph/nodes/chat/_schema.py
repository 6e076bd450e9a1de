"""JSON written by a model, and the schema it must fit."""

from typing import Any

from ..._schemas import checked_schema, misfit
from .._json import decode
from ._completion import ChatFormatError


def check_schema(name: str, value: Any) -> Any:
    """Return ``value`` if it is a JSON schema, or None."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be a JSON schema, as in {{'type': 'object'}}, got {value!r}")
    return checked_schema(name, value, "chat")


def fitting(text: str, schema: Any, max_depth: int) -> Any:
    """Return the value of the JSON that a model wrote, if it fits the schema.

    Raises:
        ChatFormatError: It is not JSON, is nested too deeply, or does not fit.
        ValueError: The schema refers to something outside of it.
    """
    try:
        data = decode(text.encode(), max_depth)
    except ValueError as error:
        raise ChatFormatError(f"the answer is not JSON: {error}") from error
    try:
        wrong = misfit(data, schema, "chat")
    except RecursionError:
        text = "the answer cannot be checked: it or the schema is nested too deeply for Python"
        raise ChatFormatError(text) from None
    if wrong is not None:
        raise ChatFormatError(f"the answer does not fit the schema, at {wrong}")
    return data
