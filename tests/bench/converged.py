"""A large estate that is as declared, and the same one with a number of VMs shut off."""

from dataclasses import replace
from itertools import cycle

from controller.model.desired import Desired
from controller.model.facts import (
    DomainConfig,
    DomainFacts,
    DomainState,
    Fact,
    Known,
    NodeFacts,
    Observed,
)
from controller.model.replica import ReplicaFacts
from tests.plan.builders import NOW_S, as_declared, large
from tests.plan.replicas import replica, series

POINTS = 12
"""Of each replica: as many as stay where nothing else is declared."""


def converged(machines: int, hosts: int) -> tuple[Desired, Observed, float]:
    """Return specs, facts and the time; nothing differs, and no XML is shared between parts."""
    desired = large(machines, hosts)
    seen = as_declared(desired)
    return desired, Observed({name: _apart(fact) for name, fact in seen.nodes.items()}), NOW_S


def with_changes(observed: Observed, count: int) -> Observed:
    """Return the same facts with `count` machines crashed, spread over the hosts."""
    left = count
    nodes = dict(observed.nodes)
    share = -(-count // sum(1 for fact in nodes.values() if _machines(fact)))
    for name, fact in nodes.items():
        take = min(share, left, len(_machines(fact)))
        if take and isinstance(fact, Known):
            inner = fact.value.domains
            assert isinstance(inner, Known)
            domains = dict(inner.value)
            for victim in sorted(domains)[:take]:
                domains[victim] = replace(domains[victim], state=DomainState.SHUT_OFF,
                                          state_reason="crashed", live=None)
            nodes[name] = Known(replace(fact.value, domains=Known(domains, NOW_S)), NOW_S)
            left -= take
    assert left == 0, f"there are too few machines for {count} changes"
    return Observed(nodes)


def aged(observed: Observed, by_s: float) -> Observed:
    """Return the same facts as they would be seen so much later."""
    return Observed({name: Known(fact.value, fact.observed_at + by_s)
                     for name, fact in observed.nodes.items() if isinstance(fact, Known)})


def _machines(fact: object) -> dict[str, DomainFacts]:
    if isinstance(fact, Known) and isinstance(fact.value.domains, Known):
        return dict(fact.value.domains.value)
    return {}


def _apart(fact: object) -> Known[NodeFacts]:
    """Return the facts of a node as parsing makes them: live and inactive XML apart."""
    assert isinstance(fact, Known)
    if not isinstance(fact.value.domains, Known):
        return fact
    domains = {name: replace(one, live=_copy(one.live)) for name, one in
               fact.value.domains.value.items()}
    return Known(replace(fact.value, domains=Known(domains, NOW_S)), NOW_S)


def _copy(config: DomainConfig | None) -> DomainConfig | None:
    if config is None:
        return None
    return replace(config, disks=tuple(replace(disk) for disk in config.disks),
                   nics=tuple(replace(nic) for nic in config.nics))


def with_replicas(desired: Desired, observed: Observed) -> Observed:
    """Return the same facts with a fresh replica of every machine at the other site."""
    hosts = {site: [name for name, host in desired.hosts.items() if host.spec.site == site]
             for site in desired.sites}
    held: dict[str, dict[str, ReplicaFacts]] = {name: {} for name in desired.hosts}
    turns = {site: cycle(names) for site, names in hosts.items()}
    nodes: dict[str, Fact[NodeFacts]] = dict(observed.nodes)
    for name, fact in observed.nodes.items():
        if name not in desired.hosts or not isinstance(fact, Known):
            continue
        domains = dict(_machines(fact))
        twin = desired.sites[desired.hosts[name].spec.site].spec.twin
        assert twin is not None
        for vm in sorted(domains):
            facts = replica(vm, series(POINTS, 20, POINTS))
            held[next(turns[twin])][facts.uuid] = facts
            domains[vm] = replace(domains[vm], checkpoints=(f"hotsite-{POINTS:06d}",))
        nodes[name] = Known(replace(fact.value, domains=Known(domains, NOW_S)), NOW_S)
    for name, replicas in held.items():
        fact = nodes[name]
        assert isinstance(fact, Known)
        nodes[name] = Known(replace(fact.value, replicas=Known(replicas, NOW_S),
                                    leftovers=Known((), NOW_S)), NOW_S)
    return Observed(nodes)
