"""The checks on VMs: what they refer to, and whether any host could run them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from controller.model.host import Host
from controller.model.network import Network
from controller.model.units import render_size
from controller.model.virtual_machine import VirtualMachine, VirtualMachineSpec, is_ambiguous
from controller.source.problems import Finding, suggestion
from controller.source.specs import Entry, Specs


class Requirements(NamedTuple):
    """What a VM needs of the host that runs it."""

    host: str | None
    site: str | None
    pools: frozenset[str]
    networks: frozenset[str]
    memory_bytes: int
    cpus: int

    @property
    def where(self) -> str:
        """Return where the VM is declared to be, in words."""
        if self.host is not None:
            return f"named `{self.host}`"
        return f"at site `{self.site}`" if self.site is not None else "in the estate"


def check_machines(specs: Specs) -> Iterator[Finding]:
    """Yield dangling references, doubled MACs, and VMs that no host can run."""
    macs: dict[str, Entry[VirtualMachine]] = {}
    finder = HostFinder(specs)
    yield from check_identities(specs)
    for entry in specs.of(VirtualMachine).values():
        spec = entry.document.spec
        for index, nic in enumerate(spec.nics):
            other = macs.setdefault(nic.mac, entry)
            if other is not entry or nic.mac in {card.mac for card in spec.nics[:index]}:
                yield entry.wrong(f"MAC {nic.mac} is taken by `{other.document.name}`"
                                  f" ({other.chunk.place}): choose another",
                                  "spec", "nics", index, "mac")
            if nic.network is not None and nic.network not in finder.networks:
                yield from specs.dangling(entry.chunk, "Network", nic.network,
                                          "spec", "nics", index, "network")
        if len(spec.disks) > 1:
            yield from check_disks(entry)
        if spec.protection is not None and spec.protection not in finder.policies:
            yield from specs.dangling(entry.chunk, "ProtectionPolicy", spec.protection,
                                      "spec", "protection")
        if spec.protection is not None and spec.disks and not any(
                disk.replicate for disk in spec.disks):
            yield entry.wrong("none of its disks is replicated: leave `protection` out, or"
                              " `replicate: false` of one disk", "spec", "protection")
        reason = finder.refusal(spec)
        if reason is not None:
            yield from reason.of(specs, entry)


def check_identities(specs: Specs) -> Iterator[Finding]:
    """Yield libvirt names and UUIDs that two VMs claim, and names that virsh cannot create."""
    names: dict[str, Entry[VirtualMachine]] = {}
    uuids: dict[str, Entry[VirtualMachine]] = {}
    for entry in specs.of(VirtualMachine).values():
        vm = entry.document
        path = ("metadata", "name") if vm.spec.domain is None else ("spec", "domain")
        if is_ambiguous(vm.libvirt_name) and vm.spec.uuid is None:
            yield entry.wrong(f"libvirt takes `{vm.libvirt_name}` for the number or uuid of another"
                              " domain: write its `uuid:`, by which it is then found, or choose a"
                              " name with other letters", *path)
        first = names.setdefault(vm.libvirt_name, entry)
        if first is not entry:
            yield entry.wrong(f"`{first.document.name}` ({first.chunk.place}) is the domain"
                              f" `{vm.libvirt_name}`, too: one domain is one VM; correct `domain:`"
                              " of one of them", *path)
        if vm.spec.uuid is not None:
            first = uuids.setdefault(vm.spec.uuid, entry)
            if first is not entry:
                yield entry.wrong(f"`{first.document.name}` ({first.chunk.place}) has the uuid"
                                  f" {vm.spec.uuid}, too: one domain is one VM; correct one of"
                                  " them", "spec", "uuid")


def check_disks(entry: Entry[VirtualMachine]) -> Iterator[Finding]:
    """Yield disks of one VM that share a name, or a file or device."""
    disks = entry.document.spec.disks
    for index, disk in enumerate(disks):
        if disk.name in {one.name for one in disks[:index]}:
            yield entry.wrong(f"a second disk `{disk.name}`: rename one",
                              "spec", "disks", index, "name")
        path = "" if disk.source is None else disk.source.path
        if path and any(one.source is not None and one.source.path == path
                        for one in disks[:index]):
            yield entry.wrong(f"a second disk on {path}: a guest would write over itself",
                              "spec", "disks", index, "source")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a VM fits on no host, and the field to change; `kind` if a reference dangles."""

    sentence: str
    path: tuple[str | int, ...]
    kind: str | None = None
    name: str = ""

    def of(self, specs: Specs, entry: Entry[VirtualMachine]) -> Iterator[Finding]:
        """Yield the refusal as a finding about one VM."""
        if self.kind is not None:
            yield from specs.dangling(entry.chunk, self.kind, self.name, *self.path)
        else:
            yield entry.wrong(self.sentence, *self.path)


class HostGroup(NamedTuple):
    """What a group of hosts offers, summed up once for all VMs that ask."""

    sites: frozenset[str]
    pools: frozenset[frozenset[str]]
    """For each host the set of its pools that are folders."""
    observed: frozenset[str]
    """Pools that are no folder on any of them."""
    sizes: frozenset[tuple[int, int]] | None
    """Memory for guests and processors; None when some host does not declare its capacity."""

    @classmethod
    def of(cls, hosts: Iterable[Host]) -> "HostGroup":
        """Return the summary of `hosts`."""
        specs = [host.spec for host in hosts]
        sizes = frozenset((spec.capacity.memory_bytes - spec.reserve.memory_bytes,
                           spec.capacity.cpus) for spec in specs if spec.capacity is not None)
        declared = all(spec.capacity is not None for spec in specs)
        return cls(frozenset(spec.site for spec in specs),
                   frozenset(frozenset(pool.name for pool in spec.folders) for spec in specs),
                   frozenset(pool.name for spec in specs for pool in spec.pools).difference(
                       *(frozenset(pool.name for pool in spec.folders) for spec in specs)),
                   sizes if declared else None)


class HostFinder:
    """Says whether any host could run a VM; VMs with equal needs are answered once."""

    def __init__(self, specs: Specs) -> None:
        self.specs = specs
        self.networks = specs.of(Network)
        self.policies = frozenset(specs.valid["ProtectionPolicy"])
        self._answers: dict[Requirements, Refusal | None] = {}
        self._sites: dict[str | None, HostGroup] = {}

    def refusal(self, spec: VirtualMachineSpec) -> Refusal | None:
        """Return why no host can run such a VM; None if one can, or if that is not known."""
        needs = Requirements(spec.placement.host, spec.placement.site,
                    frozenset(spec.pools),
                    frozenset([nic.network for nic in spec.nics if nic.network is not None]),
                    spec.memory_bytes, spec.cpus)
        if needs not in self._answers:
            self._answers[needs] = self.find_refusal(needs)
        return self._answers[needs]

    def find_refusal(self, needs: Requirements) -> Refusal | None:
        """Return the first reason that excludes every host."""
        hosts = self.specs.of(Host)
        host, site = needs.host, needs.site
        if host is not None:
            if host not in hosts:
                return Refusal("", ("spec", "placement", "host"), "Host", host)
            where = hosts[host].document.spec.site
            if site is not None and where != site:
                return Refusal(f"host `{host}` is at site `{where}`, not at `{site}`: correct"
                               " `site:` or leave it out", ("spec", "placement", "host"))
        if site is not None and site not in self.specs.valid["Site"]:
            return Refusal("", ("spec", "placement", "site"), "Site", site)
        if not self.specs.complete("Host") or not self.specs.complete("Network"):
            return None  # an invalid host might be the one
        group = self.group(host, site)
        if not group.sites:
            return Refusal(f"there is no host {needs.where}: declare one", ("metadata", "name"))
        return (self.lacks_network(group, needs) or lacks_pool(group, needs)
                or too_large(group, needs))

    def group(self, host: str | None, site: str | None) -> HostGroup:
        """Return the group of hosts on which a VM of that placement may run."""
        hosts = self.specs.of(Host)
        if host is not None:
            return HostGroup.of([hosts[host].document])
        if site not in self._sites:
            self._sites[site] = HostGroup.of(entry.document for entry in hosts.values()
                                         if site in {None, entry.document.spec.site})
        return self._sites[site]

    def lacks_network(self, group: HostGroup, needs: Requirements) -> Refusal | None:
        """Return a refusal if no site of the hosts has all of the networks."""
        spans = {name: self.networks[name].document.spec.sites
                 for name in sorted(needs.networks) if name in self.networks}
        for name, spanned in spans.items():
            if group.sites.isdisjoint(spanned):
                return Refusal(f"network `{name}` does not reach any host {needs.where}: add the"
                               " site to its `sites:` or choose another network",
                               ("spec", "nics"))
        if not group.sites.intersection(*spans.values()):
            return Refusal(f"no site has all of {', '.join(spans)}: stretch one of them or place"
                           " the machine elsewhere", ("spec", "nics"))
        return None


def lacks_pool(group: HostGroup, needs: Requirements) -> Refusal | None:
    """Return a refusal if no host has all of the pools."""
    if any(needs.pools <= names for names in group.pools):
        return None
    for pool in sorted(needs.pools & group.observed):
        return Refusal(f"pool `{pool}` is no folder and is only observed: write where the disk lies"
                       " as its `source`, such as `{block: /dev/vg0/web}`", ("spec", "disks"))
    known = sorted(frozenset[str]().union(*group.pools))
    for pool in sorted(needs.pools):
        if pool not in known:
            return Refusal(f"no host {needs.where} has a pool `{pool}`: {suggestion(pool, known)}",
                           ("spec", "disks"))
    return Refusal(f"no host {needs.where} has all of the pools {', '.join(sorted(needs.pools))}:"
                   " use pools of one host", ("spec", "disks"))


def too_large(group: HostGroup, needs: Requirements) -> Refusal | None:
    """Return a refusal if every host is declared smaller than the VM."""
    memory, cpus, where = needs.memory_bytes, needs.cpus, needs.where
    if group.sizes is None or any(memory <= most and cpus <= count
                                  for most, count in group.sizes):
        return None
    most = max(size[0] for size in group.sizes)
    if memory > most:
        return Refusal(f"{render_size(memory)} is more than any host {where} can give: write at"
                       f" most {render_size(most)}", ("spec", "memory"))
    count = max(size[1] for size in group.sizes)
    if cpus > count:
        return Refusal(f"{cpus} processors are more than any host {where} has: write at most"
                       f" {count}", ("spec", "cpus"))
    return Refusal(f"no host {where} has both {render_size(memory)} and {cpus} processors: make it"
                   " smaller", ("spec", "memory"))
