"""What is watched: attributes, keys, elements and members; and how a write is reported."""

import asyncio
import copy
import pickle
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest

from kaygraph import Graph, Node
from kaygraph.testing import UnorderedAccessError, explore, simulate, watch


class Account:
    """An object like any other."""

    def __init__(self, balance: int = 0) -> None:
        self.balance = balance
        self.owner = ""


@dataclass
class Settings:
    host: str = "old"
    ports: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Slots:
    host: str = "old"


class Meter:
    """With a property that stores what it is given elsewhere."""

    __slots__ = ("_value", "unit")

    @property
    def value(self) -> int:
        return self._value

    @value.setter
    def value(self, new: int) -> None:
        self._value = new


class Basket(dict[str, int]):
    """A dict of a class of one's own, which needs no copy."""


def race(made: Any, first: Callable[[Any], object], second: Callable[[Any], object]) -> str:
    """Have two tasks do something with what is watched; return what is said of it, or nothing."""

    async def main() -> None:
        watched = watch(made)

        async def do(act: Callable[[Any], object], seconds: float) -> None:
            await asyncio.sleep(seconds)
            act(watched)

        await asyncio.gather(do(first, 0), do(second, 1))

    try:
        simulate(main)
    except UnorderedAccessError as error:
        return str(error)
    return ""


def setting(name: str, value: Any = 1) -> Callable[[Any], object]:
    return lambda watched: setattr(watched, name, value)


def test_the_error_says_what_was_written_by_whom_and_where() -> None:
    """With the lines of both writes, and the seed."""

    async def main() -> None:
        account = watch(Account(100))

        async def deposit() -> None:
            account.balance += 1

        async def close() -> None:
            await asyncio.sleep(1)
            account.balance = 0

        async with asyncio.TaskGroup() as group:
            group.create_task(deposit(), name="deposit")
            group.create_task(close(), name="close")

    with pytest.raises(UnorderedAccessError) as caught:
        simulate(main, seed=3)
    first, *lines = str(caught.value).splitlines()
    assert first == "Account.balance is written by two tasks, with no order between them:"
    assert lines[0].startswith("  deposit, in test_the_error_says")
    assert "test_watching.py:" in lines[0]
    assert lines[0].endswith("account.balance += 1")
    assert lines[1].startswith("  close, in test_the_error_says")
    assert lines[1].endswith("account.balance = 0")
    assert "simulate(…, seed=3) repeats this run" in caught.value.__notes__
    found = explore(main, seeds=10)
    assert len(found) == 10
    assert not explore(main, seeds=10, allowed=UnorderedAccessError)


def test_attributes_of_objects_are_watched_wherever_they_are_kept() -> None:
    """In a dict or in slots; deleted, or set by a property. The other ones do not matter."""
    assert "Account.balance" in race(Account(), setting("balance"), setting("balance"))
    assert not race(Account(), setting("balance"), setting("owner"))
    assert "Settings.host" in race(Settings(), setting("host"), setting("host"))
    assert "Slots.host" in race(Slots(), setting("host"), setting("host"))
    assert "Meter._value" in race(Meter(), setting("value"), setting("value"))
    deleted = race(Account(), setting("owner"), lambda account: delattr(account, "owner"))
    assert "Account.owner" in deleted


def test_an_object_stays_what_it_is() -> None:
    """It has its class, is equal to another, can be copied and pickled, and is as before after."""
    settings = Settings("a", [1])

    async def main() -> None:
        watched = watch(settings)
        assert watched is settings is watch(settings)
        assert watched.__class__ is Settings
        assert watched == Settings("a", [1])
        assert repr(watched) == repr(Settings("a", [1]))
        for made in (copy.copy(watched), copy.deepcopy(watched)):
            assert type(made) is Settings
            assert made == watched
        assert type(pickle.loads(pickle.dumps(watched))) is Settings

    simulate(main)
    assert type(settings) is Settings


def test_parts_that_are_not_named_are_not_watched() -> None:
    """Of what has writes that need no order."""

    async def main() -> None:
        account, prices = watch(Account(), "balance"), watch({}, "a")

        async def write(number: int) -> None:
            account.owner = prices["b"] = str(number)
            account.balance = prices["a"] = number if racy else 0

        if not racy:
            await write(0)

        async def other(number: int) -> None:
            account.owner = prices["b"] = str(number)

        await asyncio.gather(*map(write if racy else other, range(2)))

    racy = False
    simulate(main)
    racy = True
    with pytest.raises(UnorderedAccessError, match=r"Account\.balance(.|\n)*and 1 more"):
        simulate(main)


def test_reads_need_an_order_where_that_is_asked_for() -> None:
    """A read before the write, and one after it; two reads need none."""

    def run(first: Any, second: Any, made: Any, reads: bool = True) -> str:
        async def main() -> None:
            watched = watch(made, reads=reads)
            await asyncio.gather(do(first, watched, 0), do(second, watched, 1))

        async def do(act: Callable[[Any], object], watched: Any, seconds: float) -> None:
            await asyncio.sleep(seconds)
            act(watched)

        try:
            simulate(main)
        except UnorderedAccessError as error:
            return str(error).splitlines()[0]
        return ""

    read = lambda account: account.balance  # noqa: E731
    said = "Account.balance is read and written by two tasks, with no order between them:"
    assert run(read, setting("balance"), Account()) == said
    assert "Account.balance is written and read" in run(setting("balance"), read, Account())
    assert run(read, read, Account()) == run(read, setting("owner"), Account()) == ""
    assert run(read, setting("balance"), Account(), reads=False) == ""
    assert "Slots.host is read" in run(lambda slots: slots.host, setting("host"), Slots())
    write = lambda prices: prices.update(a=2)  # noqa: E731
    assert "['a'] of the dict" in run(lambda prices: prices["a"], write, {"a": 1})
    assert "['a'] of the dict" in run(write, lambda prices: prices.get("a"), {"a": 1})
    assert "['a'] of the dict" in run(write, list, {"a": 1})
    assert not run(lambda prices: prices.get("b"), write, {"a": 1})
    assert "[0] of the list" in run(lambda items: items[0], lambda items: setitem(items), [1])


def setitem(items: Any, key: Any = 0, value: Any = 1) -> None:
    items[key] = value


def delitem(items: Any, key: Any = 0) -> None:
    del items[key]


def also(items: Any, other: Any) -> None:
    items |= other


WRITES_OF_A: list[Callable[[Any], object]] = [
    lambda prices: setitem(prices, "a"),
    lambda prices: prices.update({"a": 2}),
    lambda prices: prices.update([("a", 2)]),
    lambda prices: prices.update(iter([("a", 2)])),
    lambda prices: prices.update(a=2),
    lambda prices: also(prices, {"a": 2}),
    lambda prices: prices.pop("a", None),
    lambda prices: prices.popitem() if prices else prices.setdefault("a", 1),
    lambda prices: prices.clear(),
]


@pytest.mark.parametrize("kind", [dict, OrderedDict, Basket])
def test_the_keys_of_a_dict_are_watched(kind: type) -> None:
    """However they are written; another key is another part."""
    for first, second in product(WRITES_OF_A, WRITES_OF_A[:6]):
        assert "is written by two tasks" in race(kind(a=1), first, second)
    for write in WRITES_OF_A[:3]:
        assert not race(kind(b=1), write, lambda prices: setitem(prices, "b", 2))
        assert "is written" in race(kind(a=1), write, lambda prices: delitem(prices, "a"))
    said = race(kind(a=1), *WRITES_OF_A[:2])
    assert f"['a'] of the {kind.__name__} that is watched at" in said
    assert "test_watching.py:" in said


def test_the_counts_of_a_counter_are_watched() -> None:
    """Its methods are written in Python, and set one key after the other."""
    update = lambda counts: counts.update("ab")  # noqa: E731
    assert "['a'] of the Counter" in race(Counter(), update, update)
    assert not race(Counter(), update, lambda counts: counts.update("c"))


def test_a_default_that_is_filled_in_is_a_write() -> None:
    """By whom asks first; who asks later only reads."""
    groups = defaultdict[str, list[int]](list)
    assert "['a'] of the defaultdict" in race(
        groups, lambda groups: groups["a"], lambda groups: setitem(groups, "a", [])
    )
    assert not race(groups, lambda groups: groups["a"], lambda groups: groups["a"])


@pytest.mark.parametrize("kind", [list, deque])
def test_the_elements_of_a_list_are_watched(kind: Any) -> None:
    """One by its place; all of them by what moves them. New ones come in any order."""

    def added(items: Any) -> None:
        items.append(1)
        items.extend([1, 2])
        items += [3]

    assert "[1] of the" in race(
        kind("abc"), lambda items: setitem(items, 1), lambda items: setitem(items, -2)
    )
    assert not race(kind("abc"), lambda items: setitem(items, 1), lambda items: setitem(items, 2))
    assert not race(kind(), added, added)
    moves: list[Callable[[Any], object]] = [
        lambda items: items.insert(0, 1),
        lambda items: items.remove("a"),
        lambda items: items.reverse(),
        lambda items: items.clear(),
        delitem,
    ]
    for move in moves:
        assert "is written" in race(kind("abc"), lambda items: setitem(items, 2), move)
        assert "is written" in race(kind("abc"), move, added)


def test_sorting_a_list_or_writing_a_slice_is_a_write_of_all_elements() -> None:
    """Nobody else may write one at the same time."""
    moves: list[Callable[[Any], object]] = [
        lambda items: items.sort(),
        lambda items: items.pop(),
        lambda items: setitem(items, slice(1), [3]),
    ]
    for move in moves:
        assert "the content of the list" in race([2, 1], move, move)
        assert "is written" in race([2, 1], move, setitem)
        assert "is written" in race([2, 1], setitem, move)


def test_workers_may_share_a_deque_of_jobs() -> None:
    """Each takes another one."""
    assert not race(deque("abc"), lambda jobs: jobs.popleft(), lambda jobs: jobs.pop())


def test_the_members_of_a_set_are_watched() -> None:
    """Those that are added or removed; what changes nothing is not a write."""
    writes: list[Callable[[Any], object]] = [
        lambda names: names.add("a"),
        lambda names: names.update(["a"]),
        lambda names: also(names, {"a"}),
    ]
    takes: list[Callable[[Any], object]] = [
        lambda names: names.discard("a"),
        lambda names: names.remove("a"),
        lambda names: names.clear(),
        lambda names: names.difference_update("a"),
    ]
    for write, take in product(writes, takes):
        assert "is written" in race(set(), write, take)
    assert not race(set(), writes[0], lambda names: names.add("b"))
    assert not race({"a"}, lambda names: names.add("a"), lambda names: names.discard("b"))


def test_a_container_is_copied() -> None:
    """With its content, its length and its default; it can be copied and pickled, too."""

    async def main() -> None:
        names = {"a": 1}
        watched = watch(names)
        watched["b"] = 2
        assert names == {"a": 1}
        assert isinstance(watched, dict)
        assert watched == {"a": 1, "b": 2}
        assert type(pickle.loads(pickle.dumps(watched))) is type(copy.deepcopy(watched)) is dict
        assert watch(deque([1, 2], 2)).maxlen == 2
        assert watch(defaultdict(list))["a"] == []
        assert list(watch(OrderedDict(a=1))) == ["a"]

    simulate(main)


@dataclass(frozen=True)
class Frozen:
    host: str = ""


@pytest.mark.parametrize("wrong", [1, "text", (1,), None, object(), Account, frozenset(), print])
def test_what_cannot_be_watched_is_refused(wrong: Any) -> None:
    """With what to do instead."""

    async def main() -> None:
        watch(wrong)

    with pytest.raises(TypeError, match="Watch the object that refers to it"):
        simulate(main)


def test_what_is_frozen_is_refused() -> None:
    """Nobody could write to it."""

    async def main() -> None:
        watch(Frozen())

    with pytest.raises(TypeError, match=r"Frozen is frozen\. Watch what it holds"):
        simulate(main)


def test_outside_of_a_simulation_nothing_happens() -> None:
    """A program may watch in production, too."""
    account, names = Account(), {"a": 1}
    assert watch(account) is account
    assert type(account) is Account
    assert watch(names) is names
    assert watch(1) == 1

    async def main() -> None:
        assert watch(names) is names

    asyncio.run(main())


def test_a_run_that_fails_has_it_as_a_note() -> None:
    """It may be the reason."""

    async def main() -> None:
        account = watch(Account())

        async def write() -> None:
            account.balance = 1

        await asyncio.gather(write(), write())
        raise ValueError("the balance is wrong")

    with pytest.raises(ValueError, match="the balance is wrong") as caught:
        simulate(main)
    assert "Account.balance is written by two tasks" in caught.value.__notes__[0]


def test_branches_of_a_graph_have_no_order_and_nodes_that_follow_each_other_have_one() -> None:
    """The engine is a program like any other."""

    class Write(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            accounts[-1].balance += 1

    class Begin(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            accounts.append(watch(Account()))

    accounts: list[Account] = []
    begin = Begin()
    begin >> Write() >> Write() >> Write()
    assert not (found := explore(Graph(begin), seeds=50)), str(found)
    begin = Begin()
    begin >> [Write(), Write()]
    assert len(explore(Graph(begin), seeds=50)) == 50
