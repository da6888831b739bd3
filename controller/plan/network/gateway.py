"""Gateways that switches hold: which switch has which with what priority, and what differs.

A switch gets a gateway in three steps:

    a port of its own in the VLAN, with its own address     AddGatewayPort
       │   for some seconds the switch listens there, and asks who has the address
       ▼
    keepalived has the gateway                              ConfigureGateways
       │   the switch with the highest priority that is heard holds the address
       ▼
    held                                                    condition Gateway of the Network

Who holds it follows from priorities alone, and these from the roles of the sites:

    200   the other site, while a failover has given it the VMs     it is not pre-empted by a site
          of this one                                               that returns as it was
    150   the preferred site, while no failover is on
    100   every other

So a switch that returns from a lost site, with the configuration of before (150), leaves the
address where the VMs are. It is told its new priority as soon as it answers; the way home is the
same in reverse. Where two switches cannot hear each other both hold the address: that is VRRP's
nature, it is shown, and ends by itself; to stop one of them would be a guess.

Never done: a number that a stranger uses is not used by us; what somebody else has written in
keepalived's file, or changed in ours, is not written over without a yes; and what is not declared
any more stays until the rung `prune`.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Final

from controller.model.facts import Known, NodeFacts
from controller.model.failover.record import HELD_EPOCHS
from controller.model.linux.keepalived import (
    ConfigState,
    HeardRouter,
    KeepalivedFacts,
    VrrpInstance,
)
from controller.model.network import GatewaySpec, Network
from controller.plan.actions.action import Ask
from controller.plan.actions.gateway import (
    BRIDGE,
    FAR,
    NEAR,
    PORT,
    AddGatewayPort,
    ConfigureGateways,
    DropGateways,
)
from controller.plan.steps.contained import contained
from controller.plan.steps.draft import Draft, cause_of, counted
from controller.plan.survey.silence import known_of
from controller.plan.survey.survey import Survey

TAKES_OVER, HOLDS, STANDS_BY = 200, 150, 100
OLDEST: Final = (2, 0)
"""The first version of keepalived whose words and signals are those that we use."""
NAMES_SHOWN = 4
Wanted = dict[str, VrrpInstance]
"""By network."""


def diff_gateways(survey: Survey, draft: Draft) -> None:
    """Put down what brings the gateways of every switch to what is declared."""
    wanted = wanted_gateways(survey)
    for name in sorted(survey.desired.switches):
        facts = keepalived_of(name, survey)
        if facts is None or not (wanted.get(name) or facts.instances):
            continue
        with contained(f"Switch/{name}", draft):
            _Diff(name, wanted.get(name, {}), facts, survey, draft).put_down()


def wanted_gateways(survey: Survey) -> dict[str, Wanted]:
    """Return, by switch, the gateways that it is to hold."""
    found: dict[str, Wanted] = {}
    left = left_site(survey)
    for name in sorted(survey.desired.networks):
        network = survey.desired.networks[name]
        gateway = network.spec.gateway
        if gateway is None or not gateway.rendered:
            continue
        for switch in sorted(gateway.switches):
            if switch in survey.desired.switches:
                found.setdefault(switch, {})[name] = _instance(
                    network, gateway, switch, left, survey)
    return found


def left_site(survey: Survey) -> str | None:
    """Return the site whose VMs are elsewhere by the newest failover that has not ended."""
    records = [one for one in survey.records.values() if one.phase in HELD_EPOCHS
               and one.scope.startswith("Site/")]
    newest = max(records, key=lambda one: one.rank, default=None)
    return None if newest is None else newest.scope.partition("/")[2]


def _instance(network: Network, gateway: GatewaySpec, switch: str, left: str | None,
              survey: Survey) -> VrrpInstance:
    site = survey.desired.switches[switch].spec.site
    priority = STANDS_BY
    if left in network.spec.sites:
        priority = STANDS_BY if site == left else TAKES_OVER
    elif site == gateway.preferred:
        priority = HOLDS
    same_site = sorted(one for one in gateway.switches if one in survey.desired.switches
                       and survey.desired.switches[one].spec.site == site)
    subnet = network.spec.subnet
    length = 32 if subnet is None else subnet.prefixlen
    # the gateway's own address has /32: taken away, it takes no other of the subnet with it
    return VrrpInstance(network.name, gateway.vrid or 0, port_of(network), f"{gateway.address}/32",
                        f"{gateway.switches[switch]}/{length}", priority - same_site.index(switch))


def port_of(network: Network) -> str:
    """Return the name of the port by which switches are in a network."""
    return f"{PORT}{network.spec.vlan}"


def keepalived_of(switch: str, survey: Survey) -> KeepalivedFacts | None:
    """Return the keepalived of a switch; None while it cannot be seen."""
    node = survey.nodes.get(switch)
    return None if node is None or switch in survey.lost else known_of(node.gateways)


def strangers(switch: str, instance: VrrpInstance, survey: Survey) -> tuple[HeardRouter, ...]:
    """Return those who use the number of a gateway on its VLAN, and are none of its switches."""
    facts = keepalived_of(switch, survey)
    if facts is None or not facts.heard:
        return ()
    own = owns((instance,), survey)
    return tuple(one for one in facts.heard if one.port == instance.port
                 and one.vrid == instance.vrid and one.source not in own)


def owns(instances: Iterable[VrrpInstance], survey: Survey) -> set[str]:
    """Return the addresses by which switches speak VRRP for these gateways."""
    found = set()
    for one in instances:
        network = survey.desired.networks.get(one.network)
        gateway = None if network is None else network.spec.gateway
        found |= set() if gateway is None else set(map(str, gateway.switches.values()))
    for other in survey.desired.switches:   # one whose address was changed speaks by the old one
        seen = keepalived_of(other, survey)
        found |= {one.own.partition("/")[0] for one in (() if seen is None else seen.instances)}
    return found


def unfit(facts: KeepalivedFacts) -> str | None:
    """Return why a switch's keepalived can hold nothing, as the end of a sentence; None if it can.
    """
    if not facts.version:
        return "has no keepalived: install its package"
    numbers = tuple(int(one) for one in facts.version.split(".")[:2] if one.isdigit())
    if numbers < OLDEST:
        return (f"has keepalived {facts.version}, and {'.'.join(map(str, OLDEST))} is the oldest"
                " that is understood: install a newer one")
    return None


class _Diff:
    """What differs on one switch."""

    def __init__(self, name: str, wanted: Mapping[str, VrrpInstance], facts: KeepalivedFacts,
                 survey: Survey, draft: Draft) -> None:
        self.name, self.wanted, self.facts = name, wanted, facts
        self.survey, self.draft = survey, draft
        self.target = f"Switch/{name}"
        self.bridge = survey.desired.switches[name].spec.bridge
        self.now = {one.network: one for one in facts.instances}
        self.cause = cause_of(survey.context, self.target,
                              *(f"Network/{one}" for one in {*wanted, *self.now}))

    def put_down(self) -> None:
        """Put down the steps and remarks."""
        why = unfit(self.facts)
        if why is not None:
            held = ", ".join(f"{one.address.partition('/')[0]} of {one.network}"
                             for one in self.wanted.values())
            if held:
                self.draft.remark(self.target, f"{self.name} is to hold {held} and {why}")
            return
        bridges = self.survey.bridges(self.name)
        if bridges is not None and self.bridge not in bridges:
            return      # it is made first, and seen
        ports = {network: self._port(one) for network, one in self.wanted.items()}
        told = {network: one for network, one in self.now.items() if network not in self.wanted}
        for network, one in self.wanted.items():
            settled = self._settled(one, ports[network])
            if settled is not None:
                told[network] = settled
        told = self._held_first(told)
        self._configure(tuple(sorted(told.values())), tuple(
            step for network, steps in ports.items() if network in told for step in steps or ()))
        self._drop(told)

    def _port(self, want: VrrpInstance) -> tuple[str, ...] | None:
        """Put down the port of a gateway, unless it is as it should be; return the step's id.

        None where the switch cannot be given it, or it cannot be seen.
        """
        bridges, interfaces = (self.survey.bridges(self.name), self.survey.interfaces(self.name))
        if bridges is None or interfaces is None:
            return None
        vlan = self.survey.desired.networks[want.network].spec.vlan
        ports = bridges[BRIDGE].ports if BRIDGE in bridges else {}
        near = bridges[self.bridge].ports.get(NEAR) if self.bridge in bridges else None
        port, device = ports.get(want.port), interfaces.get(want.port)
        other = next((f"a port of {one.name}" for one in bridges.values()
                      if one.name != BRIDGE and want.port in one.ports),
                     "no port of Open vSwitch" if device and port is None else None)
        if other is not None:
            self.draft.remark(self.target, f"{want.port} of {self.name} is {other}, and the gateway"
                              f" of {want.network} needs that name: rename it")
            return None
        joined = near is not None and FAR in ports and vlan in near.trunks
        if (joined and port is not None and port.tag == vlan and device is not None
                and want.own in device.addresses):
            return ()
        lacks = "has no port of its own" if port is None or not joined else (
            f"has {want.port}" + (f" in VLAN {port.tag}" if port.tag != vlan else
                                  f" without {want.own}"))
        return (self.draft.do(AddGatewayPort(
            target=self.target, node=self.name, network=want.network, bridge=self.bridge,
            port=want.port, vlan=vlan or 0, own=want.own, cause=self.cause,
            consequence="no guest's port is touched",
            reason=f"{self.name} {lacks}, and is to have {want.own} in VLAN {vlan} for the gateway"
                   f" of {want.network}")),)

    def _settled(self, want: VrrpInstance, port: tuple[str, ...] | None) -> VrrpInstance | None:
        """Return what a gateway is to be by this plan: as declared, as it is now, or not there."""
        now = self.now.get(want.network)
        if self._is_held(want):
            return want
        if port is None:
            return now
        heard = strangers(self.name, want, self.survey)
        if heard:
            self.draft.remark(self.target, (
                f"the gateway of {want.network} is not set up on {self.name}: {heard[0].source}"
                f" speaks VRRP with number {want.vrid} on its VLAN and is no switch of it; choose"
                " another `vrid`, or write `mode: observed` if that is the router"))
            return now
        return want

    def _held_first(self, told: Wanted) -> Wanted:
        """Return of what is to be told that of the gateways which are held, while any of it is new.

        The others come afterwards: they are refused as one while any of them has a rival, and a
        priority must not wait for that.
        """
        held = self.now | {network: one for network, one in told.items() if self._is_held(one)}
        if self.facts.config is ConfigState.OURS and self.now and (
                held != self.now or not self.facts.running):
            return held
        return told

    def _is_held(self, want: VrrpInstance) -> bool:
        """Return whether its number and address are ours on this switch already."""
        now = self.now.get(want.network)
        return now is not None and self.facts.config is ConfigState.OURS and (
            now.vrid, now.port, now.address) == (want.vrid, want.port, want.address)

    def _configure(self, told: tuple[VrrpInstance, ...], ports: tuple[str, ...]) -> None:
        facts = self.facts
        same = told == tuple(sorted(facts.instances))
        if not told or (same and facts.running and facts.config is ConfigState.OURS):
            return
        changed = tuple(one.network for one in told if not same and one not in facts.instances)
        self.draft.do(ConfigureGateways(
            target=self.target, node=self.name, instances=told,
            networks=changed or tuple(one.network for one in told), cause=self.cause,
            fresh=tuple(one.network for one in told if not self._is_held(one)),
            switches=tuple(sorted(owns(told, self.survey))),
            ask=self._ask(), reason=self._why(told, same),
            consequence="addresses that stay where they are do not move" if facts.running else ""),
            ports)

    def _why(self, told: tuple[VrrpInstance, ...], same: bool) -> str:
        """Return why keepalived is told anew, as a sentence."""
        facts, name = self.facts, self.name
        if facts.config in {ConfigState.MISSING, ConfigState.FOREIGN}:
            held = ", ".join(f"{one.address.partition('/')[0]} of {one.network}" for one in told)
            return f"keepalived of {name} is not told to hold {held}"
        if facts.config is ConfigState.EDITED:
            return f"keepalived's configuration on {name} was edited by hand"
        if not same:
            now = {one.network: one for one in facts.instances}
            words = [_difference(now.get(one.network), one) for one in told
                     if now.get(one.network) != one]
            return f"keepalived of {name} {'; '.join(words)}"
        return (f"keepalived of {name} does not run" if not facts.running else
                f"keepalived's configuration on {name} was written by another version of hotsite")

    def _ask(self) -> Ask | None:
        """Return what a person has to approve, where the file is not as we left it."""
        if self.facts.config is ConfigState.FOREIGN:
            return Ask("adopt", (
                f"keepalived on {self.name} has a configuration that is not of hotsite: with a yes"
                " it is kept beside as keepalived.conf.before-hotsite, and what it does ends"))
        if self.facts.config is ConfigState.EDITED:
            return Ask("takes", (
                f"somebody has edited keepalived's configuration on {self.name}: with a yes what"
                " was changed by hand is lost"))
        return None

    def _drop(self, told: Wanted) -> None:
        """Put down that what is not declared goes, after what is told in the same plan."""
        dropped = tuple(sorted(one for network, one in self.now.items()
                               if network not in self.wanted))
        if not dropped or self.facts.config is not ConfigState.OURS:
            return
        kept = tuple(sorted(one for one in told.values() if one not in dropped))
        words = ", ".join(f"{one.address.partition('/')[0]} of {one.network}" for one in dropped)
        self.draft.do(DropGateways(
            target=self.target, node=self.name, bridge=self.bridge, instances=kept,
            dropped=dropped, cause=self.cause, ask=self._used(dropped),
            reason=f"keepalived of {self.name} holds {words}, which is declared there no more",
            consequence="guests that still use it as their gateway reach nobody beyond it"),
            tuple(item.action.id for item in self.draft.items
                  if isinstance(item.action, ConfigureGateways) and item.action.node == self.name))

    def _used(self, dropped: tuple[VrrpInstance, ...]) -> Ask | None:
        """Return what a person has to approve, where VMs may still use what goes."""
        gone = {one.network for one in dropped}
        users = sorted({card.vm for card in self.survey.card_of.values() if card.network in gone})
        if not users:
            return None
        return Ask("takes", f"{counted(len(users), 'VM')} of {', '.join(sorted(gone))} may use it"
                   f" as the gateway ({', '.join(users[:NAMES_SHOWN])}"
                   f"{', …' if len(users) > NAMES_SHOWN else ''}): with a yes {self.name} holds it"
                   " no more")


def _difference(now: VrrpInstance | None, want: VrrpInstance) -> str:
    """Return how a gateway differs from what is declared, as the end of a sentence."""
    address = want.address.partition("/")[0]
    if now is None:
        return f"is not told to hold {address} of {want.network}"
    if now.priority != want.priority and (now.vrid, now.address, now.own) == (
            want.vrid, want.address, want.own):
        return (f"holds {want.network} with priority {now.priority}, and its site's role is"
                f" {want.priority}")
    return f"holds {want.network} otherwise than declared"


def has_address(node: NodeFacts, address: str) -> bool | None:
    """Return whether a node has an address on any of its interfaces; None if nobody can see."""
    if not isinstance(node.interfaces, Known):
        return None
    return any(ip_address(one.partition("/")[0]) == ip_address(address)
               for device in node.interfaces.value.values() for one in device.addresses)
