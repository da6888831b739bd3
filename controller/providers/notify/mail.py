"""
A mail, by SMTP, in a thread of its own.

    connect ─► EHLO ─► STARTTLS (or TLS at once) ─► login ─► MAIL, RCPT … ─► DATA ─► the final reply

With `starttls` a server that does not offer it is sent nothing: somebody in between may have taken
the offer out. The certificate must bear the server's name and be signed by the declared authority,
or one that the system trusts. What the final reply to DATA leaves open is an unknown outcome; all
before it sends nothing. A thread cannot be cancelled: its socket is shut down when the time for all
of this is over, which ends whatever it waits for, however slowly the other end drips.
"""

import asyncio
import contextlib
import smtplib
import socket
import ssl
import threading
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from controller.alerting.message import Message, plain
from controller.errors import OutcomeUnknown, Refused, Unavailable
from controller.model.notify.spec import EmailSpec
from controller.transport.password import Password, read_password
from controller.transport.tls import Trust, tls_context

WHOLE_S: Final = 30.0
STEP_S: Final = 10.0
PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}
SHOWN: Final = 150
PERMANENT: Final = 500
START_INPUT: Final = 354


async def mail(spec: EmailSpec, message: Message, subject: str, name: str) -> str:
    """Send a mail; return what was odd about that, if anything.

    Errors: Refused, Unavailable, OutcomeUnknown.
    """
    what = f"the mail server {spec.server} of {name}"
    password = None if spec.credentials is None else read_password(spec.credentials, what)
    context = None if spec.tls == "none" else tls_context(Trust(ca_file=spec.ca_file))
    delivery = _Delivery(spec, what, password, context)
    try:
        return await asyncio.to_thread(delivery.run, as_mail(spec, message, subject))
    finally:
        delivery.end()      # where this was cancelled, the thread goes on


def as_mail(spec: EmailSpec, message: Message, subject: str) -> EmailMessage:
    """Return a message as a mail of plain text."""
    sent = EmailMessage(policy=SMTP.clone(max_line_length=998))
    sent["From"] = Address(display_name="hotsite", addr_spec=spec.sender)
    sent["To"] = ", ".join(spec.to)
    sent["Subject"] = plain(subject)
    sent["Date"] = format_datetime(datetime.fromtimestamp(message.at, UTC))
    sent["Message-ID"] = f"<{message.id}@{spec.sender.rpartition('@')[2]}>"
    sent["Auto-Submitted"] = "auto-generated"
    sent["X-Hotsite-Severity"] = message.severity
    sent["X-Hotsite-Status"] = message.status
    sent.set_content(message.text, charset="utf-8", cte="quoted-printable")
    return sent


class _Delivery:
    """One connection, and one mail over it."""

    def __init__(self, spec: EmailSpec, what: str, password: Password | None,
                 context: ssl.SSLContext | None) -> None:
        self._spec = spec
        self._what = what
        self._password = password
        self._context = context
        self._over = threading.Event()
        self._open: socket.socket | None = None
        self._handed_over = False

    def run(self, sent: EmailMessage) -> str:
        """Send it.

        Errors: as `mail`.
        """
        end = threading.Timer(WHOLE_S, self.end)
        end.daemon = True
        end.start()
        try:
            return self._send(sent)
        except ssl.SSLCertVerificationError as error:
            raise Refused(f"{self._what} is not believed: {error.verify_message}") from error
        except (OSError, smtplib.SMTPException, UnicodeError) as error:
            why = "it took too long" if self._over.is_set() or isinstance(
                error, TimeoutError) else plain(str(error), SHOWN)
            if self._handed_over:
                raise OutcomeUnknown(f"{self._what} was given a mail and did not say whether it"
                                     f" took it: {why}") from error
            raise Unavailable(f"{self._what} does not answer: {why}") from error
        finally:
            end.cancel()

    def end(self) -> None:
        """End whatever the thread waits for."""
        self._over.set()
        if (connection := self._open) is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _send(self, sent: EmailMessage) -> str:
        spec = self._spec
        port = spec.port or PORTS[spec.tls]
        raw = socket.create_connection((spec.server, port), STEP_S)
        self._open = raw
        if spec.tls == "tls":
            assert self._context is not None, "only `none` has no context"
            raw = self._open = self._context.wrap_socket(raw, server_hostname=spec.server)
        with _Over(raw, spec.server) as server:
            self._expect(server.getreply(), 220, "greets us with")
            self._expect(server.ehlo(), 250, "answers EHLO with")
            if spec.tls == "starttls":
                if not server.has_extn("starttls"):
                    raise Refused(f"{self._what} does not offer STARTTLS, so nothing was sent:"
                                  " write `tls: none` where that is meant")
                server.starttls(context=self._context)
                self._open = server.sock
                self._expect(server.ehlo(), 250, "answers EHLO with")
            if self._password is not None:
                self._login(server, self._password)
            remark = self._envelope(server)
            self._expect(server.docmd("DATA"), START_INPUT, "answers DATA with")
            self._handed_over = True
            server.send(dotted(sent.as_bytes()))
            self._expect(server.getreply(), 250, "does not take the mail")
            with contextlib.suppress(OSError, smtplib.SMTPException):
                server.docmd("QUIT")
            return remark

    def _login(self, server: "_Over", password: Password) -> None:
        """Log in; of the reply only the number is shown, for some repeat what they were sent."""
        try:
            server.login(password.username, password.password)
        except smtplib.SMTPAuthenticationError as error:
            kind = Refused if error.smtp_code >= PERMANENT else Unavailable
            raise kind(f"{self._what} refuses the login of {password.username}"
                       f" ({error.smtp_code})") from None
        except smtplib.SMTPServerDisconnected:
            raise
        except smtplib.SMTPNotSupportedError:
            raise Refused(f"{self._what} takes no logins: leave `credentials` out") from None
        except smtplib.SMTPException:
            raise Refused(f"{self._what} offers no way to log in that we know") from None

    def _envelope(self, server: "_Over") -> str:
        """Say whom it is from and for; return who is refused, where others are taken."""
        self._expect(server.mail(self._spec.sender), 250, "does not take mail from us")
        bad: list[tuple[str, int, str]] = []
        for one in self._spec.to:
            code, said = server.rcpt(one)
            if code not in {250, 251}:
                bad.append((one, code, plain(said.decode(errors="replace"), SHOWN)))
        if not bad:
            return ""
        sentence = f"{self._what} does not take mail for " + ", ".join(
            f"{one} ({code} {said})" for one, code, said in bad[:3])
        if len(bad) == len(self._spec.to):
            raise (Refused if all(code >= PERMANENT for _, code, _ in bad)
                   else Unavailable)(sentence)
        return sentence

    def _expect(self, reply: tuple[int, bytes], code: int, does: str) -> None:
        """Raise what a reply means, unless it is the one that is hoped for."""
        if reply[0] == code:
            return
        self._handed_over = False
        said = plain(reply[1].decode(errors="replace"), SHOWN)
        kind = Refused if reply[0] >= PERMANENT else Unavailable
        raise kind(f"{self._what} {does} {reply[0]} {said}".rstrip())


class _Over(smtplib.SMTP):
    """SMTP over a socket that is connected already."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        super().__init__(timeout=STEP_S)
        self.sock = connection
        self._host = name   # what `starttls` has the certificate compared with

    def __exit__(self, *error: object) -> None:
        self.close()


def dotted(content: bytes) -> bytes:
    """Return a mail as it is sent: lines end in CR LF, no line of a dot ends it before its end."""
    lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip(b"\n").split(b"\n")
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n"
                    for line in lines) + b".\r\n"
