"""How each disk is copied next: by which mode, and how much is read and sent."""

from dataclasses import dataclass

from controller.model.replica import CLUSTER_BYTES
from controller.plan.actions.replica import CopyMode
from controller.providers.simulated.hands.backup_job import Job
from controller.providers.simulated.replicas import Checkpoint, Point, Replica
from controller.providers.simulated.world import File

GUEST_BYTES_PER_S = 50e3
"""What a running guest changes on each of its disks."""


@dataclass(frozen=True, slots=True)
class Copy:
    """How one disk is copied; `why` says why it is not an increment, empty if it is one."""

    target: str
    mode: CopyMode
    read_bytes: int
    sent_bytes: int
    why: str = ""


def copies_of(job: Job, replica: Replica, *, repair: bool, compare: str) -> tuple[Copy, ...]:
    """Return the least transfer that can work for each disk; `compare`: why all is read, if so."""
    return tuple(_copy(job, replica, target, file, repair=repair, compare=compare)
                 for target, file in sorted(job.files.items()))


def trusted(job: Job, replica: Replica) -> Checkpoint | None:
    """Return the checkpoint with the changes since the newest point, if there is a sound one."""
    newest = replica.newest
    found = job.domain.checkpoints.get(newest.checkpoint) if newest is not None else None
    return found if found is not None and found.sound else None


def _copy(job: Job, replica: Replica, target: str, file: File, *, repair: bool,
          compare: str) -> Copy:
    newest, since = replica.newest, trusted(job, replica)
    bad = newest.damaged_clusters * CLUSTER_BYTES if newest is not None and repair else 0
    if newest is None or target not in newest.versions:
        return _seed(target, file, "the replica has nothing of it yet")
    if newest.lost_clusters >= file.size_bytes // CLUSTER_BYTES and len(replica.points) == 1:
        return _seed(target, file, "the base of its replica is gone")
    changed = _changed(job, file, newest, target)
    gone = any(name.startswith(f"{target}/") for name in replica.lost_files)
    why = "a file of its replica is lost" if gone else _distrust(
        job, newest, since, target, file) or compare
    if not why:
        sent = min(file.allocated_bytes, changed + bad)
        return Copy(target, CopyMode.INCREMENT, sent, sent)
    lost = file.allocated_bytes // 4 if gone else 0
    return Copy(target, CopyMode.SCAN, file.allocated_bytes,
                min(file.allocated_bytes, changed + bad + lost), why)


def _seed(target: str, file: File, why: str) -> Copy:
    return Copy(target, CopyMode.SEED, file.allocated_bytes, file.allocated_bytes, why)


def _changed(job: Job, file: File, newest: Point, target: str) -> int:
    """Return how many bytes differ from what the newest point holds."""
    was, now = newest.versions[target], job.checkpoint.versions[target]
    if was.serial != now.serial:
        return file.allocated_bytes
    changed = abs(now.writes - was.writes) * CLUSTER_BYTES
    if job.live:
        changed += int(GUEST_BYTES_PER_S * max(0.0, job.begun_at - newest.started_at))
    return min(file.allocated_bytes, changed)


def _distrust(job: Job, newest: Point, since: Checkpoint | None, target: str, file: File) -> str:
    """Return why a disk's changes are not known; empty if they are."""
    if not job.live and newest.versions[target] == job.checkpoint.versions[target]:
        return ""
    named = newest.checkpoint
    if not named:
        return f"point {newest.sequence} has no checkpoint: it was made while the VM was off"
    if since is None and named in job.domain.checkpoints:
        return f"its checkpoint {named} is inconsistent after a crash"
    if since is None:
        return f"its checkpoint {named} is gone"
    if target not in since.versions or since.versions[target].serial != file.serial:
        return f"its checkpoint {named} is of another disk"
    if since.sizes[target] != file.size_bytes:
        return "its size has changed"
    if file.writes < newest.versions[target].writes:
        return f"its checkpoint {named} knows less than was sent since: the disk was put back"
    return ""
