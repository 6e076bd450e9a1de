"""JSON that a model writes, and the schema that it is to fit."""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from math import isfinite
from typing import Any

from ..._extras import extra
from .._json import decode
from ._completion import SHOWN, ChatFormatError


def check_schema(name: str, value: Any) -> Any:
    """Return ``value`` when it is a JSON schema, or None."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be a JSON schema, as in {{'type': 'object'}}, got {value!r}")
    jsonschema = extra("jsonschema", "chat")
    try:
        _validator(value).check_schema(value)
    except jsonschema.SchemaError as error:
        raise ValueError(
            f"{name} is no JSON schema, at {error.json_path}: {error.message}"
        ) from None
    return value


def _validator(schema: Any) -> Any:
    validators = extra("jsonschema", "chat").validators
    return validators.validator_for(schema, default=validators.Draft202012Validator)


@cache
def _exact(validator: Any) -> Any:
    """Return a validator that takes numbers as they are written, where they are divided.

    jsonschema 4.26 divides floats: 19.99 / 0.01 is 1998.9999999999998, so that 19.99 would be no
    multiple of a cent.
    """

    def multiple_of(here: Any, divisor: Any, number: Any, _: Any) -> Iterator[Exception]:
        if here.is_type(number, "number") and not _divides(divisor, number):
            error = extra("jsonschema", "chat").ValidationError
            yield error(f"{number!r} is not a multiple of {divisor!r}")

    names = {"multipleOf", "divisibleBy"} & validator.VALIDATORS.keys()
    extend = extra("jsonschema", "chat").validators.extend
    return extend(validator, dict.fromkeys(names, multiple_of))


def _divides(divisor: float, number: float) -> bool:
    if any(isinstance(one, float) and not isfinite(one) for one in (divisor, number)):
        return False  # 1e999, say
    return (_written(number) / _written(divisor)).denominator == 1


def _written(number: float) -> Fraction:
    """Return the number that a float is written as, and not the one that it holds."""
    return Fraction(repr(number) if isinstance(number, float) else number)


def fitting(text: str, schema: Any, max_depth: int) -> Any:
    """Return what JSON says that a model has written, when it fits the schema.

    Raises:
        ChatFormatError: It is no JSON, is nested too deep, or does not fit.
        ValueError: The schema refers to what is not in it.
    """
    try:
        data = decode(text.encode(), max_depth)
    except ValueError as error:
        raise ChatFormatError(f"the answer is no JSON: {error}") from error
    # Its $schema would lead a reference to its root back to the library's own validator.
    bare = {name: value for name, value in schema.items() if name != "$schema"}
    # The registry is empty: what a schema refers to stands in the schema, nothing is fetched.
    registry = extra("referencing", "chat").Registry()
    validator = _exact(_validator(schema))(bare, registry=registry)
    try:
        wrong = extra("jsonschema", "chat").exceptions.best_match(validator.iter_errors(data))
    except extra("referencing", "chat").exceptions.Unresolvable as error:
        raise ValueError(f"schema refers to what is not in it: {str(error)[:SHOWN]}") from None
    except RecursionError:
        text = "the answer cannot be checked: it, or the schema, goes deeper than Python can follow"
        raise ChatFormatError(text) from None
    if wrong is not None:
        what = f"{wrong.json_path}: {wrong.message[:SHOWN]}"
        raise ChatFormatError(f"the answer does not fit the schema, at {what}")
    return data
