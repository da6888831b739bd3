"""What is kept of a single domain, pool or replica that could not be seen while others were.

Rule 1: one that alone is unknown stays what it was when it was last seen, and says why nobody sees
        it now.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from controller.model.facts import DomainFacts, PoolFacts
from controller.model.replica import STORE, ReplicaFacts

Pools = Mapping[str, PoolFacts]


def keep_domains(seen: Mapping[str, DomainFacts], last: Mapping[str, DomainFacts],
                 _pools: Pools) -> Mapping[str, DomainFacts]:
    """Return the domains, those that are unknown as they were."""
    if not any(domain.unknown for domain in seen.values()):
        return seen
    return {name: kept_domain(domain, last.get(name)) if domain.unknown else domain
            for name, domain in seen.items()}


def kept_domain(seen: DomainFacts, last: DomainFacts | None) -> DomainFacts:
    """Return what is known of a domain that could not be read; whether it is on is seen."""
    if last is None or last.uuid != seen.uuid:
        return seen
    if last.state.active == seen.state.active:
        return replace(last, unknown=seen.unknown)
    return replace(last, state=seen.state, state_reason="", live=last.live or last.config
                   if seen.state.active else None, job=None, unknown=seen.unknown)


def keep_pools(seen: Pools, last: Pools, _pools: Pools) -> Pools:
    """Return the pools, those that are unknown with the files that they had."""
    if not any(pool.unknown for pool in seen.values()):
        return seen
    return {name: replace(last[name], active=pool.active, unknown=pool.unknown,
                          replicas_unknown=pool.replicas_unknown)
            if pool.unknown and name in last else pool for name, pool in seen.items()}


def keep_replicas(seen: Mapping[str, ReplicaFacts], last: Mapping[str, ReplicaFacts],
                  pools: Pools) -> Mapping[str, ReplicaFacts]:
    """Return the replicas, with those that were last seen in a pool whose replicas are unknown."""
    dark = {f"{pool.path.rstrip('/')}/{STORE}/": f"pool {name}: {pool.replicas_unknown}"
            for name, pool in pools.items() if pool.replicas_unknown and pool.path}
    hidden = {uuid: replace(replica, unreadable=why) for uuid, replica in last.items()
              for place, why in dark.items()
              if uuid not in seen and replica.path.startswith(place)}
    return {**seen, **hidden} if hidden else seen


KEEPERS: Final[Mapping[str, Callable[[Any, Any, Pools], Any]]] = {
    "domains": keep_domains, "pools": keep_pools, "replicas": keep_replicas,
}
