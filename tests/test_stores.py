"""Shared stores of any shape: what their keys are, and what ready-made nodes make of them."""

from collections import OrderedDict, UserDict
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, dataclass, field
from functools import cached_property
from types import MappingProxyType, SimpleNamespace
from typing import Any

import attrs
import msgspec
import pydantic
import pytest

from kaygraph import BatchNode, Graph, settle
from kaygraph._stores import as_mapping, contents_of
from kaygraph.nodes import Case, MergeNode, SwitchNode, TransformNode, node, parallel_node
from kaygraph.nodes.errors import MissingInputError
from kaygraph.patterns import AggregationNode, BatchSplitterNode, RaceNode

pytestmark = pytest.mark.anyio


@dataclass
class Plain:
    n: int = 3
    rows: Any = field(default_factory=lambda: [1, 2, 3])
    x: Any = None


@dataclass(slots=True)
class Slotted:
    n: int = 3
    rows: Any = field(default_factory=lambda: [1, 2, 3])
    x: Any = None


class Model(pydantic.BaseModel):
    n: int = 3
    rows: Any = [1, 2, 3]
    x: Any = None


class Extra(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    n: int = 3


class Struct(msgspec.Struct):
    n: int = 3
    rows: Any = msgspec.field(default_factory=lambda: [1, 2, 3])
    x: Any = None


@attrs.define
class Attrs:
    n: int = 3
    rows: Any = attrs.field(factory=lambda: [1, 2, 3])
    x: Any = None


class Class:
    """A class of the user's, with a property and a method."""

    n = 3

    def __init__(self) -> None:
        self.rows = [1, 2, 3]
        self._secret = "s"

    @property
    def doubled(self) -> int:
        return self.n * 2

    @cached_property
    def size(self) -> int:
        return len(self.rows)

    def save(self) -> None:
        """Is no key."""


STORES: list[Callable[[], Any]] = [
    Plain, Slotted, Model, lambda: Extra(rows=[1, 2, 3]), Struct, Attrs, Class,  # type: ignore[call-arg]
    lambda: SimpleNamespace(n=3, rows=[1, 2, 3]), lambda: {"n": 3, "rows": [1, 2, 3]},
    lambda: UserDict(n=3, rows=[1, 2, 3]), lambda: OrderedDict(n=3, rows=[1, 2, 3]),
]  # fmt: skip
KINDS = pytest.mark.parametrize("make", STORES, ids=lambda make: type(make()).__name__)


@KINDS
async def test_ready_made_nodes_read_and_write_a_store_of_any_shape(make: Any) -> None:
    """Attributes of an object are what keys of a mapping are."""

    @node(reads="n", writes="x")
    async def double(n: int) -> int:
        return n * 2

    @parallel_node(reads="rows", writes="rows")
    async def triple(row: int) -> int:
        return row * 3

    seen: list[Any] = []

    @node(reads=("n", "rows", "x"))
    async def show(*values: Any) -> None:
        seen.append(values)

    switch = SwitchNode(Case("big", when=lambda x: x > 5), reads="x")
    graph = Graph(double >> triple >> switch)
    switch - "big" >> show
    await graph.run_async(shared := make())
    assert seen == [(3, [3, 6, 9], 6)]
    assert as_mapping(shared)["x"] == 6


@KINDS
async def test_merges_splits_and_patterns_take_a_store_of_any_shape(make: Any) -> None:
    """Also what reads several keys, or writes what it was given in chunks."""

    class Sums(BatchNode[Any, Any]):
        async def exec(self, chunk: Any) -> int:
            return sum(chunk)

    shared = make()
    pipe = (
        BatchSplitterNode(reads="rows", size=2) | Sums() | AggregationNode(writes="x", reduce=max)
    )
    await Graph(pipe).run_async(shared)
    assert as_mapping(shared)["x"].value == 3

    async def fails(n: int) -> int:
        raise ConnectionError(n)

    merge = MergeNode(inputs=("n", "rows"), writes="rows")
    await Graph(RaceNode(fails, abs, reads="n", writes="x") >> merge).run_async(shared)
    assert as_mapping(shared)["x"] == 3
    assert as_mapping(shared)["rows"] == {"n": 3, "rows": [1, 2, 3]}


@KINDS
async def test_a_key_that_is_not_there_is_named_next_to_those_that_are(make: Any) -> None:
    """Whatever the store is."""
    lacks = TransformNode(reads="row", writes="x", fields={})
    with pytest.raises(MissingInputError, match=r"reads shared\['row'\].*Did you mean 'rows'\?"):
        await lacks.run_async(make())


def test_methods_and_private_attributes_are_no_keys() -> None:
    """Properties and attributes of the class can be read."""
    stored = as_mapping(Class())
    assert list(stored) == ["rows"]
    assert stored["n"] == 3
    assert stored["doubled"] == 6
    assert stored["size"] == 3
    for name in ("save", "_secret", "__class__", "unknown", 3):
        assert name not in stored


def test_a_field_without_a_value_has_not_been_written() -> None:
    """As a key that is not there; a value of None is a value."""

    @dataclass(slots=True)
    class Later:
        first: int | None
        second: int = field(init=False)

    assert dict(as_mapping(Later(None))) == {"first": None}


@pytest.mark.parametrize("key", ["x", "n"])
async def test_the_error_of_a_model_names_the_node_that_wrote(key: str) -> None:
    """The validation error is the model's own; a note says who wrote what."""

    class Checked(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(validate_assignment=True)
        n: int = 3
        x: int = 0

    @node(reads="n", writes=key)
    async def spells(n: int) -> str:
        return "three"

    with pytest.raises(pydantic.ValidationError, match="valid integer") as caught:
        await Graph(settle(spells) >> spells).run_async(shared := Checked())
    assert any(f"node 'spells' writes {key!r} to a Checked" in n for n in caught.value.__notes__)
    assert shared == Checked()


@dataclass(frozen=True)
class Frozen:
    total: int = 0


class FrozenModel(pydantic.BaseModel, frozen=True):
    total: int = 0


class FrozenStruct(msgspec.Struct, frozen=True):
    total: int = 0


@pytest.mark.parametrize(
    ("store", "error"),
    [
        (Frozen(), FrozenInstanceError),
        (FrozenModel(), pydantic.ValidationError),
        (FrozenStruct(), AttributeError),
        (MappingProxyType({"total": 0}), TypeError),
    ],
)
async def test_a_store_that_takes_no_writes_says_who_wrote_what(
    store: Any, error: type[Exception]
) -> None:
    """What is read-only stays so."""

    @node(writes="total")
    async def sums() -> int:
        return 3

    with pytest.raises(error) as caught:
        await sums.run_async(store)
    assert caught.value.__notes__[0].startswith("node 'sums' writes 'total' to a ")


@pytest.mark.parametrize("store", [Model(), Struct(), Slotted()])
async def test_a_misspelt_field_is_met_with_the_one_that_was_meant(store: Any) -> None:
    """Where the store takes no others."""

    @node(writes="row")
    async def lists() -> list[int]:
        return []

    with pytest.raises((ValueError, AttributeError)) as caught:
        await lists.run_async(store)
    assert caught.value.__notes__[0].endswith("Did you mean 'rows'?")


def test_what_a_store_holds_is_reported_without_running_its_code() -> None:
    """Fields, slots and attributes, also private ones; None where there is nothing to look into."""
    assert contents_of(Class()) == {"rows": [1, 2, 3], "_secret": "s"}
    assert contents_of(Struct()) == {"n": 3, "rows": [1, 2, 3], "x": None}
    assert contents_of(Extra(more=1)) == {"n": 3, "more": 1}  # type: ignore[call-arg]
    assert contents_of(MappingProxyType({"a": 1})) == {"a": 1}
    for nothing in ([1], "text", 3, None, object()):
        assert contents_of(nothing) is None


def test_a_dict_is_taken_as_it_is() -> None:
    """Nothing is copied."""
    shared: Mapping[str, Any] = {"a": 1}
    assert as_mapping(shared) is shared
    assert contents_of(shared) is shared
