"""Hosts: the bridge with its uplinks, the guests' ports, the pools, and the silence of a host."""

from dataclasses import replace
from typing import NamedTuple

from controller.model.facts import Absent, PoolFacts, PortFacts, runs
from controller.model.host import Host, PoolSpec
from controller.plan.actions.action import Ask
from controller.plan.actions.network import SetPortVlan, access_columns
from controller.plan.actions.storage import AcceptPool, CreatePool
from controller.plan.network.card import no_switch
from controller.plan.network.linux_bridge import diff_linux_host, lacks
from controller.plan.network.port_vlans import Wanted
from controller.plan.network.trunk import (
    Trunk,
    diff_bridge,
    managed_bridge,
    report_no_tree,
    report_warnings,
)
from controller.plan.steps.draft import Draft, cause_of
from controller.plan.survey.networks.attachment import (
    LINUXBRIDGE,
    OPENVSWITCH,
    attachment_of,
    bridges_of,
)
from controller.plan.survey.networks.linux_bridges import NONE_PASSES
from controller.plan.survey.silence import known_of
from controller.plan.survey.spec_index import Card
from controller.plan.survey.survey import Survey
from controller.plan.survey.vlans import render_vlans

NAMES_SHOWN = 8
FOLDERS = frozenset({"dir", "fs", "netfs"})


def diff_host(host: Host, survey: Survey, draft: Draft) -> None:
    """Put down what differs on one host apart from its VMs."""
    name = host.name
    if name in survey.lost:
        return
    if name in survey.unreachable:
        draft.remark(f"Host/{name}", silent_sentence(name, survey), unknown=True)
    if name not in survey.nodes:
        return
    report_warnings(f"Host/{name}", name, survey, draft)
    _diff_network(host, survey, draft)
    _diff_pools(host, survey, draft)


def silent_sentence(name: str, survey: Survey) -> str:
    """Return the remark on a host whose VMs cannot be seen."""
    unreachable = survey.unreachable[name]
    if name in survey.duplicates:
        return f"{name} {survey.duplicates[name]}; until then nothing is done about its VMs"
    what = f"{name} {survey.silence(name)}" if name not in survey.nodes else (
        f"libvirt on {name} does not answer")
    if unreachable.domains is None:
        return (f"{what} and was never seen ({unreachable.why}): nothing is created anywhere that"
                " it might hold; bring it back, or remove it from the specs")
    running = sorted(vm for vm, domain in unreachable.domains.items() if domain.state.active)
    shown = ", ".join(running[:NAMES_SHOWN])
    if len(running) > NAMES_SHOWN:
        shown += f" and {len(running) - NAMES_SHOWN} more"
    seen = f"last seen with {shown} running" if running else "last seen with no VM running"
    return f"{what} ({unreachable.why}; {seen}): nothing is done about its VMs"


def _diff_network(host: Host, survey: Survey, draft: Draft) -> None:
    name, spec = host.name, host.spec
    target = f"Host/{name}"
    cause = cause_of(survey.context, target, *survey.networks_at(spec.site))
    if spec.driver == LINUXBRIDGE:
        managed = managed_bridge(target, name, spec.bridge, cause, survey.context)
        diff_linux_host(host, replace(managed, driver=LINUXBRIDGE), survey, draft)
        _diff_ports(host, survey, draft)
    if spec.driver != OPENVSWITCH:
        return
    missing = no_switch(host, survey)
    if missing is not None:
        draft.stall(target, "NoOpenVswitch", f"{missing}: its bridge and the cards of its guests"
                    " stay as they are, and nothing is placed there; let Open vSwitch have"
                    f" {spec.bridge}, or leave {name} out of the specs",
                    survey.site_vlans.get(spec.site, ()))
        return
    bridges = survey.bridges(name)
    if bridges is None:
        draft.remark(target, f"the bridges of {name} could not be seen: nothing is changed there",
                     unknown=True)
        return
    wanted = carried(host, survey)
    diff_bridge(managed_bridge(target, name, spec.bridge, cause, survey.context),
                tuple(Trunk(port, wanted) for port in spec.uplinks),
                rstp=len(spec.uplinks) > 1, bridges=bridges, draft=draft)
    if len(spec.uplinks) > 1:
        report_no_tree(target, name, bridges.get(spec.bridge), spec.uplinks, draft)
    _diff_ports(host, survey, draft)
    for lack in dict.fromkeys(lacks(host, survey).values()):
        draft.stall(target, lack.reason, lack.sentence) if lack.sure else draft.remark(
            target, lack.sentence, unknown=True)


def carried(host: Host, survey: Survey) -> Wanted:
    """Return what the uplinks of a host's own bridge have to carry."""
    spec = host.spec
    if not spec.attachments:
        return Wanted(survey.site_vlans.get(spec.site, ()), spec.vlans == "all", spec.native_vlan,
                      spec.site in survey.specs.untagged)
    names = (one.partition("/")[2] for one in survey.networks_at(spec.site))
    vlans = {place.vlan for name in names
             if (place := attachment_of(name, survey.vlan_of[name], spec)).bridge == spec.bridge}
    return Wanted(tuple(sorted(vlan for vlan in vlans if vlan is not None)), spec.vlans == "all",
                  spec.native_vlan, None in vlans)


def _diff_ports(host: Host, survey: Survey, draft: Draft) -> None:
    """Put down each port of a running guest whose VLAN is not that of its card."""
    bridges = survey.bridges(host.name) or {}
    links = known_of(survey.nodes[host.name].links) if host.spec.driver == LINUXBRIDGE else None
    for name in bridges_of(host):
        if name not in bridges or (links is not None and not links.links[name].filtering):
            continue
        for port in bridges[name].ports.values():
            card = survey.card_of.get(port.attached_mac) if port.attached_mac else None
            if card is None or _is_doubled(card, survey):
                continue
            place = survey.attachment(host.name, card)
            if place.bridge != name or (links is not None and place.vlan is None):
                continue    # a Linux bridge gives such a port a VLAN of its own
            _diff_port(host, name, port, Placed(card, place.vlan), survey, draft)


class Placed(NamedTuple):
    """A card, and the VLAN that it has on a host."""

    card: Card
    vlan: int | None


def _is_doubled(card: Card, survey: Survey) -> bool:
    """Return whether two copies run of the VM of a card, or another guest that has part of it."""
    return (sum(runs(seen.domain) for seen in survey.sightings.get(card.vm, ())) > 1
            or any(rival.claim.runs and rival.is_now
                   for rival in survey.identities.rivals.get(card.vm, ())))


def _diff_port(host: Host, bridge: str, port: PortFacts, placed: Placed, survey: Survey,
               draft: Draft) -> None:
    card, vlan, name = placed.card, placed.vlan, host.name
    linux = host.spec.driver == LINUXBRIDGE
    nothing = linux and port.trunks == NONE_PASSES
    if port.tag == vlan and port.vlan_mode in {None, "access"} and (
            vlan is not None or not port.trunks):
        return
    if not linux and not survey.xml_vlan_is(name, card, vlan):
        return  # the domain's own XML is wrong: patching it retags the port as well
    if not nothing and (port.trunks or port.vlan_mode not in {None, "access"}):
        how = f"ovs-vsctl set Port {port.name} {' '.join(access_columns(vlan))}" if not linux else (
            f"bridge vlan del dev {port.name} vid 1-4094, then bridge vlan add dev {port.name} vid"
            f" {vlan} pvid untagged")
        draft.remark(f"VirtualMachine/{card.vm}", (
            f"{port.name} of {name}, {card.vm}'s card {card.mac}, was made a trunk by hand"
            f" ({render_vlans(port.trunks)}; mode {port.vlan_mode or 'unset'}): it is left so,"
            f" since the guest may use all of it; to put it back on {say_vlan(vlan)}: {how}"))
        return
    draft.do(SetPortVlan(
        target=f"VirtualMachine/{card.vm}", node=name, bridge=bridge, port=port.name,
        mac=card.mac, vlan=vlan, was=port.tag, driver=host.spec.driver,
        cause=cause_of(survey.context, f"VirtualMachine/{card.vm}", f"Network/{card.network}"),
        reason=f"{port.name} of {name} is on {say_vlan(port.tag)}; {card.vm}'s"
               f" card {card.mac} belongs on {say_vlan(vlan)} ({card.network})"))


def say_vlan(vlan: int | None) -> str:
    """Return a port's VLAN in words."""
    return "no VLAN" if vlan is None else f"VLAN {render_vlans((vlan,))}"


def _diff_pools(host: Host, survey: Survey, draft: Draft) -> None:
    pools = survey.pools(host.name)
    if pools is None or isinstance(survey.nodes[host.name].pools, Absent):
        return
    for wanted in host.spec.pools:
        seen = pools.get(wanted.name)
        if wanted.type != "dir":
            _report_observed(wanted, seen, host.name, draft)
            continue
        if (seen is not None and seen.active and seen.path == wanted.path
                and not seen.unknown):
            continue
        target = f"Host/{host.name}"
        if seen is not None and seen.expected:
            _ask_about(seen, host.name, draft)
            continue
        if seen is not None and seen.unknown and (seen.active or not seen.path):
            draft.remark(target, f"pool {wanted.name} of {host.name} could not be seen"
                         f" ({seen.unknown}): nothing is done that needs it", unknown=True)
            continue
        if seen is not None and not seen.path:
            draft.stall(target, "PoolElsewhere",
                        f"pool {wanted.name} of {host.name} is of type {seen.type}, which has no"
                        f" folder, and {wanted.path} is declared: declare a pool of another name,"
                        " or rename that one by hand")
            continue
        if seen is not None and seen.path != wanted.path:
            draft.stall(target, "PoolElsewhere",
                        f"pool {wanted.name} of {host.name} lies at {seen.path} and {wanted.path}"
                        " is declared: pools are never moved by themselves; declare where it lies,"
                        " or move it by hand")
            continue
        draft.do(CreatePool(
            target=target, node=host.name, path=wanted.path,
            pool=wanted.name if seen is None else seen.name,
            cause=cause_of(survey.context, target),
            reason=f"pool {wanted.name} of {host.name} " + (
                "is not started" if seen is not None else "is declared and does not exist")))


def _report_observed(wanted: PoolSpec, seen: PoolFacts | None, host: str, draft: Draft) -> None:
    """Report an observed pool that is missing, or a folder; nothing is ever done about it."""
    if seen is None:
        draft.remark(f"Host/{host}", f"pool {wanted.name} of {host} is declared to be of type"
                     f" {wanted.type} and is not defined there: it is only observed, so define it"
                     " by hand, or take it out of the spec")
    elif seen.path and seen.type in FOLDERS and not seen.unknown:
        draft.remark(f"Host/{host}", f"pool {wanted.name} of {host} is the folder {seen.path} and"
                     f" type {wanted.type} is declared: it is only observed; declare `type: dir`"
                     " for disks and replicas to lie there")


def _ask_about(pool: PoolFacts, host: str, draft: Draft) -> None:
    """Ask whether a pool lies on another file system for good; its old files are then forgotten."""
    draft.remark(f"Host/{host}", f"pool {pool.name} of {host} does not show its own files"
                 f" ({pool.unknown}): nothing is done that needs it", unknown=True)
    held = ", ".join(sorted(pool.volumes)[:NAMES_SHOWN]) or "nothing that was seen"
    draft.do(AcceptPool(
        target=f"Host/{host}", node=host, pool=pool.name, path=pool.path, identity=pool.identity,
        reason=f"pool {pool.name} of {host} lies on {pool.identity or 'nothing'} and lay on"
               f" {pool.expected}",
        consequence="what is seen in it now counts from then on",
        ask=Ask("pool", f"pool {pool.name} of {host} lies on {pool.identity or 'nothing'} now, and"
                        f" what lay on {pool.expected} would be given up: {held}; mount that again"
                        " if you can")))


def pool_of(host: Host, name: str) -> PoolSpec | None:
    """Return the declared pool `name` of `host`, if it is a folder."""
    return next((pool for pool in host.spec.pools
                 if pool.name == name and pool.type == "dir"), None)
