"""Who is told what is wrong, by which way, and the sign of life that the controller sends."""

from collections.abc import Iterator
from enum import StrEnum
from string import Template
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from controller.model.document import Name, Spec, Text
from controller.model.host import AbsolutePath, CredentialsSpec
from controller.model.login.ssh import Address, Port
from controller.model.units import DurationS

HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s@/]+[^\s@]*$", strict=True)]
MailAddress = Annotated[str, StringConstraints(
    pattern=r"^[A-Za-z0-9._%+=/~-]+@[A-Za-z0-9.-]+$", strict=True)]
Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]+/[a-z0-9.*?-]+$", strict=True)]
WORDS = frozenset({"subject", "text", "severity", "estate", "status", "id"})
SECRET_WORD = "token"  # noqa: S105  # the word, not a secret
SECRET_URLS = ("hooks.slack.com/", "discord.com/api/webhooks/", ".webhook.office.com/", "?")
"""Parts of addresses that whoever knows them can use."""
"""The words that a template may hold, each behind a `$`."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Severity(StrEnum):
    """Whom an alert concerns, worst first."""

    PAGE = "page"
    """Somebody gets up."""
    TICKET = "ticket"
    """It can wait for the morning."""


class WebhookSpec(Spec):
    """An HTTP server that is sent JSON."""

    url: HttpUrl | None = None
    url_file: AbsolutePath | None = None
    """A file, readable by its owner alone, that holds the address, where that is a secret."""
    token_file: AbsolutePath | None = None
    """A file, readable by its owner alone, with what is sent as `Authorization: Bearer`, or stands
    for `$token` in `content`."""
    ca_file: AbsolutePath | None = None
    """The authority that signed its certificate; unset: the system's."""
    content: dict[Text, Any] | None = None
    """JSON in place of ours; in its strings `$subject`, `$text`, `$severity`, `$status`, `$estate`
    and `$id` are replaced."""

    @model_validator(mode="after")
    def _has_an_address(self) -> "WebhookSpec":
        if (self.url is None) == (self.url_file is None):
            raise ValueError("write one of `url:` and `urlFile:`")
        if self.token_file is not None and self.url is not None \
                and self.url.startswith("http:") and not is_local(self.url):
            raise ValueError("a token is sent over https only")
        if self.url is not None and any(part in self.url for part in SECRET_URLS):
            raise ValueError("that address is a secret: keep it in a file, and write `urlFile:`")
        check_words(self.content, WORDS | {SECRET_WORD} if self.token_file is not None else WORDS)
        return self

    @property
    def uses_token(self) -> bool:
        """Return whether `content` has a place for the token."""
        return SECRET_WORD in words_of(self.content)


class EmailSpec(Spec):
    """A mail server, and who gets mail by it."""

    server: Address
    port: Port | None = None
    """Unset: 587 for starttls, 465 for tls, 25 for none."""
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """starttls: a server that does not offer it is sent nothing."""
    ca_file: AbsolutePath | None = None
    credentials: CredentialsSpec | None = None
    """A file with JSON, `{"username": …, "password": …}`, readable by its owner alone."""
    sender: MailAddress = Field(alias="from")
    to: tuple[MailAddress, ...] = Field(min_length=1, max_length=50)

    @model_validator(mode="after")
    def _password_is_hidden(self) -> "EmailSpec":
        if self.tls == "none" and self.credentials is not None and self.server not in LOOPBACK:
            raise ValueError("a password is sent over TLS only: write `tls: starttls`")
        return self


class ExecSpec(Spec):
    """A program on the controller's machine, which reads the notification as JSON."""

    command: tuple[Text, ...] = Field(min_length=1, max_length=64)
    """The program by its absolute path, and its arguments; no shell reads them."""
    timeout_s: DurationS = Field(default=20.0, alias="timeout", gt=0, le=300)

    @model_validator(mode="after")
    def _is_absolute(self) -> "ExecSpec":
        if not self.command[0].startswith("/"):
            raise ValueError(f"{self.command[0]!r} is not absolute: write the program's whole path")
        return self


class ReceiverSpec(Spec):
    """One way to tell somebody, and what of."""

    name: Name
    webhook: WebhookSpec | None = None
    email: EmailSpec | None = None
    exec: ExecSpec | None = None
    severity: Severity = Severity.TICKET
    """The least severity that is told."""
    sites: tuple[Name, ...] = ()
    """Only what concerns these sites, or no site; unset: all."""
    conditions: tuple[Text, ...] = ()
    """Only these types of conditions, `Failover` and `Approval` among them; unset: all."""
    objects: tuple[Pattern, ...] = ()
    """Only these objects, as `VirtualMachine/db-*`; unset: all."""
    resolved: bool = True
    """Whether the end is told, too."""
    repeat_s: DurationS = Field(default=4 * 3600.0, alias="repeat", ge=60)
    """What is still wrong after this long is told again."""
    subject: Text = "$subject"
    """The subject of mails, with the words of `content`."""

    @model_validator(mode="after")
    def _is_one_way(self) -> "ReceiverSpec":
        if sum(way is not None for way in (self.webhook, self.email, self.exec)) != 1:
            raise ValueError("write one of `webhook:`, `email:` and `exec:`")
        check_words(self.subject)
        return self


class HeartbeatSpec(Spec):
    """A sign of life to a server that tells somebody once it stops."""

    url: HttpUrl | None = None
    url_file: AbsolutePath | None = None
    """A file, readable by its owner alone, that holds the address."""
    ca_file: AbsolutePath | None = None
    every_s: DurationS = Field(default=60.0, alias="every", ge=5, le=3600)

    @model_validator(mode="after")
    def _has_an_address(self) -> "HeartbeatSpec":
        if (self.url is None) == (self.url_file is None):
            raise ValueError("write one of `url:` and `urlFile:`")
        return self


class NotifySpec(Spec):
    """Who is told what is wrong; nobody, as long as there is no receiver."""

    receivers: tuple[ReceiverSpec, ...] = Field(default=(), max_length=20)
    group_s: DurationS = Field(default=30.0, alias="group", ge=0, le=600)
    """What is wrong for so long is told, together with all else that is wrong by then."""
    interval_s: DurationS = Field(default=300.0, alias="interval", ge=0, le=86400)
    """A receiver that was told something is told tickets and ends no sooner than this."""
    hold_s: DurationS = Field(default=600.0, alias="hold", ge=0, le=86400)
    """What was wrong must be well for so long before it has ended: meanwhile it only flaps."""
    heartbeat: HeartbeatSpec | None = None

    @model_validator(mode="after")
    def _names_are_unique(self) -> "NotifySpec":
        names = [one.name for one in self.receivers]
        if double := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two receivers are called {double[0]}")
        return self


def texts_of(content: object) -> Iterator[str]:
    """Return every string of a template, however deep."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict | list | tuple):
        for each in content.values() if isinstance(content, dict) else content:
            yield from texts_of(each)


def words_of(content: object) -> set[str]:
    """Return the words that a template has places for."""
    return {word for text in texts_of(content) for word in Template(text).get_identifiers()}


def check_words(content: object, known: frozenset[str] = WORDS) -> None:
    """Raise ValueError for a template with a word that is never filled in."""
    for text in texts_of(content):
        template = Template(text)
        if not template.is_valid():
            raise ValueError(f"{text!r}: write `$$` for a dollar")
        if unknown := sorted(set(template.get_identifiers()) - known):
            raise ValueError(f"`${unknown[0]}` is not known: there are"
                             f" {', '.join(f'${word}' for word in sorted(known))}")


def is_local(url: str) -> bool:
    """Return whether an address is of this machine."""
    host = url.partition("://")[2].partition("/")[0]
    return host in LOOPBACK or host.rpartition(":")[0].strip("[]") in LOOPBACK
