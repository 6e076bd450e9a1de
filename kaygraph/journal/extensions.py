"""Built-in types that MessagePack lacks, as its extension types.

Files contain these tags and payloads: a tag never gets a second meaning.
"""

import struct
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, NamedTuple, NoReturn, Protocol
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo


class Tag:
    """The extension types of MessagePack that records use, by number."""

    INT = 1
    STR = 2
    BYTEARRAY = 3
    TUPLE = 4
    SET = 5
    FROZENSET = 6
    DICT = 7
    DATETIME = 8
    DATE = 9
    TIME = 10
    TIMEDELTA = 11
    TIMEZONE = 12
    ZONE = 13
    DECIMAL = 14
    UUID = 15
    COMPLEX = 16
    RANGE = 17
    SLICE = 18
    PATH = 19
    ORDERED_DICT = 20
    DEFAULT_DICT = 21
    COUNTER = 22
    DEQUE = 23
    REGISTERED = 24
    ERROR = 25
    ARRAY = 26
    ARRAY_SCALAR = 27


class Unrecordable(Exception):  # noqa: N818 - it never leaves the encoder
    """A value, or a part of one, would not be restored as an equal value.

    Attributes:
        steps: Its place, from the inside out: ``["[0]", "['rows']"]``.
        cls: Its class, if registering that would help.
    """

    def __init__(self, reason: str, cls: type | None = None) -> None:
        super().__init__(reason)
        self.steps: list[str] = []
        self.cls = cls


class Packing(Protocol):
    """Packs the parts of a value.

    Attributes:
        canonical: Whether equal values must become equal bytes, as in fingerprints.
    """

    canonical: bool

    def pack(self, value: object) -> bytes:
        """Return one value."""
        ...

    def canonical_of(self, value: object) -> bytes:
        """Return bytes that are the same for equal values, whatever the order of their sets."""
        ...

    def pack_all(self, values: Sequence[object]) -> bytes:
        """Return values as one array, in their order."""
        ...

    def pack_unordered(self, values: Collection[object]) -> bytes:
        """Return values as one array; their order does not count."""
        ...

    def pack_pairs(
        self, items: Collection[tuple[object, object]], *, ordered: bool = False
    ) -> bytes:
        """Return keys and values as one array, alternating."""
        ...

    def pack_attributes(self, attributes: Mapping[str, object]) -> bytes:
        """Return attributes by name."""
        ...


Unpack = Callable[[bytes], Any]


class Extension(NamedTuple):
    """How values of one type are written and read.

    Attributes:
        tag: The number of the extension type.
        pack: Takes a value and a packer of its parts; returns the payload.
        unpack: Takes a payload and an unpacker of parts; returns the value.
    """

    tag: int
    pack: Callable[[Any, Packing], bytes]
    unpack: Callable[[bytes, Unpack], Any]


def _pack_int(value: int, _: Packing) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


def _unpack_int(data: bytes, _: Unpack) -> int:
    return int.from_bytes(data, "little", signed=True)


def _pack_str(value: str, _: Packing) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _unpack_str(data: bytes, _: Unpack) -> str:
    return data.decode("utf-8", "surrogatepass")


MOMENT = struct.Struct("<HBBBBBIB")  # year, month, day, hour, minute, second, microsecond, fold
DAY = struct.Struct("<HBB")
CLOCK = struct.Struct("<BBBIB")
UTC_ZONE = bytes((0xC7, 0, Tag.TIMEZONE))  # in packed form
SPAN = struct.Struct("<iiI")  # days, seconds, microseconds
COMPLEX = struct.Struct("<dd")


def _pack_datetime(value: datetime, packing: Packing) -> bytes:
    _check_zone(value.tzinfo, value)
    wall = MOMENT.pack(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
        value.fold,
    )
    if value.tzinfo is UTC:
        return wall + UTC_ZONE
    return wall if value.tzinfo is None else wall + packing.pack(value.tzinfo)


def _unpack_datetime(data: bytes, unpack: Unpack) -> datetime:
    year, month, day, hour, minute, second, microsecond, fold = MOMENT.unpack_from(data)
    written = data[MOMENT.size :]
    zone = UTC if written == UTC_ZONE else unpack(written) if written else None
    return datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def _pack_time(value: time, packing: Packing) -> bytes:
    _check_zone(value.tzinfo, None)
    clock = CLOCK.pack(value.hour, value.minute, value.second, value.microsecond, value.fold)
    return clock if value.tzinfo is None else clock + packing.pack(value.tzinfo)


def _unpack_time(data: bytes, unpack: Unpack) -> time:
    hour, minute, second, microsecond, fold = CLOCK.unpack_from(data)
    zone = unpack(data[CLOCK.size :]) if len(data) > CLOCK.size else None
    return time(hour, minute, second, microsecond, zone, fold=fold)


def _check_zone(zone: tzinfo | None, moment: datetime | None) -> None:
    """Refuse a time zone that cannot be restored: of an unknown class, or a modified one."""
    if zone is None or type(zone) is timezone:
        return
    if type(zone) is not ZoneInfo:
        raise Unrecordable(
            f"has a time zone of the type {type(zone).__module__}.{type(zone).__qualname__}, and "
            "only those of zoneinfo and datetime.timezone can be restored. Convert it: "
            ".astimezone(ZoneInfo('Europe/Paris'))"
        )
    known = _zone_of(zone)
    if known is not zone and known.utcoffset(moment) != zone.utcoffset(moment):
        raise Unrecordable(f"has a time zone that differs from the one known as {zone.key!r}")


def _zone_of(zone: ZoneInfo) -> ZoneInfo:
    """Return the time zone found by this one's name; one loaded from a file may have no name."""
    try:
        return ZoneInfo(zone.key)
    except Exception:
        raise Unrecordable("has a time zone without a name, as of ZoneInfo.from_file()") from None


def _pack_zone(value: ZoneInfo, _: Packing) -> bytes:
    return _zone_of(value).key.encode()


def _pack_timezone(value: timezone, packing: Packing) -> bytes:
    if value is UTC:
        return b""
    return packing.pack_all(value.__getinitargs__())  # type: ignore[attr-defined]


def _unpack_timezone(data: bytes, unpack: Unpack) -> timezone:
    return timezone(*unpack(data)) if data else UTC


def _pack_uuid(value: UUID, _: Packing) -> bytes:
    known = value.is_safe is not SafeUUID.unknown
    return value.bytes + (struct.pack("b", value.is_safe.value) if known else b"")


def _unpack_uuid(data: bytes, _: Unpack) -> UUID:
    safe = SafeUUID(struct.unpack("b", data[16:])[0]) if len(data) > 16 else SafeUUID.unknown
    return UUID(bytes=data[:16], is_safe=safe)


def _pack_slice(value: slice, packing: Packing) -> bytes:
    return packing.pack_all((value.start, value.stop, value.step))


PATHS: dict[str, type[PurePath]] = {
    cls.__name__: cls for cls in (PosixPath, WindowsPath, PurePosixPath, PureWindowsPath)
}


def _pack_path(value: PurePath, packing: Packing) -> bytes:
    return packing.pack_all((type(value).__name__, str(value)))


def _unpack_path(data: bytes, unpack: Unpack) -> PurePath:
    name, text = unpack(data)
    return PATHS[name](text)


def _pairs(data: bytes, unpack: Unpack) -> Iterable[tuple[Any, Any]]:
    parts = iter(unpack(data))
    return zip(parts, parts, strict=True)


FACTORIES: dict[str, type] = {
    cls.__name__: cls for cls in (bool, bytes, dict, float, frozenset, int, list, set, str, tuple)
}


def _pack_defaultdict(value: defaultdict[Any, Any], packing: Packing) -> bytes:
    factory: Any = value.default_factory
    name = getattr(factory, "__name__", None)
    if factory is not None and FACTORIES.get(str(name)) is not factory:
        raise Unrecordable(
            "is a defaultdict whose default comes from a function of the program: return a dict"
        )
    return packing.pack_all((name, dict(value)))


def _unpack_defaultdict(data: bytes, unpack: Unpack) -> defaultdict[Any, Any]:
    name, items = unpack(data)
    return defaultdict(None if name is None else FACTORIES[name], items)


def _pack_counter(value: Counter[Any], packing: Packing) -> bytes:
    return packing.pack_pairs(value.items())


def _unpack_counter(data: bytes, unpack: Unpack) -> Counter[Any]:
    counter = Counter[Any]()
    for key, count in _pairs(data, unpack):
        counter[key] = count
    return counter


def _pack_deque(value: deque[Any], packing: Packing) -> bytes:
    return packing.pack_all((value.maxlen, list(value)))


def _unpack_deque(data: bytes, unpack: Unpack) -> deque[Any]:
    maxlen, items = unpack(data)
    return deque(items, maxlen)


EXTENSIONS: dict[type, Extension] = {
    int: Extension(Tag.INT, _pack_int, _unpack_int),  # wider than 64 bits
    str: Extension(Tag.STR, _pack_str, _unpack_str),  # with surrogates
    bytearray: Extension(Tag.BYTEARRAY, lambda value, _: bytes(value), lambda d, _: bytearray(d)),
    tuple: Extension(Tag.TUPLE, lambda value, p: p.pack_all(value), lambda d, u: tuple(u(d))),
    set: Extension(Tag.SET, lambda value, p: p.pack_unordered(value), lambda d, u: set(u(d))),
    frozenset: Extension(
        Tag.FROZENSET, lambda value, p: p.pack_unordered(value), lambda d, u: frozenset(u(d))
    ),
    dict: Extension(  # with keys that are not strings
        Tag.DICT, lambda value, p: p.pack_pairs(value.items()), lambda d, u: dict(_pairs(d, u))
    ),
    datetime: Extension(Tag.DATETIME, _pack_datetime, _unpack_datetime),
    date: Extension(
        Tag.DATE,
        lambda value, _: DAY.pack(value.year, value.month, value.day),
        lambda data, _: date(*DAY.unpack(data)),
    ),
    time: Extension(Tag.TIME, _pack_time, _unpack_time),
    timedelta: Extension(
        Tag.TIMEDELTA,
        lambda value, _: SPAN.pack(value.days, value.seconds, value.microseconds),
        lambda data, _: timedelta(*SPAN.unpack(data)),
    ),
    timezone: Extension(Tag.TIMEZONE, _pack_timezone, _unpack_timezone),
    ZoneInfo: Extension(Tag.ZONE, _pack_zone, lambda data, _: ZoneInfo(data.decode())),
    Decimal: Extension(
        Tag.DECIMAL, lambda value, _: str(value).encode(), lambda data, _: Decimal(data.decode())
    ),
    UUID: Extension(Tag.UUID, _pack_uuid, _unpack_uuid),
    complex: Extension(
        Tag.COMPLEX,
        lambda value, _: COMPLEX.pack(value.real, value.imag),
        lambda data, _: complex(*COMPLEX.unpack(data)),
    ),
    range: Extension(
        Tag.RANGE,
        lambda value, p: p.pack_all((value.start, value.stop, value.step)),
        lambda data, u: range(*u(data)),
    ),
    slice: Extension(Tag.SLICE, _pack_slice, lambda data, u: slice(*u(data))),
    **dict.fromkeys(PATHS.values(), Extension(Tag.PATH, _pack_path, _unpack_path)),
    OrderedDict: Extension(
        Tag.ORDERED_DICT,
        lambda value, p: p.pack_pairs(value.items(), ordered=True),
        lambda data, u: OrderedDict(_pairs(data, u)),
    ),
    defaultdict: Extension(Tag.DEFAULT_DICT, _pack_defaultdict, _unpack_defaultdict),
    Counter: Extension(Tag.COUNTER, _pack_counter, _unpack_counter),
    deque: Extension(Tag.DEQUE, _pack_deque, _unpack_deque),
}


def refuse(value: object) -> NoReturn:
    """Refuse a value by its type."""
    cls = type(value)
    name = (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )
    raise Unrecordable(f"is of the type {name}", cls)
