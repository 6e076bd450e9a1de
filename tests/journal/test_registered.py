"""Values of registered classes are restored unchanged, without calling ``__init__``."""

import os
import re
import sqlite3
from abc import ABC, abstractmethod
from dataclasses import make_dataclass
from enum import Enum
from functools import partial
from typing import Any

import msgspec
import pydantic
import pytest

from kaygraph import JournalError, Outcome
from kaygraph.errors import NotRecordableError
from kaygraph.journal.encoding import Encoding
from tests.journal import recorded
from tests.journal.recorded import (
    Attributed,
    Checked,
    Colour,
    Config,
    Counted,
    Derived,
    Elsewhere,
    Frozen,
    Hashed,
    Holder,
    Ids,
    Keyword,
    Labelled,
    Metres,
    Mode,
    Model,
    Name,
    Narrow,
    Number,
    OutOfStock,
    Pair,
    Permission,
    Plain,
    Point,
    Rows,
    Secretive,
    Slotted,
    Struct,
    Word,
)

CLASSES = [
    cls
    for cls in vars(recorded).values()
    if isinstance(cls, type) and cls.__module__ == recorded.__name__
]


def counted() -> Counted:
    value = Counted(1)
    assert value.costly
    return value


def hashed() -> Hashed:
    value = Hashed("a")
    hash(value)
    return value


def metres() -> Metres:
    value = Metres(1.5)
    value.unit = "km"
    return value


def rows() -> Rows:
    value = Rows([(1,), 2])
    value.source = "orders"
    return value


def narrow() -> Narrow:
    value = Narrow(name="a", point=Labelled(1, tags=["b"]), extra=(1, 2))
    value._token = "t"
    return value


def checked() -> Checked:
    value = Checked(total=1)
    value.__dict__["seen"] = {1}
    return value


KEPT: dict[str, Any] = {
    "dataclass": Point(1, -0.0),
    "inherited": Labelled(1, tags=["a"]),
    "frozen": Frozen(Point(1), (Frozen(Point(2)),)),
    "slots": Slotted((1,), {2}),
    "keyword only": Keyword(x=b"x"),
    "not a number": Point(1, float("nan")),
    "post init": counted(),
    "plain class": Plain([1]),
    "cached hash": hashed(),
    "attrs": Attributed(1, [2]),
    "enum": Colour.RED,
    "alias": Colour.ROUGE,
    "enum of lists": Colour.LIST,
    "int enum": Number.ONE,
    "str enum": Word.ONE,
    "flag": Permission.READ,
    "flags": Permission.READ | Permission.RUN,
    "no flag": Permission(0),
    "unknown flags": Mode(9),
    "named tuple": Pair(1, (Pair(2), [3])),
    "str": Name("x"),
    "float": metres(),
    "dict": Config(b=1, a=(2,)),
    "list": rows(),
    "pydantic": Model(name="a"),
    "pydantic, inherited": narrow(),
    "pydantic, narrower than its field": Holder(model=narrow(), models=[narrow()]),
    "pydantic, root": Ids([1, 2]),
    "pydantic, not validated": Model.model_construct({"name"}, name=3),
    "struct": Struct(1, (2,)),
    "struct, narrower than its field": Struct(Derived(1)),
    "struct, post init": checked(),
    "error": OutOfStock("tea", left=1),
    "outcome": Outcome("Fetch", 3, "ok", Point(1), attempts=2, seconds=0.5, item=(1,)),
}


@pytest.fixture(name="encoding")
def _encoding() -> Encoding:
    return Encoding(CLASSES)


def state_of(value: Any) -> Any:
    """Return what two equal values have in common, for all kinds of classes."""
    if isinstance(value, Enum | set):
        return value
    classes = type(value).__mro__
    held = {name for cls in classes for name in getattr(cls, "__slots__", ())}
    held |= {*getattr(value, "__struct_fields__", ()), *getattr(value, "__dict__", {})}
    held -= {"__weakref__", "__dict__", "_attrs_cached_hash", "costly"}
    held = {f"_Plain{name}" if name == "__hidden" else name for name in held}
    parts = {name: state_of(getattr(value, name)) for name in sorted(held) if hasattr(value, name)}
    if isinstance(value, pydantic.BaseModel):
        parts["fields set"] = value.model_fields_set
    if isinstance(value, list | tuple):
        parts["items"] = [state_of(item) for item in value]
    if isinstance(value, dict):
        parts["items"] = [(state_of(key), state_of(item)) for key, item in value.items()]
    return type(value), parts or repr(value)


@pytest.mark.parametrize("value", KEPT.values(), ids=KEPT)
def test_values_of_registered_classes_come_back_as_they_were(
    encoding: Encoding, value: Any
) -> None:
    """Each is of the same class with the same content, and has an equal fingerprint."""
    for wrapped in (value, [(value, {"a": value})]):
        back = encoding.decode(encoding.encode(wrapped, "it"))
        assert state_of(back) == state_of(wrapped)
        assert encoding.fingerprint(back) == encoding.fingerprint(wrapped)


def test_members_of_an_enum_are_the_same_objects(encoding: Encoding) -> None:
    """Values compared with ``is`` keep working."""
    for member in (Colour.RED, Number.ONE, Permission.READ | Permission.WRITE):
        assert encoding.decode(encoding.encode(member, "it")) is member


def test_a_hash_that_was_kept_is_computed_anew(encoding: Encoding) -> None:
    """The hash of a string differs between processes."""
    back = encoding.decode(encoding.encode(hashed(), "it"))
    assert back._attrs_cached_hash is None
    assert {hashed(): 1}[back] == 1


def test_private_attributes_and_the_fields_that_were_set_come_back(encoding: Encoding) -> None:
    """A model is not validated again, and does not take all of its fields for set ones."""
    back = encoding.decode(encoding.encode(narrow(), "it"))
    assert back._token == "t"
    assert back.model_fields_set == {"name", "point", "extra"}
    assert back.model_extra == {"extra": (1, 2)}


@pytest.mark.parametrize("value", KEPT.values(), ids=KEPT)
def test_values_of_other_classes_are_refused(value: Any) -> None:
    """Nothing is recorded of an unregistered class, except kaygraph's own."""
    if isinstance(value, Outcome):
        value = value.value
    with pytest.raises(NotRecordableError, match=rf"types=\[{type(value).__name__}\]"):
        Encoding().encode([value], "it")


def test_a_class_brings_those_of_its_fields() -> None:
    """The classes of a registered class's fields need not be registered one by one."""
    encoding = Encoding([Frozen, Holder])
    for value in (Frozen(Point(1)), Holder(model=Model(name="a", point=Point(1)))):
        assert encoding.decode(encoding.encode(value, "it")) == value


def test_a_subclass_in_a_field_is_not_taken_for_the_class_of_the_field() -> None:
    """It is refused by its own name, unless it is registered itself."""
    encoding = Encoding([Holder])
    with pytest.raises(NotRecordableError, match=r"types=\[Narrow\]"):
        encoding.encode(Holder(model=narrow()), "it")


def test_a_secret_is_written_only_where_someone_says_so() -> None:
    """The class of a field is not enough: what is recorded must be readable."""
    value = Secretive(key=pydantic.SecretStr("abc"))
    with pytest.raises(NotRecordableError, match="A secret is not recorded"):
        Encoding([Secretive]).encode(value, "it")
    encoding = Encoding([Secretive, pydantic.SecretStr])
    assert encoding.decode(encoding.encode(value, "it")) == value


def test_a_class_that_keeps_its_fields_elsewhere_is_refused(encoding: Encoding) -> None:
    """What is not accessible on the object would be lost."""
    with pytest.raises(NotRecordableError, match="cannot be restored"):
        encoding.encode(Elsewhere(1), "it")


def test_an_attribute_that_cannot_be_recorded_is_named(encoding: Encoding) -> None:
    """The place in the error leads to it."""
    with pytest.raises(NotRecordableError, match=r"\[0\]\.x is of the type"):
        encoding.encode([Struct(print)], "it")


class Opened:
    def __del__(self) -> None:
        raise AssertionError("no object of this class is ever made")


class Shape(ABC):
    @abstractmethod
    def area(self) -> float: ...


@pytest.mark.parametrize(
    "cls",
    [type(print), re.Pattern, partial, os.stat_result, sqlite3.Connection, Opened, Shape, "Point"],
)
def test_a_class_whose_values_cannot_be_made_again_is_no_type_to_register(cls: Any) -> None:
    """The error comes when the types are given, not when a value is recorded."""
    with pytest.raises(TypeError, match="types"):
        Encoding([cls])


def test_two_classes_of_one_name_are_refused() -> None:
    """It would be unclear to which of them a recorded value belongs."""

    def make() -> type:
        class Local:
            pass

        return Local

    with pytest.raises(ValueError, match="two classes named"):
        Encoding([make(), make()])


def test_a_class_that_is_no_longer_registered_is_named(encoding: Encoding) -> None:
    """The error of the resumed run says what to type."""
    data = encoding.encode({"at": Point(1)}, "it")
    with pytest.raises(JournalError, match=r"recorded\.Point, .*types=\[Point\]"):
        Encoding().decode(data)


def test_a_class_with_another_field_since_is_refused(encoding: Encoding) -> None:
    """A value without a field that its class has now would fail later, and elsewhere."""
    data = encoding.encode(Point(1), "it")

    later = make_dataclass("Point", ["z", "x", "y"])
    later.__module__ = Point.__module__
    with pytest.raises(JournalError, match="has a field 'z' now"):
        Encoding([later]).decode(data)


def test_a_struct_with_other_fields_since_is_refused() -> None:
    """A default would replace what was recorded, or nothing."""
    data = Encoding([Struct]).encode(Struct(1), "it")
    for fields, message in ((["x", "y", ("z", int, 0)], "'z' now"), (["x"], "'y' any longer")):
        later = msgspec.defstruct("Struct", fields, module=Struct.__module__)
        with pytest.raises(JournalError, match=message):
            Encoding([later]).decode(data)


def test_a_member_that_an_enum_has_lost_is_named() -> None:
    """Its value is not looked for."""
    data = Encoding([Colour]).encode(Colour.RED, "it")
    later = Enum("Colour", {"GREEN": "red"}, module=Colour.__module__)
    with pytest.raises(JournalError, match="no member 'RED' any longer"):
        Encoding([later]).decode(data)


def test_a_program_may_be_imported_when_its_run_is_resumed() -> None:
    """Its classes belong to ``__main__`` when it is run, and not when it is imported."""
    here = make_dataclass("Place", ["x"])
    here.__module__ = "__main__"
    there = make_dataclass("Place", ["x"])
    there.__module__ = "program"
    run, imported = Encoding([here]), Encoding([there])
    for one, other, cls in ((run, imported, there), (imported, run, here)):
        value = (here if cls is there else there)(1)
        back = other.decode(one.encode(value, "it"))
        assert back == cls(1)
        assert one.fingerprint(value) == other.fingerprint(back)


class Opaque:
    """It does not declare what it consists of."""


def test_an_object_that_may_be_different_each_time_has_no_fingerprint(encoding: Encoding) -> None:
    """A key that changes between processes would repeat finished work."""
    with pytest.raises(NotRecordableError, match=r"^The item .*types=\[Opaque\]"):
        encoding.fingerprint([Opaque()])
    assert Encoding([Opaque]).fingerprint([Opaque()])


def test_the_classes_that_a_function_returns_are_registered() -> None:
    """The return annotation of ``exec`` is enough, however deep the class is nested in it."""

    def rows_of() -> dict[str, list[Holder | None]]:
        raise NotImplementedError

    value = {"a": [Holder(model=Model(name="a"))]}
    encoding = Encoding()
    encoding.register_returned(rows_of)
    assert encoding.decode(encoding.encode(value, "it")) == value
