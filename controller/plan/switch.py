"""Switches: trunk ports towards hosts and over the inter-site links."""

from controller.model.facts import Absent
from controller.model.switch import Switch, SwitchPortSpec
from controller.plan.draft import Draft, cause_of
from controller.plan.passing import Wanted
from controller.plan.survey import Survey
from controller.plan.trunk import Trunk, diff_bridge, place_of, tell_no_tree, tell_warnings


def diff_switch(switch: Switch, survey: Survey, draft: Draft) -> None:
    """Note what differs on one switch."""
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
    tell_warnings(target, name, survey, draft)
    bridges = survey.bridges(name)
    if bridges is None:
        draft.remark(target, f"the bridges of {name} could not be seen: nothing is changed there",
                     unknown=True)
        return
    if isinstance(survey.nodes[name].bridges, Absent):
        draft.stall(target, "NoOpenVswitch", f"Open vSwitch is not installed on {name}:"
                    " install it, or take the switch out of the specs")
        return
    trunks = tuple(Trunk(port.name, Wanted(port_vlans(port, survey), port.vlans == "all",
                                           port.native_vlan)) for port in spec.ports)
    links = tuple(f"InterSiteLink/{port.link.partition('/')[0]}"
                  for port in spec.ports if port.link is not None)
    cause = cause_of(survey.policy, target, *links, *survey.networks_at(spec.site))
    diff_bridge(place_of(target, name, spec.bridge, cause, survey.policy), trunks,
                rstp=bool(links), bridges=bridges, draft=draft)
    tell_no_tree(target, name, bridges.get(spec.bridge),
                 tuple(port.name for port in spec.ports if port.link is not None), draft)


def port_vlans(port: SwitchPortSpec, survey: Survey) -> tuple[int, ...]:
    """Return the VLANs that a switch port must let pass."""
    if port.link is not None:
        return survey.link_vlans.get(port.link.partition("/")[0], ())
    host = survey.desired.hosts.get(port.host or "")
    return survey.site_vlans.get(host.spec.site, ()) if host is not None else ()
