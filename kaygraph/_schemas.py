"""JSON schemas: whether a schema is valid, and where a value does not match it."""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from math import isfinite
from typing import Any

from ._extras import extra

SHOWN = 300  # characters of an error


def checked_schema(name: str, value: dict[str, Any], install: str) -> dict[str, Any]:
    """Return ``value`` when it is a JSON schema; ``install`` is the extra that checks it.

    Raises:
        ValueError: It is not a JSON schema.
    """
    jsonschema = extra("jsonschema", install)
    try:
        _validator(value, install).check_schema(value)
    except jsonschema.SchemaError as error:
        raise ValueError(
            f"{name} is not a JSON schema, at {error.json_path}: {error.message}"
        ) from None
    return value


def misfit(data: Any, schema: dict[str, Any], install: str) -> str | None:
    """Return where and why a value does not match a schema, or None if it does.

    Raises:
        ValueError: The schema refers to something outside of it.
        RecursionError: The value, or the schema, is nested deeper than Python allows.
    """
    # Its $schema would lead a reference to its root back to the library's own validator.
    bare = {name: value for name, value in schema.items() if name != "$schema"}
    # The registry is empty: references within the schema resolve, nothing is fetched.
    registry = extra("referencing", install).Registry()
    validator = _exact(_validator(schema, install), install)(bare, registry=registry)
    try:
        best_match = extra("jsonschema", install).exceptions.best_match
        wrong = best_match(validator.iter_errors(data))
    except extra("referencing", install).exceptions.Unresolvable as error:
        text = str(error)[:SHOWN]
        raise ValueError(f"schema refers to something outside of it: {text}") from None
    return None if wrong is None else f"{wrong.json_path}: {wrong.message[:SHOWN]}"


def _validator(schema: Any, install: str) -> Any:
    validators = extra("jsonschema", install).validators
    return validators.validator_for(schema, default=validators.Draft202012Validator)


@cache
def _exact(validator: Any, install: str) -> Any:
    """Return a validator that divides numbers as they are written.

    jsonschema 4.26 divides floats: 19.99 / 0.01 is 1998.9999999999998, so 19.99 would not be a
    multiple of a cent.
    """

    def multiple_of(here: Any, divisor: Any, number: Any, _: Any) -> Iterator[Exception]:
        if here.is_type(number, "number") and not _divides(divisor, number):
            error = extra("jsonschema", install).ValidationError
            yield error(f"{number!r} is not a multiple of {divisor!r}")

    names = {"multipleOf", "divisibleBy"} & validator.VALIDATORS.keys()
    extend = extra("jsonschema", install).validators.extend
    return extend(validator, dict.fromkeys(names, multiple_of))


def _divides(divisor: float, number: float) -> bool:
    if any(isinstance(one, float) and not isfinite(one) for one in (divisor, number)):
        return False  # 1e999, say
    return (_written(number) / _written(divisor)).denominator == 1


def _written(number: float) -> Fraction:
    """Return the number that a float is written as, not the one that it holds."""
    return Fraction(repr(number) if isinstance(number, float) else number)
