"""Renamed: what is known under names of before, followed to the names of now.

Rule 1: `formerly` says that an object is the same one: its facts, pauses, repairs and whatever is
        going on at it count as if it had always had its name.
"""

from collections.abc import Mapping
from dataclasses import replace

from controller.model.desired import Desired
from controller.model.facts import Absent, Fact, Known, NodeFacts, Observed, Unknown
from controller.plan.survey.context import Context


def renames(desired: Desired) -> dict[str, str]:
    """Return `Kind/now` by `Kind/former`, for everything that declares what it was called."""
    found: dict[str, str] = {}
    for kind, documents in (
            ("Estate", {desired.estate.name: desired.estate}), ("Site", desired.sites),
            ("Host", desired.hosts), ("Switch", desired.switches),
            ("InterSiteLink", desired.inter_site_links), ("Network", desired.networks),
            ("VirtualMachine", desired.virtual_machines),
            ("ProtectionPolicy", desired.protection_policies)):
        for name, document in documents.items():
            for former in document.spec.formerly:
                if former not in documents:
                    found[f"{kind}/{former}"] = f"{kind}/{name}"
                    if kind == "VirtualMachine":
                        found[f"Replica/{former}"] = f"Replica/{name}"
    return found


def nodes_of(now: Mapping[str, str]) -> dict[str, str]:
    """Return the name of every renamed host and switch, by its former one."""
    return {former.partition("/")[2]: name.partition("/")[2] for former, name in now.items()
            if former.startswith(("Host/", "Switch/"))}


def rename_context(context: Context, now: Mapping[str, str]) -> Context:
    """Return the circumstances under the names of now."""
    if not now:
        return context
    nodes = nodes_of(now)
    repairs: dict[str, tuple[float, ...]] = {}
    for target, instants in context.repairs.items():
        known = now.get(target, target)
        repairs[known] = tuple(sorted((*repairs.get(known, ()), *instants)))
    last_host = {now.get(f"VirtualMachine/{name}", f"VirtualMachine/{name}").partition("/")[2]:
             nodes.get(host, host) for name, host in context.last_host.items()}
    return replace(
        context, repairs=repairs, last_host=last_host,
        kept={now.get(f"VirtualMachine/{name}", f"VirtualMachine/{name}").partition("/")[2]: keep
              for name, keep in context.kept.items()},
        suspensions=tuple(replace(one, target=now.get(one.target, one.target))
                          for one in context.suspensions),
        in_flight=tuple(replace(one, target=now.get(one.target, one.target),
                                nodes=tuple(nodes.get(node, node) for node in one.nodes))
                        for one in context.in_flight),
        requests=tuple(replace(one, machine=now.get(
            f"VirtualMachine/{one.machine}", f"VirtualMachine/{one.machine}").partition("/")[2])
            for one in context.requests),
        backing_off=frozenset(now.get(target, target) for target in context.backing_off))


def rename_observed(observed: Observed, now: Mapping[str, str]) -> Observed:
    """Return what is seen under the names of now: what a host said under its old name is its own.

    Shapes: what it said under its new name counts before that.
    """
    nodes = nodes_of(now)
    if nodes.keys().isdisjoint(observed.nodes):
        return observed
    found = {node: fact for node, fact in observed.nodes.items() if node not in nodes}
    for former in sorted(nodes.keys() & observed.nodes.keys()):
        name, was = nodes[former], observed.nodes[former]
        last, fact = last_of(was), found.get(name)
        if last is None or (fact is not None and last_of(fact) is not None):
            continue
        found[name] = Unknown(
            f"{name}, which was {former}, has not been looked at yet"
            if not isinstance(fact, Unknown) else fact.reason,
            fact.since_at if isinstance(fact, Unknown) else 0.0,
            known_as(last, name), last_at_of(was))
    return Observed(found)


def known_as(node: NodeFacts, name: str) -> NodeFacts:
    """Return a node's facts under its name of now."""
    return node if node.name == name else replace(node, name=name)


def last_of(fact: Fact[NodeFacts]) -> NodeFacts | None:
    """Return what a node said last."""
    match fact:
        case Known(value):
            return value
        case Unknown(last=last):
            return last
        case Absent():
            return None


def last_at_of(fact: Fact[NodeFacts]) -> float | None:
    """Return when that was."""
    return fact.last_at if isinstance(fact, Unknown) else fact.observed_at
