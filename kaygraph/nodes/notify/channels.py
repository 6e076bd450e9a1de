"""Channels over which a message goes: each is a node, alone, in a NotifyNode, or as a stage."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Unpack

from ..._validation import check_choice
from ...node.facts import log_of
from ...node.node import Node
from ...node.settings import Checks
from .._store import StoreSettings, configure
from .notify import Message, MessageError, Told, addresses


@dataclass(frozen=True)
class Delivery:
    """What became of a message that a channel has delivered.

    Attributes:
        key: That of the message.
        reference: What the receiver calls it, where it says so.
        refused: Those who have not got it, though others have, with the reason.
    """

    key: str
    reference: str | None = None
    refused: Mapping[str, str] = field(default_factory=dict)


class Channel(Told, Node[Message, Delivery]):
    """A way to tell people: ``exec`` takes a Message, tells, and returns a Delivery.

    In a NotifyNode it gets the message from there. Alone, it reads it from ``shared[reads]``, and
    writes the Delivery to ``shared[writes]``. As a stage of a pipeline it takes items that are
    Messages: ``rows | FunctionNode(Message.of) | Webhook(…)``. An attempt that fails may have been
    heard; it is made again with the same key.
    """

    _accepts: ClassVar[frozenset[str]] = Node._accepts.union(StoreSettings.__annotations__)

    def __init__(self, **settings: Unpack[StoreSettings]) -> None:
        configure(self, {}, settings)

    def prep(self, shared: Any, /) -> Any:
        """Return the message."""
        message = super().prep(shared)
        return None if message is None and self.reads is None else Message.of(message)

    def taken(self, item: Any) -> Message:
        """Return an item of ``exec``, which has to be a Message.

        To make one of a string is for whoever comes before: made here, each attempt would have a
        key of its own.
        """
        if isinstance(item, Message):
            return item
        got = f"got a {type(item).__name__}: put FunctionNode(Message.of) before it"
        if item is None:
            got = f"got none: say {type(self).__name__}(…, reads='message')"
        raise MessageError(f"{self.name!r} takes a Message, {got}")

    def recipients(self, message: Message) -> tuple[str, ...]:
        """Return whom to tell: those whom the message names, else the channel's own."""
        to: tuple[str, ...] = message.recipients(self.name) or getattr(self, "to", ())
        if not to:
            raise MessageError(
                f"{self.name!r} has nobody to tell: give to= to the channel or to the message"
            )
        check: Callable[[str, Any], tuple[str, ...]] = self._checked.get("to", addresses)
        return check("to", to)


class Log(Channel):
    """Writes a message to the log, in one line, whatever it holds.

    Args:
        level: "debug", "info", "warning", "error" or "critical"; "info" by default.
    """

    level = "info"

    _accepts: ClassVar[frozenset[str]] = Channel._accepts | {"level"}
    _checks: ClassVar[Checks] = {
        "level": check_choice("debug", "info", "warning", "error", "critical")
    }

    def __init__(self, level: str | None = None, **settings: Unpack[StoreSettings]) -> None:
        configure(self, {"level": level}, settings)

    async def exec(self, message: Message, /) -> Delivery:
        """Log it."""
        message = self.taken(message)
        line = {"text": escaped(message.text), "key": message.key}
        if message.subject is not None:
            line["subject"] = escaped(message.subject)
        getattr(log_of(self), self.level)("message", **line)
        return Delivery(message.key)


def escaped(text: str) -> str:
    """Return a text with its control characters, and those that turn a line around, escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
