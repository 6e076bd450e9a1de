"""E-mail as a channel: one connection per run, reopened when it is lost."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email.header import Header
from email.mime.text import MIMEText
from email.utils import formataddr, formatdate
from hashlib import sha256
from typing import Any, ClassVar, Unpack

from ..._validation import check_choice, check_retry
from ...errors import AttemptTimeoutError
from ...limits.retry import Retry
from ...node.facts import resource_of
from ...node.settings import Checks
from ...run.frame import FRAME
from .._quoted import value_text
from .._store import StoreSettings, check_on_loop, configure
from ..http.asking import Patient, check_count_or_none, check_ssl, wait_for_retry
from ..http.auth import Basic
from ._smtp import Connection, MailError
from .channels import Channel, Delivery, shortened
from .notify import Addresses, Message, MessageError, addresses, one_line

_ADDRESS = re.compile(r"[^\s<>@,;:\"()\[\]\\]+@[^\s<>@,;:\"()\[\]\\]+", re.ASCII)
_HOST = re.compile(r"[\w-]{1,63}(?:\.[\w-]{1,63})*\.?|[0-9a-fA-F]*:[0-9a-fA-F]*:[\w.:%]*")
_PORTS = {"starttls": 587, "tls": 465, "none": 25}


def worth_sending_again(error: Exception) -> bool:
    """Return whether a retry may help; it has the same Message-ID."""
    return isinstance(error, AttemptTimeoutError) or (
        isinstance(error, MailError) and error.repeatable
    )


PATIENT = Retry(attempts=4, wait=wait_for_retry, on=worth_sending_again)


def check_host(name: str, value: Any) -> str:
    """Return the name or the address of a server."""
    if not isinstance(value, str) or not _HOST.fullmatch(value):
        raise ValueError(
            f"{name} must be the name of a server, such as 'mail.example.org' (its port is for "
            f"port=), got {value!r:.80}"
        )
    return value


def check_port(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        raise ValueError(f"{name} must be a number from 1 to 65535, got {value!r:.80}")
    return value


def check_mail(name: str, value: Any) -> tuple[str, ...]:
    for address in addresses(name, value):
        if not _ADDRESS.fullmatch(address) or not address.isascii():
            raise MessageError(
                f"{name} must be like 'ann@example.org', in ASCII, got {value_text(address)}"
            )
    return addresses(name, value)


def check_sender(name: str, value: Any) -> str:
    check_mail(name, split_sender(one_line(name, value))[1])
    return str(value)


def split_sender(text: str) -> tuple[str, str]:
    """Return name and address of ``Name <address>``, or of an address alone."""
    name, _, address = text.rpartition("<")
    return (name.strip(' "'), address[:-1]) if address.endswith(">") else ("", text)


def check_retry_mail(name: str, value: Any) -> Any:
    """Return a Retry; unless it selects errors, it retries those that are worth it."""
    value = check_retry(name, value)
    if isinstance(value, Retry) and value.on is Exception:
        return replace(value, on=worth_sending_again)
    return value


def check_basic(name: str, value: Any) -> Any:
    if value is not None and not isinstance(value, Basic):
        raise ValueError(f"{name} must be Basic(user, password), got a {type(value).__name__}")
    return value


class EmailSettings(StoreSettings, total=False):
    """The settings of an Email, in addition to its own arguments."""

    messages_per_connection: int | None


class Email(Patient, Channel):
    """Sends a message by e-mail, over aiosmtplib (``pip install 'kaygraph[mail]'``).

    Its messages go over one connection, one after another, and over a new one after every ten: some
    servers, by default also exim, accept more than that and deliver the rest later. Lost
    connections, replies below 500 and attempts that take too long are retried, up to four attempts
    in all, with the same Message-ID, which is derived from the message's key. If only some
    recipients are refused, the mail is delivered: ``refused`` of the Delivery lists them,
    and they are not retried, because the others would get the mail twice.

    Args:
        host: The server.
        sender: The sender: ``alerts@example.org``, or ``Alerts <alerts@example.org>``.
        to: The recipients, unless the message has its own; each sees the others.
        port: By default, 587, 465 or 25, depending on ``tls``.
        tls: "starttls" (no mail is sent if the server does not offer it), "tls" from the first
            byte, or "none". By default, "starttls".
        auth: Basic(user, password); not with ``tls="none"``, where everyone could read it.
        ssl_context: For your own certificates.
        messages_per_connection: After how many messages, including refused ones, to open a new
            connection; by default, 10. None: never.
        timeout: Seconds for one attempt, including the wait for its turn; by default, 60.

    The other settings are those of Node.

    Raises:
        MailError: From a run: no recipient got it.
        MessageError: From a run: there are no recipients, or an address is invalid.
    """

    host: str | None = None
    sender: str | None = None
    to: Addresses = ()
    port: int | None = None
    tls: str = "starttls"
    auth: Basic | None = None
    ssl_context: ssl.SSLContext | None = None
    messages_per_connection: int | None = 10
    timeout: float | None = 60.0
    retry: Retry | None = PATIENT
    _patience = PATIENT

    _accepts: ClassVar[frozenset[str]] = Channel._accepts | {
        "host",
        "sender",
        "to",
        "port",
        "tls",
        "auth",
        "ssl_context",
        "messages_per_connection",
    }
    _checks: ClassVar[Checks] = {
        "run_in": check_on_loop,
        "retry": check_retry_mail,
        "host": check_host,
        "sender": check_sender,
        "to": check_mail,
        "port": check_port,
        "tls": check_choice(*_PORTS),
        "auth": check_basic,
        "ssl_context": check_ssl,
        "messages_per_connection": check_count_or_none,
    }

    def __init__(
        self,
        host: str | None = None,
        sender: str | None = None,
        *,
        to: Addresses | None = None,
        port: int | None = None,
        tls: str | None = None,
        auth: Basic | None = None,
        ssl_context: ssl.SSLContext | None = None,
        **settings: Unpack[EmailSettings],
    ) -> None:
        own = {
            "host": host, "sender": sender, "to": to, "port": port, "tls": tls, "auth": auth,
            "ssl_context": ssl_context,
        }  # fmt: skip
        configure(self, own, settings)
        if self.host is None or self.sender is None:
            kind = type(self).__name__
            raise TypeError(
                f"{kind} needs a host and a sender, as in "
                f"{kind}('mail.example.org', 'me@example.org')"
            )
        if self.auth is not None and self.tls == "none":
            raise ValueError("auth= with tls='none' would send the password unencrypted")

    @asynccontextmanager
    async def lifespan(self, shared: Any, /) -> AsyncIterator[Connection]:
        context = self.ssl_context
        if context is None and self.tls != "none":  # it reads files
            making = FRAME.get().run.threads.submit(ssl.create_default_context)
            context = await asyncio.wrap_future(making)
        connection = Connection(
            str(self.host),
            self.port or _PORTS[self.tls],
            self.tls,
            self.auth,
            context,
            self.messages_per_connection,
        )
        try:
            yield connection
            await connection.quit()
        finally:
            connection.drop()
            await asyncio.sleep(0)  # the socket is closed in the loop's next iteration

    async def exec(self, message: Message, /) -> Delivery:
        """Send it."""
        message = self.taken(message)
        recipients = self.recipients(message)
        name, address = split_sender(str(self.sender))
        reference = f"<{sha256(message.key.encode()).hexdigest()[:32]}@{address.split('@')[1]}>"
        # Header writes each text unchanged. EmailMessage parses it first, and makes a second header
        # of a subject such as "=?utf-8?q?=0ABcc:…?=" (CVE-2024-6923).
        mail = MIMEText(message.text, "plain", "utf-8")
        mail["From"] = formataddr((name, address))
        mail["To"] = ", ".join(recipients)
        mail["Subject"] = Header(subject_of(message), "utf-8")  # type: ignore[assignment]
        mail["Date"] = formatdate()
        mail["Message-ID"] = reference
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no absence notices in reply
        refused = await resource_of(self).send(address, recipients, mail.as_bytes())
        return Delivery(message.key, reference, refused)


def subject_of(message: Message) -> str:
    """Return a subject: by default, as much of the message's first line as fits on one."""
    return message.subject or shortened(message.text.strip().splitlines()[0], 72)
