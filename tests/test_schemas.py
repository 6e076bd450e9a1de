"""JSON schemas: what fits one, and where it does not."""

import pytest

from kaygraph._schemas import checked_schema, misfit


def test_what_fits_has_nothing_wrong() -> None:
    """Whatever the schema is."""
    assert misfit({"a": 1}, {"properties": {"a": {"type": "integer"}}}, "journal") is None
    assert misfit(None, {}, "journal") is None


def test_what_does_not_fit_is_reported_with_its_place() -> None:
    """As a path, and in words."""
    schema = {"properties": {"a": {"items": {"type": "string"}}}}
    assert misfit({"a": ["x", 2]}, schema, "journal") == "$.a[1]: 2 is not of type 'string'"


def test_a_schema_that_is_none_is_refused() -> None:
    """With the place that is wrong."""
    with pytest.raises(ValueError, match=r"schema is not a JSON schema, at \$\.type"):
        checked_schema("schema", {"type": "whole"}, "journal")


def test_nothing_is_fetched() -> None:
    """A reference to what stands elsewhere is an error."""
    with pytest.raises(ValueError, match="refers to something outside of it"):
        misfit(1, {"$ref": "https://example.org/schema.json"}, "journal")
