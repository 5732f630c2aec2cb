"""A real mail server on loopback, with its own certificate."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


@dataclass  # without slots: the server looks at every attribute, and Python 3.11.2 fails at the weak reference
class Post:
    """What the server does and got.

    Attributes:
        replies: to a mail's data, in order, before it takes everything; None breaks the connection.
        unknown: addresses that it does not take.
        mails: what it took.
        senders: of their envelopes.
        recipients: of their envelopes.
    """

    port: int
    ca_file: Path
    replies: list[str | None] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    mails: list[EmailMessage] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    tried: int = 0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802 - the library's name
        if address in self.unknown:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - the library's name
        self.tried += 1
        if self.replies:
            reply = self.replies.pop(0)
            if reply is None:
                server.transport.abort()
                return ""
            return reply
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.senders.append(envelope.mail_from)
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 taken"

    def login(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"m4il-pass", handled=False)


@asynccontextmanager
async def mail_server(folder: Path, *, tls: str = "starttls") -> AsyncIterator[Post]:
    """A server on a free port: ``starttls`` (and it insists on it), ``tls`` from the first byte, or ``none``."""
    authority = trustme.CA()
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    post = Post(0, ca_file)
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {"authenticator": post.login, "auth_require_tls": tls == "starttls", "loop": loop}
    if tls == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    server = await loop.create_server(
        lambda: SMTP(post, hostname="127.0.0.1", **options), "127.0.0.1", 0, ssl=context if tls == "tls" else None
    )
    post.port = server.sockets[0].getsockname()[1]
    try:
        yield post
    finally:
        server.close()
