"""The checks on virtual machines: what they refer to, and whether any host could hold them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from controller.model.host import Host
from controller.model.network import Network
from controller.model.units import render_size
from controller.model.virtual_machine import VirtualMachine, VirtualMachineSpec
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


@dataclass(slots=True)
class Room:
    """Which hosts could hold what; machines that wish for the same are answered once."""

    specs: Specs
    networks: dict[str, Entry[Network]] = field(init=False)
    policies: frozenset[str] = field(init=False)
    answers: dict[Wish, Refusal | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.networks = self.specs.of(Network)
        self.policies = frozenset(self.specs.valid["ProtectionPolicy"])

    def refusal(self, spec: VirtualMachineSpec) -> Refusal | None:
        """Return why no host can hold such a machine; None when one can, or it is not known."""
        wish = Wish(spec.placement.host, spec.placement.site,
                    frozenset([disk.pool for disk in spec.disks]),
                    frozenset([nic.network for nic in spec.nics]), spec.memory_bytes, spec.cpus)
        if wish not in self.answers:
            self.answers[wish] = self.find_refusal(wish)
        return self.answers[wish]

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
        chosen = [entry.document for name, entry in hosts.items()
                  if host in {None, name} and site in {None, entry.document.spec.site}]
        if not chosen:
            return Refusal(f"there is no host {wish.where}: declare one", ("metadata", "name"))
        return (self.lacks_network(chosen, wish) or lacks_pool(chosen, wish)
                or too_large(chosen, wish))

    def lacks_network(self, hosts: list[Host], wish: Wish) -> Refusal | None:
        """Return that the networks do not all reach one of `hosts`."""
        spans = {name: set(self.networks[name].document.spec.sites)
                 for name in sorted(wish.networks) if name in self.networks}
        sites = {host.spec.site for host in hosts}
        for name, spanned in spans.items():
            if not spanned & sites:
                return Refusal(f"network `{name}` does not reach any host {wish.where}: add the site to"
                               " its `sites:` or choose another network", ("spec", "nics"))
        if spans and not sites.intersection(*spans.values()):
            return Refusal(f"no site has all of {', '.join(spans)}: stretch one of them or place"
                           " the machine elsewhere", ("spec", "nics"))
        return None


def lacks_pool(hosts: list[Host], wish: Wish) -> Refusal | None:
    """Return that no host has the pools."""
    pools, where = wish.pools, wish.where
    held = [frozenset(pool.name for pool in host.spec.pools) for host in hosts]
    if any(pools <= names for names in held):
        return None
    known = sorted(frozenset[str]().union(*held))
    for pool in sorted(pools):
        if pool not in known:
            return Refusal(f"no host {where} has a pool `{pool}`: {suggestion(pool, known)}",
                           ("spec", "disks"))
    return Refusal(f"no host {where} has all of the pools {', '.join(sorted(pools))}: use pools of"
                   " one host", ("spec", "disks"))


def too_large(hosts: list[Host], wish: Wish) -> Refusal | None:
    """Return that each host is declared smaller than the machine; undeclared ones may do."""
    memory, cpus, where = wish.memory_bytes, wish.cpus, wish.where
    sizes = [(host.spec.capacity.memory_bytes - host.spec.reserve.memory_bytes,
              host.spec.capacity.cpus) for host in hosts if host.spec.capacity is not None]
    if len(sizes) < len(hosts):
        return None
    if any(memory <= most and cpus <= count for most, count in sizes):
        return None
    most = max(size[0] for size in sizes)
    if memory > most:
        return Refusal(f"{render_size(memory)} is more than any host {where} can give: write at"
                       f" most {render_size(most)}", ("spec", "memory"))
    count = max(size[1] for size in sizes)
    if cpus > count:
        return Refusal(f"{cpus} processors are more than any host {where} has: write at most"
                       f" {count}", ("spec", "cpus"))
    return Refusal(f"no host {where} has both {render_size(memory)} and {cpus} processors: make it"
                   " smaller", ("spec", "memory"))
