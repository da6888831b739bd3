"""Which copy is the VM where two hosts, or two domains, claim one: by UUID, name, MAC or disk.

A VM is its UUID, its cards and its disks, whatever its name. Of two domains with one UUID the one
that runs is the VM, if exactly one runs; else neither is declared, and a person decides. Of two
domains that share a MAC or a disk only the first one declares it: one that runs before one that
does not, then by host and name. Two domains of one name and different UUIDs are two VMs, and the
specs cannot tell them apart: in the same order the first is declared. Nothing here says that the
other is wrong; both are named.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from controller.model.facts import DomainConfig, DomainFacts, runs

Key = tuple[str, str]
"""A host and the name of a domain on it."""


@dataclass(slots=True)
class Claims:
    """Who has which MAC and which disk, and which domains are no VM of their own."""

    rivals: dict[Key, str] = field(default_factory=dict)
    """Domains that are not declared, and why."""
    macs: dict[str, Key] = field(default_factory=dict)
    disks: dict[str, Key] = field(default_factory=dict)

    def card_taken(self, host: str, domain: DomainFacts) -> str:
        """Return why a domain's cards are not declared; empty if they are."""
        macs = [nic.mac for one in _configs(domain)[:1] for nic in one.nics]
        for mac in macs:
            other = self.macs.get(mac, (host, domain.name))
            if other != (host, domain.name):
                return (f"{mac} is the MAC of {other[1]} on {other[0]}, too: give one of them"
                        " another")
        twice = next((mac for mac in macs if macs.count(mac) > 1), None)
        return "" if twice is None else f"two of its cards have the MAC {twice}"

    def disk_taken(self, host: str, domain: DomainFacts) -> tuple[str, str] | None:
        """Return the disk that another VM has, too, and which; None if there is none."""
        for place, target in _places(host, domain):
            other = self.disks.get(place, (host, domain.name))
            if other != (host, domain.name):
                return target, f"{other[1]} on {other[0]} writes to the same"
        return None


def weigh(domains: Mapping[Key, DomainFacts], macs: Mapping[str, str],
          names: Mapping[str, str]) -> Claims:
    """Return who claims what; `macs` and `names` of domains are those of declared VMs."""
    claims = Claims({}, {mac: ("the specs", name) for mac, name in macs.items()}, {})
    copies: dict[str, list[Key]] = {}
    for key, domain in sorted(domains.items()):
        copies.setdefault(domain.uuid.lower(), []).append(key)
    for keys in copies.values():
        running = [key for key in keys if runs(domains[key])]
        right = running if len(running) == 1 else keys if len(keys) == 1 else []
        for key in keys:
            if key not in right:
                others = ", ".join(host for host, _ in keys if (host, _) != key)
                claims.rivals[key] = _rivalry(right, others, len(running))
    order = sorted((key for key in domains if key not in claims.rivals),
                   key=lambda key: (not runs(domains[key]), key))
    called = {name: ("the specs", vm) for name, vm in names.items()}
    for key in order:
        first = called.setdefault(key[1], key)
        if first != key:
            claims.rivals[key] = (f"another VM on {first[0]} is called {first[1]}, too, and has"
                                  " another UUID: rename one of them while it is off, by `virsh"
                                  " domrename`, and import again")
            continue
        for config in _configs(domains[key]):
            for nic in config.nics:
                claims.macs.setdefault(nic.mac, key)
        for place, _ in _places(key[0], domains[key]):
            claims.disks.setdefault(place, key)
    return claims


def _rivalry(right: list[Key], others: str, running: int) -> str:
    if right:
        return (f"the same UUID runs on {right[0][0]}, which is the VM; this copy is off: remove"
                " it by hand if it is left over")
    told = "runs" if running else "is defined, and off,"
    return (f"the same UUID {told} on {others}, too: nobody can tell which is the VM. Stop or"
            " undefine one by hand, then import again")


def _configs(domain: DomainFacts) -> tuple[DomainConfig, ...]:
    return tuple(one for one in (domain.config, domain.live) if one is not None)


def _places(host: str, domain: DomainFacts) -> Iterator[tuple[str, str]]:
    """Yield each disk that the guest writes, by a name that means the same for all."""
    identities = {use.path: use.identity for use in domain.files if use.written}
    for config in _configs(domain)[:1]:
        for disk in config.disks:
            if not disk.source or disk.readonly or disk.shareable:
                continue
            if disk.type in {"file", "block"}:
                yield f"{host}:{identities.get(disk.source) or disk.source}", disk.target
            elif disk.type == "network":
                yield f"{disk.protocol}:{disk.source}", disk.target
