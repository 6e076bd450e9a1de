"""Records changed field by field, and never the ones that were given."""

import asyncio
import copy
import pickle
import threading
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaygraph import Drop, Graph, Node
from kaygraph.nodes import MissingFieldError, TransformNode

pytestmark = pytest.mark.anyio

ANN = {"mail": "ANN@X.ORG", "first": "Ann", "last": "Lee", "age": 20}
BOB = {"mail": "BOB@X.ORG", "first": "Bob", "last": "Ray", "age": 10}

CLEAN: dict[str, Any] = {
    "fields": {"mail": str.lower},
    "compute": {"full": lambda r: f"{r['first']} {r['last']}", "size": lambda r: len(r["full"])},
    "rename": {"mail": "email"},
    "drop": ("first", "last"),
}
CLEAN_ANN = {"email": "ann@x.org", "age": 20, "full": "Ann Lee", "size": 7}


async def changed(given: Any, **settings: Any) -> Any:
    shared = {"it": given}
    await TransformNode(reads="it", writes="out", **settings).run_async(shared)
    return shared["out"]


class People(Node[Any, Any]):
    """A source of records."""

    def prep(self, shared: Any) -> Any:
        return shared["people"]


async def test_one_record_and_a_list_are_changed_alike() -> None:
    """In the order that is documented; a later computed field sees those before it."""
    assert await changed(ANN, **CLEAN) == CLEAN_ANN
    assert (await changed([ANN, BOB], **CLEAN))[0] == CLEAN_ANN
    assert await changed((one for one in (ANN,)), **CLEAN) == [CLEAN_ANN]
    assert list(await changed(ANN, **CLEAN)) == ["email", "age", "full", "size"]


async def test_the_given_records_stay_as_they_were() -> None:
    """Also when nothing is asked for: what comes back is another dict."""
    before = copy.deepcopy(ANN)
    await changed([ANN], **CLEAN)
    same = await changed(ANN)
    assert before == ANN
    assert same == ANN
    assert same is not ANN


async def test_where_leaves_records_out_of_a_list() -> None:
    """And the others keep their order."""
    found = await changed([ANN, BOB, ANN], where=lambda r: r["age"] >= 18, keep="age")
    assert found == [{"age": 20}, {"age": 20}]


async def test_a_stage_takes_one_record_at_a_time() -> None:
    """What ``where`` refuses is dropped from the stream, and so is what a function drops."""

    def known(mail: str) -> str:
        if mail.startswith("EVE"):
            raise Drop
        return mail.lower()

    eve = {**ANN, "mail": "EVE@X.ORG"}
    stage = TransformNode(where=lambda r: r["age"] >= 18, fields={"mail": known}, keep="mail")
    stream = (People() | stage).stream({"people": [BOB, ANN, eve]})
    assert [record async for record in stream] == [{"mail": "ann@x.org"}]
    assert await changed([BOB, ANN, eve], fields={"mail": known}, keep="age") == [
        {"age": 10}, {"age": 20},
    ]  # fmt: skip


async def test_a_stage_takes_whatever_is_a_record_or_a_list_of_them() -> None:
    """In their order; an error names the place in the stream of what it is about."""
    given: list[Any] = [
        {"n": 1}, {"n": 5}, [{"n": 2}, {"n": 5}], MappingProxyType({"n": 10}), {"n": 4}, {"n": 0},
    ]  # fmt: skip
    divide: Any = {"where": lambda r: r["n"] != 5, "fields": {"n": lambda n: 20 / n}}
    stage = TransformNode(name="Divide", **divide)
    found: list[Any] = []

    async def read() -> None:
        async for one in (People() | stage).stream({"people": given}):
            found.append(one)

    with pytest.raises(ZeroDivisionError) as caught:
        await read()
    assert found == [{"n": 20}, [{"n": 10}], {"n": 2}, {"n": 5}]
    assert caught.value.__notes__ == ["in node 'Pipeline/Divide', item 5 ({'n': 0})"]


async def test_names_may_change_places() -> None:
    """All renamings are one step."""
    assert await changed({"a": 1, "b": 2}, rename={"a": "b", "b": "a"}) == {"b": 1, "a": 2}


async def test_keep_gives_the_order() -> None:
    """And the fields of the new names."""
    found = await changed(ANN, rename={"mail": "email"}, keep=("age", "email"))
    assert list(found.items()) == [("age", 20), ("email", "ANN@X.ORG")]


@pytest.mark.parametrize(
    "settings",
    [{"fields": {"agee": str}}, {"rename": {"agee": "x"}}, {"keep": "agee"}, {"drop": ("agee",)}],
)
async def test_a_field_that_is_not_there_is_an_error(settings: Any) -> None:
    """Which names the closest, and the record in a list."""
    with pytest.raises(MissingFieldError, match="Did you mean 'age'") as caught:
        await changed([ANN, BOB, {**ANN}], **settings)
    assert "record 0, counted from 0" in caught.value.__notes__


async def test_a_key_that_a_function_does_not_find_is_its_own_error() -> None:
    """It is not a missing field."""
    with pytest.raises(KeyError, match="Ann") as raised:
        await changed(ANN, fields={"first": {}.__getitem__})
    assert not isinstance(raised.value, MissingFieldError)


async def test_an_error_names_its_record() -> None:
    """It is the function's own."""
    with pytest.raises(ZeroDivisionError) as caught:
        await changed([{"n": 1}, {"n": 0}], fields={"n": lambda n: 1 / n})
    assert "record 1, counted from 0" in caught.value.__notes__


async def test_a_name_that_another_field_has_is_refused() -> None:
    """Nothing is lost without a word."""
    with pytest.raises(ValueError, match="the name 'last', which another field has"):
        await changed(ANN, rename={"first": "last"})


@pytest.mark.parametrize("given", [5, None, "text", b"text", [ANN, 5], ["text"]])
async def test_what_is_no_record_is_refused(given: Any) -> None:
    """A string is not a list of records."""
    with pytest.raises(TypeError, match="a record is a mapping of names to values, got a"):
        await changed(given)


async def test_without_anything_read_the_error_says_so() -> None:
    """It has not been given a record."""
    with pytest.raises(TypeError, match="reads= names the key"):
        await TransformNode(keep="a").run_async({})


async def test_the_loop_has_its_turn_in_a_long_list() -> None:
    """And a thread takes the work off it."""
    turns: list[int] = []
    places: set[int] = set()

    async def others() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    running = asyncio.create_task(others())
    await changed([{"n": 1}] * 10_000, drop="n")
    running.cancel()
    assert len(turns) >= 9

    def note(record: Any) -> int:
        places.add(threading.get_ident())
        return 1

    await changed([{"n": 1}], compute={"n": note}, run_in="thread")
    assert threading.get_ident() not in places


def is_adult(record: Any) -> bool:
    return bool(record["age"] >= 18)


async def test_a_subclass_says_what_is_done() -> None:
    """As attributes; a function is not a method of it, and may be named."""

    class Clean(TransformNode):
        reads = writes = "people"
        fields = {"mail": str.lower}  # noqa: RUF012
        keep = ("mail",)

        def where(record: Any) -> bool:  # type: ignore[override] # noqa: N805
            return is_adult(record)

    class Named(Clean):
        where = f"{__name__}:is_adult"  # type: ignore[assignment]

    for node in (Clean(), Named()):
        shared: dict[str, Any] = {"people": [ANN, BOB]}
        await Graph(node).run_async(shared)
        assert shared["people"] == [{"mail": "ann@x.org"}]


async def test_functions_may_be_named() -> None:
    """By module and name, here in a process."""
    node = TransformNode(
        where=f"{__name__}:is_adult",
        fields={"mail": "builtins:len"},
        compute={"keys": "builtins:sorted"},
        keep=("mail", "keys"),
        reads="it",
        writes="out",
        run_in="process",
    )
    shared: dict[str, Any] = {"it": [ANN, BOB]}
    await node.run_async(shared)
    assert shared["out"] == [{"mail": 9, "keys": ["age", "first", "last", "mail"]}]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fields": {"a": 5}}, r"fields\['a'\] must be a function"),
        ({"fields": str.lower}, "fields must be a mapping of names to functions"),
        ({"compute": {1: len}}, "compute must be a mapping of names to functions"),
        ({"compute": {"a": "json:lods"}}, "Did you mean 'loads'"),
        ({"where": 5}, "where must be a function"),
        ({"where": asyncio.sleep}, "where must be written 'def'"),
        ({"rename": ("a", "b")}, "rename must be a mapping of old names to new ones"),
        ({"rename": {"a": "c", "b": "c"}}, "rename gives two fields the same name"),
        ({"keep": 5}, "keep must be a field or a tuple of fields"),
        ({"drop": ("a", 5)}, "drop must be a field or a tuple of fields"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: Any, message: str) -> None:
    """When the node is made."""
    with pytest.raises(ValueError, match=message):
        TransformNode(**settings)


def test_a_setting_that_is_not_known_is_refused() -> None:
    """With the closest one."""
    settings: Any = {"field": {}}
    with pytest.raises(TypeError, match="Did you mean 'fields'"):
        TransformNode(**settings)


async def test_a_coroutine_is_no_value() -> None:
    """Which a def may hide: it would count as true, or stand in a field unseen."""

    async def waits(_: Any) -> bool:
        return False

    hides: Any
    for hides in ({"where": lambda r: waits(r)}, {"fields": {"age": lambda a: waits(a)}},
                  {"compute": {"age": lambda a: waits(a)}}):  # fmt: skip
        with pytest.raises(TypeError, match="returned a coroutine: it must be written 'def'"):
            await changed([ANN], **hides)


records = st.lists(
    st.fixed_dictionaries({"a": st.integers(), "b": st.integers()}, optional={"c": st.none()})
)


@given(records, st.integers())
async def test_records_are_changed_as_by_hand(given: Any, most: int) -> None:
    """Whatever they are, and the input is what it was."""
    before = copy.deepcopy(given)
    node = TransformNode(
        where=lambda r: r["a"] < most, fields={"a": abs}, rename={"b": "d"}, reads="it", writes="it"
    )
    shared = {"it": given}
    await node.run_async(shared)
    assert given == before
    assert shared["it"] == [
        {"d" if name == "b" else name: abs(v) if name == "a" else v for name, v in r.items()}
        for r in before
        if r["a"] < most
    ]


async def test_a_setting_may_change_between_two_runs() -> None:
    """The next record is changed as the settings say then, also those of a copy."""
    node = TransformNode(fields={"mail": str.lower}, keep="mail", reads="it", writes="out")
    shared: dict[str, Any] = {"it": ANN}
    await node.run_async(shared)
    copied = copy.copy(node)
    node.keep = ("age",)
    await node.run_async(shared)
    assert shared["out"] == {"age": 20}
    del node.keep
    await node.run_async(shared)
    assert shared["out"] == {**ANN, "mail": "ann@x.org"}
    copied.fields = {"mail": len}
    await copied.run_async(shared)
    assert shared["out"] == {"mail": 9}


async def test_a_node_that_has_run_goes_to_a_process() -> None:
    """What it has made of its settings stays here."""
    node = TransformNode(fields={"mail": str.lower}, keep="mail", reads="it", writes="out")
    shared: dict[str, Any] = {"it": ANN}
    await node.run_async(shared)
    sent: TransformNode = pickle.loads(pickle.dumps(node))
    await sent.run_async(shared)
    assert shared["out"] == {"mail": "ann@x.org"}


@pytest.mark.parametrize("count", [0, 1023, 1024, 1025, 2048])
async def test_a_list_of_any_length_is_changed_whole(count: int) -> None:
    """Even if it ends with a turn of other tasks; errors count records that were left out."""
    given = [{"n": number} for number in range(count)]
    odd: Any = {"where": lambda r: r["n"] % 2, "compute": {"m": lambda r: 1 // (r["n"] - count)}}
    assert [r["n"] for r in await changed(given, **odd)] == list(range(1, count, 2))
    with pytest.raises(ZeroDivisionError) as caught:
        await changed([*given, {"n": count}], compute=odd["compute"])
    assert f"record {count}, counted from 0" in caught.value.__notes__
