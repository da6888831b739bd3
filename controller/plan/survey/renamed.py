"""Renamed: facts and context recorded under former names, moved to the present names; and hosts
that are one machine under two names.

Rule 1: `formerly` says that an object is the same one: its facts, pauses, repairs and running
        actions count as if it had always had its present name.
Rule 2: a host's name and address are no identity. One machine under two names would look like two
        running copies of every VM on it: both names become unknown, and a sentence says why.
Rule 3: so do the records of failovers, wherever they are held: the host that was lost, and the VM
        that was promoted, are what they were under the name of before.
Rule 4: a machine that left the specs and answers under another name counts under that name alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from controller.model.desired import Desired
from controller.model.facts import Fact, Known, NodeFacts, Observed, Unknown
from controller.model.failover.record import Record
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

    Facts under the present name win, where there are any. What records say is of present names.
    """
    if not now:
        return observed
    nodes = nodes_of(now)
    observed = _rename_records(observed, now)
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


def _rename_records(observed: Observed, now: Mapping[str, str]) -> Observed:
    """Return the facts with every record under present names; nodes without any are the same."""
    found: dict[str, Fact[NodeFacts]] = {}
    for name, fact in observed.nodes.items():
        node = last_of(fact)
        held = None if node is None else last_of(node.records)
        if node is None or not held:
            continue
        # of two records that are of one scope by their present names, the newer counts
        records: dict[str, Record] = {}
        for record in held.values():
            renamed = rename_record(record, now)
            other = records.get(renamed.scope)
            if other is None or (other.unreadable, renamed.rank) > (renamed.unreadable, other.rank):
                records[renamed.scope] = renamed
        if records == held:
            continue
        changed: Fact[Mapping[str, Record]] = replace(node.records, value=records) if isinstance(
            node.records, Known) else replace(node.records, last=records) if isinstance(
            node.records, Unknown) else node.records
        known = replace(node, records=changed)
        found[name] = (replace(fact, value=known) if isinstance(fact, Known) else
                       replace(fact, last=known) if isinstance(fact, Unknown) else fact)
    return replace(observed, nodes={**observed.nodes, **found}) if found else observed


def rename_record(record: Record, now: Mapping[str, str]) -> Record:
    """Return a record under the present names of what it is of."""
    def _now(kind: str, name: str) -> str:
        return now.get(f"{kind}/{name}", f"{kind}/{name}").partition("/")[2]
    return replace(
        record, scope=now.get(record.scope, record.scope),
        hosts={_now("Host", name): one for name, one in record.hosts.items()},
        machines={_now("VirtualMachine", name): replace(one, node=_now("Host", one.node))
                  for name, one in record.machines.items()},
        ordered=tuple(sorted(now.get(one, one) for one in record.ordered)),
        accepted=tuple(sorted(now.get(one, one) for one in record.accepted)),
        points={now.get(name, name): point for name, point in record.points.items()})


def known_as(node: NodeFacts, name: str) -> NodeFacts:
    """Return a node's facts under its present name."""
    return node if node.name == name else replace(node, name=name)


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
