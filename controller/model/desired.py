"""The declared state of one revision: every object by kind and name, and its line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from controller.model.document import Document
from controller.model.estate import Estate
from controller.model.host import Host
from controller.model.inter_site_link import InterSiteLink
from controller.model.network import Network
from controller.model.protection_policy import ProtectionPolicy
from controller.model.site import Site
from controller.model.switch import Switch
from controller.model.virtual_machine import VirtualMachine
from controller.model.witness import Witness

KINDS: dict[str, type[Document]] = {
    "Estate": Estate, "Site": Site, "Switch": Switch, "InterSiteLink": InterSiteLink,
    "Host": Host, "Network": Network, "VirtualMachine": VirtualMachine,
    "ProtectionPolicy": ProtectionPolicy, "Witness": Witness,
}


class Place(NamedTuple):
    """Where a document is: the file, relative to the source, and its first line."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Desired:
    """What should be. Complete, cross-checked, and from one revision; never partial."""

    revision: str
    estate: Estate
    sites: Mapping[str, Site]
    switches: Mapping[str, Switch]
    inter_site_links: Mapping[str, InterSiteLink]
    hosts: Mapping[str, Host]
    networks: Mapping[str, Network]
    virtual_machines: Mapping[str, VirtualMachine]
    protection_policies: Mapping[str, ProtectionPolicy]
    places: Mapping[str, Place] = field(default_factory=dict)
    """By `Kind/name`."""
    templates: Mapping[str, str] = field(default_factory=dict)
    """Domain XML text by VM name, for VMs that name a template."""
    not_read: tuple[str, ...] = ()
    """Files in the source that declare nothing: hidden, or without the ending of a spec."""
    witnesses: Mapping[str, Witness] = field(default_factory=dict)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return the name of every machine that is asked for its facts."""
        return (*self.hosts, *self.switches, *self.witnesses)
