"""The survey of one decision: which domain is on which host, and what cannot be seen.

Rule 1: unknown is never absent. A host whose libvirt did not answer is `unreachable`, with the
        domains last seen there; it never looks like a host without VMs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from controller.model.desired import Desired
from controller.model.facts import (
    Absent,
    BridgeFacts,
    DomainFacts,
    Fact,
    Hardware,
    InterfaceFacts,
    Known,
    NodeFacts,
    Observed,
    PoolFacts,
    Unknown,
)
from controller.model.failover.record import Record
from controller.model.units import render_duration
from controller.plan.survey.context import Context, Suspension
from controller.plan.survey.epochs import epochs_of, records_of, split, uuids_of
from controller.plan.survey.grants import pauses
from controller.plan.survey.identity import HostIndex, Identities, Sighting, index_host
from controller.plan.survey.isolation import NOBODY, Isolation, isolation_of
from controller.plan.survey.networks.attachment import (
    LINUXBRIDGE,
    OPENVSWITCH,
    Attachment,
    attachment_of,
)
from controller.plan.survey.networks.linux_bridges import linux_bridges
from controller.plan.survey.pools import by_declared_name
from controller.plan.survey.renamed import merge_duplicates, rename_context, rename_observed
from controller.plan.survey.silence import known_of, last_of, stale, value_of
from controller.plan.survey.spec_index import Card, SpecIndex, index_specs
from controller.plan.survey.vlans import link_vlans, site_vlans

NEVER_ASKED: Unknown[NodeFacts] = Unknown("it has never been asked", 0.0)


class Unreachable(NamedTuple):
    """A host whose domains cannot be seen now; `domains` is what was seen last, if ever."""

    why: str
    since_at: float
    domains: Mapping[str, DomainFacts] | None


@dataclass(frozen=True, slots=True)
class Survey:
    """Specs, facts and context of one decision, with the indexes over them."""

    desired: Desired
    observed: Observed
    context: Context
    now_s: float
    estate_name: str
    nodes: Mapping[str, NodeFacts]
    """Declared nodes that answered."""
    domains: Mapping[str, Mapping[str, DomainFacts]]
    """By declared host whose libvirt answered."""
    unreachable: Mapping[str, Unreachable]
    """Declared hosts whose libvirt did not answer."""
    removed_hosts: Mapping[str, Mapping[str, DomainFacts] | None]
    """By node that left the specs: the domains last seen there; None if it was never seen."""
    pools_unknown: tuple[str, ...]
    """Declared hosts that answered about all but their pools."""
    unreadable_pools: Mapping[str, tuple[str, str]]
    """By name: each pool that alone could not be read, with its host and why."""
    lost: frozenset[str]
    """Nodes that a what-if assumes lost."""
    sightings: Mapping[str, tuple[Sighting, ...]]
    """By VM, on hosts that answered, sorted by host: whatever name the domain has there."""
    last_seen: Mapping[str, tuple[Sighting, ...]]
    """By VM, on unreachable hosts when they were last seen, sorted by host."""
    assumed_lost: Mapping[str, tuple[Sighting, ...]]
    """By VM, on hosts that a what-if assumes lost."""
    on_removed_hosts: Mapping[str, tuple[Sighting, ...]]
    """By VM, on nodes that left the specs, as last seen."""
    identities: Identities
    site_vlans: Mapping[str, tuple[int, ...]]
    link_vlans: Mapping[str, tuple[int, ...]]
    specs: SpecIndex
    """What follows from the specs alone."""
    hosts_of_site: Mapping[str, tuple[str, ...]]
    networks_of_site: Mapping[str, tuple[str, ...]]
    """`Network/name` of each network of a site."""
    stale: Mapping[str, str]
    """By declared node that answered too long ago to be acted on: why, as a sentence."""
    duplicates: Mapping[str, str]
    """By declared host that is the same machine as another: the sentence that says so."""
    paused: Mapping[str, Suspension]
    """By `Kind/name`: every object that its own spec or a person pauses now."""
    records: Mapping[str, Record] = field(default_factory=dict)
    """By scope: every failover that a node has a record of."""
    epochs: Mapping[str, int] = field(default_factory=dict)
    """By VM that ever failed over: which copy of it is the VM."""
    superseded: Mapping[str, tuple[Sighting, ...]] = field(default_factory=dict)
    """By VM: its copies of older epochs, on hosts that answered."""
    superseded_unseen: Mapping[str, tuple[Sighting, ...]] = field(default_factory=dict)
    """By VM: the same on silent hosts, as last seen, and on nodes that left the specs."""
    isolation: Isolation = NOBODY

    @property
    def vlan_of(self) -> Mapping[str, int | None]:
        """Return the VLAN of each network; None for an untagged one."""
        return self.specs.vlan_of

    @property
    def card_of(self) -> Mapping[str, Card]:
        """Return each declared card, by MAC."""
        return self.specs.card_of

    def pools(self, host: str) -> Mapping[str, PoolFacts] | None:
        """Return the pools of `host`, by declared name; None when they cannot be seen."""
        node = self.nodes.get(host)
        found = value_of(node.pools) if node else None
        return found if found is None else self.specs.cached(
            by_declared_name, host, self.desired, found)

    def file_identity(self, host: str, path: str) -> str:
        """Return the identity of the file at `path` of a pool; empty if it was not seen."""
        folder, _, name = path.rpartition("/")
        return next((pool.volumes[name].identity for pool in (self.pools(host) or {}).values()
                     if name in pool.volumes and pool.path.rstrip("/") == folder), "")

    def bridges(self, name: str) -> Mapping[str, BridgeFacts] | None:
        """Return the bridges of node `name`, of its driver; None when they cannot be seen."""
        node, host = self.nodes.get(name), self.desired.hosts.get(name)
        if node is None:
            return None
        if host is None or host.spec.driver == OPENVSWITCH:
            return value_of(node.bridges)
        if host.spec.driver != LINUXBRIDGE:
            return {}
        return self.specs.cached(linux_bridges, name, known_of(node.links), self.domains.get(name))

    def no_switching(self, name: str) -> bool:
        """Return whether a node that answers surely has no bridges of its driver, or none that
        anybody looks at."""
        host, node = self.desired.hosts.get(name), self.nodes[name]
        if host is None or host.spec.driver == OPENVSWITCH:
            return isinstance(node.bridges, Absent)
        return host.spec.driver != LINUXBRIDGE or isinstance(node.links, Absent)

    def interfaces(self, name: str) -> Mapping[str, InterfaceFacts] | None:
        """Return the network interfaces of node `name`; None when they cannot be seen."""
        node = self.nodes.get(name)
        return value_of(node.interfaces) if node else None

    def hardware(self, host: str) -> Hardware | None:
        """Return the hardware of `host`, as last seen if it is silent; None if never seen."""
        fact = self.observed.nodes.get(host, NEVER_ASKED)
        node = last_of(fact)
        return None if node is None else last_of(node.hardware)

    def networks_at(self, site: str) -> tuple[str, ...]:
        """Return `Network/name` of each network of `site`."""
        return self.networks_of_site.get(site, ())

    def attachment(self, host: str, card: Card) -> Attachment:
        """Return where a declared host has the network of a card."""
        return attachment_of(card.network, card.vlan, self.desired.hosts[host].spec)

    def xml_vlan_is(self, host: str, card: Card, vlan: int | None) -> bool:
        """Return whether the running domain's XML on `host` already has a VLAN for the card."""
        return any(nic.mac == card.mac and nic.vlan == vlan
                   for where, domain in self.sightings.get(card.vm, ())
                   if where == host and domain.live is not None for nic in domain.live.nics)

    def site_of(self, node: str) -> str:
        """Return the site of a declared node; of a witness, its place."""
        found = self.desired.hosts.get(node) or self.desired.switches.get(node)
        return self.desired.witnesses[node].spec.place if found is None else found.spec.site

    def node_silence(self, name: str) -> str:
        """Return how long a node has not answered, as the end of a sentence about it."""
        if name in self.duplicates:
            return self.duplicates[name]
        fact = self.observed.nodes.get(name, NEVER_ASKED)
        if not isinstance(fact, Unknown) or fact.since_at <= 0:
            return "could not be seen yet"
        return _not_answered(self.now_s - fact.unseen_since_at)

    def node_reason(self, name: str) -> str:
        """Return why a node does not answer."""
        return getattr(self.observed.nodes.get(name, NEVER_ASKED), "reason", "it is not there")

    def silence(self, host: str) -> str:
        """Return how long `host` cannot be seen: `has not answered for 3m10s`."""
        if host in self.duplicates:
            return self.duplicates[host]
        unreachable = self.unreachable[host]
        if unreachable.since_at <= 0:
            return "could not be seen yet"
        return _not_answered(self.now_s - unreachable.since_at)


def _not_answered(for_s: float) -> str:
    """Return how long a node has been silent, in words: nobody says `for 0.18s`."""
    return "does not answer" if for_s < 1 else f"has not answered for {render_duration(for_s)}"


def take_survey(desired: Desired, observed: Observed, context: Context, now_s: float) -> Survey:
    """Return the indexes over the specs, facts and context of one decision."""
    known = index_specs(desired)
    context = rename_context(context, known.renames)
    observed = rename_observed(observed, known.renames)
    observed, duplicates = merge_duplicates(observed, desired.hosts)
    lost = lost_nodes(desired, context.assumed_down)
    nodes: dict[str, NodeFacts] = {}
    for name in sorted(desired.nodes):
        fact = observed.nodes.get(name, NEVER_ASKED)
        if isinstance(fact, Known) and name not in lost:
            nodes[name] = fact.value
    domains, unreachable = _domains(desired, observed, lost)
    remembered = {host: seen.domains or {} for host, seen in unreachable.items()}
    ruined = {host: _last_domains(observed.nodes.get(host, NEVER_ASKED)) or {}
              for host in sorted(lost) if host in desired.hosts}
    hosts_of_site: dict[str, list[str]] = {site: [] for site in desired.sites}
    for name in sorted(desired.hosts):
        hosts_of_site.setdefault(desired.hosts[name].spec.site, []).append(name)
    networks_of_site: dict[str, list[str]] = {}
    for name in sorted(desired.networks):
        for site in desired.networks[name].spec.sites:
            networks_of_site.setdefault(site, []).append(f"Network/{name}")
    removed_hosts = _removed_hosts(desired, observed)
    on_removed_hosts = {node: held for node, held in removed_hosts.items() if held}
    seen, last, gone = (
        [known.cached(index_host, host, here, known.declared, unseen)
         for host, here in held.items()]
        for held, unseen in ((domains, False), (remembered, True), (on_removed_hosts, True)))
    # equal facts of an earlier poll are the same object here, so that caches by identity hit
    domains = {host: index.domains for host, index in zip(domains, seen, strict=True)}
    records = records_of(observed.nodes)
    epochs = epochs_of((*seen, *last, *gone), records.values(), known.names)
    groups = _by_owner(seen), _by_owner(last), _by_owner(gone)
    uuids = uuids_of(epochs, groups, records.values(), known.names)
    (sightings, superseded), (last_seen, unseen_ones), (on_removed, removed_ones) = (
        split(group, epochs, uuids, known.names) for group in groups)
    return Survey(
        desired, observed, context, now_s, desired.estate.name, nodes, domains, unreachable,
        removed_hosts,
        tuple(host for host in domains if value_of(nodes[host].pools) is None),
        {name: (host, pool.unknown) for host in domains for name, pool in by_declared_name(
            host, desired, value_of(nodes[host].pools) or {}).items() if pool.unknown},
        lost,
        sightings, last_seen,
        _by_owner([index_host(host, here, known.declared) for host, here in ruined.items()]),
        on_removed, Identities(known.declared, (*seen, *last, *gone)),
        site_vlans(desired), link_vlans(desired), known,
        {site: tuple(names) for site, names in hosts_of_site.items()},
        {site: tuple(names) for site, names in networks_of_site.items()},
        stale(observed.nodes, desired.nodes,
              desired.estate.spec.limits.fact_age_s, now_s),
        duplicates,
        pauses(known.grants, context.suspensions, now_s), records, epochs, superseded,
        {name: (*unseen_ones.get(name, ()), *removed_ones.get(name, ()))
         for name in sorted({*unseen_ones, *removed_ones})}, isolation_of(observed.nodes))


def lost_nodes(desired: Desired, assumed_down: frozenset[str]) -> frozenset[str]:
    """Return the nodes that a what-if assumes lost."""
    if not assumed_down:
        return frozenset()
    sites = {f"Host/{name}": host.spec.site for name, host in desired.hosts.items()}
    sites |= {f"Switch/{name}": switch.spec.site for name, switch in desired.switches.items()}
    return frozenset(target.partition("/")[2] for target, site in sites.items()
                     if target in assumed_down or f"Site/{site}" in assumed_down)


def _domains(desired: Desired, observed: Observed, lost: frozenset[str]) -> tuple[
        dict[str, Mapping[str, DomainFacts]], dict[str, Unreachable]]:
    seen: dict[str, Mapping[str, DomainFacts]] = {}
    unreachable: dict[str, Unreachable] = {}
    for host in sorted(desired.hosts):
        fact = observed.nodes.get(host, NEVER_ASKED)
        if host in lost:
            continue
        inner: Fact[Mapping[str, DomainFacts]] | Unknown[NodeFacts]
        inner = fact.value.domains if isinstance(fact, Known) else (
            fact if isinstance(fact, Unknown) else NEVER_ASKED)
        if isinstance(inner, Unknown):
            unreachable[host] = Unreachable(inner.reason, inner.unseen_since_at,
                                            _last_domains(fact))
        else:
            seen[host] = value_of(inner) or {}
    return seen, unreachable


def _removed_hosts(desired: Desired, observed: Observed) -> dict[
        str, Mapping[str, DomainFacts] | None]:
    """Return the domains last seen on each node that is no longer declared; a switch has none."""
    found: dict[str, Mapping[str, DomainFacts] | None] = {}
    for name in sorted(observed.nodes.keys() - set(desired.nodes)):
        node = last_of(observed.nodes[name])
        absent = node is not None and isinstance(node.domains, Absent)
        found[name] = {} if absent else _last_domains(observed.nodes[name])
    return found


def _last_domains(fact: Fact[NodeFacts]) -> Mapping[str, DomainFacts] | None:
    node = last_of(fact)
    return None if node is None else last_of(node.domains)


def _by_owner(hosts: Iterable[HostIndex]) -> dict[str, tuple[Sighting, ...]]:
    found: dict[str, tuple[Sighting, ...]] = {}
    for host in hosts:
        for name, sighting in host.sightings:
            before = found.get(name)
            found[name] = (sighting,) if before is None else (*before, sighting)
    return found
