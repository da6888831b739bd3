"""What a declared VM has by now and its spec does not list: disks and cards.

Only items are added to lists that are there. What a spec says stays as it is, also where the domain
differs, and a list that it leaves out is left to the domain. Of a VM that several hosts have, the
copy that alone runs is looked at; where that is not clear, nothing is proposed, since an old copy
would propose what is gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from controller.adoption.claims import Key
from controller.adoption.disks import Undeclarable, guess_disk
from controller.adoption.machines import Surroundings, card_of, config_of
from controller.adoption.observed import Observed
from controller.adoption.text import plain
from controller.model.desired import Desired
from controller.model.facts import DomainConfig, DomainFacts, runs


@dataclass(frozen=True, slots=True)
class Addition:
    """One declared VM, and of its domain only what its spec does not list."""

    machine: str
    host: str
    domain: DomainFacts
    config: DomainConfig


@dataclass(slots=True)
class Items:
    """What is added to the lists of one VM, and what of it is only observed."""

    added: list[tuple[str, Any]] = field(default_factory=list)
    """`disks` or `nics`, each with one item."""
    observed: list[Observed] = field(default_factory=list)


def additions_of(domains: Mapping[Key, tuple[str, DomainFacts]], declared: Desired,
                 ) -> list[Addition]:
    """Return every VM with something new; `domains` are those of declared VMs, with its name."""
    copies: dict[str, list[tuple[str, DomainFacts]]] = {}
    for (host, _), (machine, domain) in sorted(domains.items()):
        copies.setdefault(machine, []).append((host, domain))
    found = []
    for machine, some in copies.items():
        running = [one for one in some if runs(one[1])]
        clear = some if len(some) == 1 else running if len(running) == 1 else []
        for host, domain in clear:
            config = None if domain.unknown else _new_of(domain, machine, declared)
            if config is not None and (config.disks or config.nics):
                found.append(Addition(machine, host, domain, config))
    return found


def _new_of(domain: DomainFacts, machine: str, declared: Desired) -> DomainConfig | None:
    """Return a domain with nothing but the disks and cards that its spec does not list."""
    config, spec = config_of(domain), declared.virtual_machines[machine].spec
    if config is None:
        return None
    names = {disk.name for disk in spec.disks}
    macs = {nic.mac for nic in spec.nics}
    disks = [one for one in config.disks if one.target not in names]
    nics = [one for one in config.nics if one.mac not in macs]
    return replace(config, disks=tuple(disks if names else ()), nics=tuple(nics if macs else ()))


def items_of(one: Addition, around: Surroundings, declared: Desired) -> Items:
    """Return what is added to the lists of a VM."""
    target, found = f"VirtualMachine/{one.machine}", Items()
    for disk in one.config.disks:
        guess = guess_disk(disk, around.pools)
        if isinstance(guess, Undeclarable):
            found.observed.append(Observed(target, f"disk {guess.disk}", guess.why))
            continue
        found.added.append(("disks", plain(guess.spec)))
        if guess.not_replicated:
            found.observed.append(Observed(target, guess.what, guess.not_replicated))
    others = {nic.mac: name for name, vm in declared.virtual_machines.items()
              for nic in vm.spec.nics}
    macs = [nic.mac for nic in one.config.nics]
    for nic in one.config.nics:
        if nic.mac in others or macs.count(nic.mac) > 1:
            found.observed.append(Observed(
                target, f"card {nic.mac}", f"that MAC is one of {others.get(nic.mac, one.machine)},"
                " too: give one of them another"))
            continue
        card, kept = card_of(nic, around)
        found.added.append(("nics", plain(card)))
        if kept:
            found.observed.append(Observed(target, f"card {nic.mac}", kept))
    return found
