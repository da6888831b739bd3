"""Renamed: facts and context recorded under former names, moved to the present names.

Rule 1: `formerly` says that an object is the same one: its facts, pauses, repairs and running
        actions count as if it had always had its present name.
"""

from collections.abc import Mapping
from dataclasses import replace

from controller.model.desired import Desired
from controller.model.facts import NodeFacts, Observed, Unknown
from controller.plan.survey.context import Context
from controller.plan.survey.silence import last_of


def renames(desired: Desired) -> dict[str, str]:
    """Return `Kind/now` by `Kind/former` for every object that declares `formerly`."""
    found: dict[str, str] = {}
    for kind, documents in (
            ("Estate", {desired.estate.name: desired.estate}), ("Site", desired.sites),
            ("Host", desired.hosts), ("Switch", desired.switches),
            ("InterSiteLink", desired.inter_site_links), ("Network", desired.networks),
            ("VirtualMachine", desired.virtual_machines),
            ("ProtectionPolicy", desired.protection_policies), ("Witness", desired.witnesses)):
        for name, document in documents.items():
            for former in document.spec.formerly:
                if former not in documents:
                    found[f"{kind}/{former}"] = f"{kind}/{name}"
                    if kind == "VirtualMachine":
                        found[f"Replica/{former}"] = f"Replica/{name}"
    return found


def nodes_of(now: Mapping[str, str]) -> dict[str, str]:
    """Return the present name of every renamed node, by its former one."""
    return {former.partition("/")[2]: name.partition("/")[2] for former, name in now.items()
            if former.startswith(("Host/", "Switch/", "Witness/"))}


def rename_context(context: Context, now: Mapping[str, str]) -> Context:
    """Return the context under present names."""
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
        failovers=tuple(replace(one, target=now.get(one.target, one.target))
                        for one in context.failovers),
        confirmations=tuple(replace(one, host=nodes.get(one.host, one.host))
                            for one in context.confirmations),
        requests=tuple(replace(one, machine=now.get(
            f"VirtualMachine/{one.machine}", f"VirtualMachine/{one.machine}").partition("/")[2])
            for one in context.requests),
        backing_off=frozenset(now.get(target, target) for target in context.backing_off))


def rename_observed(observed: Observed, now: Mapping[str, str]) -> Observed:
    """Return the facts under present names: those under a host's former name become its last seen.

    Facts under the present name win, where there are any.
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
            known_as(last, name), was.last_at if isinstance(was, Unknown) else was.observed_at)
    return replace(observed, nodes=found)


def known_as(node: NodeFacts, name: str) -> NodeFacts:
    """Return a node's facts under its present name."""
    return node if node.name == name else replace(node, name=name)
