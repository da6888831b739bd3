"""Bandwidth: the limits that a copy shares with every other copy of the same policy, link or host.
"""

from collections.abc import Iterator

from controller.plan.charge import Charge
from controller.plan.replica_actions import RateLimit
from controller.plan.survey import Survey


def limits_of(charge: Charge, to: str, ground: Survey) -> tuple[RateLimit, ...]:
    """Return what bounds a copy of this VM to a host, in the order of their names."""
    return tuple(sorted(limit for limit in _limits(charge, to, ground) if limit.rate_bps))


def _limits(charge: Charge, to: str, ground: Survey) -> Iterator[RateLimit]:
    desired = ground.desired
    yield RateLimit(f"ProtectionPolicy/{charge.vm.spec.protection}",
                    charge.policy.bandwidth_bps or 0)
    for host in (charge.host, to):
        if host is not None and host in desired.hosts:
            rate = desired.hosts[host].spec.replication_bandwidth_bps
            yield RateLimit(f"Host/{host}", rate or 0)
    ends = {charge.site, charge.twin}
    for name, link in desired.inter_site_links.items():
        if set(link.spec.between) == ends:
            yield RateLimit(f"InterSiteLink/{name}", link.spec.replication_bandwidth_bps or 0)


def ceiling_bps(limits: tuple[RateLimit, ...]) -> int | None:
    """Return what a copy may take at most, in bits a second; None: as much as it can."""
    return min((limit.rate_bps for limit in limits), default=None)
