"""What an import goes by: each host as it answered, and what a person said beforehand."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from controller.model.facts import Fact, NodeFacts


@dataclass(frozen=True, slots=True)
class Definition:
    """A domain's XML as libvirt shows it; `unfit` says why it is no template for a new VM."""

    xml: str
    unfit: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """One host as it answered once."""

    name: str
    """By which the specs know it."""
    address: str
    facts: Fact[NodeFacts]
    definitions: Mapping[str, Definition] = field(default_factory=dict)
    """By the domain's UUID."""
    user: str | None = None
    """The account to log in with; None: the estate's."""
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """How every host is logged in to, unless it has its own."""

    user: str
    key_file: str
    known_hosts: str
    port: int = 22


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asked for."""

    estate: str
    login: Login
    sites: Mapping[str, str] = field(default_factory=dict)
    """By host: its site, where a person named it."""


def is_address(word: str) -> bool:
    """Return whether a word is an IP address and no name."""
    try:
        ip_address(word)
    except ValueError:
        return False
    return True
