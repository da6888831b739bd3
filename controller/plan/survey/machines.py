"""Machines: hosts that are one machine under two names, and removed hosts that go by a new name.

Rule 1: a host's name and address are no identity. One machine under two names would look like two
        running copies of every VM on it: both names become unknown, and a sentence says why.
Rule 2: a machine that left the specs and answers under another name counts under that name alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from controller.model.facts import Known, NodeFacts, Observed, Unknown
from controller.plan.survey.silence import last_of


def merge_duplicates(observed: Observed, hosts: Iterable[str]) -> tuple[
        Observed, Mapping[str, str]]:
    """Return the facts with each machine once, and a sentence for each duplicate.

    A machine is its boot and its domains: containers of one kernel share a boot, but no two
    machines have the same domains.
    """
    seen: dict[str, list[str]] = {}
    for name in sorted(hosts):
        fact = observed.nodes.get(name)
        if isinstance(fact, Known) and fact.value.boot_id:
            seen.setdefault(fact.value.boot_id, []).append(name)
    left = {name: last for name in observed.nodes.keys() - set(hosts)
            if (last := last_of(observed.nodes[name])) is not None and last.boot_id in seen}
    if not left and all(len(names) == 1 for names in seen.values()):
        return observed, {}
    machines: dict[tuple[str, frozenset[str]], list[str]] = {}
    for boot, names in seen.items():
        for name in names:
            machines.setdefault((boot, _domains(last_of(observed.nodes[name]))), []).append(name)
    nodes = {name: fact for name, fact in observed.nodes.items() if name not in left
             or not (held := _domains(left[name])) or (left[name].boot_id, held) not in machines}
    duplicates: dict[str, str] = {}
    for (_, domains), names in machines.items():
        for name in names if domains and len(names) > 1 else ():
            others = " and ".join(one for one in names if one != name)
            duplicates[name] = (f"is the same machine as {others} (one boot and the same domains"
                                " under each name: correct an address)")
            fact = nodes[name]
            assert isinstance(fact, Known)
            nodes[name] = Unknown(duplicates[name], fact.observed_at, fact.value, fact.observed_at)
    return replace(observed, nodes=nodes), duplicates


def _domains(node: NodeFacts | None) -> frozenset[str]:
    """Return the UUIDs of the domains on a node, as last seen; none where they never were."""
    domains = None if node is None else last_of(node.domains)
    return frozenset(one.uuid for one in (domains or {}).values())
