"""Trunks: the bridge of a host or switch, and the ports that carry the declared VLANs.

Every uplink of a host carries the VLANs of its site's networks, every member of an inter-site link
those of the networks that span both sites. A port gets there in two steps, never in one:

    passes now        {100,      300}
       │  WidenTrunk    adds 200: nobody loses anything, so it needs the rung `network` alone
       ▼
    wide              {100, 200, 300}
       │  NarrowTrunk   takes 300 from somebody: rung `prune`, after all who leave it
       ▼
    narrow            {100, 200}           what is declared

Adding may be done at once: a live migration must find its VLAN already there. Taking away waits for
three things. `narrow_last` puts it after every step for those who still use the VLAN, and after the
ports that are yet to be widened on that node. A port that was never seen as declared asks a person
(`adopt`), since somebody else may count on it. And a gate refuses it while anything uses the VLAN.

Who uses a VLAN (vlan_use.py): frames cross each link whose two ends carry the VLAN; at every site
that they reach, each card, port, mirror and address on it is a use, and so is whatever cannot be
seen. A declared card at a site of its network is none, since declared ports carry it. If a node's
own address is on the VLAN, the refusal says so: to take it could cut that node off.

Left as it is, with a remark: a port that passes every VLAN, or untagged frames, without a word in
the specs. Nobody can see who counts on it. A port of another kind (a mirror, a tunnel, a guest's)
is never made a trunk; its node is stalled until a person decides.

Loops (topology.py): a second path between two bridges is plugged in only where a spanning tree is
seen at both ends. A bridge that we create with several ways gets one; on an existing bridge it is
never switched on, since its first frames make guarded ports of other makers' switches shut down.

A crash leaves nothing half done. The node itself undoes each change of a trunk after 30 s unless
the controller comes back over a new connection. A change that was undone waits for a commit or a
person; one whose node lost power within these 30 s stays, and shows as drift.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from controller.model.facts import Absent, BridgeFacts, PortFacts
from controller.model.switch import Switch, SwitchPortSpec
from controller.plan.actions.action import Ask, Cause
from controller.plan.actions.network import AddUplink, CreateBridge, NarrowTrunk, WidenTrunk
from controller.plan.network.port_vlans import (
    NATIVE,
    TUNNEL,
    Change,
    Wanted,
    change_of,
    frames_of,
    is_access,
    port_vlans_of,
)
from controller.plan.network.topology import has_tree
from controller.plan.network.vlan_use import VlanUses
from controller.plan.steps.draft import Draft, Item, cause_of
from controller.plan.survey.context import Context
from controller.plan.survey.networks.attachment import OPENVSWITCH
from controller.plan.survey.survey import Survey
from controller.plan.survey.vlans import NOTHING_PASSES, render_vlans

CONFIRMED = "the node undoes it by itself unless it stays reachable"
DEVICES = frozenset({"", "system", "dpdk", "tap", "afxdp"})
"""Open vSwitch's types of interface that a cable can end at."""


@dataclass(frozen=True, slots=True)
class Trunk:
    """A port, and the VLANs that are declared for it."""

    port: str
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class ManagedBridge:
    """The bridge of a declared node, and why it would be changed."""

    target: str
    node: str
    bridge: str
    cause: Cause
    adopted: bool
    """Whether it was once seen as declared: only then is it ours to take from."""
    recabled: bool = False
    """Whether any network changed or left the specs since the last applied revision."""
    driver: str = OPENVSWITCH


def diff_bridge(managed: ManagedBridge, trunks: tuple[Trunk, ...], *, rstp: bool,
                bridges: Mapping[str, BridgeFacts], draft: Draft) -> None:
    """Put down what brings a bridge and its trunk ports to what is declared."""
    node, bridge = managed.node, managed.bridge
    seen = bridges.get(bridge)
    first: tuple[str, ...] = ()
    if seen is None:
        first = (draft.do(CreateBridge(
            target=managed.target, node=node, bridge=bridge, rstp=rstp, cause=managed.cause,
            reason=f"bridge {bridge} is declared and {node} has no such bridge")),)
    for port, wanted in ((one.port, one.wanted) for one in trunks):
        found = seen.ports.get(port) if seen is not None else None
        bond = None if seen is None else next(
            (one for one in seen.ports.values() if port in one.members), None)
        if found is not None:
            diff_port(managed, found, wanted, draft)
        elif bond is not None:
            draft.remark(managed.target, f"{port} of {node} is a member of the bond {bond.name}: it"
                         f" stays there; declare {bond.name} in its place")
            diff_port(managed, bond, wanted, draft)
        else:
            draft.do(AddUplink(
                target=managed.target, node=node, bridge=bridge, port=port, vlans=wanted.vlans,
                native=0 if wanted.native is None and wanted.untagged else wanted.native,
                every=wanted.every, cause=managed.cause,
                reason=f"{port} is declared on bridge {bridge} of {node} and is not plugged in"),
                first)


def report_no_tree(target: str, node: str, bridge: BridgeFacts | None, ways: tuple[str, ...],
                   draft: Draft) -> None:
    """Stall a node whose bridge has several ways to another one and no spanning tree."""
    if bridge is None or has_tree(bridge) or len(ways) < 2:
        return
    plugged = [port for port in ways if port in bridge.ports]
    now = "frames may go in circles now" if len(plugged) > 1 else "no second one is plugged in"
    draft.stall(target, "NoSpanningTree", (
        f"the spanning tree of {bridge.name} on {node} is off and {', '.join(ways)} are declared"
        f" there, ways that may lead to the same place: {now}; switch it on by hand at both ends"
        f" (ovs-vsctl set Bridge {bridge.name} rstp_enable=true), or declare one bond for all"))


def report_warnings(target: str, node: str, survey: Survey, draft: Draft) -> None:
    """Remark on what Open vSwitch on a node warns of beside a good answer."""
    for sentence in survey.nodes[node].warnings.values():
        draft.remark(target, f"Open vSwitch on {node} answers well and warns: {sentence}")


def managed_bridge(target: str, node: str, bridge: str, cause: Cause,
                   context: Context) -> ManagedBridge:
    """Return the bridge of a declared node."""
    recabled = any(name.startswith("Network/") for name in context.changed)
    return ManagedBridge(target, node, bridge, cause, context.has_adopted(target), recabled)


def diff_port(managed: ManagedBridge, port: PortFacts, wanted: Wanted, draft: Draft) -> None:
    """Put down the VLANs that a port lacks, and those that it passes undeclared."""
    where = f"{port.name} of {managed.node}"
    odd = no_trunk(port)
    if odd is not None:
        draft.stall(managed.target, "NoTrunk", (
            f"{where} {odd}, and a trunk for {render_vlans(wanted.vlans)} is declared there: it is"
            " left as it is; make it a trunk by hand, or declare another port"), wanted.vlans)
        return
    change = change_of(port_vlans_of(port), wanted)
    if change.wide != change.was:
        draft.do(WidenTrunk(
            target=managed.target, node=managed.node, bridge=managed.bridge, port=port.name,
            will_be=change.wide, was=change.was, wanted=wanted.vlans, cause=managed.cause,
            driver=managed.driver,
            reason=lacking_words(where, change, wanted), consequence=CONFIRMED))
    if change.narrow != change.wide:
        lost = tuple(sorted(change.lost))
        ask = None if managed.adopted else Ask("adopt", (
            f"{where} was never seen as declared, so somebody may count on what passes there: with"
            f" a yes it lets {say_lost(lost)} pass no more, without one it stays as it is"))
        draft.do(NarrowTrunk(
            target=managed.target, node=managed.node, bridge=managed.bridge, port=port.name,
            will_be=change.narrow, was=change.wide, wanted=wanted.vlans, lost=lost,
            driver=managed.driver,
            cause=Cause.COMMIT if managed.recabled else managed.cause, ask=ask,
            reason=surplus_words(where, change, wanted), consequence=CONFIRMED))
    remark_undeclared(managed, where, change, wanted, draft)


def no_trunk(port: PortFacts) -> str | None:
    """Return why a port cannot be made a trunk; None if it can."""
    if port.mirror:
        return "is the output of a mirror"
    if port.kind not in DEVICES:
        return f"is a port of Open vSwitch's kind `{port.kind}`"
    if port.attached_mac is not None:
        return f"is the port of the guest's card {port.attached_mac}"
    if port.vlan_mode == TUNNEL:
        return "is a tunnel for tagged frames (dot1q-tunnel)"
    if port.tag is not None and port.trunks and port.vlan_mode not in NATIVE:
        return (f"has a tag ({port.tag}) and a list of VLANs ({render_vlans(port.trunks)}), of"
                " which only one counts")
    return None


def say_lost(lost: tuple[int, ...]) -> str:
    """Return VLANs as people say them: `VLANs 100, 300 and untagged frames`."""
    tagged = [one for one in lost if one]
    words = [f"VLAN{'s' if len(tagged) > 1 else ''} {render_vlans(tagged)}"] if tagged else []
    return " and ".join([*words, *(["untagged frames"] if 0 in lost else [])])


def lacking_words(where: str, change: Change, wanted: Wanted) -> str:
    """Return, as a sentence, what should pass on a port and does not."""
    if is_access(change.was):
        return (f"{where} is an access port of VLAN {change.was.tag} and a trunk for"
                f" {render_vlans(wanted.vlans)} is declared")
    if wanted.every and change.wide.vlans == ():
        return f"{where} lets {render_vlans(change.was.vlans)} pass and `vlans: all` is declared"
    if change.lacking:
        return f"{where} does not let {render_vlans(change.lacking)} pass"
    what = "a network without a tag" if wanted.native is None else f"`nativeVlan: {wanted.native}`"
    return f"{where} does not let untagged frames pass and {what} is declared"


def surplus_words(where: str, change: Change, wanted: Wanted) -> str:
    """Return, as a sentence, what passes on a port and should not, or not so."""
    seen, after = frames_of(change.wide), frames_of(change.narrow)
    if seen.untagged == after.untagged:
        return f"{where} lets {render_vlans(change.lost)} pass, which is not declared there"
    if wanted.native is None:
        return (f"{where} takes untagged frames for VLAN {seen.untagged}, which is declared to pass"
                f" there tagged; declare `nativeVlan: {seen.untagged}` if it is right")
    now = "as they are" if seen.untagged == 0 else f"for VLAN {seen.untagged}"
    return f"{where} takes untagged frames {now} and `nativeVlan: {wanted.native}` is declared"


def remark_undeclared(managed: ManagedBridge, where: str, change: Change, wanted: Wanted,
                      draft: Draft) -> None:
    """Remark on what passes on a port undeclared and is left as it is."""
    target, port = managed.target, where.partition(" ")[0]
    seen, after = frames_of(change.was), frames_of(change.narrow)
    if seen.tagged is None and not wanted.every:
        listed = ",".join(map(str, wanted.vlans or NOTHING_PASSES))
        how = f"ovs-vsctl set Port {port} trunks={listed}" if managed.driver == OPENVSWITCH else (
            f"bridge vlan del dev {port} vid FIRST-LAST")
        draft.remark(target, (
            f"{where} lets every VLAN pass and {render_vlans(wanted.vlans)} is declared: it is left"
            " so, since nobody sees all who count on it; declare `vlans: all`, or write down by"
            f" hand what may pass: {how}"))
    if (wanted.native is not None or wanted.untagged or after.untagged is None
            or seen.tagged is None):
        return
    if after.untagged:
        draft.remark(target, (
            f"{where} takes untagged frames for VLAN {after.untagged}, which is not declared: it"
            f" stays so; declare `nativeVlan: {after.untagged}`"))
    elif change.narrow.vlans != NOTHING_PASSES:
        draft.remark(target, f"{where} lets untagged frames pass, which is not declared: it stays"
                             " so; declare `nativeVlan: 0`")


def narrow_last(draft: Draft, survey: Survey) -> None:
    """Put each NarrowTrunk after the steps of everything that still uses its VLANs."""
    uses = VlanUses(survey)
    for index, item in enumerate(draft.items):
        action = item.action
        if not isinstance(action, NarrowTrunk):
            continue
        users = {use.target for use in uses.of(action)} - {""}
        wide = (WidenTrunk, AddUplink)
        first = tuple(other.action.id for other in draft.items if other.action.target in users
                      or (isinstance(other.action, wide) and other.action.node == action.node))
        draft.items[index] = Item(action, (*item.after, *first), item.rank)


def diff_switch(switch: Switch, survey: Survey, draft: Draft) -> None:
    """Put down what differs on one switch."""
    name, spec = switch.name, switch.spec
    target = f"Switch/{name}"
    if name in survey.lost:
        return
    if spec.driver != "openvswitch":
        draft.stall(target, "NoOpenVswitch", f"{name} is declared with `driver: {spec.driver}`,"
                    " which nothing here drives yet: its trunks stay as they are; leave it out of"
                    " the specs")
        return
    if name not in survey.nodes:
        draft.remark(target, f"{name} {survey.node_silence(name)} ({survey.node_reason(name)}):"
                     " its trunks are left as they are", unknown=True)
        return
    report_warnings(target, name, survey, draft)
    bridges = survey.bridges(name)
    if bridges is None:
        draft.remark(target, f"the bridges of {name} could not be seen: nothing is changed there",
                     unknown=True)
        return
    if isinstance(survey.nodes[name].bridges, Absent):
        draft.stall(target, "NoOpenVswitch", f"Open vSwitch is not installed on {name}:"
                    " install it, or take the switch out of the specs")
        return
    trunks = tuple(Trunk(port.name, Wanted(
        declared_vlans(port, survey), port.vlans == "all", port.native_vlan,
        has_untagged(port, survey))) for port in spec.ports)
    links = tuple(f"InterSiteLink/{port.link.partition('/')[0]}"
                  for port in spec.ports if port.link is not None)
    cause = cause_of(survey.context, target, *links, *survey.networks_at(spec.site))
    diff_bridge(managed_bridge(target, name, spec.bridge, cause, survey.context), trunks,
                rstp=bool(links), bridges=bridges, draft=draft)
    report_no_tree(target, name, bridges.get(spec.bridge),
                 tuple(port.name for port in spec.ports if port.link is not None), draft)


def declared_vlans(port: SwitchPortSpec, survey: Survey) -> tuple[int, ...]:
    """Return the VLANs that a switch port must let pass."""
    if port.link is not None:
        return survey.link_vlans.get(port.link.partition("/")[0], ())
    host = survey.desired.hosts.get(port.host or "")
    return survey.site_vlans.get(host.spec.site, ()) if host is not None else ()


def has_untagged(port: SwitchPortSpec, survey: Survey) -> bool:
    """Return whether a switch port must let untagged frames pass."""
    if port.link is not None:
        return port.link.partition("/")[0] in survey.specs.untagged
    host = survey.desired.hosts.get(port.host or "")
    return host is not None and host.spec.site in survey.specs.untagged
