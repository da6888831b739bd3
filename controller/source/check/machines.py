"""The checks on virtual machines: what they refer to, and whether any host could hold them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from controller.model.host import Host
from controller.model.network import Network
from controller.model.units import render_size
from controller.model.virtual_machine import VirtualMachine, VirtualMachineSpec, is_ambiguous
from controller.source.problems import Finding, suggestion
from controller.source.specs import Entry, Specs


class Wish(NamedTuple):
    """What a machine asks of the host that is to hold it."""

    host: str | None
    site: str | None
    pools: frozenset[str]
    networks: frozenset[str]
    memory_bytes: int
    cpus: int

    @property
    def where(self) -> str:
        """Return where it is to be, in words."""
        if self.host is not None:
            return f"named `{self.host}`"
        return f"at site `{self.site}`" if self.site is not None else "in the estate"


def check_machines(specs: Specs) -> Iterator[Finding]:
    """Yield dangling references, doubled MACs, and machines that no host can hold."""
    macs: dict[str, Entry[VirtualMachine]] = {}
    room = Room(specs)
    for entry in specs.of(VirtualMachine).values():
        spec = entry.document.spec
        if is_ambiguous(entry.document.name):
            yield entry.wrong(f"libvirt takes `{entry.document.name}` for the number or uuid of"
                              " another domain: choose a name with other letters",
                              "metadata", "name")
        for index, nic in enumerate(spec.nics):
            other = macs.setdefault(nic.mac, entry)
            if other is not entry or nic.mac in {card.mac for card in spec.nics[:index]}:
                yield entry.wrong(f"MAC {nic.mac} is taken by `{other.document.name}`"
                                  f" ({other.chunk.place}): choose another",
                                  "spec", "nics", index, "mac")
            if nic.network not in room.networks:
                yield from specs.dangling(entry.chunk, "Network", nic.network,
                                          "spec", "nics", index, "network")
        if len(spec.disks) > 1:
            yield from check_disks(entry)
        if spec.protection is not None and spec.protection not in room.policies:
            yield from specs.dangling(entry.chunk, "ProtectionPolicy", spec.protection,
                                      "spec", "protection")
        if spec.protection is not None and spec.disks and not any(
                disk.replicate for disk in spec.disks):
            yield entry.wrong("none of its disks is replicated: leave `protection` out, or"
                              " `replicate: false` of one disk", "spec", "protection")
        reason = room.refusal(spec)
        if reason is not None:
            yield from reason.of(specs, entry)


def check_disks(entry: Entry[VirtualMachine]) -> Iterator[Finding]:
    """Yield disks of one machine that share a name."""
    names = [disk.name for disk in entry.document.spec.disks]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield entry.wrong(f"a second disk `{name}`: rename one", "spec", "disks", index, "name")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a machine fits nowhere, and the field that says so; `kind` if a reference dangles."""

    sentence: str
    path: tuple[str | int, ...]
    kind: str | None = None
    name: str = ""

    def of(self, specs: Specs, entry: Entry[VirtualMachine]) -> Iterator[Finding]:
        """Yield the refusal as a finding about one machine."""
        if self.kind is not None:
            yield from specs.dangling(entry.chunk, self.kind, self.name, *self.path)
        else:
            yield entry.wrong(self.sentence, *self.path)


class Group(NamedTuple):
    """What some hosts have together; tens of thousands of machines ask the same of them."""

    sites: frozenset[str]
    pools: frozenset[frozenset[str]]
    """The sets of pools that one host has."""
    sizes: frozenset[tuple[int, int]] | None
    """Memory for guests and processors; None when some host does not declare its capacity."""

    @classmethod
    def of(cls, hosts: Iterable[Host]) -> "Group":
        """Return the summary of `hosts`."""
        specs = [host.spec for host in hosts]
        sizes = frozenset((spec.capacity.memory_bytes - spec.reserve.memory_bytes,
                           spec.capacity.cpus) for spec in specs if spec.capacity is not None)
        declared = all(spec.capacity is not None for spec in specs)
        return cls(frozenset(spec.site for spec in specs),
                   frozenset(frozenset(pool.name for pool in spec.pools) for spec in specs),
                   sizes if declared else None)


class Room:
    """Which hosts could hold what; machines that wish for the same are answered once."""

    def __init__(self, specs: Specs) -> None:
        self.specs = specs
        self.networks = specs.of(Network)
        self.policies = frozenset(specs.valid["ProtectionPolicy"])
        self._answers: dict[Wish, Refusal | None] = {}
        self._sites: dict[str | None, Group] = {}

    def refusal(self, spec: VirtualMachineSpec) -> Refusal | None:
        """Return why no host can hold such a machine; None when one can, or it is not known."""
        wish = Wish(spec.placement.host, spec.placement.site,
                    frozenset([disk.pool for disk in spec.disks]),
                    frozenset([nic.network for nic in spec.nics]), spec.memory_bytes, spec.cpus)
        if wish not in self._answers:
            self._answers[wish] = self.find_refusal(wish)
        return self._answers[wish]

    def find_refusal(self, wish: Wish) -> Refusal | None:
        """Return the first reason for which every host is out of the question."""
        hosts = self.specs.of(Host)
        host, site = wish.host, wish.site
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
            return None  # a host that is not understood might be the one
        group = self.group(host, site)
        if not group.sites:
            return Refusal(f"there is no host {wish.where}: declare one", ("metadata", "name"))
        return (self.lacks_network(group, wish) or lacks_pool(group, wish)
                or too_large(group, wish))

    def group(self, host: str | None, site: str | None) -> Group:
        """Return the hosts that a machine so placed may run on."""
        hosts = self.specs.of(Host)
        if host is not None:
            return Group.of([hosts[host].document])
        if site not in self._sites:
            self._sites[site] = Group.of(entry.document for entry in hosts.values()
                                         if site in {None, entry.document.spec.site})
        return self._sites[site]

    def lacks_network(self, group: Group, wish: Wish) -> Refusal | None:
        """Return that the networks do not all reach one site of the hosts."""
        spans = {name: self.networks[name].document.spec.sites
                 for name in sorted(wish.networks) if name in self.networks}
        for name, spanned in spans.items():
            if group.sites.isdisjoint(spanned):
                return Refusal(f"network `{name}` does not reach any host {wish.where}: add the"
                               " site to its `sites:` or choose another network",
                               ("spec", "nics"))
        if not group.sites.intersection(*spans.values()):
            return Refusal(f"no site has all of {', '.join(spans)}: stretch one of them or place"
                           " the machine elsewhere", ("spec", "nics"))
        return None


def lacks_pool(group: Group, wish: Wish) -> Refusal | None:
    """Return that no host has the pools."""
    if any(wish.pools <= names for names in group.pools):
        return None
    known = sorted(frozenset[str]().union(*group.pools))
    for pool in sorted(wish.pools):
        if pool not in known:
            return Refusal(f"no host {wish.where} has a pool `{pool}`: {suggestion(pool, known)}",
                           ("spec", "disks"))
    return Refusal(f"no host {wish.where} has all of the pools {', '.join(sorted(wish.pools))}:"
                   " use pools of one host", ("spec", "disks"))


def too_large(group: Group, wish: Wish) -> Refusal | None:
    """Return that each host is declared smaller than the machine; undeclared ones may do."""
    memory, cpus, where = wish.memory_bytes, wish.cpus, wish.where
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
