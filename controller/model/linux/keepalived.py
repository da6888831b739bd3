"""What keepalived on a switch is told of gateways, and what is seen of it there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True, order=True)
class VrrpInstance:
    """One gateway on one switch: the address that moves, and the switch's own beside it."""

    network: str
    """Its name in keepalived, too."""
    vrid: int
    port: str
    """The port of the bridge in the network's VLAN."""
    address: str
    """Of the gateway, with its prefix length."""
    own: str
    """Of the switch, with its prefix length."""
    priority: int


class ConfigState(StrEnum):
    """Whose work the configuration of keepalived is."""

    MISSING = "missing"
    OURS = "ours"
    OUTDATED = "outdated"
    """Ours, and rendered otherwise than this controller would."""
    EDITED = "edited"
    """Ours, changed since by somebody."""
    FOREIGN = "foreign"
    """Of somebody else, from the beginning."""


@dataclass(frozen=True, slots=True)
class HeardRouter:
    """One who says by VRRP that a router address is his, heard lately on a port."""

    port: str
    vrid: int
    source: str
    """His own address there."""


@dataclass(frozen=True, slots=True)
class KeepalivedFacts:
    """keepalived on one switch."""

    version: str = ""
    """Empty: it is not installed."""
    running: bool = False
    config: ConfigState = ConfigState.MISSING
    instances: tuple[VrrpInstance, ...] = ()
    """What the configuration was rendered from; empty if that was never ours."""
    states: Mapping[str, str] = field(default_factory=dict)
    """By instance, keepalived's own word: master, backup, fault, init."""
    states_unknown: str = ""
    """Why its word could not be had; empty if it was, or does not run."""
    heard: tuple[HeardRouter, ...] = ()
    forwarding: bool | None = None
    """Whether the switch passes IPv4 packets on between networks; None: it does not say."""
