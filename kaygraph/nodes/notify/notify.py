"""Messages, and the node that sends one over several channels at once."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypedDict, Unpack

from ...errors import KayGraphError, closest
from ...groups.branches import BranchGroup
from ...node.facts import outcomes_of, uuid_of
from ...node.settings import Checks, refuse_unknown
from ...outcome import Outcome
from ...run.frame import Frame
from .._quoted import value_text
from .._store import Keys, Stored

Addresses = str | Sequence[str]

MAX_TEXT = 1_000_000  # characters of a message
_KEY = re.compile(r"[!-~]{1,255}")  # what a header can contain as one word


class MessageError(KayGraphError, ValueError):
    """A message is invalid or has no recipients; it is not sent."""


class NotDeliveredError(KayGraphError, ExceptionGroup[Exception]):
    """Fewer channels have delivered a message than ``required``.

    Attributes:
        exceptions: The errors of the channels, in the order of the channels.
        outcomes: One Outcome per channel, including those that have delivered the message.
    """

    outcomes: Sequence[Outcome[Any]] = ()

    def derive(self, excs: Sequence[Exception], /) -> "NotDeliveredError":  # type: ignore[override]
        error = NotDeliveredError(self.message, excs)
        error.outcomes = self.outcomes
        return error


@dataclass(frozen=True, slots=True)
class Message:
    """A message to people. Its ``repr`` shows only the key.

    Attributes:
        text: The body.
        subject: The subject, a single line.
        to: The recipients: one or more addresses, or a mapping from names of channels to addresses.
            A channel without recipients here uses its own ``to``.
        key: The idempotency key. It is the same for all attempts and channels, so that a receiver
            can recognise duplicates. By default each message has a new key, which it has again
            when a recorded run is resumed; to keep it across restarts without a journal, use the
            name of the event (``"order-17-paid"``).
        data: Additional data for programs; a Webhook sends it as JSON.

    Raises:
        MessageError: The message is invalid.
    """

    text: str = field(repr=False)
    subject: str | None = field(default=None, repr=False)
    to: Addresses | Mapping[str, Addresses] = field(default=(), repr=False)
    key: str = field(default_factory=lambda: uuid_of(None)().hex)
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise MessageError("the text of a message must be a non-empty string")
        if len(self.text) > MAX_TEXT:
            raise MessageError(f"a text has at most {MAX_TEXT} characters, got {len(self.text)}")
        if self.subject is not None:
            one_line("subject", self.subject)
        _encodable(self.text, self.subject or "")
        if not isinstance(self.key, str) or not _KEY.fullmatch(self.key):
            raise MessageError(
                "the key of a message must be a word in ASCII such as 'order-17-paid', of at most "
                f"255 characters, got {value_text(self.key)}"
            )
        if not isinstance(self.data, Mapping):
            raise MessageError(f"data must be a mapping, got a {type(self.data).__name__}")
        to: Any = self.to
        if isinstance(to, Mapping):
            to = {name: addresses(f"to[{name!r}]", some) for name, some in to.items()}
        else:
            to = addresses("to", to)
        object.__setattr__(self, "to", to)

    @classmethod
    def of(cls, value: Any) -> "Message":
        """Return a Message from a Message, a string, or a mapping of its fields."""
        if isinstance(value, Message):
            return value
        if isinstance(value, str):
            return cls(value)
        if not isinstance(value, Mapping):
            raise MessageError(
                "a message must be a string, a mapping such as {'text': …, 'subject': …}, or a "
                f"Message; got a {type(value).__name__}"
            )
        known = [one.name for one in fields(cls)]
        for name in value:
            if name not in known:
                raise MessageError(
                    f"a message has no {name!r}; it has: {', '.join(known)}.{closest(name, known)}"
                )
        if "text" not in value:
            raise MessageError("a message needs a text, as in {'text': 'Disk full'}")
        return cls(**value)

    def recipients(self, channel: str) -> tuple[str, ...]:
        """Return the recipients for a channel of that name; none if the message has none for it."""
        to: Any = self.to.get(channel, ()) if isinstance(self.to, Mapping) else self.to
        return tuple(to)

    @property
    def plain(self) -> str:
        """The subject, if there is one, and the text."""
        return self.text if self.subject is None else f"{self.subject}\n{self.text}"


def one_line(name: str, value: Any) -> str:
    """Return a text of one line; a second one would become a header, or a log line of its own."""
    if (
        not isinstance(value, str)
        or not value
        or any(c < " " or c in "\x7f\x85\u2028\u2029" for c in value)
    ):
        raise MessageError(f"{name} must be one line of text, got {value_text(value)}")
    return value


def addresses(name: str, value: Any) -> tuple[str, ...]:
    """Return addresses without duplicates."""
    several = (value,) if isinstance(value, str) else value
    if not isinstance(several, list | tuple):
        raise MessageError(f"{name} must be an address or a list of them, got {value_text(value)}")
    return tuple(dict.fromkeys(one_line(name, one) for one in several))


def _encodable(*texts: str) -> None:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        raise MessageError("a message contains half of a surrogate pair") from None


def check_required(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} must be a number of channels, 0 or more, got {value!r}")
    return value


class Told(Stored):
    """Reads a message and writes the result; inside a NotifyNode, that node does both."""

    def prep(self, shared: Any, /) -> Any:
        """Return the message."""
        return shared if isinstance(shared, Message) else super().prep(shared)

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Write the result to the shared store; an enclosing NotifyNode's outcomes have it, too."""
        return None if isinstance(shared, Message) else super().post(shared, prep_res, exec_res)


class NotifySettings(TypedDict, total=False):
    """The settings of a NotifyNode, in addition to its channels and ``required``."""

    name: str
    reads: Keys
    writes: Keys


class NotifyNode(Told, BranchGroup):
    """Sends a message over several channels at once; failures of one do not stop the others.

    The message is what ``prep`` returns, or ``shared[reads]`` holds: a string, a mapping of the
    fields of a Message, or a Message. It is made once, so that all channels send the same key.
    Each channel has its own retries, limits and time, and exactly one Outcome: in
    ``self.outcomes`` here and in the next node, and in ``shared[writes]``, in the given order.
    The value of an ``ok`` one is a Delivery.

    The action is always "default": if some have failed, the run continues.

    A channel may be any branch: ``first_of(Email(…), SMS(…))``, another NotifyNode, or a node of
    your own. Its shared store contains only the message: a channel's ``reads`` and
    ``writes`` apply when it is used alone.

    Args:
        channels: Channels, or other branches.
        required: How many must deliver; by default, 1. 0: a failure is never an error.
        reads, writes: Keys of the shared store; by default, "message" and "deliveries".
        name: Its name in events, reports and drawings.

    Raises:
        NotDeliveredError: From a run, when fewer than ``required`` have delivered, after all have
            ended. It takes the edge ``notify - "error" >> …`` if there is one.
        MessageError: From a run: what is read is not a message.
    """

    reads: Keys = "message"
    writes: Keys = "deliveries"
    required: int = 1

    _accepts: ClassVar[frozenset[str]] = frozenset({"name", "reads", "writes", "required"})
    _checks: ClassVar[Checks] = {"required": check_required}

    def __init__(
        self, *channels: Any, required: int | None = None, **settings: Unpack[NotifySettings]
    ) -> None:
        refuse_unknown(type(self).__name__, settings, self._accepts)
        super().__init__(*channels)
        for name, value in settings.items():
            setattr(self, name, value)
        if required is not None:
            self.required = required
        if self.required > len(channels):
            raise ValueError(
                f"required={self.required}, but there are only {len(channels)} channels"
            )

    async def _exec(self, prep_res: Any, shared: Any, frame: Frame) -> list[Any]:
        return await super()._exec(prep_res, Message.of(prep_res), frame)

    def _judge(self, outcomes: Sequence[Outcome[Any]]) -> None:
        delivered = sum(one.ok for one in outcomes)
        if delivered < self.required:
            raise self._not_delivered(delivered, outcomes)

    def _not_delivered(self, delivered: int, outcomes: Sequence[Outcome[Any]]) -> NotDeliveredError:
        errors = [one.error for one in outcomes if isinstance(one.error, Exception)]
        listed = ", ".join(f"{one.name} {one.status}" for one in outcomes if not one.ok)
        error = NotDeliveredError(
            f"{delivered} of {len(outcomes)} channels of {self.name!r} have delivered the "
            f"message, required={self.required}: {listed}",
            errors,
        )
        error.outcomes = outcomes
        return error

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Write the outcomes to the shared store."""
        return super().post(shared, prep_res, list(outcomes_of(self)))
