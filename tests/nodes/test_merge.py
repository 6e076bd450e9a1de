"""Merges: what is combined, what is missing and why, and which input wins a conflict."""

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaygraph import (
    AsyncNode,
    BatchGraph,
    BatchNode,
    Graph,
    Node,
    NodeDefinitionError,
    Pipeline,
    all_of,
    at_least,
    first_of,
    settle,
)
from kaygraph.nodes import MergeNode, MissingFieldError, MissingInputsError
from kaygraph.nodes.errors import KeyConflictError, RepeatedKeyError
from kaygraph.nodes.types import Available

pytestmark = pytest.mark.anyio

STRATEGIES = ["collect_all", "collect_available", "combine_dict", "concat", "zip", "join", "first"]


class Gives(AsyncNode[Any, Any]):
    """Gives a value, or fails with an error."""

    def __init__(self, value: Any, name: str) -> None:
        super().__init__(name=name)
        self.value = value

    async def exec(self, _: Any) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


async def merged(values: dict[str, Any], strategy: Any, **settings: Any) -> Any:
    """Merge these values, which stand in the shared store under their names."""
    shared = dict(values)
    settings.setdefault("inputs", tuple(values))
    await MergeNode(strategy, writes="merged", **settings).run_async(shared)
    return shared["merged"]


# --- inputs ---


async def test_all_inputs_are_collected_by_name() -> None:
    """A mapping gives them names of their own; there may be any number."""
    assert await merged({"a": 1, "b": None}, "collect_all") == {"a": 1, "b": None}
    names = {"first": "b", "second": "a", "third": "a"}
    found = await merged({"a": 1, "b": 2}, "collect_all", inputs=names)
    assert list(found.items()) == [("first", 2), ("second", 1), ("third", 1)]
    many = {f"input_{number}": number for number in range(500)}
    assert await merged(many, None) == many


@pytest.mark.parametrize("strategy", [s for s in STRATEGIES if s not in ("first",)])
async def test_inputs_that_are_missing_are_named(strategy: Any) -> None:
    """With the closest key; every strategy needs its inputs."""
    settings: dict[str, Any] = {"key": "id"} if strategy == "join" else {}
    if strategy == "collect_available":
        settings["required_inputs"] = 2
    with pytest.raises(MissingInputsError) as caught:
        await merged({"pages": [], "other": []}, strategy, inputs=("other", "pagse"), **settings)
    error = caught.value
    assert (error.required, error.found) == (2, ("other",))
    assert error.missing == {
        "pagse": "shared['pagse'] has not been written. Did you mean 'pages'?"
    }  # fmt: skip
    assert (
        "2 of 2 inputs are needed, 1 are there: 'other'. Missing: 'pagse' (shared['pagse']"
        in str(error)
    )


async def test_what_is_available_is_collected_with_what_is_missing() -> None:
    """Two keys take it apart."""
    inputs = {"eu": 1, "asia": 3}
    found = await merged(inputs, "collect_available", inputs=("eu", "us", "asia"))
    assert found == Available({"eu": 1, "asia": 3}, {"us": "shared['us'] has not been written"})
    shared: dict[str, Any] = dict(inputs)
    node = MergeNode("collect_available", inputs=("eu", "us"), writes=("found", "missing"))
    await node.run_async(shared)
    assert (shared["found"], set(shared["missing"])) == ({"eu": 1}, {"us"})


@pytest.mark.parametrize(("required", "enough"), [(1, True), (2, True), (3, False), (5, False)])
async def test_required_inputs_must_be_there(required: int, enough: bool) -> None:
    """Of five, two are; the error names the three others."""
    inputs = {"a": {"x": 1}, "b": {"y": 2}}
    settings: Any = {"inputs": ("a", "b", "c", "d", "e"), "required_inputs": required}
    for strategy, expected in (("collect_available", inputs), ("combine_dict", {"x": 1, "y": 2})):
        if enough:
            result = await merged(inputs, strategy, **settings)
            assert getattr(result, "found", result) == expected
        else:
            with pytest.raises(MissingInputsError, match=f"{required} of 5 inputs") as caught:
                await merged(inputs, strategy, **settings)
            assert list(caught.value.missing) == ["c", "d", "e"]


async def test_none_is_left_out_where_that_is_asked_for() -> None:
    """It is then not required, and reported as missing; otherwise it is a value like any other."""
    inputs = {"a": None, "b": {"x": 1}}
    assert await merged(inputs, "first") is None
    assert await merged(inputs, "first", skip_none=True) == {"x": 1}
    assert await merged(inputs, "collect_all", skip_none=True) == {"b": {"x": 1}}
    assert await merged(inputs, "combine_dict", skip_none=True) == {"x": 1}
    available = await merged(inputs, "collect_available", skip_none=True)
    assert available == ({"b": {"x": 1}}, {"a": "is None"})
    with pytest.raises(TypeError, match="'a' has a NoneType; skip_none=True leaves it out"):
        await merged(inputs, "combine_dict")
    with pytest.raises(MissingInputsError, match="2 of 2 inputs are needed, 1 are there"):
        await merged(inputs, "collect_available", skip_none=True, required_inputs=2)


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_nothing_at_all_is_an_error(strategy: Any) -> None:
    """Also when all that is missing was left out."""
    settings: dict[str, Any] = {"key": "id"} if strategy == "join" else {}
    with pytest.raises(MissingInputsError, match="1 of 2 inputs are needed, 0 are there: none"):
        await merged({"a": None, "b": None}, strategy, skip_none=True, **settings)


# --- after a group ---


def branches() -> list[Gives]:
    return [
        Gives({"x": 1}, "eu"),
        Gives(ConnectionError("https://ann:geheim@host/?token=abc is down"), "us"),
        Gives({"y": 2}, "asia"),
    ]


async def after(group: Any, node: MergeNode) -> Any:
    node.writes = "merged"
    shared: dict[str, Any] = {}
    await Graph(group >> node).run_async(shared)
    return shared["merged"]


async def test_branches_are_the_inputs_after_a_group() -> None:
    """Their values by name, in the order written."""
    group = all_of(Gives(1, "eu"), Gives(2, "us") >> Gives(3, "end"), Gives(None, "asia"))
    assert await after(group, MergeNode()) == {"eu": 1, "us": 3, "asia": None}


async def test_failed_branches_are_missing_with_their_reason() -> None:
    """Without the secrets that stand in an error."""
    found, missing = await after(settle(*branches()), MergeNode("collect_available"))
    assert found == {"eu": {"x": 1}, "asia": {"y": 2}}
    assert missing == {"us": "failed: ConnectionError: https://***@host/?token=*** is down"}
    for strategy in ("collect_all", "combine_dict"):
        with pytest.raises(MissingInputsError, match="3 of 3 inputs are needed, 2 are"):
            await after(settle(*branches()), MergeNode(strategy))
    node = MergeNode("combine_dict", required_inputs=2)
    assert await after(settle(*branches()), node) == {"x": 1, "y": 2}


async def test_a_long_error_of_a_branch_is_cut() -> None:
    """A reason is a few lines, and not a page."""
    group = settle(Gives(1, "eu"), Gives(ValueError("x" * 10_000), "us"))
    _, missing = await after(group, MergeNode("collect_available"))
    assert len(missing["us"]) == 500


async def test_a_secret_at_the_cut_is_hidden_before_it() -> None:
    """What is left of an address would not be known as one."""
    text = "x" * 450 + f" https://ann:{'geheim' * 20}@host/ is down"
    group = settle(Gives(1, "eu"), Gives(ValueError(text), "us"))
    _, missing = await after(group, MergeNode("collect_available"))
    assert "geheim" not in missing["us"]
    assert "https://***@host/" in missing["us"]


async def test_the_winners_of_a_quorum_are_merged() -> None:
    """Those that were cancelled are missing, with that reason."""

    class Never(AsyncNode[Any, Any]):
        async def exec(self, _: Any) -> Any:
            await asyncio.Event().wait()

    group = at_least(2, Gives(1, "eu"), Never(name="us"), Gives(3, "asia"))
    node = MergeNode("collect_available", required_inputs=2)
    assert await after(group, node) == ({"eu": 1, "asia": 3}, {"us": "cancelled"})
    race = first_of(Never(name="us"), Gives(1, "eu"))
    assert await after(race, MergeNode("first")) == 1


async def test_without_inputs_and_branches_there_is_nothing_to_merge() -> None:
    """The error says what to write."""
    for alone in (MergeNode(), Graph(MergeNode()), Graph(MergeNode() >> Gives(1, "eu"))):
        with pytest.raises(NodeDefinitionError, match="has nothing to merge: pass inputs="):
            await alone.run_async({})


class Routes(AsyncNode[Any, Any]):
    """Gives its name, and leads along an action."""

    def __init__(self, name: str, *actions: str) -> None:
        super().__init__(name=name)
        self.actions = list(actions)

    async def exec(self, _: Any) -> Any:
        return self.name

    def post(self, shared: Any, *_: Any) -> str | None:
        return self.actions.pop(0) if self.actions else None


async def collected(graph: Any) -> Any:
    """What a merge at the end of a graph finds and misses."""
    await graph.run_async(shared := {})
    return shared["found"], shared["missing"]


def available() -> MergeNode:
    return MergeNode("collect_available", writes=("found", "missing"))


async def test_branches_of_a_list_are_merged_by_the_names_of_their_last_nodes() -> None:
    """In the order written, whichever ends first; a chain comes to what its last node gave."""
    graph = Graph([Gives(0, "a") >> Gives(1, "b"), Gives(2, "c")] >> MergeNode(writes="all"))
    await graph.run_async(shared := {})
    assert list(shared["all"].items()) == [("b", 1), ("c", 2)]

    fork = Gives(0, "start") >> [Gives([1], "b") >> Gives([2], "c"), Gives([3], "d")]
    await Graph(fork >> MergeNode("concat", writes="all")).run_async(shared)
    assert shared["all"] == [2, 3]


async def test_a_single_node_before_a_merge_is_an_input_like_others() -> None:
    """Also a batch, a pipeline, a graph, and a node without an exec."""

    class Doubles(BatchNode[int, int]):
        def prep(self, shared: Any) -> list[int]:
            return [1, 2]

        async def exec(self, n: int) -> int:
            return n * 2

    class Nothing(Node):
        pass

    for before, value in [
        (Gives(1, "eu"), 1),
        (Doubles(name="eu"), [2, 4]),
        (Pipeline(Doubles(), name="eu"), [2, 4]),
        (Graph(Gives(0, "a") >> Gives(3, "b"), name="eu"), 3),
        (Nothing(name="eu"), None),
    ]:
        assert await collected(Graph(before >> available())) == ({"eu": value}, {})


async def test_a_group_among_the_branches_is_one_input() -> None:
    """Alone before a merge, its branches are the inputs."""
    group = settle(Gives(1, "a"), Gives(OSError("down"), "b"), name="both")
    graph = Graph([group, Gives(2, "c")] >> available())
    assert await collected(graph) == ({"both": [1], "c": 2}, {})


async def test_a_node_that_leads_elsewhere_is_missing() -> None:
    """It has run but is not an input; nor is one that has not run."""
    a, b, c, merge = Routes("a", "other"), Routes("b"), Routes("c"), available()
    start = Routes("start")
    start >> [a, b]
    a >> merge
    b >> merge
    a - "other" >> Routes("end")
    c >> merge
    start - "never" >> c
    found, missing = await collected(Graph(start))
    assert (found, missing) == ({"b": "b"}, {"a": "skipped", "c": "skipped"})


async def test_an_error_that_leads_to_a_merge_is_a_missing_input() -> None:
    """With its reason."""
    a, b, merge = Gives(OSError("no route"), "a"), Gives(2, "b"), available()
    a - "error" >> merge
    b >> merge
    found, missing = await collected(Graph([a, b]))
    assert (found, missing) == ({"b": 2}, {"a": "failed: OSError: no route"})


async def test_each_round_of_a_loop_is_merged_by_itself() -> None:
    """The result of a branch in the previous round is not an input of this one."""
    start, a, b = Routes("start"), Routes("a", "default", "away"), Routes("b")
    seen: list[Any] = []

    class Ends(Node):
        def post(self, shared: Any, *_: Any) -> str | None:
            seen.append((shared["found"], shared["missing"]))
            return "again" if len(seen) < 2 else None

    merge, ends = available(), Ends()
    start >> [a, b] >> merge >> ends
    a - "away" >> Routes("elsewhere")
    ends - "again" >> start
    await Graph(start).run_async({})
    assert seen == [({"a": "a", "b": "b"}, {}), ({"b": "b"}, {"a": "skipped"})]


async def test_merges_of_rounds_at_once_do_not_mix() -> None:
    """Each round of a BatchGraph has inputs of its own, also within a graph and under observers."""

    class Params(AsyncNode[Any, Any]):
        async def prep(self, shared: Any) -> Any:
            await asyncio.sleep(0)
            return self.params["n"]

        async def exec(self, n: Any) -> Any:
            await asyncio.sleep(0)
            return n

    class Keeps(Node[Any, Any]):
        def prep(self, shared: Any) -> None:
            kept.append((self.params["n"], [outcome.value for outcome in self.outcomes]))

    kept: list[Any] = []

    class Rounds(BatchGraph):
        def prep(self, shared: Any) -> list[dict[str, int]]:
            return [{"n": n} for n in range(5)]

    merge = MergeNode()
    rounds = Rounds([Params(name="a"), Params(name="b")] >> merge >> Keeps(), max_workers=3)
    await Graph(rounds).run_async({}, observers=[lambda event: None])
    assert sorted(kept) == [(n, [n, n]) for n in range(5)]


async def test_a_merge_with_inputs_asks_nothing_of_the_nodes_before_it() -> None:
    """It reads the shared store, and the walk stays as it is."""
    graph = Graph([Gives(1, "a"), Gives(2, "b")] >> MergeNode(inputs=("x",), writes="y"))
    await graph.run_async(shared := {"x": 3})
    assert shared["y"] == {"x": 3}


async def test_a_prep_of_ones_own_gives_the_inputs() -> None:
    """By name; a subclass says the rest as attributes."""

    class Pick(MergeNode):
        strategy = "combine_dict"
        prefer = "last"
        writes = "picked"

        def prep(self, shared: Any) -> Any:
            return {"a": shared["deep"]["a"], "b": shared["deep"]["b"]}

    shared: dict[str, Any] = {"deep": {"a": {"x": 1}, "b": {"x": 2}}}
    await Pick().run_async(shared)
    assert shared["picked"] == {"x": 2}


@pytest.mark.parametrize("given", [None, [1, 2], "ab"])
async def test_a_prep_that_gives_no_mapping_is_refused(given: Any) -> None:
    """Also where such a thing is the item of a pipeline."""

    class Wrong(MergeNode):
        def prep(self, shared: Any) -> Any:
            return given

    with pytest.raises(TypeError, match=r"'Wrong' merges values by name.* got a (None|list|str)"):
        await Wrong().run_async({})


async def test_more_than_there_are_cannot_be_there() -> None:
    """The error says that none is missing."""
    group = settle(Gives(1, "eu"), Gives(2, "us"))
    with pytest.raises(MissingInputsError, match=r"5 of 2 inputs.* 'us'\. Missing: none\."):
        await after(group, MergeNode("first", required_inputs=5))


async def test_a_merge_runs_in_a_thread() -> None:
    """A large one does not hold the loop."""
    places: set[int] = set()

    class Listed(list[int]):
        def __iter__(self) -> Any:
            places.add(threading.get_ident())
            return super().__iter__()

    assert await merged({"a": Listed([1]), "b": [2]}, "concat") == [1, 2]
    assert places
    assert threading.get_ident() not in places


# --- dicts and lists ---


async def test_dicts_are_combined() -> None:
    """The inputs are not changed by it."""
    inputs = {"a": {"x": 1}, "b": {"y": 2}, "c": {}}
    assert await merged(inputs, "combine_dict") == {"x": 1, "y": 2}
    assert inputs == {"a": {"x": 1}, "b": {"y": 2}, "c": {}}


async def test_a_conflict_of_keys_is_an_error_without_prefer() -> None:
    """Also of equal values: that they are equal today is luck."""
    inputs = {"a": {"x": 1, "z": 0}, "b": {"y": 2}, "c": {"z": 0, "x": 3}}
    with pytest.raises(
        KeyConflictError, match=r"'a' and 'c' both have 'z'\..*prefer='first'"
    ) as caught:
        await merged(inputs, "combine_dict")
    assert (caught.value.key, caught.value.inputs) == ("z", ("a", "c"))
    first = await merged(inputs, "combine_dict", prefer="first")
    last = await merged(inputs, "combine_dict", prefer="last")
    assert (first["x"], last["x"]) == (1, 3)
    assert list(first) == list(last) == ["x", "z", "y"]


async def test_lists_are_put_one_after_the_other() -> None:
    """Any iterable but text and mappings is a list."""
    inputs = {"a": [1, 2], "b": (3,), "c": range(4, 6), "d": []}
    assert await merged(inputs, "concat") == [1, 2, 3, 4, 5]


async def test_lists_of_one_length_are_zipped() -> None:
    """Others are refused with their lengths."""
    assert await merged({"a": [1, 2], "b": ["xy"] * 2}, "zip") == [(1, "xy"), (2, "xy")]
    with pytest.raises(
        ValueError, match="zip needs inputs of the same length: 'a' has 1, 'b' has 2"
    ):
        await merged({"a": [1], "b": [1, 2]}, "zip")


@pytest.mark.parametrize("strategy", ["combine_dict", "concat", "zip", "join"])
@pytest.mark.parametrize("wrong", ["text", b"text", 5, [5]])
async def test_what_cannot_be_merged_is_named(strategy: Any, wrong: Any) -> None:
    """With its type, and what would do."""
    if wrong == [5] and strategy in ("concat", "zip"):
        assert await merged({"a": [1], "b": wrong}, strategy) in ([1, 5], [(1, 5)])
        return
    good: Any = {"id": 1} if strategy == "combine_dict" else [{"id": 1}]
    settings: dict[str, Any] = {"key": "id"} if strategy == "join" else {}
    with pytest.raises(TypeError, match=f"{strategy} merges .*, and input 'b' has a "):
        await merged({"a": good, "b": wrong}, strategy, **settings)


# --- joins ---

PEOPLE = [{"id": 1, "name": "Ann"}, {"id": 2, "name": "Bob"}, {"id": None, "name": "?"}]
ORDERS = [
    {"id": 2, "total": 5}, {"id": 3, "total": 6}, {"id": 2, "total": 7}, {"id": None, "total": 8},
]  # fmt: skip
BOTH = [{"id": 2, "name": "Bob", "total": 5}, {"id": 2, "name": "Bob", "total": 7}]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (None, BOTH),
        ("inner", BOTH),
        ("left", [PEOPLE[0], *BOTH, PEOPLE[2]]),
        ("outer", [PEOPLE[0], *BOTH, PEOPLE[2], ORDERS[1], ORDERS[3]]),
    ],
)
async def test_records_are_joined_by_a_key(how: Any, expected: Any) -> None:
    """In the order of the first input; None is not a key; records without a partner stay."""
    inputs = {"people": PEOPLE, "orders": ORDERS}
    joined = await merged(inputs, "join", key="id", how=how)
    assert joined == expected
    assert all(record is not given for record in joined for given in (*PEOPLE, *ORDERS))


async def test_a_key_may_repeat_on_either_side_but_not_on_both() -> None:
    """On both, records would multiply."""
    inputs = {"orders": ORDERS, "people": PEOPLE}
    joined = await merged(inputs, "join", key="id")
    assert [record["total"] for record in joined] == [5, 7]
    twice = {"orders": ORDERS, "visits": [{"id": 2, "day": 1}, {"id": 2, "day": 2}]}
    with pytest.raises(RepeatedKeyError, match="id 2 occurs several times in 'orders' and in 'vis"):
        await merged(twice, "join", key="id")
    assert await merged({"a": [{"id": 1}] * 2, "b": [{"id": 2}] * 2}, "join", key="id") == []


async def test_a_key_may_be_of_several_fields() -> None:
    """All must agree, and be there."""
    left = [{"a": 1, "b": 1, "x": 1}, {"a": 1, "b": 2, "x": 2}, {"a": 1, "b": None, "x": 3}]
    right = [{"b": 2, "a": 1, "y": 5}, {"b": None, "a": 1, "y": 6}]
    joined = await merged({"l": left, "r": right}, "join", key=("a", "b"))
    assert joined == [{"a": 1, "b": 2, "x": 2, "y": 5}]


async def test_many_inputs_are_joined_one_after_another() -> None:
    """A record that one of them lacks is still met by a later one."""
    inputs = {
        "a": [{"id": 1, "a": 1}, {"id": 2, "a": 2}],
        "b": [{"id": 2, "b": 2}, {"id": 3, "b": 3}],
        "c": [{"id": 3, "c": 3}, {"id": 1, "c": 1}],
    }
    assert await merged(inputs, "join", key="id") == []
    assert await merged(inputs, "join", key="id", how="left") == [
        {"id": 1, "a": 1, "c": 1}, {"id": 2, "a": 2, "b": 2},
    ]  # fmt: skip
    assert await merged(inputs, "join", key="id", how="outer") == [
        {"id": 1, "a": 1, "c": 1}, {"id": 2, "a": 2, "b": 2}, {"id": 3, "b": 3, "c": 3},
    ]  # fmt: skip


async def test_a_conflict_of_fields_is_an_error_without_prefer() -> None:
    """The error has the names of the inputs."""
    inputs = {
        "crm": [{"id": 1, "name": "Ann"}],
        "log": [{"id": 1, "at": 5}],
        "shop": [{"id": 1, "name": "A."}],
    }
    with pytest.raises(KeyConflictError) as caught:
        await merged(inputs, "join", key="id")
    assert (caught.value.key, caught.value.inputs) == ("name", ("crm and log", "shop"))
    first = await merged(inputs, "join", key="id", prefer="first")
    last = await merged(inputs, "join", key="id", prefer="last")
    assert first == [{"id": 1, "name": "Ann", "at": 5}]
    assert last == [{"id": 1, "name": "A.", "at": 5}]


@pytest.mark.parametrize("how", ["inner", "left", "outer"])
async def test_one_conflict_among_many_records_is_found(how: Any) -> None:
    """Also where other records have no partner, or more fields."""
    left: Any = [{"id": n, "x": n} for n in range(100)]
    right: Any = [{"id": n, **{f"y{m}": m for m in range(n % 3)}} for n in range(50, 150)]
    assert len(await merged({"l": left, "r": right}, "join", key="id", how=how)) >= 50
    right[7]["x"] = 1
    with pytest.raises(KeyConflictError, match="both have 'x'"):
        await merged({"l": left, "r": right}, "join", key="id", how=how)


class AnyCase(Mapping[str, Any]):
    """A mapping that finds its keys whatever their case, as those of headers do."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def __getitem__(self, key: str) -> Any:
        return {name.lower(): value for name, value in self.fields.items()}[key.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)


async def test_records_may_be_mappings_of_any_kind() -> None:
    """Their key is the given one, even when a third input follows."""
    inputs = {
        "a": [AnyCase(Id=1, a=1), AnyCase(ID=2, a=2)],
        "b": [AnyCase(id=2, b=2)],
        "c": [AnyCase(iD=2, c=3), AnyCase(iD=1, c=4)],
    }
    assert await merged(inputs, "join", key="id", how="left") == [
        {"Id": 1, "a": 1, "iD": 1, "c": 4},
        {"ID": 2, "a": 2, "id": 2, "b": 2, "iD": 2, "c": 3},
    ]
    with pytest.raises(KeyConflictError, match="both have 'a'"):
        await merged({"a": [AnyCase(ID=1, a=1)], "b": [{"id": 1, "a": 2}]}, "join", key="id")


async def test_a_record_without_the_key_is_named() -> None:
    """And one whose key cannot be one."""
    with pytest.raises(MissingFieldError, match=r"no field 'id'.*Did you mean 'ids'") as caught:
        await merged({"a": [{"id": 1}], "b": [{"id": 1}, {"ids": 1}]}, "join", key="id")
    assert "record 1 of 'b', counted from 0" in caught.value.__notes__
    with pytest.raises(TypeError, match="record 0 of 'a' has a list, a mapping or the like"):
        await merged({"a": [{"id": [1]}], "b": []}, "join", key="id")


async def test_a_join_takes_time_in_proportion_to_its_records() -> None:
    """A hundred thousand on each side, half of them with the same key on one of them."""
    many = 100_000
    left = [{"id": number, "x": number} for number in range(many)]
    right = [{"id": max(0, number), "y": number} for number in range(-many // 2, many // 2)]
    began = time.process_time()
    joined = await merged({"l": left, "r": right}, "join", key="id", how="outer")
    assert len(joined) == many // 2 + many
    assert time.process_time() - began < 10  # compared one by one it would be an hour


keyed = st.lists(st.fixed_dictionaries({"k": st.none() | st.integers(0, 5)}), max_size=6)


@given(keyed, keyed, st.sampled_from(["inner", "left", "outer"]))
async def test_a_join_is_that_of_two_loops(left: Any, right: Any, how: str) -> None:
    """For all records, in the same order; refused only where a key repeats on both sides."""
    left = [{**record, "l": number} for number, record in enumerate(left)]
    right = [{**record, "r": number} for number, record in enumerate(right)]

    def agree(one: Any, other: Any) -> bool:
        return one["k"] is not None and one["k"] == other["k"]

    expected = []
    for one in left:
        found = [{**one, **other} for other in right if agree(one, other)]
        expected += found or ([one] if how != "inner" else [])
    if how == "outer":
        expected += [other for other in right if not any(agree(one, other) for one in left)]
    counts = [[record["k"] for record in side].count for side in (left, right)]
    if any(counts[0](key) > 1 and counts[1](key) > 1 for key in range(6)):
        with pytest.raises(RepeatedKeyError):
            await merged({"l": left, "r": right}, "join", key="k", how=how)
    else:
        assert await merged({"l": left, "r": right}, "join", key="k", how=how) == expected


# --- refusals ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"strategy": "combine"},
            "strategy must be one of 'combine_dict'.*Did you mean 'combine_d",
        ),
        ({"inputs": ()}, "inputs must be keys of the shared store"),
        ({"inputs": "eu"}, "inputs must be keys of the shared store"),
        ({"inputs": ("eu", "eu")}, "each once"),
        ({"inputs": {"eu": 5}}, "a mapping of names to keys"),
        ({"inputs": ("eu", "")}, "inputs must be keys"),
        ({"strategy": "join"}, "strategy='join' needs key="),
        ({"strategy": "join", "key": ()}, "key must be a field of the records"),
        ({"strategy": "concat", "key": "id"}, "key has no effect with strategy='concat'"),
        ({"how": "left"}, "how has no effect with strategy='collect_all'"),
        ({"strategy": "join", "key": "id", "how": "right"}, "how must be one of 'inner'"),
        ({"strategy": "zip", "prefer": "last"}, "prefer has no effect with strategy='zip'"),
        ({"strategy": "combine_dict", "prefer": "left"}, "prefer must be one of 'first', 'last'"),
        ({"required_inputs": 1}, "required_inputs has no effect with strategy='collect_all'"),
        ({"strategy": "first", "required_inputs": 0}, "required_inputs must be at least 1"),
        (
            {"strategy": "collect_available", "required_inputs": 3, "inputs": ("a", "b")},
            "required_inputs=3, but there are only 2 inputs",
        ),
        ({"skip_none": 1}, "skip_none must be True or False"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: Any, message: str) -> None:
    """When the node is made."""
    with pytest.raises(ValueError, match=message):
        MergeNode(**settings)


def test_a_merge_does_not_take_reads() -> None:
    """Its inputs have names, set in one way."""
    settings: Any = {"reads": "a"}
    with pytest.raises(TypeError, match=r"unknown setting 'reads'; it takes:.*inputs"):
        MergeNode(**settings)


def test_a_merge_runs_twice_from_sync_code() -> None:
    """Nothing of a run stays on the node."""

    class Writes(Node[Any, Any]):
        def post(self, shared: Any, *_: Any) -> None:
            shared["a"] = {"n": shared["n"]}

    graph = Graph(Writes() >> MergeNode("first", inputs=("b", "a"), writes="c"))
    for number in range(2):
        shared: dict[str, Any] = {"n": number}
        graph.run(shared)
        assert shared["c"] == {"n": number}
