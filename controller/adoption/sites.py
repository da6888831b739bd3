"""Which host is at which site: as a person says, else by the subnet of its admin address."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network

from controller.adoption.reading import Reading, is_address
from controller.model.facts import InterfaceFacts, Known


@dataclass(frozen=True, slots=True)
class SiteGuess:
    """One site, its hosts, and why they are taken to be there."""

    name: str
    hosts: tuple[str, ...]
    reason: str
    """Empty where a person has said so, or the specs do."""


def guess_sites(readings: Sequence[Reading], said: Mapping[str, str],
                declared: Mapping[str, str]) -> tuple[SiteGuess, ...]:
    """Return the sites of the hosts; `said` and `declared` are sites by host.

    A host without a word joins the site of a host in its subnet, else the hosts of its subnet get
    a site of their own.
    """
    sites: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    by_subnet: dict[str, str] = {}
    known = {**declared, **said}
    for reading in readings:
        if reading.name in known:
            by_subnet.setdefault(subnet_of(reading), known[reading.name])
    for reading in readings:
        subnet = subnet_of(reading)
        site = known.get(reading.name)
        if site is None:
            site = by_subnet.get(subnet)
            if site is None:
                taken = {*known.values(), *by_subnet.values()}
                site = next(name for number in range(1, len(readings) + len(taken) + 2)
                            if (name := f"site{number}") not in taken)
                by_subnet[subnet] = site
            reasons.setdefault(site, f"guessed: the admin addresses of its hosts are in {subnet}"
                               if subnet else "guessed: nothing says where its hosts are")
        sites.setdefault(site, []).append(reading.name)
    return tuple(SiteGuess(name, tuple(hosts), reasons.get(name, ""))
                 for name, hosts in sites.items())


def subnet_of(reading: Reading) -> str:
    """Return the subnet of a host's admin address, by its own prefix length; empty if unknown."""
    facts = reading.facts.value if isinstance(reading.facts, Known) else None
    interfaces = facts.interfaces if facts is not None else None
    if not isinstance(interfaces, Known):
        return _usual(reading.address)
    for one in interfaces.value.values():
        for address in one.addresses:
            if address.partition("/")[0] == reading.address:
                return str(ip_interface(address).network)
    if not is_address(reading.address):
        return _first_subnet(interfaces.value)
    return _usual(reading.address)


def _first_subnet(interfaces: Mapping[str, InterfaceFacts]) -> str:
    """Return the only subnet that a host has an IPv4 address in; empty where it has several."""
    subnets = {str(ip_interface(address).network) for one in interfaces.values()
               for address in one.addresses
               if "." in address and not one.name.startswith("virbr")}
    return subnets.pop() if len(subnets) == 1 else ""


def _usual(address: str) -> str:
    """Return the usual subnet around an address of which no prefix length is known."""
    if not is_address(address):
        return ""
    length = 24 if ip_address(address).version == 4 else 64
    return str(ip_network(f"{address}/{length}", strict=False))
