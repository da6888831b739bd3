"""The checks over several hosts at once: networks, autostart, BMCs, names, and the twins."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controller.adoption.doctor.checkup import Checkup, Ward
from controller.adoption.doctor.finding import HERE, Finding, Level, not_known
from controller.adoption.doctor.host import check_host, quoted
from controller.adoption.doctor.pair import check_pair
from controller.model.facts import DomainConfig, DomainFacts, Known, NodeFacts, Unknown
from controller.model.host import BmcSpec
from controller.plan.machine.capability import lacking

SHOWN = 3


def judge(ward: Ward) -> list[Finding]:
    """Return every finding, the worst first."""
    found: list[Finding] = []
    for one in ward.checkups.values():
        found += check_host(one)
        found += check_bmc(one)
        found += check_uplinks(one)
        found += check_names(one)
        found += check_autostart(one, ward)
    for here in ward.checkups.values():
        for there in ward.checkups.values():
            if here is not there:
                found += check_pair(here, there)
    found += check_twins(ward)
    return sorted(dict.fromkeys(found), key=lambda one: (one.level.rank, one.about, one.check))


def check_bmc(one: Checkup) -> Iterator[Finding]:
    """Yield a BMC that cannot be used."""
    if one.spec.bmc is None:
        return
    why = ("it was not asked" if one.power is None
           else one.power.reason if isinstance(one.power, Unknown)
           else one.power.value.refusal if isinstance(one.power, Known) else "")
    if why:
        yield Finding(Level.HURTS, one.about, "bmc", f"its BMC cannot be used: {why}",
                      "nothing proves this host off: its VMs wait for a person in a failover",
                      *_try_bmc(one.spec.bmc, why))


def _try_bmc(bmc: BmcSpec, why: str) -> tuple[str, str]:
    """Return what shows why a BMC cannot be used, and where it is typed."""
    server = bmc.url.removeprefix("https://").partition("/")[0]
    if "certificate" in why:
        port = "" if ":" in server.rpartition("]")[2] else ":443"
        return (f"openssl s_client -connect {server}{port} </dev/null | openssl x509 -noout"
                " -fingerprint -sha256   # if it is the BMC's own: `fingerprint:` of its `bmc:`",
                HERE)
    return (f"curl -sS -m 10 --insecure {bmc.url}/redfish/v1/   # whether it answers; its login is"
            f" in {bmc.credentials.file or bmc.credentials.env}", HERE)


def check_uplinks(one: Checkup) -> Iterator[Finding]:
    """Yield a bridge or uplink of ours that carries the host's own address without a tag."""
    facts = one.seen
    if facts is None or not isinstance(facts.interfaces, Known):
        if facts is not None:
            yield not_known(one.about, "uplinks", "its interfaces could not be seen")
        return
    ours = {one.spec.bridge, *one.spec.uplinks}
    for name, interface in sorted(facts.interfaces.value.items()):
        addresses = {address.partition("/")[0] for address in interface.addresses}
        own = addresses & {one.spec.address, one.replication}
        if name in ours and own and one.spec.driver == "openvswitch" and (
                one.spec.native_vlan is None):
            yield Finding(Level.HURTS, one.about, "uplinks", f"{', '.join(sorted(own))} is on"
                          f" {name}, without a tag", "to narrow its VLANs could cut the host off,"
                          " so that is refused there",
                          f"write `nativeVlan: 0` in the spec of {one.name}", "")


def check_names(one: Checkup) -> Iterator[Finding]:
    """Yield names of other hosts that this one cannot resolve."""
    for probe, seen in sorted(one.probes.items()):
        if not probe.startswith("dns "):
            continue
        name = probe.removeprefix("dns ")
        if "unknown" in seen:
            yield not_known(one.about, "dns", seen["unknown"])
        elif not seen["addresses"]:
            yield Finding(Level.STOPS, one.about, "dns", f"it cannot resolve {name}"
                          f" ({seen.get('error', '')})",
                          "no copy or migration finds the way there", "write its address into"
                          f" /etc/hosts of {one.name}, or into hosts.yaml instead of the name", "")


def check_autostart(one: Checkup, ward: Ward) -> Iterator[Finding]:
    """Yield VMs that libvirt starts by itself though they may fail over by themselves."""
    facts = one.seen
    if facts is None or not isinstance(facts.domains, Known):
        return
    policies = ward.desired.protection_policies
    for name, vm in sorted(ward.desired.virtual_machines.items()):
        domain = facts.domains.value.get(vm.libvirt_name)
        policy = policies.get(vm.spec.protection or "")
        if domain is None or not domain.autostart or policy is None or (
                policy.spec.failover != "automatic"):
            continue
        yield Finding(Level.HURTS, f"VirtualMachine/{name}", "autostart",
                      f"{one.name} starts {name} at its own boot, and {policy.name} lets it fail"
                      " over by itself", "a host that comes back starts a second copy",
                      f"virsh autostart --disable {quoted(domain.name)}   # and `autostart: off` in"
                      " its spec", one.name)


class Need(NamedTuple):
    """What guests need of the hosts at another site, in words that several share."""

    site: str
    sentence: str


def check_twins(ward: Ward) -> Iterator[Finding]:
    """Yield guests that no host of the twin could run, and versions that differ."""
    needs: dict[Need, list[str]] = defaultdict(list)
    for here in ward.checkups.values():
        twin = _twin(here, ward)
        hosts = [one for one in ward.checkups.values() if one.spec.site == twin]
        for domain in _domains(here.seen):
            config = domain.config or domain.live
            sentence = "" if config is None else _lacks(config, hosts)
            if sentence and twin:
                needs[Need(twin, sentence)].append(domain.name)
    for need, names in sorted(needs.items()):
        shown = ", ".join(sorted(names)[:SHOWN]) + (
            f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        yield Finding(Level.HURTS, f"Site/{need.site}", "portability",
                      f"no host there could run {shown}: {need.sentence}",
                      "if their own site is lost, they do not come back there",
                      "install the same QEMU there, or choose a machine type and processor model"
                      " that both sites have: virsh domcapabilities", "")
    yield from _versions(ward)


def _twin(one: Checkup, ward: Ward) -> str:
    site = ward.desired.sites.get(one.spec.site)
    return "" if site is None else site.spec.twin or ""


def _domains(facts: NodeFacts | None) -> Iterable[DomainFacts]:
    if facts is None or not isinstance(facts.domains, Known):
        return ()
    return facts.domains.value.values()


def _lacks(config: DomainConfig, hosts: list[Checkup]) -> str:
    """Return what the last of these hosts lacks, if all lack something; empty if one is unknown.
    """
    why = ""
    for host in hosts:
        facts = host.seen
        if facts is None or not isinstance(facts.capabilities, Known):
            return ""
        lack = lacking(config, host.name, facts.capabilities.value)
        if lack is None:
            return ""
        why = lack
    return why


def _versions(ward: Ward) -> Iterator[Finding]:
    """Yield a difference of versions between twins."""
    told: set[frozenset[str]] = set()
    for site in sorted(ward.desired.sites):
        twin = ward.desired.sites[site].spec.twin
        if twin is None or frozenset({site, twin}) in told:
            continue
        told.add(frozenset({site, twin}))
        for program in ("libvirt", "qemu"):
            here, there = (_seen_versions(where, program, ward) for where in (site, twin))
            if here and there and here != there:
                yield Finding(Level.NOTE, f"Site/{site}", "versions",
                              f"{program} is {', '.join(sorted(here))} at {site} and"
                              f" {', '.join(sorted(there))} at {twin}",
                              "a guest moves live from the older to the newer; back only with a"
                              " machine type that both have", "")


def _seen_versions(site: str, program: str, ward: Ward) -> set[str]:
    return {one.seen.versions[program] for one in ward.checkups.values()
            if one.spec.site == site and one.seen is not None and program in one.seen.versions}
