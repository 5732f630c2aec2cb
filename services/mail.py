"""Mail over SMTP."""

from __future__ import annotations

import re
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from executor.errors import Invalid, NotConfigured, NotDone, RemediationError, Unavailable
from executor.people_ports import Mail, Mailed
from executor.ports import Clock
from services.masking import masker

if TYPE_CHECKING:
    from aiosmtplib import SMTP

T = TypeVar("T")

_TRIES = 3
_FIRST_PAUSE = 1.0
_SUBJECT, _TEXT = 200, 200_000
_NOT_NOW = range(400, 500)
"""Replies that ask to come back later."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed over, and as whom.

    Attributes:
        tls: ``starttls`` refuses a server that does not offer it; ``tls`` from the first byte; ``none`` in the clear.
        ca_file: CAs beside those of the system.
        recipients: of mails that name none.
    """

    host: str
    sender: str
    port: int = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password: str = ""
    ca_file: Path | None = None
    recipients: Sequence[str] = ()
    timeout_seconds: float = 20.0


class SmtpMailer:
    """Implements ``executor.people_ports.Mailer``.

    Args:
        server: None when the settings have none; each mail is then ``NotConfigured``.
        clock: for pauses between tries.
    """

    def __init__(self, server: MailServer | None, clock: Clock) -> None:
        self._server = server
        self._clock = clock

    async def send(self, mail: Mail) -> Mailed:
        """Hand a mail over; again when the server asks to come back later, never when it may have taken it."""
        server = self._server
        if server is None:
            raise NotConfigured("no mail server is set (mail.host and mail.sender)")
        recipients = [*(mail.to or server.recipients), *mail.cc]
        if not recipients:
            raise NotConfigured("the mail names nobody, and mail.to is not set")
        message = as_message(mail, server)
        for attempt in range(_TRIES):
            try:
                refused = await self._handed_over(server, message, recipients)
            except NotDone:
                if attempt + 1 == _TRIES:
                    raise
                await self._clock.sleep(_FIRST_PAUSE * 2**attempt)
            else:
                taken = [address for address in recipients if address not in refused]
                return Mailed(str(message["Message-ID"]), taken, refused)
        raise AssertionError("the last try returns or raises")

    async def _handed_over(self, server: MailServer, message: EmailMessage, recipients: Sequence[str]) -> list[str]:
        # Imported late: a pipeline without mail does not pay for it.
        from aiosmtplib import SMTP  # noqa: PLC0415

        client = SMTP(
            hostname=server.host,
            port=server.port,
            timeout=server.timeout_seconds,
            use_tls=server.tls == "tls",
            start_tls=server.tls == "starttls",
            tls_context=_trust(server.ca_file),
        )
        try:
            await _told(client.connect, server, taken=False)
            if server.user:
                await _told(lambda: client.login(server.user, server.password), server, taken=False)
            refused, _ = await _told(
                lambda: client.send_message(message, sender=server.sender, recipients=list(recipients)),
                server,
                taken=True,
            )
        finally:
            await _left(client)
        return sorted(refused)


def as_message(mail: Mail, server: MailServer) -> EmailMessage:
    """The mail with its headers; what comes from alerts cannot add one."""
    message = EmailMessage()
    message["From"] = server.sender
    message["To"] = ", ".join(mail.to or server.recipients)
    if mail.cc:
        message["Cc"] = ", ".join(mail.cc)
    message["Subject"] = " ".join(masker.text(mail.subject).split())[:_SUBJECT]
    message["Date"] = formatdate()
    domain = server.sender.rpartition("@")[2].strip("> ") or "rootmend"
    word = re.sub(r"[^A-Za-z0-9-]+", ".", mail.reference).strip(".") or "mail"
    message["Message-ID"] = f"<{word}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    safe = masker.text(mail.text)
    text = safe if len(safe) <= _TEXT else f"{safe[:_TEXT]}\n[cut]"
    message.set_content(text)
    return message


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context()
        if ca_file is not None:
            context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise NotConfigured(f"mail.ca_file {ca_file} cannot be read: {error}") from error
    return context


async def _told(work: Callable[[], Awaitable[T]], server: MailServer, *, taken: bool) -> T:
    """Do a part of the conversation; its errors in the words of the executor.

    Args:
        work: the part.
        server: for the text.
        taken: whether the server may have the mail when the part breaks off.
    """
    from aiosmtplib import SMTPException  # noqa: PLC0415 - as above

    try:
        return await work()
    except (SMTPException, OSError) as error:
        raise _problem(error, f"the mail server {server.host}:{server.port}", taken=taken) from error


def _problem(error: Exception, where: str, *, taken: bool) -> RemediationError:
    from aiosmtplib import (  # noqa: PLC0415 - as above
        SMTPAuthenticationError,
        SMTPNotSupported,
        SMTPRecipientsRefused,
        SMTPResponseException,
    )

    if isinstance(error, SMTPRecipientsRefused):
        codes = [each.code for each in error.recipients]
        what = "; ".join(f"{each.recipient}: {each.code} {each.message}" for each in error.recipients)
        later = all(code in _NOT_NOW for code in codes)
        return (NotDone if later else Invalid)(f"{where} takes none of the addresses: {what}")
    if isinstance(error, SMTPResponseException):
        text = f"{where} answered {error.code} {' '.join(error.message.split())}"
        if error.code in _NOT_NOW or error.code <= 0:
            return NotDone(text)
        return NotConfigured(text) if isinstance(error, SMTPAuthenticationError) else Invalid(text)
    if isinstance(error, SMTPNotSupported | ssl.SSLError):
        return NotConfigured(f"{where} cannot do what is asked: {error}")
    text = f"{where}: {str(error) or type(error).__name__}"
    return Unavailable(f"{text}; whether it took the mail is unknown") if taken else NotDone(text)


async def _left(client: SMTP) -> None:
    """Say goodbye; the mail is handed over already, or the problem is known."""
    from aiosmtplib import SMTPException  # noqa: PLC0415 - as above

    try:
        if client.is_connected:
            await client.quit()
    except (SMTPException, OSError):
        client.close()
