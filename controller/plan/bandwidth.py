"""Bandwidth: the limits that a copy shares with every other copy of the same policy, link or host.
"""

from controller.plan.charge import Charge
from controller.plan.replica_actions import RateLimit
from controller.plan.survey import Survey


def limits_of(charge: Charge, to: str, ground: Survey) -> tuple[RateLimit, ...]:
    """Return what bounds a copy of this VM to a host, in the order of their names."""
    desired = ground.desired
    found = []
    if charge.policy.bandwidth_bps:
        found.append(RateLimit(f"ProtectionPolicy/{charge.vm.spec.protection}",
                               charge.policy.bandwidth_bps))
    for host in (charge.host, to):
        declared = None if host is None else desired.hosts.get(host)
        if declared is not None and declared.spec.replication_bandwidth_bps:
            found.append(RateLimit(f"Host/{host}", declared.spec.replication_bandwidth_bps))
    ends = frozenset(site for site in (charge.site, charge.twin) if site is not None)
    for name in ground.given.links_between.get(ends, ()):
        rate_bps = desired.inter_site_links[name].spec.replication_bandwidth_bps
        if rate_bps:
            found.append(RateLimit(f"InterSiteLink/{name}", rate_bps))
    return tuple(sorted(found))


def ceiling_bps(limits: tuple[RateLimit, ...]) -> int | None:
    """Return what a copy may take at most, in bits a second; None: as much as it can."""
    return min((limit.rate_bps for limit in limits), default=None)
