"""Rules for all values: what is restored, and what a fingerprint says."""

import random
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaygraph.errors import NotRecordableError
from kaygraph.journal.encoding import Encoding
from kaygraph.journal.packing import Packer, options_of
from tests.children import python
from tests.journal import test_encoding, test_registered
from tests.journal.recorded import Colour, Frozen, Labelled, Pair, Point, Struct

# Strategies that are composed of each other have long names, which nobody reads.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

ENCODING = Encoding([Frozen, Labelled, Pair, Struct, Colour])

ZONES = st.sampled_from(
    [
        None,
        ZoneInfo("Europe/Paris"),
        ZoneInfo("America/New_York"),
        UTC,
        timezone(timedelta(minutes=-90)),
        timezone(timedelta(hours=2), "X"),
    ]
)
TEXTS = st.text(st.characters(exclude_categories=()), max_size=6)  # surrogates, too
LONG_INTS = st.integers(-(10**45), 10**45)
FOLDED = st.builds(
    lambda value, fold: value.replace(fold=fold), st.datetimes(timezones=ZONES), st.integers(0, 1)
)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=40),
    lambda parts: (
        st.lists(parts, max_size=20) | st.dictionaries(st.text(max_size=5), parts, max_size=20)
    ),
    max_leaves=60,
)

HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | LONG_INTS
    | st.floats(allow_nan=False)
    | TEXTS
    | st.binary(max_size=5)
    | st.uuids()
    | st.dates()
    | FOLDED
    | st.times()
    | st.timedeltas()
    | st.complex_numbers(allow_nan=False)
    | st.decimals(allow_nan=False)
    | st.sampled_from(Colour)
    | st.builds(PurePosixPath, st.text("ab/.", max_size=5))
    | st.builds(range, LONG_INTS, LONG_INTS, st.integers(1, 9)),
    lambda parts: (
        st.lists(parts, max_size=3).map(tuple)
        | st.frozensets(parts, max_size=3)
        | st.builds(Pair, parts, parts)
    ),
    max_leaves=8,
)

VALUES = st.recursive(
    HASHABLE | st.floats() | st.decimals() | st.binary(max_size=9).map(bytearray),
    lambda parts: (
        st.lists(parts, max_size=4)
        | st.lists(parts, max_size=4).map(tuple)
        | st.sets(HASHABLE, max_size=4)
        | st.dictionaries(HASHABLE, parts, max_size=4)
        | st.dictionaries(TEXTS, parts, max_size=4)
        | st.dictionaries(HASHABLE, parts, max_size=3).map(OrderedDict)
        | st.dictionaries(HASHABLE, parts, max_size=3).map(lambda items: defaultdict(list, items))
        | st.dictionaries(HASHABLE, st.integers(), max_size=3).map(Counter)
        | st.builds(deque, st.lists(parts, max_size=3), st.none() | st.integers(3, 5))
        | st.builds(Labelled, parts, parts)
        | st.builds(Struct, parts, parts)
    ),
    max_leaves=20,
)


def shape(value: Any, *, ordered: bool = True) -> Any:
    """Return a form that two values share if and only if they are the same, with types and signs.

    ``ordered``: whether the order of a dict counts.
    """

    def inner(part: Any) -> Any:
        return shape(part, ordered=ordered)

    kind = type(value)
    if kind is float:
        return kind, value.hex() if value == value else "nan"
    if kind is complex:
        return kind, inner(value.real), inner(value.imag)
    if kind is Decimal:
        return kind, value.as_tuple()
    if isinstance(value, datetime | time):
        zone = value.tzinfo
        return kind, value.isoformat(), value.fold, repr(zone), type(zone)
    if isinstance(value, set | frozenset):
        return kind, frozenset(map(inner, value))
    if isinstance(value, dict):
        factory = getattr(value, "default_factory", None)
        pairs = [(inner(key), inner(part)) for key, part in value.items()]
        return kind, factory, tuple(pairs) if ordered or kind is OrderedDict else frozenset(pairs)
    if isinstance(value, list | tuple | deque):
        return kind, getattr(value, "maxlen", None), tuple(map(inner, value))
    if isinstance(value, Point):
        return kind, inner(vars(value))
    if isinstance(value, Struct):
        return kind, inner(value.x), inner(value.y)
    return kind, value if kind is int else repr(value)


def shuffled(value: Any, chance: random.Random) -> Any:
    """Return an equal value whose dicts and sets were filled in another order."""
    if type(value) in (dict, set, frozenset):
        parts = list(value.items() if type(value) is dict else value)
        chance.shuffle(parts)
        if type(value) is dict:
            parts = [(key, shuffled(part, chance)) for key, part in parts]
        return type(value)(parts)
    if type(value) in (list, tuple):
        return type(value)(shuffled(part, chance) for part in value)
    return value


@given(VALUES)
def test_any_value_comes_back_as_it_was(value: Any) -> None:
    """Types, signs, order of keys, folds and zones are the same, all the way down."""
    assert shape(ENCODING.decode(ENCODING.encode(value, "it"))) == shape(value)


@given(VALUES, VALUES)
def test_fingerprints_are_equal_for_equal_values_alone(one: Any, other: Any) -> None:
    """Values that are different, or of different types, have different ones."""
    same = ENCODING.fingerprint(one) == ENCODING.fingerprint(other)
    assert same == (shape(one, ordered=False) == shape(other, ordered=False))


@given(VALUES, st.randoms(use_true_random=False))
def test_the_order_of_a_dict_or_a_set_is_not_in_its_fingerprint(
    value: Any, chance: random.Random
) -> None:
    """It is the same, whatever was put in first."""
    assert ENCODING.fingerprint(shuffled(value, chance)) == ENCODING.fingerprint(value)


@given(PLAIN)
def test_the_short_way_and_the_long_way_come_to_the_same(value: Any) -> None:
    """Values packed part by part give the same bytes: a fingerprint depends only on the value."""
    for canonical in (False, True):
        packer = Packer(ormsgpack, ENCODING._registry.find, canonical=canonical)
        options = options_of(ormsgpack, canonical=canonical)
        assert packer.pack(value) == ormsgpack.packb(value, None, options)


@pytest.mark.parametrize("length", [15, 16, 65_535, 65_536])
def test_containers_of_any_length_come_back(length: int) -> None:
    """Each length has a different header, also when the items are packed one by one."""
    for value in (
        [(number,) for number in range(length)],
        {str(number): (number,) for number in range(length)},
        {number: number for number in range(length)},
        set(range(length)),
    ):
        assert ENCODING.decode(ENCODING.encode(value, "it")) == value


NESTED: dict[str, Callable[[Any], Any]] = {
    "list": lambda part: [part],
    "tuple": lambda part: (part,),
    "dict": lambda part: {"a": part},
    "dict of other keys": lambda part: {1: part},
    "frozenset": lambda part: frozenset([part]),
    "deque": lambda part: deque([part]),
    "struct": lambda part: Struct(part),
    "dataclass": lambda part: Labelled(part),
    "named tuple": lambda part: Pair(part),
    "error": lambda part: ValueError(part),
}


@pytest.mark.parametrize("wrap", NESTED.values(), ids=NESTED)
@pytest.mark.parametrize("depth", [30, 100, 1000, 20_000])
def test_a_deep_value_comes_back_or_is_refused(wrap: Callable[[Any], Any], depth: int) -> None:
    """It never ends in a crash; what was recorded can be read with a deeper stack."""
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    try:
        data = ENCODING.encode(value, "it")
    except NotRecordableError:
        assert depth > 30
        return
    assert depth <= 100

    def deeper(levels: int) -> Any:
        return ENCODING.decode(data) if levels == 0 else deeper(levels - 1)

    back = deeper(300)
    while type(back) is not int:
        assert type(back) is type(value)
        back, value = inner(back), inner(value)
    assert back == value


def inner(value: Any) -> Any:
    """Return the one part of a value."""
    if isinstance(value, Struct | Point):
        return value.x
    if isinstance(value, ValueError):
        return value.args[0]
    return next(iter(value.values() if isinstance(value, dict) else value))


PROGRAM = """
from tests.journal.test_any_value import TABLE
for encoding, value in TABLE.values():
    print(encoding.fingerprint(value, b"key").hex(), encoding.encode(value, "it").hex())
"""

REGISTERED = Encoding(test_registered.CLASSES)
TABLE = {
    **{name: (ENCODING, value) for name, value in test_encoding.KEPT.items()},
    **{f"a {name}": (REGISTERED, value) for name, value in test_registered.KEPT.items()},
}
if find_spec("numpy"):
    ARRAYS = import_module("tests.journal.test_arrays").ARRAYS
    TABLE |= {f"array of {name}": (ENCODING, value) for name, value in ARRAYS.items()}


@pytest.mark.proofs
def test_what_one_process_has_recorded_another_one_reads() -> None:
    """No fingerprint contains the hash seed of a process, and each value is restored the same."""
    lines = [
        python("-c", PROGRAM, env={"PYTHONHASHSEED": seed}, check=True).stdout.splitlines()
        for seed in ("1", "2")
    ]
    for (encoding, value), one, other in zip(TABLE.values(), *lines, strict=True):
        fingerprint, data = one.split()
        assert fingerprint == other.split()[0]
        assert fingerprint == encoding.fingerprint(value, b"key").hex()
        back = encoding.decode(bytes.fromhex(data))
        assert type(back) is type(value)
        assert encoding.fingerprint(back, b"key").hex() == fingerprint
