"""Networks from what cards are plugged into, and each host's attachments to them.

A card on a bridge says: this bridge, this tag. Cards that say the same on several hosts are taken
to be on one network, unless the hosts' own addresses on that bridge lie in different subnets: then
it is one name for several wires. That guess is written beside each network, since nothing that can
be read from outside proves that two bridges are one wire.

A card that is plugged in otherwise (libvirt's own networks, macvtap, a trunk, a passed-through
device) belongs to no network here: its MAC is declared, and the rest is kept as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_interface, ip_network
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from controller.adoption.names import free_name, safe_name
from controller.adoption.reading import Reading
from controller.adoption.text import Noted
from controller.model.desired import Desired
from controller.model.facts import DomainConfig, InterfaceFacts, Known, NicFacts, NodeFacts
from controller.model.switch import InterfaceName
from controller.plan.survey.networks.attachment import attachment_of

OPENVSWITCH: Final = "openvswitch"
LINUX: Final = "linuxbridge"
_INTERFACE: Final = TypeAdapter(InterfaceName)


class Plug(NamedTuple):
    """Where a card is plugged in on its host."""

    bridge: str
    vlan: int | None


@dataclass(slots=True)
class NetworkGuess:
    """One network and the hosts that have it."""

    name: str
    plug: Plug
    subnet: str
    hosts: list[str] = field(default_factory=list)
    note: str = ""
    subnet_free: bool = True
    """False: another network has an overlapping subnet, and this one declares none."""


@dataclass(slots=True)
class Wiring:
    """Every network, and by host and plug which one it is."""

    networks: list[NetworkGuess]
    plugged: dict[tuple[str, Plug], NetworkGuess]
    kinds: dict[str, dict[str, str]]
    """By host: its bridges and which kind each is."""

    def network_of(self, host: str, nic: NicFacts) -> NetworkGuess | None:
        """Return the network that a card is on; None where it is kept as it is."""
        return self.plugged.get((host, plug_of(nic))) if why_kept(nic) == "" else None

    def attachments(self, host: str) -> list[tuple[str, Plug]]:
        """Return the networks of a host with where they are there, by name."""
        return sorted((guess.name, plug) for (name, plug), guess in self.plugged.items()
                      if name == host)

    def driver(self, host: str) -> str:
        """Return what switches a host's guests: the kind that its networks are on, or none."""
        kinds = self.kinds.get(host, {})
        used = {kinds.get(plug.bridge, "") for _, plug in self.attachments(host)} - {""}
        found = used or set(kinds.values())
        return OPENVSWITCH if OPENVSWITCH in found else LINUX if LINUX in found else "none"


def why_kept(nic: NicFacts) -> str:
    """Return why a card is declared by its MAC alone; empty if its network can be declared."""
    if nic.kind == "network":
        return f"it is on libvirt's own network {nic.network}".rstrip()
    if nic.kind == "direct":
        return "it is a macvtap on a device of the host"
    if nic.kind != "bridge":
        return f"it is plugged in as libvirt's kind {nic.kind}"
    if nic.trunks or nic.native is not None:
        return "it carries several VLANs"
    if not nic.bridge:
        return "its bridge is not named"
    if nic.port_type not in {None, "", OPENVSWITCH}:
        return f"its port is of the type {nic.port_type}"
    return ""


def plug_of(nic: NicFacts) -> Plug:
    """Return where a card on a bridge is plugged in."""
    return Plug(nic.bridge, nic.vlan)


def bridge_kinds(facts: NodeFacts) -> dict[str, str]:
    """Return the bridges of a host by name, with their kind; libvirt's own are left out."""
    found: dict[str, str] = {}
    if isinstance(facts.interfaces, Known):
        found |= {name: LINUX for name, one in facts.interfaces.value.items()
                  if one.kind == "bridge" and not name.startswith("virbr")}
    if isinstance(facts.bridges, Known):
        found |= dict.fromkeys(facts.bridges.value, OPENVSWITCH)
    return found


def declared_plugs(declared: Desired | None) -> dict[tuple[str, Plug], str]:
    """Return where declared hosts have declared networks."""
    found: dict[tuple[str, Plug], str] = {}
    if declared is not None:
        for name, host in declared.hosts.items():
            for network, one in declared.networks.items():
                if host.spec.site in one.spec.sites:
                    place = attachment_of(network, one.spec.vlan, host.spec)
                    if place.bridge:
                        found.setdefault((name, Plug(place.bridge, place.vlan)), network)
    return found


def guess_networks(readings: Sequence[Reading], configs: Mapping[str, Sequence[DomainConfig]],
                   sites: Mapping[str, str], declared: Desired | None = None) -> Wiring:
    """Return the networks that the cards of all hosts are on; `configs` and `sites` by host.

    Shapes: a declared network stays the one that its hosts have it as; a host that is new joins it
    where the plug is the same and the network spans its site.
    """
    known_plugs = declared_plugs(declared)
    spans = {} if declared is None else {
        name: frozenset(one.spec.sites) for name, one in declared.networks.items()}
    known = {reading.name: reading.facts.value for reading in readings
             if isinstance(reading.facts, Known)}
    kinds = {name: bridge_kinds(facts) for name, facts in known.items()}
    plugs = {plug_of(nic) for some in configs.values() for config in some
             for nic in config.nics if why_kept(nic) == "" and _is_word(nic.bridge)}
    wiring = Wiring([], {key: NetworkGuess(name, key[1], "", [key[0]])
                         for key, name in known_plugs.items() if key[0] in known}, kinds)
    names = set(spans)
    vlans = set() if declared is None else {
        one.spec.vlan for one in declared.networks.values() if one.spec.vlan is not None}
    for plug in sorted(plugs, key=lambda one: (one.bridge, one.vlan or 0)):
        groups = list(_groups(plug, known, kinds, configs))
        for subnet, every in groups:
            hosts = _joined(plug, every, wiring, spans, sites)
            if not hosts:
                continue
            if plug.vlan is not None and plug.vlan in vlans:
                continue    # a VLAN is one network: cards on a second one are kept
            name = _name(plug, sites[hosts[0]], names)
            names.add(name)
            vlans |= {plug.vlan} if plug.vlan is not None else set()
            guess = NetworkGuess(name, plug, subnet, hosts)
            guess.note = _note(guess, len({sites[host] for host in hosts}),
                               others=len(groups) > 1) + _wire(guess, known)
            wiring.networks.append(guess)
            wiring.plugged |= {(host, plug): guess for host in hosts}
    _drop_overlaps(wiring.networks)
    return wiring


def _joined(plug: Plug, hosts: Sequence[str], wiring: Wiring,
            spans: Mapping[str, frozenset[str]], sites: Mapping[str, str]) -> list[str]:
    """Let hosts join the declared network of the others in their group; return those that cannot.
    """
    there = [wiring.plugged[host, plug] for host in hosts if (host, plug) in wiring.plugged]
    left = []
    for host in hosts:
        if (host, plug) in wiring.plugged:
            continue
        if there and sites[host] in spans[there[0].name]:
            wiring.plugged[host, plug] = there[0]
        else:
            left.append(host)
    return left


def _is_word(bridge: str) -> bool:
    """Return whether the specs can name a bridge."""
    try:
        _INTERFACE.validate_python(bridge)
    except ValidationError:
        return False
    return True


def _groups(plug: Plug, known: Mapping[str, NodeFacts], kinds: Mapping[str, Mapping[str, str]],
            configs: Mapping[str, Sequence[DomainConfig]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the hosts that share a plug, apart where their addresses on it tell them apart."""
    groups: dict[str, list[str]] = {}
    for name in sorted(known):
        used = any(plug_of(nic) == plug and why_kept(nic) == "" for config in configs.get(name, ())
                   for nic in config.nics)
        if used or plug.bridge in kinds[name]:
            groups.setdefault(_subnet_on(plug, known[name]), []).append(name)
    unknown = groups.pop("", [])
    if len(groups) == 1:
        subnet, hosts = groups.popitem()
        yield subnet, sorted([*hosts, *unknown])
        return
    yield from sorted(groups.items())
    if unknown:
        yield "", unknown


def _subnet_on(plug: Plug, facts: NodeFacts) -> str:
    """Return the subnet of a host's own address on a plug; empty where it has none."""
    if not isinstance(facts.interfaces, Known):
        return ""
    for one in facts.interfaces.value.values():
        if _is_at(one, plug):
            for address in one.addresses:
                if "." in address:
                    return str(ip_interface(address).network)
    return ""


def _is_at(interface: InterfaceFacts, plug: Plug) -> bool:
    if plug.vlan is None:
        return interface.name == plug.bridge
    return interface.parent == plug.bridge and interface.vlan == plug.vlan


def _name(plug: Plug, site: str, taken: set[str]) -> str:
    wished = safe_name(plug.bridge, "lan") if plug.vlan is None else f"vlan-{plug.vlan}"
    return free_name(wished, taken, site)


def _note(guess: NetworkGuess, sites: int, *, others: bool) -> str:
    where = f"{guess.plug.bridge}, untagged" if guess.plug.vlan is None else (
        f"VLAN {guess.plug.vlan} on {guess.plug.bridge}")
    if others:
        apart = ("; elsewhere the hosts' own addresses on it are in another subnet, so that it is"
                 " another network there. If it is one wire, make one network of them")
        return f"guessed: {where}, on {', '.join(guess.hosts)}{apart}"
    if len(guess.hosts) == 1:
        return f"guessed: {where}, on {guess.hosts[0]}"
    same = (f"their own addresses there are in {guess.subnet}" if guess.subnet
            else "the bridge has the same name on them")
    ask = (". If it is not one wire across both sites, make it a network per site"
           if sites > 1 else "")
    return f"guessed: {where}, is one network on {', '.join(guess.hosts)}: {same}{ask}"


def _wire(guess: NetworkGuess, known: Mapping[str, NodeFacts]) -> str:
    """Return which VLAN the wire has for an untagged bridge, where a port of it says so."""
    vlans = set()
    for host in guess.hosts if guess.plug.vlan is None else ():
        interfaces = known[host].interfaces
        if isinstance(interfaces, Known):
            vlans |= {one.vlan for one in interfaces.value.values()
                      if one.master == guess.plug.bridge and one.vlan is not None}
    return f"; on the wire it is VLAN {', '.join(map(str, sorted(vlans)))}" if vlans else ""


def _drop_overlaps(networks: Sequence[NetworkGuess]) -> None:
    """Let only the first of several networks with overlapping subnets declare one."""
    seen: list[Any] = []
    for guess in networks:
        if not guess.subnet:
            continue
        subnet = ip_network(guess.subnet)
        if any(one.version == subnet.version and one.overlaps(subnet) for one in seen):
            guess.subnet_free = False
            guess.note += f"; its subnet {guess.subnet} is that of another network, too"
        else:
            seen.append(subnet)


def network_document(guess: NetworkGuess, sites: Mapping[str, str]) -> Noted:
    """Return the document of one network."""
    spec: dict[str, Any] = {}
    if guess.plug.vlan is not None:
        spec["vlan"] = guess.plug.vlan
    spec["sites"] = sorted({sites[host] for host in guess.hosts})
    if guess.subnet and guess.subnet_free:
        spec["subnet"] = Noted(guess.subnet, beside="of the hosts' own addresses on it")
    return Noted({"kind": "Network", "metadata": {"name": guess.name}, "spec": spec},
                 above=(guess.note,))
