"""User classes whose values are recorded."""

import enum
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import attrs
import msgspec
import pydantic

T = TypeVar("T")


@dataclass
class Point:
    x: int
    y: float = 0.0


@dataclass
class Labelled(Point):
    label: str = ""
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Frozen:
    at: Point
    others: tuple["Frozen", ...] = ()


@dataclass(slots=True)
class Slotted:
    x: Any
    y: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyword(Generic[T]):
    x: T
    kind: ClassVar[str] = "keyword"


@dataclass
class Counted:
    """Its fields change after ``__init__``, which a second call would repeat."""

    total: int
    double: int = field(init=False)
    later: int = field(init=False)

    def __post_init__(self) -> None:
        self.total += 1
        self.double = 2 * self.total

    @cached_property
    def costly(self) -> object:
        return object()


class Plain:
    __slots__ = ("__hidden", "__weakref__", "shown")

    def __init__(self, hidden: Any) -> None:
        self.__hidden = hidden

    @property
    def hidden(self) -> Any:
        return self.__hidden


@attrs.frozen(cache_hash=True)
class Hashed:
    name: str


@attrs.define
class Attributed:
    x: int
    y: list[int] = attrs.field(factory=list)


class Colour(enum.Enum):
    RED = "red"
    ROUGE = "red"
    LIST = ([1],)


class Number(enum.IntEnum):
    ONE = 1


class Word(enum.StrEnum):
    ONE = "one"


class Permission(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


class Mode(enum.IntFlag, boundary=enum.KEEP):
    A = 1


class Pair(NamedTuple):
    first: Any
    second: Any = None


class Name(str):
    pass


class Metres(float):
    unit: str


class Config(dict[str, Any]):
    pass


class Rows(list[Any]):
    __slots__ = ("source",)


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")

    name: str
    size: int = 3
    point: Point | None = None
    _token: str = pydantic.PrivateAttr(default="none")


class Narrow(Model):
    more: int = 1


class Holder(pydantic.BaseModel):
    model: Model
    models: list[Model] = []


class Ids(pydantic.RootModel[list[int]]):
    pass


class Secretive(pydantic.BaseModel):
    key: pydantic.SecretStr


class Struct(msgspec.Struct):
    x: Any
    y: Any = 2


class Derived(Struct):
    z: int = 0


class Checked(msgspec.Struct, frozen=True, kw_only=True, tag=True, dict=True):
    total: int

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "total", self.total + 1)


class OutOfStock(Exception):  # noqa: N818
    def __init__(self, product: str, *, left: int) -> None:
        super().__init__(f"only {left} of {product}")
        self.product, self.left = product, left


@dataclass
class Elsewhere:
    """Keeps the value of its field outside of its objects."""

    x: "int" = 0
    known: ClassVar[dict[int, int]] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        self.known[id(self)] = value

    def __getattribute__(self, name: str) -> Any:
        if name == "x":
            return Elsewhere.known[id(self)]
        return object.__getattribute__(self, name)
