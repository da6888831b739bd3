"""One copy: how each disk of a VM is to reach its next restore point, and the action that does it.

    mode        what is read and sent                        when
    ------------------------------------------------------------------------------------------
    INCREMENT   what changed since the last checkpoint       nothing speaks against it
    SCAN        all is read, what differs is sent            tracking lost, a file lost, an audit
    SEED        all is sent but zeros                        the replica has nothing of the disk

Rule 1: for each disk the least transfer that can work is chosen, and the reason says which and why.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from controller.model.facts import DiskFacts, DomainFacts, Known
from controller.model.replica import PARTS, ReplicaFacts
from controller.model.units import render_duration, render_size
from controller.plan.actions.action import Cause
from controller.plan.actions.replica import CopyMode, DiskCopy, RateLimit, ReplicateDomain
from controller.plan.machine.capacity import allocated_bytes
from controller.plan.machine.device_support import LeftOut, is_emulated_tpm, tracking_gap
from controller.plan.replication.placement import ReplicaPlace
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.steps.draft import Draft, cause_of
from controller.plan.survey.context import ReplicaRequest, RequestKind
from controller.plan.survey.replicas import Held
from controller.plan.survey.survey import Survey

FIRST_RANK: Final = -(10**9)
"""A person's request comes before everything else."""


class Disks(NamedTuple):
    """How the disks of a VM will be copied, and why any of them is not an increment."""

    copies: tuple[DiskCopy, ...]
    whole_bytes: int
    """Size of the disks that are read whole."""
    why: str


def parts_left_out(protected: ProtectedMachine) -> tuple[LeftOut, ...]:
    """Return the parts of a VM that no restore point has, and disks that the newest one left out.

    Only the host can see some obstacles, so the newest point says itself which disks it lacks.
    """
    return (*disks_left_out(protected), *_parts_missing(protected))


def _parts_missing(protected: ProtectedMachine) -> Iterator[LeftOut]:
    """Yield what a VM has besides its disks, as far as the newest point is known to lack it."""
    domain, current = protected.location.domain, protected.current
    config = None if domain is None else domain.config or domain.live
    if config is None or not config.devices or current is None or current.replica.parts is None:
        return
    parts, missing = current.replica.parts, current.replica.missing
    if "tpm" not in parts and any(map(is_emulated_tpm, config.devices)):
        yield LeftOut(PARTS["tpm"], missing.get("tpm", "the newest point was made without it"))
    if "nvram" in missing and any(device.kind == "nvram" for device in config.devices):
        yield LeftOut(PARTS["nvram"], missing["nvram"])


def disks_left_out(protected: ProtectedMachine) -> tuple[LeftOut, ...]:
    """Return the parts that are not copied, and the disks that the newest point left out."""
    left, current = protected.left, protected.current
    if protected.location.domain is None or current is None or not current.replica.left_out:
        return left
    named = {part.disk for part in left}
    return (*left, *(LeftOut(f"disk {disk.target} {disk.source}", why, disk.target)
                     for disk in protected.disks if disk.target not in named
                     for why in [current.replica.left_out.get(disk.target)] if why))


def missing_disks(protected: ProtectedMachine) -> list[str]:
    """Return the disks of a VM of which its replica has nothing yet, by the newest point."""
    current = protected.current
    if protected.location.domain is None or current is None or not current.replica.points:
        return []
    there, without = current.replica.disks, current.replica.left_out
    return [disk.target for disk in protected.disks
            if disk.target not in there and disk.target not in without]


def plan_disks(protected: ProtectedMachine, current: Held | None, survey: Survey, *,
               compare: str = "") -> Disks | str:
    """Return how each disk will be copied, or why that cannot be determined.

    Shapes: `compare` is why every disk is read whole; empty if they need not be.
    """
    domain = protected.location.domain
    assert domain is not None, "only a VM that can be seen is copied"
    lost = _lost_tracking(domain, protected.host, current, survey)
    copies: list[DiskCopy] = []
    whole, words = 0, dict[str, tuple[str, ...]]()
    for disk in protected.disks:
        size = (disk.size_bytes or _volume_bytes(disk, protected.host, survey)
                or next((declared.size_bytes for declared in protected.vm.spec.disks
                         if declared.name == disk.target), 0))
        if not size:
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
    """Return why changes are not tracked any more; empty if they are, or only the copy can tell."""
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


def consequence_of(protected: ProtectedMachine, disks: Disks, current: Held | None,
                   limits: tuple[RateLimit, ...]) -> str:
    """Return in words what is sent, and how old the point will be when it is complete."""
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
    """Return the rate limits that apply to a copy of this VM to a host, by name."""
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
    """Return the lowest limit in bits a second; None if there is none."""
    return min((limit.rate_bps for limit in limits), default=None)


def took_s(replica: ReplicaFacts) -> float | None:
    """Return how long copies take, by the newest two; None if only the first copy was made."""
    points = replica.points
    if len(points) < 2:
        return None
    last, before = points[-1], points[-2]
    took = max(0.0, last.committed_at - last.started_at)
    return took if len(points) == 2 else max(took, before.committed_at - before.started_at)


def stored_bytes(replica: ReplicaFacts) -> int | None:
    """Return the expected size of the next point, newer ones weighing more; None if unknown."""
    expected: float | None = None
    for point in replica.points[1:][-8:]:
        expected = point.stored_bytes if expected is None else (
            expected + 0.4 * (point.stored_bytes - expected))
    return None if expected is None else round(expected)


def plan_copy(protected: ProtectedMachine, place: ReplicaPlace, disks: Disks,
              request: ReplicaRequest | None, compare: str, survey: Survey,
              draft: Draft) -> None:
    """Plan the next copy of a VM to `place`; `compare` is why its disks are read whole, if so."""
    slack = slack_s(protected, survey.now_s)
    draft.do(next_copy(protected, place, disks, request, compare, survey),
             rank=(FIRST_RANK if request is not None else 0) + round(
                 -protected.policy.rpo_s if slack is None else slack))


def next_copy(protected: ProtectedMachine, place: ReplicaPlace, disks: Disks,
              request: ReplicaRequest | None, compare: str, survey: Survey) -> ReplicateDomain:
    """Return the action that makes the next restore point of a VM at `place`."""
    policy, current = protected.policy, protected.current
    domain, host = protected.location.domain, protected.host
    assert domain is not None
    assert host is not None
    here, there = (survey.desired.hosts[one].spec for one in (host, place.host))
    sequence = 1 + max((one.replica.newest.sequence for one in (*protected.held, *protected.stale)
                        if one.replica.newest is not None), default=0)
    repair = (request is not None and request.kind is RequestKind.REPAIR) or (
        current is not None and current.replica.damaged_clusters > 0)
    limits = limits_of(protected, place.host, survey)
    every = policy.quiesce.every if policy.quiesce is not None else 0
    without = tuple(str(part) for part in disks_left_out(protected))
    return ReplicateDomain(
        target=protected.target, node=host, domain=domain.name, uuid=protected.uuid, to=place.host,
        path=place.path, disks=disks.copies,
        replication_address=here.replication_address or here.address,
        to_replication_address=there.replication_address or there.address,
        sequence=sequence,
        quiesce=bool(every) and sequence % every == 0 and domain.state.active,
        limits=limits, compare=compare, repair=repair,
        reason=_reason(protected, request, disks, survey, repair=repair),
        consequence=f"to {place.host}: {consequence_of(protected, disks, current, limits)}"
                    + (f"; without {', '.join(without)}" if without else ""),
        without=without,
        cause=_cause(protected, request, disks, survey, compare))


def slack_s(protected: ProtectedMachine, now_s: float) -> float | None:
    """Return the time left until the RPO is passed; None without a sound point."""
    return None if protected.point is None else (
        protected.point.started_at + protected.policy.rpo_s - now_s)


def _cause(protected: ProtectedMachine, request: ReplicaRequest | None, disks: Disks,
           survey: Survey, compare: str) -> Cause:
    """Return HUMAN if somebody asked, DRIFT if the replica is late or damaged, else ROUTINE.

    The first copy is a COMMIT if the specs of the VM or its policy changed, else DRIFT.
    """
    if request is not None:
        return Cause.HUMAN
    current = protected.current
    if current is None or not current.replica.points:
        return cause_of(survey.context, f"VirtualMachine/{protected.name}",
                        f"ProtectionPolicy/{protected.vm.spec.protection}")
    slack = slack_s(protected, survey.now_s)
    wrong = current.replica.lost_files or current.replica.damaged_clusters or (
        disks.why and not compare)
    return Cause.DRIFT if slack is None or slack < 0 or (
        wrong and any(one.trackable and one.mode is not CopyMode.INCREMENT
                      for one in disks.copies)) else Cause.ROUTINE


def _reason(protected: ProtectedMachine, request: ReplicaRequest | None, disks: Disks,
            survey: Survey, *, repair: bool) -> str:
    parts = [] if request is None else [f"{request.by} asked for it"]
    current = protected.current
    if current is None or not current.replica.points:
        parts.append(_no_points(protected, current))
    else:
        parts.append(_age(protected, current, survey))
        if current.replica.incoming:
            parts.append("an interrupted copy is resumed")
    if repair and current is not None:
        count = current.replica.damaged_clusters
        parts.append(f"{count} damaged clusters are sent again" if count else
                     "what reads wrong is sent again")
    return "; ".join([*parts, *([disks.why] if disks.why else [])])


def _no_points(protected: ProtectedMachine, current: Held | None) -> str:
    if current is not None:
        return f"the first copy of {protected.name} to {current.host} is not complete"
    other = protected.misplaced
    if other is not None:
        return (f"{protected.name} is at {protected.site} now, and so is its replica, on"
                f" {other.host}: it needs one at {protected.twin}")
    return f"{protected.name} has no replica at {protected.twin}"


def _age(protected: ProtectedMachine, current: Held, survey: Survey) -> str:
    rpo, point = render_duration(protected.policy.rpo_s), protected.point
    if point is None:
        return f"no restore point of {protected.name} on {current.host} is sound"
    age_s = survey.now_s - point.started_at
    words = f"the replica of {protected.name} is {render_duration(age_s)} old"
    return f"{words}, over its RPO of {rpo}" if age_s > protected.policy.rpo_s else (
        f"{words}, its RPO is {rpo}")
