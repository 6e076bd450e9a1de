"""Exceptions that pickle does not bring back, and nodes that raise them in processes."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from kaygraph import Node, ParallelBatchNode


class Busy(Exception):  # noqa: N818 - as services call theirs
    """Takes more than it passes on to Exception."""

    def __init__(self, code: int, text: str, *, holds: Any = None) -> None:
        super().__init__(f"{code} {text}")
        self.code, self.text, self.holds = code, text, holds


@dataclass(frozen=True)
class Frozen(Exception):  # noqa: N818
    code: int
    text: str = "frozen"


class Slotted(Exception):  # noqa: N818
    __slots__ = ("code", "text")

    def __init__(self, code: int, text: str) -> None:
        self.code, self.text = code, text


class Made(Exception):  # noqa: N818
    """Takes two arguments as soon as it is made."""

    def __new__(cls, code: int, text: str) -> "Made":
        made = super().__new__(cls, text)
        made.code = code  # type: ignore[attr-defined]
        return made


class Several(ExceptionGroup[Exception]):
    """A group that takes a third argument."""

    def __new__(cls, message: str, errors: Sequence[Exception], code: int) -> "Several":
        group = super().__new__(cls, message, errors)
        group.code = code  # type: ignore[attr-defined]
        return group

    def derive(self, errors: Sequence[Exception], /) -> "Several":  # type: ignore[override]
        return Several(self.message, errors, 0)


class Unreduced(Exception):  # noqa: N818
    """Says how it is pickled, and cannot."""

    def __reduce__(self) -> Any:
        raise RuntimeError("no way to pickle this")


class Misread(Exception):  # noqa: N818
    """Says how it is pickled, and loses its text on the way."""

    def __init__(self, text: str) -> None:
        super().__init__(f"misread {text}")

    def __reduce__(self) -> Any:
        return type(self), ("",)


class Stamped(Exception):  # noqa: N818
    """Says how it is pickled, and is stamped anew when it is made; its lock is made anew too."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.number, self.lock = next(NUMBERS), threading.Lock()

    def __reduce__(self) -> Any:
        return type(self), (self.args[0],)


NUMBERS = count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Named(Exception):  # noqa: N818
    code: int


class Response:
    """What an HTTP client holds: a status, and a connection that cannot be pickled."""

    def __init__(self, status: int) -> None:
        self.status, self.connection = status, threading.Lock()


class Answered(Exception):  # noqa: N818
    """Its text needs what cannot be pickled."""

    def __init__(self, response: Response) -> None:
        self.response = response

    def __str__(self) -> str:
        return f"answered {self.response.status}"


def local() -> Exception:
    """Return an exception whose class stands in no module."""

    class Local(ConnectionError):  # noqa: N818
        def __init__(self, code: int, text: str) -> None:
            super().__init__(text)
            self.code = code

    return Local(7, "refused")


def with_cause() -> Exception:
    try:
        try:
            raise Busy(503, "slow")
        except Busy as busy:
            busy.add_note("a note of the cause")
            raise Frozen(3) from busy
    except Frozen as error:
        return error


def make(kind: str) -> BaseException:
    """Return an exception by name; made where it is raised."""
    match kind:
        case "busy":
            return Busy(503, "slow")
        case "with a lock":
            return Busy(503, "slow", holds=threading.Lock())
        case "frozen":
            return Frozen(3)
        case "slots":
            return Slotted(3, "slotted")
        case "new":
            return Made(3, "made")
        case "group":
            return Several("several", [Busy(503, "slow"), Frozen(3)], 9)
        case "unreduced":
            return Unreduced("as raised")
        case "misread":
            return Misread("as raised")
        case "answered":
            return Answered(Response(503))
        case "local":
            return local()
        case "cause":
            return with_cause()
        case "exit":
            return SystemExit(3)
    raise AssertionError(kind)


class Fails(Node[Any, Any]):
    """Raises what is asked for until its last attempt."""

    run_in = "process"

    def __init__(self, kind: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.kind = kind

    def exec(self, _: Any) -> int:
        if self.attempt < 3:
            raise make(self.kind)
        return self.attempt

    def post(self, shared: Any, _: Any, attempts: int) -> None:
        shared["attempts"] = attempts


class Refused:
    """Goes into a pickle and does not come out, like an exception that takes two arguments."""

    def __init__(self, code: int, text: str) -> None:
        self.code, self.text = code, text

    def __reduce__(self) -> Any:
        return type(self), (f"{self.code} {self.text}",)


class Unloadable:
    """Pickles, and raises when it is unpickled."""

    def __reduce__(self) -> Any:
        return int, ("not a number",)


class Each(ParallelBatchNode[Any, Any]):
    """Returns what it gets, or what it was asked to make."""

    run_in = "process"
    on_error = "collect"

    def __init__(self, items: Sequence[Any], **settings: Any) -> None:
        super().__init__(**settings)
        self.items = items

    def prep(self, shared: Any) -> Sequence[Any]:
        items, self.items = self.items, ()  # they do not go with the node
        return items

    def exec(self, item: Any) -> Any:
        match item:
            case "lock":
                return threading.Lock()
            case "unloadable":
                return Unloadable()
        return item

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["results"] = results


class Unread(Each):
    """Cannot be unpickled itself."""

    def __setstate__(self, state: Any) -> None:
        raise KeyError("no state")
