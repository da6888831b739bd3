"""A network: one broadcast domain, the sites it spans, and the addresses used on it."""

from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Literal

from pydantic import Field

from controller.model.document import Document, Name, Scope, Spec
from controller.model.login.ssh import Address


class GatewaySpec(Spec):
    """The router address of a network, available at both sites."""

    address: Address
    vrid: int | None = Field(default=None, ge=1, le=255, strict=True)
    """The number of the virtual router in VRRP; nobody else on the VLAN may use it."""
    preferred: Name | None = None
    """The site that holds the address when both are well."""
    mode: Literal["vrrp", "observed"] | None = None
    """vrrp: `switches` hold the address, by keepalived, which is configured there. observed: other
    routers do, and nothing is done to them. Unset: vrrp if `switches` are named."""
    switches: dict[Name, IPv4Address] = Field(default_factory=dict)
    """The switches that hold the address, each with its own address in the subnet."""

    @property
    def rendered(self) -> bool:
        """Return whether we configure it."""
        return self.mode == "vrrp" or (self.mode is None and bool(self.switches))


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
