"""A network: one broadcast domain, the sites it spans, and the addresses used on it."""

from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from pydantic import Field

from controller.model.document import Document, Name, Scope, Spec
from controller.model.login.ssh import Address


class GatewaySpec(Spec):
    """The virtual router address of a network, available at both sites."""

    address: Address
    vrid: int = Field(ge=1, le=255, strict=True)
    preferred: Name | None = None
    """The site that holds the address when both are well."""


class NetworkSpec(Scope):
    """One broadcast domain: a VLAN, or whatever untagged frames belong to."""

    vlan: int | None = Field(default=None, ge=1, le=4094, strict=True)
    """Unset: its frames carry no tag of ours, whatever the wire makes of them."""
    sites: tuple[Name, ...] = Field(min_length=1)
    """Every host of these sites carries it; with two sites every link member does too."""
    subnet: IPv4Network | IPv6Network | None = None
    gateway: GatewaySpec | None = None


class Network(Document):
    """One broadcast domain of the estate."""

    kind: Literal["Network"] = "Network"
    spec: NetworkSpec
