"""Values are restored equal, with the same types all the way down, or refused immediately."""

from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from importlib.resources import files
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

import ormsgpack
import pytest

from kaygraph.errors import JournalCorruptError, JournalVersionError, NotRecordableError
from kaygraph.journal.encoding import Encoding

PARIS = ZoneInfo("Europe/Paris")

KEPT: dict[str, Any] = {
    "none": None,
    "bool": True,
    "int": -(2**63),
    "unsigned int": 2**64 - 1,
    "long int": -(10**40),
    "int too long for a text": 3 << 20_000,
    "infinity": float("-inf"),
    "minus zero": -0.0,
    "str": "a\x00é😀",
    "surrogates": "a\ud800",
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"ab"),
    "list": [1, [2, ["a", None]]],
    "tuple": (1, ("a", [])),
    "set": {1, "a", (2, b"x")},
    "frozenset": frozenset({frozenset(), 1.5}),
    "dict": {"b": 1, "a": {"c": [1.5]}},
    "dict of other keys": {1: "a", None: 2, (1, 2): 3, b"x": 4, 1.5: True, "\udc80": {2: 3}},
    "naive": datetime(2024, 2, 29, 23, 59, 59, 999_999),
    "utc": datetime(1, 1, 1, tzinfo=UTC),
    "zone": datetime(2024, 7, 1, 12, tzinfo=PARIS),
    "hour that comes twice": datetime(2024, 10, 27, 2, 30, tzinfo=PARIS),
    "hour that comes twice, again": datetime(2024, 10, 27, 2, 30, tzinfo=PARIS, fold=1),
    "offset": datetime(2024, 1, 1, tzinfo=timezone(-timedelta(minutes=90, microseconds=1), "X")),
    "date": date(9999, 12, 31),
    "time": time(1, 2, 3, 4, UTC, fold=1),
    "timedelta": -timedelta(days=3, microseconds=1),
    "timezone": timezone(timedelta(hours=1)),
    "zoneinfo": PARIS,
    "decimal": Decimal("-1.20E+400"),
    "uuid": UUID(int=7),
    "complex": complex(-0.0, float("inf")),
    "range": range(10**30, 5, -1),
    "slice": slice(None, 5),
    "posix path": PurePosixPath("/a/b"),
    "windows path": PureWindowsPath("c:/a"),
    "ordered dict": OrderedDict([(2, "b"), (1, "a")]),
    "default dict": defaultdict(list, {"a": [1]}),
    "counter": Counter("abca"),
    "deque": deque([1, (2,)], maxlen=3),
}


@pytest.fixture(name="encoding")
def _encoding() -> Encoding:
    return Encoding()


@pytest.mark.parametrize("value", KEPT.values(), ids=KEPT)
def test_built_in_values_come_back_as_they_were(encoding: Encoding, value: Any) -> None:
    """Each is equal, of the same type, and has an equal fingerprint."""
    back = encoding.decode(encoding.encode(value, "it"))
    assert type(back) is type(value)
    assert back == value
    assert encoding.fingerprint(back) == encoding.fingerprint(value)


def test_an_error_says_where_the_value_stands_and_what_to_type(encoding: Encoding) -> None:
    """It names whose value it was, the place within it, and its class."""

    class Point:
        pass

    with pytest.raises(
        NotRecordableError,
        match=r"^What exec of 'Fetch' returned cannot be recorded: \['rows'\]\[1\]\['at'\] is of "
        r"the type .*Point\. Type: Journal\(\.\.\., types=\[Point\]\)\.$",
    ):
        encoding.encode({"rows": [{}, {"at": Point()}]}, "what exec of 'Fetch' returned")


class Nowhere(tzinfo):
    """A time zone of an unknown class."""

    def utcoffset(self, moment: datetime | None, /) -> timedelta:
        return timedelta(0)


def zone_of_a_file(key: str | None) -> ZoneInfo:
    """Return the time zone of Paris under another name."""
    with files("tzdata.zoneinfo.Europe").joinpath("Paris").open("rb") as file:
        return ZoneInfo.from_file(file, key=key)


class Text(str):
    pass


REFUSED: dict[str, Any] = {
    "zone of another class": datetime(2024, 1, 1, tzinfo=Nowhere()),
    "time with a zone of another class": time(1, tzinfo=Nowhere()),
    "zone without a name": datetime(2024, 1, 1, tzinfo=zone_of_a_file(None)),
    "zone of a wrong name": datetime(2024, 1, 1, tzinfo=zone_of_a_file("America/New_York")),
    "default of the program": defaultdict(lambda: 1),
    "default of a deque": defaultdict(deque),
    "subclass": Text("a"),
    "key of a subclass": {Text("a"): 1},
    "view": {"a": memoryview(b"a")},
    "class": int,
    "function": len,
    "generator": (number for number in ()),
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_what_would_come_back_as_something_else_is_refused(encoding: Encoding, value: Any) -> None:
    """Immediately, and at any place within a value."""
    for wrapped in (value, [value], {"a": (1, value)}):
        with pytest.raises(NotRecordableError):
            encoding.encode(wrapped, "it")


def test_what_does_not_count_for_equality_comes_back(encoding: Encoding) -> None:
    """A UUID knows whether it was made safely, a fixed offset its name."""
    made = UUID(int=1, is_safe=SafeUUID.safe)
    assert encoding.decode(encoding.encode(made, "it")).is_safe is SafeUUID.safe
    offset = datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1), "Here"))
    assert encoding.decode(encoding.encode(offset, "it")).tzname() == "Here"


def test_a_zone_is_written_in_one_way(encoding: Encoding) -> None:
    """The short cut for UTC gives the same as the general way."""
    short, zone = (
        encoding.encode(datetime(2024, 1, 1, tzinfo=UTC), "it"),
        encoding.encode(UTC, "it"),
    )
    assert short.endswith(zone)


def test_the_order_of_an_ordered_dict_is_in_its_fingerprint(encoding: Encoding) -> None:
    """Two are equal only in the same order."""
    one, other = OrderedDict([(1, 2), (3, 4)]), OrderedDict([(3, 4), (1, 2)])
    assert encoding.fingerprint(one) != encoding.fingerprint(other)
    assert encoding.fingerprint(dict(one)) == encoding.fingerprint(dict(other))


def test_fingerprints_with_another_key_are_others(encoding: Encoding) -> None:
    """Each place of a run has keys of its own."""
    assert len({encoding.fingerprint((1,), key) for key in (b"", b"a", b"b")}) == 3


def test_what_contains_itself_is_refused(encoding: Encoding) -> None:
    """Neither a list nor a dict that contains itself causes a crash."""
    endless: list[object] = []
    endless.append({"a": (endless,)})
    with pytest.raises(NotRecordableError, match="contains itself"):
        encoding.encode(endless, "it")


def test_what_is_raised_while_a_value_is_read_is_not_lost(encoding: Encoding) -> None:
    """The library replaces what its hook raises, and a Ctrl-C is not damage."""
    data = encoding.encode(((1,),), "it")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    reading = Encoding()
    reading._unpacks = dict.fromkeys(reading._unpacks, interrupted)
    with pytest.raises(KeyboardInterrupt):
        reading.decode(data)


def test_damage_and_values_of_a_newer_kaygraph_are_distinguished(encoding: Encoding) -> None:
    """Neither is restored as something else."""
    with pytest.raises(JournalCorruptError, match="cannot be read"):
        encoding.decode(b"\x92\x01")
    with pytest.raises(JournalVersionError, match=r"newer kaygraph recorded a value \(type 99"):
        encoding.decode(ormsgpack.packb(ormsgpack.Ext(99, b"")))
    with pytest.raises(JournalCorruptError, match="cannot be read"):
        encoding.decode(ormsgpack.packb(ormsgpack.Ext(8, b"short")))
