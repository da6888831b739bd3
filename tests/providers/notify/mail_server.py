"""A mail server that others wrote, on loopback, with whatever manners."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class Mailbox:
    """What arrived, and what is refused."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.logins: list[str] = []
        self.encrypted: list[bool] = []
        self.refuses: dict[str, str] = {}
        """By address: what RCPT is answered."""
        self.data_reply = "250 OK"
        self.port = 0

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope,  # noqa: N802
                          address: str, options: list[str]) -> str:
        """Take an address, or not."""
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session,  # noqa: N802
                          envelope: Envelope) -> str:
        """Take a mail, or not."""
        self.encrypted.append(session.ssl is not None)
        self.envelopes.append(envelope)
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return self.data_reply

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str,
                     data: Any) -> AuthResult:
        """Let ann in, by her password."""
        assert isinstance(data, LoginPassword)
        self.logins.append(data.login.decode())
        return AuthResult(success=data.password == b"right", handled=False)


@asynccontextmanager
async def mail_server(context: ssl.SSLContext | None = None, *, at_once: bool = False,
                      login: bool = False) -> AsyncIterator[Mailbox]:
    """Serve on loopback, with STARTTLS, TLS at once, or neither."""
    box = Mailbox()
    options: dict[str, Any] = {"hostname": "mail.test"}
    if context is not None and not at_once:
        options |= {"tls_context": context, "require_starttls": True}
    if login:
        options |= {"authenticator": box.authenticate, "auth_required": True,
                    "auth_require_tls": context is not None and not at_once}
    talks: list[SMTP] = []

    def talk() -> SMTP:
        """Serve one connection."""
        talks.append(SMTP(box, **options))
        return talks[-1]

    server = await asyncio.get_running_loop().create_server(
        talk, "127.0.0.1", 0, ssl=context if at_once else None)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()
        for one in talks:
            if one.transport is not None:
                one.transport.abort()
        await asyncio.sleep(0)
