"""Fills in single domains, pools and replicas that could not be read while others could.

Rule 1: such an object keeps its last seen facts, and says why it cannot be read now.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from controller.model.facts import DomainFacts, PoolFacts
from controller.model.replica import STORE, ReplicaFacts

Pools = Mapping[str, PoolFacts]


def with_last_domains(seen: Mapping[str, DomainFacts], last: Mapping[str, DomainFacts],
                 _pools: Pools) -> Mapping[str, DomainFacts]:
    """Return the domains; unknown ones as they were last seen."""
    if not any(domain.unknown for domain in seen.values()):
        return seen
    return {name: with_last_domain(domain, last.get(name)) if domain.unknown else domain
            for name, domain in seen.items()}


def with_last_domain(seen: DomainFacts, last: DomainFacts | None) -> DomainFacts:
    """Return an unknown domain as it was last seen, except its power, which is known."""
    if last is None or last.uuid != seen.uuid:
        return seen
    if last.state.active == seen.state.active:
        return replace(last, unknown=seen.unknown)
    return replace(last, state=seen.state, state_reason="", live=last.live or last.config
                   if seen.state.active else None, job=None, unknown=seen.unknown)


def with_last_pools(seen: Pools, last: Pools, _pools: Pools) -> Pools:
    """Return the pools; unknown ones with the files last seen."""
    if not any(pool.unknown for pool in seen.values()):
        return seen
    return {name: replace(last[name], active=pool.active, unknown=pool.unknown,
                          replicas_unknown=pool.replicas_unknown)
            if pool.unknown and name in last else pool for name, pool in seen.items()}


def with_last_replicas(seen: Mapping[str, ReplicaFacts], last: Mapping[str, ReplicaFacts],
                  pools: Pools) -> Mapping[str, ReplicaFacts]:
    """Return the replicas, and those last seen in pools whose replicas cannot be read now."""
    dark = {f"{pool.path.rstrip('/')}/{STORE}/": f"pool {name}: {pool.replicas_unknown}"
            for name, pool in pools.items() if pool.replicas_unknown and pool.path}
    hidden = {uuid: replace(replica, unreadable=why) for uuid, replica in last.items()
              for place, why in dark.items()
              if uuid not in seen and replica.path.startswith(place)}
    return {**seen, **hidden} if hidden else seen


FILLERS: Final[Mapping[str, Callable[[Any, Any, Pools], Any]]] = {
    "domains": with_last_domains, "pools": with_last_pools, "replicas": with_last_replicas,
}
