"""Findings: what stands in the way of one VM by itself, whoever else comes.

The disks are local: the host that holds the newest replica of a VM is the host that it would be
promoted on. What that host lacks is in the way, however much of it others of its site have.

Rule 1: what cannot be seen is in the way in its own manner (`sure` is False): neither good nor bad.
Rule 2: all that depends neither on the time nor on other VMs is worked out once for each replica
        and definition, since nearly nothing changes from one decision to the next.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from controller.model.desired import Desired
from controller.model.facts import DomainConfig, DomainFacts
from controller.model.failover.capabilities import Capabilities
from controller.model.failover.spec import GrowthSpec
from controller.model.replica import STORE, PointFacts, ReplicaFacts
from controller.plan.machine.capability import (
    Effect,
    Misfit,
    media_misfits,
    misfits,
)
from controller.plan.machine.device_support import LeftOut
from controller.plan.promotion.point import AHEAD_S, NEWEST, most_age_s, usable
from controller.plan.promotion.surroundings import HostLike, HostThere, Surroundings
from controller.plan.replication.copy import parts_left_out
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.steps.takeover import NO_GROWTH, Growth, Obstacle, Obstacles
from controller.plan.survey.survey import Survey

INFINITY: Final = float("inf")


class Finding(NamedTuple):
    """What is in the way of one VM, and what it would take where it comes back."""

    obstacles: Obstacles = ()
    misfits: tuple[Misfit, ...] = ()
    """All that the host has otherwise than the VM wants, also what is in nobody's way."""
    growth: Growth = NO_GROWTH
    point: PointFacts | None = None
    """Its newest sound point."""
    from_at: float = 0.0
    until_at: float = INFINITY
    """Before and after these instants the age of that point is in the way."""


def host_of(protected: ProtectedMachine, there: Surroundings) -> HostThere | None:
    """Return the host that a VM would come back on; None if that cannot be told, or is none."""
    current = protected.current
    if current is None or (protected.stale and protected.hidden is not None):
        return None
    return there.hosts.get(current.host)


def examine(protected: ProtectedMachine, host: HostThere | None, there: Surroundings) -> Finding:
    """Return what is in the way of one VM; `host` is that of `host_of`."""
    current, survey = protected.current, there.survey
    if host is None or current is None:
        return _no_host(protected, there)
    domain = protected.location.domain or last_domain(protected.name, survey)
    config = None if domain is None else domain.config or domain.live
    found: Finding = survey.specs.cached(
        _examine, protected.name, survey.desired, host.like, current.replica, config,
        there.capabilities.get(protected.host or ""))
    media = config is not None and bool(config.media)
    if host.closed is None and not media and not protected.left and not current.replica.left_out:
        return found    # nearly always
    more = list(_more(protected, host))
    unlike = media_misfits(config, host.name, host.pools) if config is not None else ()
    more += [_obstacle(one) for one in unlike if one.effect is Effect.PREVENTS]
    return found._replace(obstacles=(*more, *found.obstacles), misfits=(*found.misfits, *unlike))


def _no_host(protected: ProtectedMachine, there: Surroundings) -> Finding:
    hidden = protected.hidden
    if hidden is not None:
        return Finding((Obstacle("CannotBeSeen", f"its replica is on {hidden.host}, where it cannot"
                                 " be seen now", sure=False),))
    if there.unlisted:
        return Finding(there.unlisted)
    if protected.location.domain is not None and not protected.disks:
        return Finding()    # there is nothing to copy
    return Finding((Obstacle("NoReplica", f"there is no replica of it at {there.site}"),))


def _more(protected: ProtectedMachine, host: HostThere) -> Iterator[Obstacle]:
    if host.closed is not None:
        yield host.closed._replace(
            sentence=f"its replica is on {host.name}, and {host.closed.sentence}")
    current = protected.current
    if current is not None and (protected.left or current.replica.left_out):
        lacking = undeclared_parts(protected)
        if lacking:
            yield Obstacle("DiskLeftOut", "no restore point has its"
                           f" {' and '.join(map(str, lacking))}", yields=True)


def _obstacle(misfit: Misfit) -> Obstacle:
    return Obstacle(misfit.reason, misfit.sentence)


def last_domain(name: str, survey: Survey) -> DomainFacts | None:
    """Return a VM's domain as last seen on a host that is silent or assumed lost."""
    seen = survey.last_seen.get(name) or survey.assumed_lost.get(name)
    return seen[0].domain if seen else None


def undeclared_parts(protected: ProtectedMachine) -> list[LeftOut]:
    """Return the disks of a VM that no restore point has, without the specs saying so."""
    parts = list(parts_left_out(protected))
    if protected.location.domain is None and protected.current is not None:
        kept_out = {disk.name for disk in protected.vm.spec.disks if not disk.replicate}
        parts += [LeftOut(f"disk {target}", why, target) for target, why in
                  sorted(protected.current.replica.left_out.items()) if target not in kept_out]
    return [part for part in parts if part.disk and not part.declared]


def _examine(name: str, desired: Desired, host: HostLike, replica: ReplicaFacts,
             config: DomainConfig | None, home: Capabilities | None) -> Finding:
    found = []
    vm = desired.virtual_machines[name]
    assert vm.spec.protection is not None, "it has a replica to be kept"
    policy = desired.protection_policies[vm.spec.protection].spec
    growth = desired.estate.spec.failover.growth
    points = usable(replica.points, NEWEST)
    if not points:
        found.append(Obstacle("NoPoint", f"no restore point on {host.name} is complete and sound"))
    found += [Obstacle("NetworkMissing", host.cut[nic.network])
              for nic in vm.spec.nics if nic.network is not None and nic.network in host.cut]
    unlike = () if config is None else misfits(config, host.name, host.capabilities, home)
    found += [_obstacle(one) for one in unlike if one.effect is Effect.PREVENTS]
    point = points[-1] if points else None
    return Finding(tuple(found), unlike, growth_of(replica, growth), point,
                   0.0 if point is None else point.started_at - AHEAD_S,
                   INFINITY if point is None else point.started_at + most_age_s(policy))


def growth_of(replica: ReplicaFacts, spec: GrowthSpec) -> Growth:
    """Return how much the overlays over a replica may grow, and in which folder of which pool."""
    folder = replica.path.partition(f"/{STORE}/")[0]
    points = replica.points
    span_s = points[-1].started_at - points[0].started_at if len(points) > 1 else 0.0
    written = sum(point.stored_bytes for point in points[1:])   # the first one is the whole disk
    expected = round(written * spec.horizon_s / span_s) if span_s > 0 else 0
    return Growth(folder, min(max(expected, spec.minimum_bytes), sum(replica.disks.values())))
