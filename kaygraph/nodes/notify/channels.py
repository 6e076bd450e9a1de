"""Channels for messages: each is a node, used alone, in a NotifyNode, or as a stage."""

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
    """The result of a message that a channel has delivered.

    Attributes:
        key: The key of the message.
        reference: The receiver's id for it, if there is one.
        refused: The recipients who did not get it, although others did, with the reasons.
    """

    key: str
    reference: str | None = None
    refused: Mapping[str, str] = field(default_factory=dict)


class Channel(Told, Node[Message, Delivery]):
    """A way to notify people: ``exec`` takes a Message, sends it, and returns a Delivery.

    In a NotifyNode it gets the message from there. Alone, it reads it from ``shared[reads]``, and
    writes the Delivery to ``shared[writes]``. As a stage of a pipeline it takes Messages
    as items: ``rows | FunctionNode(Message.of) | Webhook(…)``. A failed attempt may have
    arrived; it is repeated with the same key.
    """

    _accepts: ClassVar[frozenset[str]] = Node._accepts.union(StoreSettings.__annotations__)

    def __init__(self, **settings: Unpack[StoreSettings]) -> None:
        configure(self, {}, settings)

    def prep(self, shared: Any, /) -> Any:
        """Return the message."""
        message = super().prep(shared)
        return None if message is None and self.reads is None else Message.of(message)

    def taken(self, item: Any) -> Message:
        """Return an item of ``exec``, which must be a Message.

        A string must be converted before: if it were converted here, each attempt would have a
        different key.
        """
        if isinstance(item, Message):
            return item
        got = f"got a {type(item).__name__}: put FunctionNode(Message.of) before it"
        if item is None:
            got = f"got none: type {type(self).__name__}(…, reads='message')"
        raise MessageError(f"{self.name!r} takes a Message, {got}")

    def recipients(self, message: Message) -> tuple[str, ...]:
        """Return the recipients: those of the message, or else the channel's own."""
        to: tuple[str, ...] = message.recipients(self.name) or getattr(self, "to", ())
        if not to:
            raise MessageError(
                f"{self.name!r} has no recipients: pass to= to the channel or to the message"
            )
        check: Callable[[str, Any], tuple[str, ...]] = self._checked.get("to", addresses)
        return check("to", to)


class Log(Channel):
    """Writes a message to the log, in one line, whatever it contains.

    Args:
        level: "debug", "info", "warning", "error" or "critical"; by default, "info".
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
    """Return a text with control characters, and those that reverse a line, escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
