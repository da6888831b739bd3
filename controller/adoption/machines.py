"""The spec of a VM from its domain: what fits is declared, what does not is said.

What a spec cannot say of a domain is left to the domain. A list is whole or left out: a disk or a
card that is missing from a list is one to take away, once the VM is managed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from controller.adoption.claims import Claims
from controller.adoption.disks import Undeclarable, guess_disks, size_text
from controller.adoption.networks import Wiring, why_kept
from controller.adoption.observed import Observed
from controller.adoption.reading import Definition
from controller.adoption.text import Noted, plain
from controller.model.facts import DomainConfig, DomainFacts, DomainState, NicFacts, runs
from controller.model.virtual_machine import VirtualMachine
from controller.plan.machine.capability import PASSTHROUGH, TIED

NOT_IN_POINTS: Final = {"tpm": "its TPM's state", "nvram": "its firmware's variables",
                        "pstore": "its crash log"}


@dataclass(slots=True)
class MachineGuess:
    """One VM as it is declared."""

    name: str
    host: str
    document: Noted
    observed: list[Observed] = field(default_factory=list)
    template: str = ""
    """The file beside the specs that keeps its domain XML; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a VM's spec refers to."""

    host: str
    site: str
    pools: Mapping[str, str]
    """Names of declared pools by folder."""
    wiring: Wiring
    claims: Claims


def config_of(domain: DomainFacts) -> DomainConfig | None:
    """Return what a domain will be at its next boot; what it is now where nothing else is kept."""
    return domain.config if domain.config is not None else domain.live


def guess_machine(name: str, domain: DomainFacts, around: Surroundings,
                  definition: Definition | None) -> MachineGuess | Observed:
    """Return one VM's spec, or why it has none."""
    target, config = f"VirtualMachine/{name}", config_of(domain)
    if domain.unknown or config is None:
        return Observed(target, f"domain {domain.name}",
                        f"it could not be read: {domain.unknown or 'it has no definition'}")
    guess = MachineGuess(name, around.host, Noted(None))
    head: list[str] = []
    spec = _size(name, domain, config)
    if domain.autostart:
        spec["autostart"] = Noted("keep", beside=f"{around.host} starts it at its own boot; `off`"
                                  " before a failover may be automatic")
    _disks(spec, domain, config, around, guess, head)
    _cards(spec, domain, config, around, guess, head)
    spec["placement"] = _place(config, around, guess, head)
    head += _words(domain, config)
    if definition is not None:
        file = f"../templates/{name}.xml"
        guess.template = f"templates/{name}.xml"
        if definition.unfit:
            head.append(f"{file} keeps its domain XML; it is no template for a new VM, since it"
                        f" {definition.unfit}")
        else:
            spec["template"] = Noted(file, beside="its domain XML; used only if it is made anew")
    return _fitting(guess, spec, head, domain)


def _fitting(guess: MachineGuess, spec: dict[str, Any], head: list[str],
             domain: DomainFacts) -> MachineGuess | Observed:
    """Return the VM with as much of its spec as the model takes; at last, why it takes none."""
    why = ""
    for left_out in ((), ("disks",), ("nics",), ("disks", "nics")):
        fitting = {key: value for key, value in spec.items() if key not in left_out}
        document = {"kind": "VirtualMachine", "metadata": {"name": guess.name}, "spec": fitting}
        try:
            VirtualMachine.model_validate(plain(document))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            why = why or f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}"
            continue
        if left_out:
            words = " and ".join(left_out)
            head = [*head, f"Its {words} are not declared, since the specs cannot say: {why}"]
            guess.observed.append(Observed(f"VirtualMachine/{guess.name}", f"its {words}", why))
        guess.document = Noted(document, above=tuple(head))
        return guess
    return Observed(f"VirtualMachine/{guess.name}", f"domain {domain.name}",
                    f"the specs cannot say what it is: {why}")


def _size(name: str, domain: DomainFacts, config: DomainConfig) -> dict[str, Any]:
    """Return the fields that say which domain it is, and how large."""
    spec: dict[str, Any] = {} if domain.name == name else {"domain": domain.name}
    spec["uuid"] = domain.uuid
    spec["power"] = "on" if runs(domain) else "off"
    if domain.state is DomainState.PAUSED:
        spec["power"] = Noted("on", beside="it was paused when it was seen")
    spec["cpus"] = config.cpus
    spec["memory"] = size_text(config.memory_bytes)
    return spec


def _disks(spec: dict[str, Any], domain: DomainFacts, config: DomainConfig, around: Surroundings,
           guess: MachineGuess, head: list[str]) -> None:
    target = f"VirtualMachine/{guess.name}"
    shared = around.claims.disk_taken(around.host, domain)
    found = Undeclarable(*shared) if shared else guess_disks(config.disks, around.pools)
    if isinstance(found, Undeclarable):
        head.append(f"Its disks are not declared, because of {found.disk}: {found.why}.")
        guess.observed.append(Observed(target, "its disks", f"{found.disk}: {found.why}"))
        return
    if found:
        spec["disks"] = [one.spec for one in found]
    guess.observed += [Observed(target, one.what, one.not_replicated)
                       for one in found if one.not_replicated]


def _cards(spec: dict[str, Any], domain: DomainFacts, config: DomainConfig, around: Surroundings,
           guess: MachineGuess, head: list[str]) -> None:
    target = f"VirtualMachine/{guess.name}"
    why = around.claims.card_taken(around.host, domain)
    if why:
        head.append(f"Its cards are not declared: {why}.")
        guess.observed.append(Observed(target, "its cards", why))
        return
    cards = []
    for nic in config.nics:
        card, kept = card_of(nic, around)
        cards.append(card)
        if kept:
            guess.observed.append(Observed(target, f"card {nic.mac}", kept))
    if cards:
        spec["nics"] = cards


def card_of(nic: NicFacts, around: Surroundings) -> tuple[Noted, str]:
    """Return the spec of a card, and why all but its MAC is kept; empty if it is managed."""
    network = around.wiring.network_of(around.host, nic)
    model = {} if nic.model in {None, "virtio"} else {"model": nic.model}
    if network is not None:
        return Noted({"network": network.name, "mac": nic.mac, **model}), ""
    why = why_kept(nic) or f"no network could be made of {nic.bridge}"
    return Noted({"mac": nic.mac, "source": "keep", **model}, beside=why), why


def _place(config: DomainConfig, around: Surroundings, guess: MachineGuess,
           head: list[str]) -> dict[str, str]:
    """Return where a VM belongs: its site, or its host where something ties it there."""
    tied = [device for device in config.devices if device.kind in TIED]
    if not tied:
        return {"site": around.site}
    words = ", ".join(dict.fromkeys(f"{one.kind} {one.name}".strip() for one in tied))
    head.append(f"Pinned to {around.host}: {words} is there alone.")
    guess.observed.append(Observed(f"VirtualMachine/{guess.name}", words,
                                   f"it ties the VM to {around.host}"))
    return {"host": around.host}


def _words(domain: DomainFacts, config: DomainConfig) -> Iterator[str]:
    """Yield what a person should know of a VM before it is taken over."""
    kept = [what for kind, what in NOT_IN_POINTS.items()
            if any(device.kind == kind for device in config.devices)]
    if kept:
        yield f"Beside its disks it has {' and '.join(kept)}."
    media = [f"{one.target}: {one.source}" for one in config.media if one.source]
    if media:
        yield f"Media, not declared: {', '.join(media)}."
    if config.cpu_mode in PASSTHROUGH:
        yield f"Its CPU is {config.cpu_mode}: live migration goes only between equal CPUs."
    if not domain.persistent:
        yield "Transient: libvirt forgets it when it stops."

