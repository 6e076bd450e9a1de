"""Switches: the first case that matches, and an error if that cannot be decided."""

import copy
import operator
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaygraph import Graph, Node, NodeDefinitionError, UnknownActionError
from kaygraph.nodes import Case, MissingFieldError, SwitchNode
from kaygraph.nodes.errors import ComparisonError

pytestmark = pytest.mark.anyio


def pickled(case: Case) -> Case:
    copied: Case = pickle.loads(pickle.dumps(case))
    return copied


@dataclass(frozen=True)
class User:
    """An object with fields."""

    age: int | None
    tags: tuple[str, ...] = ()
    _secret: str = "hidden"

    def grow(self) -> None:
        """Not a field."""


class Ends(Node[Any, Any]):
    """Notes that it was reached."""

    def post(self, shared: Any, *_: Any) -> None:
        shared["end"] = self.name


async def action(read: Any, *cases: Case) -> str | None:
    return await SwitchNode(*cases, reads="it").run_async({"it": read})


ADULT = Case("adult", "user.age", ">=", 18)


@pytest.mark.parametrize(
    ("age", "end"), [(None, "ask"), (17, "refuse"), (18, "admit"), (99, "honour")]
)
async def test_the_first_case_that_matches_leads_on(age: int | None, end: str) -> None:
    """In their order; default only if none matches."""
    switch = SwitchNode(
        Case("new", "user.age", "is_null"),
        Case("old", "user.age", ">", 90),
        ADULT,
        reads="request",
        writes="way",
    )
    switch - "new" >> Ends(name="ask")
    switch - "old" >> Ends(name="honour")
    switch - "adult" >> Ends(name="admit")
    switch >> Ends(name="refuse")
    shared: dict[str, Any] = {"request": {"user": {"age": age}}}
    await Graph(switch).run_async(shared)
    assert shared["end"] == end
    assert shared["way"] == {"refuse": "default", "ask": "new", "honour": "old"}.get(end, "adult")


async def test_a_case_without_an_edge_is_reported() -> None:
    """As any action that leads nowhere."""
    switch = SwitchNode(ADULT, reads="it")
    switch - "adlut" >> Ends()
    with pytest.raises(UnknownActionError, match="Did you mean 'adlut'"):
        await Graph(switch).run_async({"it": {"user": {"age": 20}}})


@pytest.mark.parametrize(
    ("name", "value", "matching", "other"),
    [
        ("==", 5, 5.0, 6),
        ("!=", "a", "b", "a"),
        (">", 5, 6, 5),
        ("<", "b", "a", "b"),
        (">=", 5, 5, 4),
        ("<=", 5.5, 5, 6),
        ("in", ("a", "b"), "a", "c"),
        ("in", {1, 2}, 2, 3),
        ("in", "abc", "bc", "cb"),
        ("contains", "a", ["b", "a"], ["b"]),
        ("contains", "bc", "abc", "cba"),
        ("contains", "key", {"key": None}, {}),
        ("is_null", ..., None, 0),
        ("is_not_null", ..., "", None),
        ("==", None, None, 0),
        ("!=", None, 0, None),
        ("==", "paid", "paid", None),
    ],
)
async def test_an_operator_compares_the_field_with_the_value(
    name: Any, value: Any, matching: Any, other: Any
) -> None:
    """Each in a record, and of the whole of what was read."""
    assert await action({"it": matching}, Case("yes", "it", name, value)) == "yes"
    assert await action({"it": other}, Case("yes", "it", name, value)) == "default"
    assert await action(matching, Case("yes", operator=name, value=value)) == "yes"
    assert await action(other, Case("yes", operator=name, value=value)) == "default"


class Status(Enum):
    """Not a string."""

    PAID = "paid"


@pytest.mark.parametrize(
    ("found", "name", "value"),
    [
        ("18", "==", 18),
        (18, "!=", "18"),
        (Status.PAID, "==", "paid"),
        ((1, 2), "==", [1, 2]),
        ("17", ">=", 18),
        (None, "<", 18),
        ({"a": 1}, "<=", {"a": 2}),
        ("5", "in", (5, 6)),
        (5, "in", "567"),
        ([5], "in", {5}),
        ("5", "in", range(1000)),
        (5, "contains", 5),
        ([5, 6], "contains", "5"),
        ("56", "contains", 5),
        (None, "contains", 5),
    ],
)
async def test_types_that_cannot_be_compared_are_an_error(
    found: Any, name: Any, value: Any
) -> None:
    """And never "no": the error names the field and the types, not the values."""
    with pytest.raises(ComparisonError) as caught:
        await action({"it": found}, Case("yes", "it", name, value))
    error = caught.value
    assert (error.action, error.field, error.operator) == ("yes", "it", name)
    assert error.types == (type(found).__name__, type(value).__name__)
    assert "Case 'yes' cannot compare 'it' of type " in str(error)
    assert "18" not in str(error)
    assert isinstance(error, TypeError)


class Ambiguous:
    """Compares element by element, as arrays do."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError("the truth of several elements is ambiguous")

    __hash__ = None  # type: ignore[assignment]


async def test_objects_of_one_class_are_equal_as_python_says() -> None:
    """Those without __eq__ equal themselves; a result that is not a bool is an error."""
    one, other = Lazy(), Lazy()
    assert await action(one, Case("yes", operator="==", value=one)) == "yes"
    assert await action(other, Case("yes", operator="==", value=one)) == "default"
    with pytest.raises(ComparisonError, match="of type Ambiguous"):
        await action(Ambiguous(), Case("yes", operator="==", value=5))


async def test_a_container_with_nothing_in_it_holds_nothing() -> None:
    """There is nothing that it could not be compared with."""
    assert await action(5, Case("yes", operator="in", value=())) == "default"
    assert await action([], Case("yes", operator="contains", value="a")) == "default"


async def test_a_mixed_container_is_looked_through() -> None:
    """One element that compares is enough to tell."""
    assert await action("a", Case("yes", operator="in", value=(None, 5))) == "default"
    assert await action("a", Case("yes", operator="in", value=(5, "a"))) == "yes"


@pytest.mark.parametrize(
    ("read", "known"),
    [
        ({}, "Known fields: none"),
        ({"user": {"agee": 1, "name": 2}}, "'agee', 'name'. Did you mean 'agee'?"),
        ({"user": None}, "has no field 'age' of 'user.age'"),
        ({"user": "text"}, "has no field 'age' of 'user.age'"),
        (None, "has no field 'user'"),
    ],
)
async def test_a_missing_field_is_an_error(read: Any, known: str) -> None:
    """Also for is_null, which is about a field that is there."""
    for case in (ADULT, Case("new", "user.age", "is_null")):
        with pytest.raises(MissingFieldError) as caught:
            await action(read, case)
        assert known in str(caught.value)
        assert caught.value.field == "user.age"


async def test_a_long_record_is_shortened_in_the_error() -> None:
    """An error names twenty fields and the closest."""
    record = {f"column_{number}": number for number in range(1000)}
    with pytest.raises(MissingFieldError, match="Did you mean 'column_999'") as caught:
        await action(record, Case("yes", "column_9999", "is_null"))
    assert len(str(caught.value)) < 500


async def test_a_field_may_be_an_attribute() -> None:
    """Of an object in a mapping; methods and private names are not fields."""
    assert await action({"user": User(20)}, ADULT) == "adult"
    assert await action(User(20, ("a",)), Case("a", "tags", "contains", "a")) == "a"
    for field in ("grow", "_secret", "__class__"):
        with pytest.raises(MissingFieldError, match="Known fields: 'age', 'tags'"):
            await action(User(1), Case("yes", field, "is_not_null"))
    with pytest.raises(MissingFieldError):
        await action("text", Case("yes", "title", "is_not_null"))


class Lazy:
    """Reads what it has when it is asked for it."""

    @property
    def total(self) -> int:
        raise ConnectionError("the database is gone")

    @cached_property
    def parts(self) -> int:
        raise ConnectionError("the database is gone")

    @classmethod
    def load(cls) -> None:
        """Not a field."""


async def test_an_error_reads_no_field_to_name_it() -> None:
    """That may be slow, or fail, and then another error would be raised."""
    with pytest.raises(MissingFieldError, match=r"fields: 'parts', 'total'\. Did you mean 'total'"):
        await action(Lazy(), Case("yes", "totl", "is_null"))


def is_even(number: int) -> bool:
    return number % 2 == 0


async def test_a_predicate_decides() -> None:
    """Sync, async or named; its errors are raised unchanged."""

    async def is_large(number: int) -> bool:
        return number > 10

    cases = (Case("large", when=is_large), Case("even", when=f"{__name__}:is_even"))
    assert [await action(number, *cases) for number in (12, 2, 3)] == ["large", "even", "default"]
    with pytest.raises(TypeError, match="not supported between"):
        await action("x", *cases)


@pytest.mark.parametrize("made", [copy.copy, pickled, lambda case: replace(case, action="old")])
async def test_a_copy_of_a_case_matches_what_the_case_does(made: Callable[[Case], Case]) -> None:
    """Also one that has gone to a process."""
    case = Case("old", "user.age", ">=", 60)
    assert made(case) == case
    assert await made(case).matches({"user": User(70)})
    assert not await made(case).matches({"user": User(50)})


async def test_several_keys_are_looked_at_together() -> None:
    """As a tuple."""
    differ = Case("differ", when=lambda pair: pair[0] != pair[1])
    assert await SwitchNode(differ, reads=("a", "b")).run_async({"a": 1, "b": 2}) == "differ"


async def test_a_subclass_says_its_cases_and_reads() -> None:
    """As attributes, or in a prep of its own."""

    class ByAge(SwitchNode):
        cases = (ADULT,)

        def prep(self, shared: Any) -> Any:
            return {"user": {"age": shared["years"]}}

    assert await ByAge().run_async({"years": 30}) == "adult"
    assert await ByAge(Case("kid", "user.age", "<", 31)).run_async({"years": 30}) == "kid"


def build(*args: Any, **settings: Any) -> Callable[[], Any]:
    return lambda: Case(*args, **settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (build("a", "x", "=", 1), r"one of '==', '!='.*got '='\. Did you mean '=='"),
        (build("a", "x", "<>", 1), r"Did you mean '!='"),
        (build("a", "x", [">"], 1), r"needs when= or an operator.*got \['>'\]"),
        (build("a", when=lambda read: (yield)), "when must return, not yield: .* always match"),
        (build("a", "x", "is_nul"), r"Did you mean 'is_null'"),
        (build("a", "x"), "needs when= or an operator"),
        (build("a"), "needs when= or an operator"),
        (build("a", "x", "=="), "'==' needs a value"),
        (build("a", "x", "is_null", 1), "'is_null' takes no value"),
        (build("a", "x", "in", 5), "'in' needs a container, got a int"),
        (build("a", "x..y", "==", 1), "field must be a name"),
        (build("a", 5, "==", 1), "field must be a name"),
        (build("a", "x", when=is_even), "or a field with an operator; not both"),
        (build("a", when=5), "when must be a function"),
        (build("a", when="nowhere"), "'nowhere' does not name a function"),
        (build("", "x", "==", 1), "action must be a non-empty string"),
        (build("default", "x", "==", 1), "what a switch returns when no case matches"),
    ],
)
def test_a_case_that_cannot_work_is_refused(make: Callable[[], Any], message: str) -> None:
    """When it is made."""
    with pytest.raises(ValueError, match=message):
        make()


def test_a_switch_that_cannot_work_is_refused() -> None:
    """Without a case, with something else, without anything to look at."""
    with pytest.raises(NodeDefinitionError, match="needs at least one Case"):
        SwitchNode(reads="it")
    with pytest.raises(NodeDefinitionError, match="has nothing to look at"):
        SwitchNode(ADULT)
    wrong: Any = "adult"
    with pytest.raises(ValueError, match="cases must be Cases"):
        SwitchNode(wrong, reads="it")


numbers = st.integers() | st.floats(allow_nan=True)
ORDERS = {"==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt,
          ">=": operator.ge, "<=": operator.le}  # fmt: skip


@given(numbers, numbers, st.sampled_from(sorted(ORDERS)))
async def test_numbers_compare_as_in_python(one: Any, other: Any, name: Any) -> None:
    """Of every kind, and not-a-number as well."""
    case = Case("yes", operator=name, value=other)
    assert await case.matches(one) is bool(ORDERS[name](one, other))


anything = st.none() | st.booleans() | numbers | st.text(max_size=3) | st.binary(max_size=3)


@given(anything, anything)
async def test_equal_and_unequal_are_opposites(one: Any, other: Any) -> None:
    """Both find it, or neither does, in any order."""
    answers: list[bool | None] = []
    for left, right in ((one, other), (other, one)):
        for name in ("==", "!="):
            try:
                case = Case("yes", operator=name, value=right)
                answers.append(await case.matches(left))
            except ComparisonError:
                answers.append(None)
    equal, unequal, mirrored, _ = answers
    assert equal == mirrored
    assert unequal == (None if equal is None else not equal)
    if equal is None:
        assert type(one) is not type(other)
