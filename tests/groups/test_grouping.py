"""How the values of keys are kept: one as it is, several in a list."""

import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph.groups.grouping import COMBINE_AT, Groups, dealt, grouped, lists_of, merge, part_of


def refused(pair: Any) -> Exception:
    return ValueError(f"no pair: {pair!r}")


def total(_: Any, values: list[Any]) -> Any:
    assert type(values) is list
    return sum(values[1:], values[0])


PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.integers() | st.lists(st.integers())))


def in_lists(items: list[list[tuple[str, Any]]]) -> dict[str, list[Any]]:
    lists: dict[str, list[Any]] = {}
    for pairs in items:
        for key, value in pairs:
            lists.setdefault(key, []).append(value)
    return lists


@settings(max_examples=200, deadline=None)
@given(st.lists(PAIRS, max_size=8))
def test_no_value_is_lost_or_changed(items: list[list[tuple[str, Any]]]) -> None:
    """The values of a key come in the order of the items, and lists among them stay lists."""
    groups: Groups = {}
    for pairs in items:
        merge(pickle.loads(pickle.dumps(grouped(pairs, None, refused))), groups, None)
    assert dict(lists_of(part_of(groups))) == in_lists(items)
    assert all(type(values) is list for _, values in lists_of(part_of(groups)))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.integers())), max_size=90))
def test_what_is_combined_adds_up(items: list[list[tuple[str, int]]]) -> None:
    """However many values there are of a key, in how many items."""
    groups: Groups = {}
    for pairs in items:
        merge(grouped(pairs, total, refused), groups, total)
    expected = {key: sum(values) for key, values in in_lists(items).items()}
    assert {key: sum(values) for key, values in lists_of(part_of(groups))} == expected


def test_values_that_grow_are_gathered_before_they_are_combined() -> None:
    """Joined in pairs, a thousand lists would be copied a thousand times."""

    def joined(_: Any, lists: list[list[int]]) -> list[int]:
        many.append(len(lists))
        return [number for numbers in lists for number in numbers]

    many: list[int] = []
    groups: Groups = {}
    for number in range(1000):
        merge(grouped([("key", [number])], joined, refused), groups, joined)
    ((_, values),) = lists_of(part_of(groups))
    assert joined("", values) == [*range(1000)]
    assert set(many[:-1]) == {COMBINE_AT}


def test_numbers_are_combined_as_they_come() -> None:
    """So there is no list for each key."""
    groups: Groups = {}
    for _ in range(3):
        merge(grouped([("a", 1), ("b", 0.5)], total, refused), groups, total)
    assert groups == {"a": 3, "b": 1.5}


def test_a_combined_list_is_one_value() -> None:
    """What combine returns is not taken for several values, though it returns what it was given."""
    groups: Groups = {}
    for _ in range(COMBINE_AT + 1):
        merge((["a"], [[1]]), groups, lambda _, values: values)
    assert dict(lists_of(part_of(groups))) == {"a": [[[1]] * COMBINE_AT, [1]]}


@pytest.mark.parametrize("kind", [list, tuple, iter, OrderedDict, Counter, dict])
def test_pairs_may_come_in_anything(kind: Callable[[Any], Any]) -> None:
    """An iterator, or the items of a dict."""
    pairs = kind(
        {"a": 1, "b": [2]} if kind in (OrderedDict, Counter, dict) else [("a", 1), ("b", [2])]
    )
    given = pairs.items() if isinstance(pairs, dict) else pairs
    assert dict(lists_of(grouped(given, None, refused))) == {"a": [1], "b": [[2]]}


def test_the_items_of_a_dict_are_copied() -> None:
    """A map may go on with its dict for the next item."""
    counts = {"a": 1}
    part = grouped(counts.items(), None, refused)
    counts.clear()
    assert part == (["a"], [1])


def test_what_is_not_a_pair_is_refused_and_an_error_of_the_iterator_is_its_own() -> None:
    """The one is the caller's error, the other passes."""

    def fails() -> Iterator[tuple[str, int]]:
        yield "a", 1
        raise ValueError("mine")

    with pytest.raises(ValueError, match="no pair: 7"):
        grouped([("a", 1), 7], None, refused)
    with pytest.raises(ValueError, match="mine"):
        grouped(fails(), None, refused)


@pytest.mark.parametrize(("keys", "sizes"), [(0, []), (1, [1]), (7, [3, 3, 1]), (9, [3, 3, 3])])
def test_keys_are_dealt_out_evenly(keys: int, sizes: list[int]) -> None:
    """In their order, each once."""
    parts = dealt(dict.fromkeys(range(keys), 1), 3)
    assert [len(keys) for keys, _ in parts] == sizes
    assert [key for keys, _ in parts for key in keys] == [*range(keys)]


def test_strings_that_stay_are_copies() -> None:
    """Else the memory around them would stay in use as well; other keys stay what they are."""

    class Name(str):
        __slots__ = ()

    text, name, pair = "".join(["lo", "ng"]), Name("name"), ("a", 1)
    groups: Groups = {}
    merge(grouped([(text, 1), (name, 2), (pair, 3)], None, refused), groups, None)
    copied, *others = groups
    assert copied == text
    assert copied is not text
    assert [type(other) for other in others] == [Name, tuple]
    assert others[0] is name
    assert groups == {text: 1, name: 2, pair: 3}
