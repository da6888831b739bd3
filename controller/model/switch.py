"""A switch: its ports lead to hosts of its site or are members of an inter-site link."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from controller.model.document import Document, Name, Scope, Spec
from controller.model.login.ssh import Address, LoginSpec

InterfaceName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$", strict=True),
]
LinkMember = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*/[1-9][0-9]{0,3}$", strict=True),
]
"""Link name and member number: metro/1."""


class SwitchPortSpec(Spec):
    """One port of a switch: it leads to a host, or it is a member of a link."""

    name: InterfaceName
    host: Name | None = None
    """The host whose uplink is plugged in here."""
    link: LinkMember | None = None
    """The inter-site link and the member number: metro/1."""
    vlans: Literal["declared", "all"] = "declared"
    """What it lets pass: the VLANs of the networks that need it, or all there are."""
    native_vlan: int | None = Field(default=None, ge=0, le=4094, strict=True)
    """The VLAN that frames without a tag belong to; 0: they pass as they are; unset: what there
    is stays as it is."""

    @model_validator(mode="after")
    def _leads_somewhere(self) -> "SwitchPortSpec":
        if (self.host is None) == (self.link is None):
            raise ValueError("a port leads to a host or is a member of a link: write one of"
                             " `host:` and `link:`")
        return self


class SwitchSpec(Scope):
    """A switch that the controller can log in to."""

    site: Name
    address: Address
    driver: Literal["openvswitch", "linuxbridge"] = "openvswitch"
    bridge: InterfaceName = "br0"
    ports: tuple[SwitchPortSpec, ...] = Field(min_length=1)
    ssh: LoginSpec = LoginSpec()
    """What its login has of its own."""


class Switch(Document):
    """One switch of one site."""

    kind: Literal["Switch"] = "Switch"
    spec: SwitchSpec
