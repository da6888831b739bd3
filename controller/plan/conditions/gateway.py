"""Gateway: whether one node, and no other, holds the router address of a network.

By the nodes' own addresses, whatever keepalived says of itself: a keepalived that was killed leaves
its address behind, and then two have it although only one is master.
"""

from collections.abc import Iterable
from ipaddress import ip_address

from controller.model.condition import Condition, ConditionType, Status
from controller.model.linux.keepalived import ConfigState, VrrpInstance
from controller.model.network import GatewaySpec
from controller.plan.conditions.network import link_answer
from controller.plan.network.gateway import (
    HOLDS,
    has_address,
    keepalived_of,
    strangers,
    unfit,
    wanted_gateways,
)
from controller.plan.survey.survey import Survey

Answer = tuple[Status, str, str]


def gateway_conditions(survey: Survey) -> list[Condition]:
    """Return Gateway of every network that has one, where anything of it can be seen."""
    desired = survey.desired
    wanted = wanted_gateways(survey)
    found = []
    for name in sorted(desired.networks):
        gateway = desired.networks[name].spec.gateway
        if gateway is None:
            continue
        if gateway.rendered:
            answer: Answer | None = _Held(name, gateway, {
                switch: held[name] for switch, held in wanted.items() if name in held},
                survey).answer()
        else:
            answer = _of_others(gateway, survey)
        if answer is not None:
            found.append(Condition(f"Network/{name}", ConditionType.GATEWAY, *answer,
                                   desired.revision))
    return found


def _of_others(gateway: GatewaySpec, survey: Survey) -> Answer | None:
    """Return what is seen of a gateway that we do not hold; None where none of our nodes has it."""
    try:
        address = str(ip_address(gateway.address))
    except ValueError:
        return None
    holders, _ = _holders(address, (*survey.desired.switches, *survey.desired.hosts), survey)
    if not holders:
        return None
    if len(holders) > 1:
        return _double(address, holders, survey)
    return Status.TRUE, "Observed", f"{holders[0]} has {address}; hotsite only observes it"


def _holders(address: str, nodes: Iterable[str], survey: Survey) -> tuple[list[str], list[str]]:
    """Return the nodes that have an address, and those that cannot be seen."""
    holders, unseen = [], []
    for name in sorted(nodes):
        node = survey.nodes.get(name)
        has = None if node is None or name in survey.lost else has_address(node, address)
        if has is None:
            unseen.append(name)
        elif has:
            holders.append(name)
    return holders, unseen


def _double(address: str, holders: list[str], survey: Survey) -> Answer:
    """Return that several nodes have an address, and if their link is down, that they must."""
    sites = {survey.site_of(one) for one in holders}
    down = next((words for name, link in sorted(survey.desired.inter_site_links.items())
                 if set(link.spec.between) <= sites
                 for status, _, words in (link_answer(name, survey),) if status is Status.FALSE),
                "")
    why = (f": the link between them is down ({down}), so each serves its own site, until it is"
           " back" if down else ": guests may be answered by either")
    return Status.FALSE, "Double", f"{' and '.join(holders)} both have {address}{why}"


class _Held:
    """A gateway that declared switches hold."""

    def __init__(self, name: str, gateway: GatewaySpec, wanted: dict[str, VrrpInstance],
                 survey: Survey) -> None:
        self.name, self.gateway, self.wanted, self.survey = name, gateway, wanted, survey
        self.address = gateway.address

    def answer(self) -> Answer:
        """Return whether one switch holds it, and whether another could."""
        holders, unseen = _holders(self.address, self.wanted, self.survey)
        idle = {switch: why for switch in self.wanted if switch not in unseen
                and (why := self._hindrance(switch)) is not None}
        stale = [one for one in holders if self._not_running(one)]
        if stale:
            others = [one for one in holders if one not in stale]
            also = f", and {' and '.join(others)} has it too" if others else (
                ": nobody answers for it with VRRP")
            return (Status.FALSE, "Stale", f"keepalived does not run on {stale[0]} and has left"
                    f" {self.address} behind there{also}")
        heard = self._stranger()
        if heard is not None:
            return Status.FALSE, "StrangerHeard", heard
        if len(holders) > 1:
            return _double(self.address, holders, self.survey)
        if not holders:
            return self._nobody(unseen, idle)
        return self._held_by(holders[0], unseen, idle)

    def _nobody(self, unseen: list[str], idle: dict[str, str]) -> Answer:
        if unseen:
            return (Status.UNKNOWN, "NotSeen", f"{' and '.join(unseen)} cannot be seen, and no"
                    f" other switch has {self.address}")
        why = "; ".join(f"{switch} {words}" for switch, words in sorted(idle.items()))
        return (Status.FALSE, "None", f"no switch has {self.address}"
                + (f": {why}" if why else ": guests of other networks are not reached"))

    def _held_by(self, holder: str, unseen: list[str], idle: dict[str, str]) -> Answer:
        said = f"{holder} has {self.address}"
        facts = keepalived_of(holder, self.survey)
        if facts is not None and facts.forwarding is False:
            return (Status.FALSE, "NotForwarding", f"{said} and passes nothing on: decide there"
                    " what may pass between its networks, then set net.ipv4.ip_forward=1")
        alone = [f"{switch} {words}" for switch, words in sorted(idle.items()) if switch != holder]
        alone += [f"{switch} cannot be seen" for switch in unseen]
        if alone:
            return Status.TRUE, "Alone", f"{said}, and nobody could take over: {'; '.join(alone)}"
        if holder in idle:
            return Status.TRUE, "Differs", f"{said}, and {holder} {idle[holder]}"
        ranks = {switch: one.priority for switch, one in self.wanted.items()}
        if ranks[holder] < max(ranks.values()):
            first = max(ranks, key=lambda switch: ranks[switch])
            return Status.TRUE, "Elsewhere", f"{said}; {first} is to have it"
        away = ranks[holder] > HOLDS
        return (Status.TRUE, "Held",
                f"{said}{' while the VMs of the other site are here' if away else ''}")

    def _not_running(self, switch: str) -> bool:
        facts = keepalived_of(switch, self.survey)
        return facts is not None and not facts.running

    def _stranger(self) -> str | None:
        """Return who else uses the number of the gateway, as a sentence."""
        for switch, one in sorted(self.wanted.items()):
            heard = strangers(switch, one, self.survey)
            if heard:
                return (f"{heard[0].source} speaks VRRP with number {one.vrid} on the VLAN of"
                        f" {self.name} and is no switch of it ({switch} hears it): choose another"
                        " `vrid`, or find out who that is")
        return None

    def _hindrance(self, switch: str) -> str | None:
        """Return why a switch that is seen could not hold it, as the end of a sentence."""
        facts = keepalived_of(switch, self.survey)
        if facts is None:
            return "does not tell of its keepalived"
        why = unfit(facts)
        if why is not None:
            return why
        if facts.config is ConfigState.FOREIGN:
            return "has a keepalived that somebody else configured"
        if all(one.network != self.name for one in facts.instances):
            return "is not told to hold it yet"
        if not facts.running:
            return "does not run its keepalived"
        state = facts.states.get(self.name, "")
        return "is in fault, says its keepalived" if state == "fault" else None
