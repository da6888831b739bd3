"""Mails, against a mail server that others wrote, and against some with bad manners."""

import asyncio
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.alerting.message import Message
from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.model.notify.spec import EmailSpec, ReceiverSpec
from controller.providers.notify import mail as hands
from controller.providers.notify.send import send
from tests.lease.certificates import make_certificates
from tests.providers.notify.mail_server import Mailbox, mail_server
from tests.providers.notify.sinks import served

TEXT = "- sql is down (since 02:00)\n. a line of a dot\n.\nlast <b>line</b> é"
MESSAGE = Message("0a1b", "ops", 1.7e9, "page", "firing", "PAGE: sql is down \u2013 né [lab]", TEXT,
                  "lab")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and a server that it signed for 127.0.0.1."""
    return make_certificates(tmp_path_factory.mktemp("mail") / "keys")


@pytest.fixture
def context(keys: Path) -> ssl.SSLContext:
    """What the server shows."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(keys / "server.crt", keys / "server.key")
    return made


def receiver(port: int, **more: Any) -> ReceiverSpec:
    """Return a receiver of mails."""
    return ReceiverSpec.model_validate({"name": "ops", "email": {
        "server": "127.0.0.1", "port": port, "from": "hotsite@example.org",
        "to": ["ann@example.org", "bob@example.org"]} | more})


def password(folder: Path, word: str = "right", mode: int = 0o600) -> dict[str, str]:
    """Return credentials in a file."""
    path = folder / "smtp.json"
    path.write_text(json.dumps({"username": "ann", "password": word}))
    path.chmod(mode)
    return {"file": str(path)}


def deliver(spec: Callable[[int], ReceiverSpec],
            **server: Any) -> tuple[Mailbox, str | ActionError]:
    """Send one mail to a server; return what arrived there, and what became of it."""
    async def act() -> tuple[Mailbox, str | ActionError]:
        async with mail_server(**server) as box:
            try:
                return box, await send(spec(box.port), MESSAGE)
            except ActionError as error:
                return box, error

    return asyncio.run(act())


def test_a_mail_arrives_whole_by_starttls_and_after_a_login(
        keys: Path, context: ssl.SSLContext, tmp_path: Path) -> None:
    box, said = deliver(lambda port: receiver(port, caFile=str(keys / "ca.crt"),
                                              credentials=password(tmp_path)),
                        context=context, login=True)
    assert said == ""
    (mail,), (envelope,) = box.mails, box.envelopes
    assert (box.encrypted, box.logins) == ([True], ["ann"])
    assert (envelope.mail_from, envelope.rcpt_tos) == (
        "hotsite@example.org", ["ann@example.org", "bob@example.org"])
    assert mail["Subject"] == MESSAGE.subject
    assert mail["Message-ID"] == "<0a1b@example.org>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert (mail.get_content_type(), mail.get_content().splitlines()) == (
        "text/plain", TEXT.splitlines())


def test_tls_at_once_and_none_at_all_where_that_is_declared(
        keys: Path, context: ssl.SSLContext) -> None:
    box, said = deliver(lambda port: receiver(port, tls="tls", caFile=str(keys / "ca.crt")),
                        context=context, at_once=True)
    assert (said, len(box.mails)) == ("", 1)
    box, said = deliver(lambda port: receiver(port, tls="none"))
    assert (said, box.encrypted) == ("", [False])


def test_without_the_offer_of_tls_or_a_certificate_that_is_believed_nothing_is_sent(
        context: ssl.SSLContext, tmp_path: Path) -> None:
    box, said = deliver(lambda port: receiver(port, credentials=password(tmp_path)))
    assert isinstance(said, Refused)
    assert "does not offer STARTTLS" in str(said)
    assert (box.logins, box.mails) == ([], [])
    box, said = deliver(lambda port: receiver(port, credentials=password(tmp_path)),
                        context=context, login=True)
    assert isinstance(said, Refused)
    assert "is not believed" in str(said)
    assert (box.logins, box.mails) == ([], [])


def test_a_wrong_password_is_refused_and_never_shown(
        keys: Path, context: ssl.SSLContext, tmp_path: Path) -> None:
    box, said = deliver(lambda port: receiver(port, caFile=str(keys / "ca.crt"),
                                              credentials=password(tmp_path, "hunter2")),
                        context=context, login=True)
    assert isinstance(said, Refused)
    assert "refuses the login of ann (535)" in str(said)
    assert "hunter2" not in repr(said)
    assert box.mails == []


def test_a_password_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    box, said = deliver(lambda port: receiver(
        port, tls="none", credentials=password(tmp_path, mode=0o644)))
    assert isinstance(said, Refused)
    assert "chmod 600" in str(said)
    assert box.logins == []


def test_who_is_refused_is_named_and_the_others_get_it() -> None:
    def play(*bad: str, reply: str = "550 no such user") -> tuple[Mailbox, str | ActionError]:
        async def act() -> tuple[Mailbox, str | ActionError]:
            async with mail_server() as box:
                box.refuses = dict.fromkeys(bad, reply)
                try:
                    return box, await send(receiver(box.port, tls="none"), MESSAGE)
                except ActionError as error:
                    return box, error

        return asyncio.run(act())

    box, said = play("bob@example.org")
    assert "does not take mail for bob@example.org (550 no such user)" in str(said)
    assert [one.rcpt_tos for one in box.envelopes] == [["ann@example.org"]]
    box, said = play("ann@example.org", "bob@example.org")
    assert isinstance(said, Refused)
    assert box.mails == []
    box, said = play("ann@example.org", "bob@example.org", reply="451 grey-listed")
    assert isinstance(said, Unavailable)
    assert box.mails == []


@pytest.mark.parametrize(("reply", "kind"), [
    ("554 spam", Refused), ("452 disk full", Unavailable)])
def test_what_the_final_reply_says_counts(reply: str, kind: type[ActionError]) -> None:
    async def act() -> None:
        async with mail_server() as box:
            box.data_reply = reply
            with pytest.raises(kind, match=reply[4:]):
                await send(receiver(box.port, tls="none"), MESSAGE)

    asyncio.run(act())


HELLO = (b"220 hi\r\n", b"250 hi\r\n")
BEFORE_DATA = (*HELLO, b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n")


@pytest.mark.parametrize(("replies", "kind"), [
    ((), Unavailable), ((b"",), Unavailable), ((b"\xff\xfe\r\n" * 9,), Unavailable),
    ((b"220 " + b"x" * 100_000,), Unavailable), (HELLO, Unavailable),
    (BEFORE_DATA, Unavailable), ((*BEFORE_DATA, b"354 go on\r\n"), OutcomeUnknown)])
def test_a_server_that_hangs_up_or_talks_nonsense_is_an_error_of_ours(
        replies: tuple[bytes, ...], kind: type[ActionError]) -> None:
    async def act() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for number, reply in enumerate(replies):
                if number:
                    await reader.readline()
                writer.write(reply)
            await writer.drain()
            if replies[-1:] == (b"354 go on\r\n",):
                await reader.readuntil(b"\r\n.\r\n")
            writer.close()

        async with served(serve) as port:
            with pytest.raises(kind):
                await send(receiver(port, tls="none"), MESSAGE)

    asyncio.run(act())


def test_a_server_that_drips_for_ever_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hands, "WHOLE_S", 0.5)

    async def act() -> None:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while not writer.is_closing():
                writer.write(b"220-x\r\n")
                await asyncio.gather(writer.drain(), asyncio.sleep(0.05), return_exceptions=True)

        async with asyncio.timeout(30), served(serve) as port:
            with pytest.raises(Unavailable, match="took too long"):
                await send(receiver(port, tls="none"), MESSAGE)

    asyncio.run(act())


def test_no_subject_becomes_a_header() -> None:
    spec = EmailSpec.model_validate({"server": "m", "from": "a@b.org", "to": ["c@d.org"]})
    made = hands.as_mail(spec, MESSAGE, "x\r\nBcc: evil@example.org\r\n\r\nbody")
    assert made["Bcc"] is None
    assert made["Subject"] == "x Bcc: evil@example.org body"
