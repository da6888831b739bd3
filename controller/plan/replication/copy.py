"""One copy: how each disk of a VM is expected to reach its next restore point, and in what words.

Rule 1: for each disk the least that can work is chosen, and the reason says which and why.
"""

from itertools import pairwise
from typing import Final, NamedTuple

from controller.model.facts import DiskFacts, DomainFacts, Known
from controller.model.replica import ReplicaFacts
from controller.model.units import render_duration, render_size
from controller.plan.actions.replica import CopyMode, DiskCopy, RateLimit
from controller.plan.machine.capacity import allocated_bytes
from controller.plan.machine.device_support import LeftOut, tracking_gap
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.survey.replicas import Held
from controller.plan.survey.survey import Survey


class Disks(NamedTuple):
    """The disks of a VM as they will be copied, and why any of them is not an increment."""

    copies: tuple[DiskCopy, ...]
    whole_bytes: int
    """What is read or sent as a whole."""
    why: str


def parts_left_out(protected: ProtectedMachine) -> tuple[LeftOut, ...]:
    """Return the parts of a VM that no restore point of it has, or the newest one had not.

    Its host may know of a disk what no fact tells: that one counts by the point's own word.
    """
    left, current = protected.left, protected.current
    if protected.location.domain is None or current is None or not current.replica.left_out:
        return left
    named = {part.disk for part in left}
    return (*left, *(LeftOut(f"disk {disk.target} {disk.source}", why, disk.target)
                     for disk in protected.disks if disk.target not in named
                     for why in [current.replica.left_out.get(disk.target)] if why))


def missing_disks(protected: ProtectedMachine) -> list[str]:
    """Return the disks of a VM that its replica has, by the newest point, nothing of yet."""
    current = protected.current
    if protected.location.domain is None or current is None or not current.replica.points:
        return []
    there, without = current.replica.disks, current.replica.left_out
    return [disk.target for disk in protected.disks
            if disk.target not in there and disk.target not in without]


def plan_disks(protected: ProtectedMachine, current: Held | None, survey: Survey, *,
               compare: str = "") -> Disks | str:
    """Return how each disk is expected to be copied, or why that cannot be told.

    Shapes: `compare` is why every disk is read whole; empty: it is not.
    """
    domain = protected.location.domain
    assert domain is not None, "only a VM that can be seen is copied"
    lost = _lost_tracking(domain, protected.host, current, survey)
    copies: list[DiskCopy] = []
    whole, words = 0, dict[str, tuple[str, ...]]()
    for disk in protected.disks:
        size = (disk.size_bytes or _volume_bytes(disk, protected.host, survey)
                or _declared_bytes(protected, disk.target))
        if size is None:
            return (f"disk {disk.target} of {protected.name} ({disk.source}) could not be read on"
                    f" {protected.host}: look there")
        mode, why = _mode(disk, current, lost, compare=compare)
        copies.append(DiskCopy(disk.target, disk.source, disk.format, size, mode,
                               disk.qcow2_version))
        if why:
            words[why] = (*words.get(why, ()), disk.target)
        if mode is not CopyMode.INCREMENT:
            whole += allocated_bytes(disk.source, size, survey.pools(protected.host or "") or {})
    return Disks(tuple(copies), whole, "; ".join(
        f"{' and '.join(targets)}: {why}" for why, targets in words.items()))


def _mode(disk: DiskFacts, current: Held | None, lost: str, *,
          compare: str) -> tuple[CopyMode, str]:
    if current is None or not current.replica.points:
        return CopyMode.SEED, ""
    if disk.target not in current.replica.disks:
        return CopyMode.SEED, "not in the replica yet"
    for file in current.replica.lost_files:
        if file.partition("/")[0] == disk.target:
            return CopyMode.SCAN, f"compared as a whole, since {file} of the replica is lost"
    if compare:
        return CopyMode.SCAN, compare
    why = tracking_gap(disk)
    if why:
        return CopyMode.SCAN, f"compared as a whole, since {why}"
    if lost:
        return CopyMode.SCAN, lost
    return CopyMode.INCREMENT, ""


def _lost_tracking(domain: DomainFacts, host: str | None, current: Held | None,
                   survey: Survey) -> str:
    """Return why what has changed is not known; empty where it is, or where only the copy tells."""
    newest = None if current is None else current.replica.newest
    if newest is None or not domain.state.active or newest.checkpoint in domain.checkpoints:
        return ""
    fact = survey.observed.nodes.get(host or "")
    if isinstance(fact, Known) and fact.observed_at < newest.committed_at:
        return ""   # the host was looked at before that point was made
    if not newest.checkpoint:
        return f"compared as a whole, since point {newest.sequence} has no checkpoint"
    return f"compared as a whole, since change tracking was lost ({newest.checkpoint} is gone)"


def _volume_bytes(disk: DiskFacts, host: str | None, survey: Survey) -> int | None:
    pool = (survey.pools(host or "") or {}).get(disk.pool) if disk.pool else None
    volume = None if pool is None else pool.volumes.get(disk.source)
    if volume is None or volume.format != disk.format:  # by its header, which a guest may write
        return None
    return volume.size_bytes


def _declared_bytes(protected: ProtectedMachine, target: str) -> int | None:
    return next((disk.size_bytes for disk in protected.vm.spec.disks if disk.name == target), None)


def consequence_of(protected: ProtectedMachine, disks: Disks, current: Held | None,
                   limits: tuple[RateLimit, ...]) -> str:
    """Return what is sent and how old the point will be when it is complete."""
    parts = []
    for mode in CopyMode:
        names = [one.target for one in disks.copies if one.mode is mode]
        if names:
            parts.append(f"{mode} of {', '.join(names)}")
    known = None if current is None else stored_bytes(current.replica)
    increments = any(one.mode is CopyMode.INCREMENT for one in disks.copies)
    size = disks.whole_bytes + ((known or 0) if increments else 0)
    if increments and known is None and not disks.whole_bytes:
        parts.append("what has changed is sent")
    else:
        scans = all(one.mode is CopyMode.SCAN for one in disks.copies)
        parts.append(f"{render_size(size)} to read, what differs is sent" if scans else
                     f"about {render_size(size)} to send")
    return ", ".join([*parts, *_age_then(current, disks, size, limits)])


def _age_then(current: Held | None, disks: Disks, size_bytes: int,
              limits: tuple[RateLimit, ...]) -> list[str]:
    took = None if current is None or disks.whole_bytes else took_s(current.replica)
    if took is not None:
        return [f"{render_duration(took)} old when that ends"]
    rate = ceiling_bps(limits)
    if rate is not None and disks.whole_bytes:
        return [f"{render_duration(8 * size_bytes / rate)} old when that ends"]
    return []


def limits_of(protected: ProtectedMachine, to: str, survey: Survey) -> tuple[RateLimit, ...]:
    """Return what bounds a copy of this VM to a host, in the order of their names."""
    desired = survey.desired
    found = []
    if protected.policy.bandwidth_bps:
        found.append(RateLimit(f"ProtectionPolicy/{protected.vm.spec.protection}",
                               protected.policy.bandwidth_bps))
    for host in (protected.host, to):
        declared = None if host is None else desired.hosts.get(host)
        if declared is not None and declared.spec.replication_bandwidth_bps:
            found.append(RateLimit(f"Host/{host}", declared.spec.replication_bandwidth_bps))
    ends = frozenset(site for site in (protected.site, protected.twin) if site is not None)
    for name in survey.specs.links_between.get(ends, ()):
        rate_bps = desired.inter_site_links[name].spec.replication_bandwidth_bps
        if rate_bps:
            found.append(RateLimit(f"InterSiteLink/{name}", rate_bps))
    return tuple(sorted(found))


def ceiling_bps(limits: tuple[RateLimit, ...]) -> int | None:
    """Return what a copy may take at most, in bits a second; None: as much as it can."""
    return min((limit.rate_bps for limit in limits), default=None)


AT_LEAST: Final = 0.5
"""Of the RPO: no copy begins sooner by itself."""
SAFETY: Final = 3.0
"""A copy may take so many times as long as the last ones did."""
MARGIN: Final = 0.1
MARGIN_MOST_S: Final = 30.0
SPREAD: Final = 0.1
LAG_MOST: Final = 0.25
"""Of the RPO: copies that began later than this after they were due tell of an outage."""
MEND_S: Final = 60.0
"""What is damaged or lost is tried again no sooner than this after the last point."""


def took_s(replica: ReplicaFacts) -> float | None:
    """Return how long copies take, from the newest two; the first copy of all tells nothing."""
    points = replica.points
    if len(points) < 2:
        return None
    last, before = points[-1], points[-2]
    took = max(0.0, last.committed_at - last.started_at)
    return took if len(points) == 2 else max(took, before.committed_at - before.started_at)


def due_at(replica: ReplicaFacts, rpo_s: float, now_s: float) -> float:
    """Return when the next point is due; now at the latest where something speaks for haste."""
    newest = replica.newest
    if newest is None or replica.incoming or newest.started_at > now_s:
        return now_s
    if newest.damaged_clusters or replica.lost_files:
        return newest.started_at + min(MEND_S, AT_LEAST * rpo_s)
    took = took_s(replica)
    if took is None:
        return newest.started_at + AT_LEAST * rpo_s
    room_s = (SAFETY * took + margin_s(rpo_s)
              + SPREAD * rpo_s * _phase(replica.uuid))
    wait_s = max(AT_LEAST * rpo_s, rpo_s - room_s)
    return newest.started_at + max(AT_LEAST * rpo_s, wait_s - lag_s(replica, wait_s, rpo_s))


def lag_s(replica: ReplicaFacts, wait_s: float, rpo_s: float) -> float:
    """Return how long after they were due copies begin, from the newest three that are whole."""
    most = 0.0
    for before, after in pairwise(replica.points[-3:]):
        lag = after.started_at - before.started_at - wait_s
        if after.sequence == before.sequence + 1 and most < lag <= LAG_MOST * rpo_s:
            most = lag
    return most


def margin_s(rpo_s: float) -> float:
    """Return how long an RPO may be missed before that is worth a line."""
    return min(MARGIN_MOST_S, MARGIN * rpo_s)


def _phase(uuid: str) -> float:
    """Return a number from 0 to 1 that is the VM's for ever."""
    return (16 * ord(uuid[0]) + ord(uuid[-1])) % 64 / 64


def next_edge_at(started_at: float | None, rpo_s: float, now_s: float) -> float | None:
    """Return when the age next passes one, two or three times the RPO."""
    if started_at is None:
        return None
    for times in (1, 2, 3):
        edge_at = started_at + times * rpo_s
        if edge_at > now_s:
            return edge_at
    return None


def stored_bytes(replica: ReplicaFacts) -> int | None:
    """Return what a next point is expected to take up: newer ones weigh more; None: no word."""
    expected: float | None = None
    for point in replica.points[1:][-8:]:
        expected = point.stored_bytes if expected is None else (
            expected + 0.4 * (point.stored_bytes - expected))
    return None if expected is None else round(expected)
