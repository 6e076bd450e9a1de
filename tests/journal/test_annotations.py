"""Classes that annotations name need no registration."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, Protocol, TypedDict, TypeVar

import pydantic
import pytest

from kaygraph import Graph, Journal, Node
from kaygraph.journal.annotations import classes_in, returned_by
from kaygraph.journal.encoding import Encoding
from kaygraph.nodes import node
from tests.journal.recorded import Colour, Frozen, Holder, Keyword, Model, Pair, Point, Struct

if TYPE_CHECKING:
    from tests.journal.recorded import Elsewhere

T = TypeVar("T")


class Box(pydantic.BaseModel, Generic[T]):
    content: T


class Message(TypedDict):
    at: Point


class Shown(Protocol):
    colour: Colour


NAMED: dict[str, tuple[Any, set[type]]] = {
    "nothing": (None, set()),
    "built in": (dict[str, list[int]], set()),
    "deep": (dict[str, list[Pair | None]], {Pair}),
    "with metadata": (Annotated[Struct, "checked"], {Struct}),
    "items": (AsyncIterator[Struct], {Struct}),
    "literal": (Literal["Point"], set()),
    "fields": (Frozen, {Frozen, Point}),
    "typed dict": (Mapping[str, Message], {Point}),
    "protocol": (Shown, {Colour}),
    "generic": (Keyword[Point], {Keyword, Point}),
    "generic model": (Box[Model], {Box[Model], Model, Point}),
}


@pytest.mark.parametrize(("annotation", "classes"), NAMED.values(), ids=NAMED)
def test_classes_are_found_wherever_they_stand(annotation: Any, classes: set[type]) -> None:
    """Each is found, with those of its fields, and none without values of its own."""
    assert set(classes_in(annotation)) - {type(Point | None)} == classes


def test_other_annotations_of_a_function_do_not_matter() -> None:
    """One that only a type checker resolves is not a reason to leave out the others."""

    def known(item: "Elsewhere") -> "list[Point]":
        raise NotImplementedError

    def unknown(item: int) -> "Elsewhere":
        raise NotImplementedError

    assert returned_by(known) == list[Point]
    assert returned_by(unknown) is None
    assert returned_by(len) is None


class Load(Node):
    def exec(self, prep_res: Any) -> Holder:
        return Holder(model=Model(name="a", point=Point(1)))

    def post(self, shared: Any, prep_res: Any, exec_res: Holder) -> None:
        shared["loaded"] = exec_res


@node(writes="loaded")
def load() -> Holder:
    return Holder(model=Model(name="a", point=Point(1)))


class Recover(Load):
    def exec(self, prep_res: Any) -> Any:
        raise OSError("no answer")

    def exec_fallback(self, prep_res: Any, exc: Exception) -> Holder:
        return Holder(model=Model(name="a", point=Point(1)))


@pytest.mark.parametrize("first", [Load(), load, Recover()], ids=["node", "function", "fallback"])
def test_what_a_hook_is_annotated_to_return_is_recorded(first: Any, tmp_path: Path) -> None:
    """A resumed run hands over values of the same classes; types= was not needed."""
    seen: list[Any] = []

    @node(reads="loaded")
    def save(loaded: Any) -> None:
        seen.append(loaded)
        if len(seen) == 1:
            raise OSError("no space")

    graph = Graph(first >> save)
    with pytest.raises(OSError, match="no space"):
        graph.run({}, journal=Journal(tmp_path / "runs.db", run="a"))
    graph.run({}, journal=Journal(tmp_path / "runs.db", run="a"))
    assert seen[0] == seen[1] == Holder(model=Model(name="a", point=Point(1)))
    assert seen[0] is not seen[1]


def test_a_class_that_was_written_anew_takes_the_place_of_the_old_one() -> None:
    """A notebook cell may run again, with an existing journal."""
    encoding = Encoding()
    for field in ("x", "y"):
        cls = make_dataclass("Cell", [field])
        cls.__module__ = __name__

        def made() -> Any:
            raise NotImplementedError

        made.__annotations__["return"] = cls
        encoding.register_returned(made)
        assert encoding.decode(encoding.encode(cls(1), "it")) == cls(1)


def test_items_are_distinguished_without_being_registered() -> None:
    """A fingerprint needs a class that declares what it consists of, but not to be read again."""
    here, there = Encoding(), Encoding([Frozen, Pair, Colour])
    for value in (
        Frozen(Point(1)),
        Pair(1, {Colour.RED}),
        Struct(1),
        Holder(model=Model(name="a")),
    ):
        assert here.fingerprint(value) == there.fingerprint(value)
    assert here.fingerprint(Point(1)) != here.fingerprint(Point(2))
