"""Text messages to phones as a channel."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

from ..._validation import check_count, check_name
from ...node.settings import Checks
from .._quoted import value_text
from .._store import configure
from ..http.auth import Basic
from .channels import Delivery, shortened
from .notify import Addresses, Message, MessageError, addresses
from .webhooks import ChannelSettings, Posting

_NUMBER = re.compile(r"(?:[a-z]+:)?\+[1-9][0-9]{6,14}")  # E.164, also as in whatsapp:+47…
_ACCOUNT = re.compile(r"[A-Za-z0-9]+")


class SMSSettings(ChannelSettings, total=False):
    """The settings of an SMS, in addition to its account, token, sender and recipient."""

    max_length: int


def check_numbers(name: str, value: Any) -> tuple[str, ...]:
    for number in addresses(name, value):
        if not _NUMBER.fullmatch(number):
            raise MessageError(
                f"{name} must be a number such as '+4790000000', got {value_text(number, 40)}"
            )
    return addresses(name, value)


def check_account(name: str, value: Any) -> str:
    if not isinstance(value, str) or not _ACCOUNT.fullmatch(value):
        raise ValueError(f"{name} must be letters and digits, got {value!r:.40}")
    return value


class SMS(Posting):
    """Sends a message to one phone, over an HTTP interface like Twilio's.

    One message goes to one number: for several, use several channels or messages, each with its
    own attempts and outcome, so that nobody gets it twice because another did not get it.
    ``reference`` of the Delivery is the message's ``sid``.

    Twilio itself ignores ``Idempotency-Key``. So a request is only retried if the message was
    certainly not sent: no connection, 429, and a 503 with a time. Set
    ``idempotent=True`` for a service that uses the key.

    Args:
        account: The account's ``sid``.
        token: The account's password.
        sender: The number, or name, of the sender.
        to: The recipient's number, unless the message has one.
        url: The service, up to ``/2010-04-01``; by default, Twilio's own.
        max_length: Characters; a longer text is cut. By default, 1600.

    The other settings are those of Webhook.
    """

    url: str | None = "https://api.twilio.com"
    account: str | None = None
    sender: str | None = None
    to: Addresses = ()
    max_length = 1600
    idempotent = False

    _accepts: ClassVar[frozenset[str]] = Posting._accepts | {
        "account",
        "sender",
        "to",
        "max_length",
    }
    _checks: ClassVar[Checks] = {
        "account": check_account,
        "sender": check_name,
        "to": check_numbers,
        "max_length": check_count,
    }

    def __init__(
        self,
        account: str | None = None,
        token: str | None = None,
        sender: str | None = None,
        *,
        to: Addresses | None = None,
        url: str | None = None,
        **settings: Unpack[SMSSettings],
    ) -> None:
        user = account or self.account
        auth = None if user is None or token is None else Basic(user, token)
        own = {"account": account, "sender": sender, "to": to, "url": url, "auth": auth}
        configure(self, own, settings)
        if self.account is None or self.auth is None or self.sender is None:
            raise TypeError(f"{type(self).__name__} needs account, token and sender")

    async def exec(self, message: Message, /) -> Delivery:
        """Send it."""
        message = self.taken(message)
        number, *others = self.recipients(message)
        if others:
            raise MessageError(
                f"{self.name!r} sends a message to one number, got {1 + len(others)}: make a "
                "message for each, or an SMS(…, to=number) for each"
            )
        text = shortened(message.plain, self.max_length)
        path = f"2010-04-01/Accounts/{self.account}/Messages.json"
        result = await self.posted(
            message,
            url=f"{str(self.url).rstrip('/')}/{path}",
            data={"From": str(self.sender), "To": number, "Body": text},
        )
        data = result["data"]
        return Delivery(message.key, data.get("sid") if isinstance(data, Mapping) else None)
