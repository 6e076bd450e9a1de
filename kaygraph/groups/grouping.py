"""The values of each key: one as itself, several in a list."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from numbers import Number
from typing import Any, NamedTuple
from zlib import crc32

# How many values of a key are gathered before they are combined again: results from lists or
# sets grow, and would be copied for each new value.
COMBINE_AT = 64
# Results from these do not grow, so they are combined at once.
NUMBERS = frozenset({int, float, complex})
NOTHING = frozenset[type]()
ABSENT: Any = object()
ITEMS_OF_A_DICT: type = type({}.items())


class Several(list[Any]):
    """The values of a key that has more than one: a value may be a list itself."""

    __slots__ = ()


Groups = dict[Any, Any]  # key -> its only value, or Several
Combine = Callable[[Any, list[Any]], Any]


class Part(NamedTuple):
    """Some of the keys, and what ``Groups`` has of each: half the memory of a dict to fill."""

    keys: list[Any]
    values: list[Any]

    def __repr__(self) -> str:  # as an error shows what could not be reduced
        return repr(dict(lists_of(self)))


def grouped(
    pairs: Iterable[Any], combine: Combine | None, refusal: Callable[[Any], Exception]
) -> Part:
    """Return the values of each key, combined if there is a ``combine``.

    ``refusal`` returns the error for something that is not a pair.
    """
    if type(pairs) is ITEMS_OF_A_DICT:  # no key is in it twice
        return part_of(pairs.mapping)  # type: ignore[attr-defined]
    groups: Groups = {}
    for pair in pairs:
        add(pair, groups, combine, refusal)
    return part_of(groups) if combine is None else combined(groups, combine)


def add(
    pair: Any, to: Groups, combine: Combine | None, refusal: Callable[[Any], Exception]
) -> None:
    """Add one pair to those of its item."""
    try:
        key, value = pair
    except (TypeError, ValueError):
        raise refusal(pair) from None
    known = to.get(key, ABSENT)
    if known is ABSENT:
        to[key] = value
    elif type(known) is not Several:
        to[key] = Several((known, value))
    else:
        known.append(value)
        if len(known) >= COMBINE_AT and combine is not None:
            to[key] = combine(key, list(known))


def combined(groups: Groups, combine: Combine) -> Part:
    """Return the groups with one value per key."""
    values = [
        combine(key, list(value)) if type(value) is Several else value
        for key, value in groups.items()
    ]
    return Part(list(groups), values)


def part_of(groups: Mapping[Any, Any]) -> Part:
    return Part(list(groups), list(groups.values()))


def merge(part: Part, into: Groups, combine: Combine | None) -> None:
    """Add the values of an item to the groups.

    Strings that stay are copied. They were created among many that go, and would keep a little of
    each piece of memory in use, so that what the next items create is scattered over the gaps.
    """
    known_of = into.get
    numbers = NUMBERS if combine is not None else NOTHING
    for key, value in zip(*part, strict=True):
        known = known_of(key, ABSENT)
        if known is ABSENT:
            into["".join((key, "")) if type(key) is str else key] = value
        elif type(known) in numbers:
            into[key] = combine(key, [known, value])  # type: ignore[misc]
        else:
            if type(known) is not Several:
                known = into[key] = Several((known,))
            if type(value) is Several:
                known += value
            else:
                known.append(value)
            if len(known) >= COMBINE_AT and combine is not None:
                into[key] = combine(key, list(known))


def dealt(groups: Groups, parts: int) -> list[Part]:
    """Return the keys in this many parts of about the same size, in their order."""
    (keys, values), size = part_of(groups), max(1, -(-len(groups) // parts))
    starts = range(0, len(keys), size)
    return [Part(keys[at : at + size], values[at : at + size]) for at in starts]


def lists_of(part: Part) -> Iterator[tuple[Hashable, list[Any]]]:
    """Yield each key and the list of its values."""
    for key, value in zip(*part, strict=True):
        yield key, list(value) if type(value) is Several else [value]


def divided(part: Part, number: int, place: Callable[[Any], int]) -> list[Part]:
    """Return the keys in so many parts; those for which ``place`` is the same stay together."""
    parts = [Part([], []) for _ in range(number)]
    for key, value in zip(*part, strict=True):
        keys, values = parts[place(key) % number]
        keys.append(key)
        values.append(value)
    return parts


def stable_hash(key: Hashable) -> int:
    """Return a hash that is the same for equal keys, and in every process."""
    if isinstance(key, str):
        return crc32(key.encode(errors="surrogatepass"))
    if isinstance(key, Number):
        return hash(key)  # for numbers it is the same in every process
    if isinstance(key, tuple):
        return crc32(repr([stable_hash(part) for part in key]).encode())
    if isinstance(key, frozenset):
        return sum(stable_hash(part) for part in key)
    return crc32(repr(key).encode(errors="surrogatepass"))


def scattered(key: Hashable) -> int:
    """Return the same as ``stable_hash`` with its bits mixed, so that few keys fall apart as well.

    Fibonacci hashing: Knuth, The Art of Computer Programming, volume 3, section 6.4.
    """
    return (stable_hash(key) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) >> 32
