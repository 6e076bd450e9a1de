"""A connection to a mail server, over aiosmtplib."""

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ..._extras import extra
from ...errors import KayGraphError
from ...run.place import shows_items
from .._quoted import quoted
from ..http.auth import Basic
from .channels import escaped

QUIT_S = 5.0


class MailError(KayGraphError):
    """An e-mail was not delivered.

    Attributes:
        code: The server's reply code, such as 550; None if there was none, or it was invalid.
        repeatable: Whether a retry may help: the connection was lost, the reply was invalid,
            or the code is below 500.
    """

    def __init__(self, message: str, code: int | None = None, repeatable: bool = False) -> None:
        super().__init__(message, code, repeatable)
        self.code, self.repeatable = code, repeatable

    def __str__(self) -> str:
        return str(self.args[0])


class Connection:
    """A connection to a server, opened on first use, and renewed after ``most`` mails."""

    def __init__(
        self,
        host: str,
        port: int,
        tls: str,
        auth: Basic | None,
        context: ssl.SSLContext | None,
        most: int | None = None,
    ) -> None:
        self._library = extra("aiosmtplib", "mail")
        self._turn = asyncio.Lock()
        self._most, self._sent = most, 0
        self._where = f"{host}:{port}"
        self._secrets = _as_sent(auth)
        here = socket.gethostname()
        self._smtp = self._library.SMTP(
            hostname=host,
            port=port,
            username=None if auth is None else auth.user,
            password=None if auth is None else auth.password,
            # RFC 5321, 4.1.4: a name that can be resolved, or an address
            local_hostname=here if "." in here and here.isascii() else "[127.0.0.1]",
            timeout=None,  # the node's own applies: theirs is wait_for, which can lose a cancel()
            use_tls=tls == "tls",
            start_tls=tls == "starttls",
            tls_context=context,
        )

    async def send(self, sender: str, recipients: Sequence[str], mail: bytes) -> dict[str, str]:
        """Send a mail and return the refused recipients, with the reasons.

        Raises:
            MailError: No recipient got it.
        """
        library = self._library
        async with self._turn:
            try:
                if self._sent == self._most:
                    await self.quit()
                    self.drop()  # if the server did not say goodbye
                if not self._smtp.is_connected:
                    await self._smtp.connect()
                    self._sent = 0
                self._sent += 1
                refused, _ = await self._smtp.sendmail(sender, recipients, mail)
            except BaseException as error:
                if not self._refuses(error):
                    self.drop()  # the state of the dialogue is unknown
                if isinstance(error, library.SMTPException | OSError):
                    raise self._translated(error) from None
                raise
        return {to: self._said(why.code, why.message) for to, why in refused.items()}

    def _refuses(self, error: Any) -> bool:
        """Return whether an error is a reply, after which the server waits for the next mail."""
        if isinstance(error, self._library.SMTPResponseException):
            return bool(error.code >= 0)  # negative: the library could not read it
        return isinstance(error, self._library.SMTPRecipientsRefused)

    def _translated(self, error: Any) -> MailError:
        if isinstance(error, self._library.SMTPRecipientsRefused):
            codes = [one.code for one in error.recipients]
            shows = shows_items()
            listed = ", ".join(
                f"{one.recipient if shows else 'a recipient'} ({self._said(*one.args[:2])})"
                for one in error.recipients
            )
            return MailError(f"{self._where} refused {listed}", min(codes), min(codes) < 500)
        if isinstance(error, self._library.SMTPResponseException):
            if not self._refuses(error):
                return MailError(f"{self._where}: {self._said(None, error.message)}", None, True)
            text = f"{self._where} answered {self._said(error.code, error.message)}"
            return MailError(text, error.code, error.code < 500)
        # A certificate that is not trusted now will not be trusted in a second.
        lost = isinstance(error, OSError) and not isinstance(
            error.__cause__ or error, ssl.SSLCertVerificationError
        )
        return MailError(f"{self._where}: {self._said(None, str(error))}", None, lost)

    def _said(self, code: int | None, text: str) -> str:
        """Return what a server said, in one line without secrets."""
        shown = escaped(quoted(" ".join(text.split()), self._secrets))[:200]
        return shown if code is None else f"{code} {shown}"

    async def quit(self) -> None:
        """Say goodbye; whatever happens, what has been sent is sent."""
        if self._smtp.is_connected:
            with suppress(self._library.SMTPException, OSError):  # TimeoutError is one
                async with asyncio.timeout(QUIT_S):
                    await self._smtp.quit()

    def drop(self) -> None:
        """Close the connection immediately."""
        transport = self._smtp.transport
        self._smtp.close()
        if transport is not None:
            transport.abort()


def _as_sent(auth: Basic | None) -> list[str]:
    """Return a password as it goes to a server, which may repeat what it does not understand."""
    if auth is None:
        return []
    lines = (auth.password, f"\0{auth.user}\0{auth.password}")
    return [auth.password, *(b64encode(line.encode()).decode() for line in lines)]
