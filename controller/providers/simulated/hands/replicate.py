"""A restore point is made: a job begins, the stream runs, one commit, the old checkpoint goes.

Rule 1: no complete point is touched before the commit, and the commit is one step.
Rule 2: however the stream ends, what was received is kept and the guest is not touched.
"""

from dataclasses import dataclass, field

from controller.errors import OutcomeUnknown, Refused, Unavailable
from controller.model.units import render_size
from controller.plan.actions.replica import CopyMode, ReplicateDomain
from controller.plan.replication.copy import ceiling_bps
from controller.providers.simulated.hands.backup_job import Job, begin_job, drop_checkpoints
from controller.providers.simulated.hands.copying import Copy, copies_of, trusted
from controller.providers.simulated.hands.effect import Effect, Wait
from controller.providers.simulated.paths import stream_flows
from controller.providers.simulated.replicas import Point, Replica
from controller.providers.simulated.view import free_bytes
from controller.providers.simulated.world import Domain, Node, World

LINE_BYTES_PER_S = 100e6
READ_BYTES_PER_S = 800e6
BEGIN_S, FREEZE_S, LOOK_S, PUBLISH_S, DROP_S = 0.3, 0.2, 2.0, 0.3, 0.1


@dataclass(slots=True)
class Stream:
    """How much of the point has been sent, over all its jobs."""

    action: ReplicateDomain
    replica: Replica
    copies: tuple[Copy, ...] = ()
    left_s: float = 0.0
    sent_bytes: float = 0.0
    received: dict[str, int] = field(default_factory=dict)
    """By target: what the target has, from this attempt and earlier ones."""

    def open(self, copies: tuple[Copy, ...]) -> None:
        """Set what has to be sent, without what the target has already."""
        self.copies = copies
        before = self.replica.received
        self.received = {copy.target: min(copy.sent_bytes, before.get(copy.target, 0))
                         for copy in copies}
        ceiling = ceiling_bps(self.action.limits)
        rate = LINE_BYTES_PER_S if ceiling is None else min(ceiling / 8, LINE_BYTES_PER_S)
        self.left_s = (sum(copy.read_bytes for copy in copies) / READ_BYTES_PER_S
                       + self.to_send / rate)

    @property
    def to_send(self) -> int:
        """Return how many bytes still have to be sent."""
        return sum(copy.sent_bytes - self.received[copy.target] for copy in self.copies)

    def flow(self, seconds: float) -> None:
        """Let the stream run for a while; what was received stays, whatever happens."""
        share = min(1.0, seconds / self.left_s) if self.left_s > 0 else 1.0
        for copy in self.copies:
            more = round((copy.sent_bytes - self.received[copy.target]) * share)
            self.received[copy.target] += more
            self.sent_bytes += more
            if self.received[copy.target]:
                self.replica.received[copy.target] = self.received[copy.target]
        self.left_s = max(0.0, self.left_s - seconds)


def replicate(world: World, action: ReplicateDomain) -> Effect:
    """Make the next restore point of a VM; whatever fails, the last one stays as it is."""
    yield Wait(BEGIN_S, command_ends=True)
    source, target = world.node(action.node), world.node(action.to)
    replica = _replica_at(world, action, target)
    newest = replica.newest
    if newest is not None and newest.sequence >= action.sequence:
        return f"restore point {newest.sequence} of {action.domain} is on {action.to} already"
    job = begin_job(world, action)
    stream = Stream(action, replica)
    stream.open(copies_of(job, replica, repair=action.repair, compare=action.compare))
    try:
        yield from _run(world, job, stream)
        while stream.left_s:
            job.end()   # it has lived long enough; the next one's instant is later
            job.drop_checkpoint()
            job = begin_job(world, action)
            yield from _run(world, job, stream)
        yield Wait(PUBLISH_S, command_ends=True)
        _assert_line(world, job)
        _assert_next(job, stream)
    except OutcomeUnknown:
        if job.source.powered and not (job.target.powered and job.world.reachable(job.target.name)):
            job.end()
            job.drop_checkpoint()
        else:
            job.abandon()
        raise
    except (Refused, Unavailable):
        job.end()
        job.drop_checkpoint()
        raise
    point = _publish(world, job, stream)
    job.end()
    yield Wait(DROP_S, command_ends=True)
    if source.domains.get(action.domain) is job.domain:
        drop_checkpoints(job.domain, point.checkpoint)
    ways = "; ".join(f"{copy.target} by {_way(copy)}" for copy in stream.copies)
    return (f"restore point {action.sequence} of {action.domain} is complete on {action.to}:"
            f" {render_size(round(stream.sent_bytes))} sent ({ways})"
            + (f"; it is without {', '.join(action.without)}" if action.without else ""))


def _replica_at(world: World, action: ReplicateDomain, target: Node) -> Replica:
    """Return the replica on the target, an empty one where there is none yet."""
    if not world.reachable(target.name):
        raise Unavailable(f"{target.name} does not answer; nothing was sent to it")
    if not stream_flows(world, action.node, action.to):
        raise Unavailable(f"{action.node} does not reach {action.to} over the replication network")
    here = target.replicas.get(action.uuid)
    if here is not None and here.unreadable:
        raise Refused(f"{target.name}: {here.unreadable}; nothing is written there")
    if here is not None and here.path != action.path:
        raise Refused(f"{target.name}: the replica of {action.domain} is at {here.path}, not at"
                      f" {action.path}")
    if here is None:
        here = target.replicas[action.uuid] = Replica(action.uuid, action.domain, action.path)
    return here


def _run(world: World, job: Job, stream: Stream) -> Effect:
    """Let the stream run until all is sent, or the job has lived as long as it may."""
    if stream.action.quiesce and job.live:
        yield Wait(FREEZE_S)
    lived_s = 0.0
    while stream.left_s and lived_s < stream.action.budget_s:
        step_s = min(LOOK_S, stream.left_s)
        yield Wait(step_s, command_ends=True)
        _assert_line(world, job)
        # A target that is full loses what was received, and no point.
        folder = stream.replica.path
        if free_bytes(world, job.target, folder) < stream.to_send:
            stream.replica.received.clear()
            raise Unavailable(
                f"{job.target.name}: no space left for the {render_size(stream.to_send)} that"
                f" {job.domain.name} has changed: its last restore point is untouched; make room"
                " there")
        stream.flow(step_s)
        lived_s += step_s
    return ""


def _assert_line(world: World, job: Job) -> None:
    """Raise Unavailable unless both hosts and the link between them are still there."""
    what = f"the copy of {job.domain.name} from {job.source.name} to {job.target.name}"
    if not job.intact:
        state = "started, stopped or moved" if job.live else "started or changed"
        raise Unavailable(f"{what} ended: {job.domain.name} was {state} meanwhile; what has come"
                          " is kept")
    if not stream_flows(world, job.source.name, job.target.name):
        raise Unavailable(f"{what} ended: the line between them is cut; what has come is kept")
    if not world.reachable(job.target.name):
        raise Unavailable(f"{what} ended: {job.target.name} does not answer any more; what has"
                          " come is kept")
    if job.live and job.source.full:
        raise Unavailable(f"{what} ended: no space left for its scratch files on"
                          f" {job.source.name}; the guest is not touched")


def epoch_of(domain: Domain) -> int:
    """Return the epoch in the mark of a domain."""
    return 0 if domain.ownership is None else domain.ownership.epoch


def _assert_next(job: Job, stream: Stream) -> None:
    """Raise Refused unless the replica is still the one that the stream builds upon."""
    action, here = stream.action, job.target.replicas.get(job.domain.uuid)
    epoch = epoch_of(job.domain)
    if epoch < stream.replica.epoch:
        raise Refused(f"{job.target.name}: the replica of {action.domain} is of epoch"
                      f" {stream.replica.epoch}, and this copy is of epoch {epoch}")
    stream.replica.epoch = epoch
    newest = here.newest if here is not None else None
    if here is not stream.replica or (newest is not None and newest.sequence >= action.sequence):
        raise Refused(f"{job.target.name}: the replica of {action.domain} is not what it was when"
                      f" restore point {action.sequence} was begun; nothing was committed")


def _publish(world: World, job: Job, stream: Stream) -> Point:
    """Commit all disks at once; this is the only step that makes a point."""
    replica, action = stream.replica, stream.action
    newest, since = replica.newest, trusted(job, replica)
    fresh = newest is None or all(copy.mode is CopyMode.SEED for copy in stream.copies)
    whole = {copy.target for copy in stream.copies if copy.mode is not CopyMode.INCREMENT}
    found = {name for name in replica.lost_files if name.partition("/")[0] in whole}
    kept = since is not None and all(copy.mode is CopyMode.INCREMENT for copy in stream.copies)
    checkpoint = job.checkpoint.name if job.live else since.name if since and kept else ""
    point = Point(action.sequence, checkpoint, job.begun_at, world.epoch(), job.checkpoint.versions,
                  sum(copy.sent_bytes for copy in stream.copies), action.quiesce and job.live)
    if newest is not None and not fresh:
        mended = newest.damaged_clusters if action.repair else 0
        point.rotten_clusters = newest.rotten_clusters - mended
        point.damaged_clusters = newest.damaged_clusters - mended
        point.lost_clusters = newest.lost_clusters if replica.lost_files - found else 0
        for older in replica.points:    # clusters unchanged since then are mended there, too
            older.rotten_clusters = max(0, older.rotten_clusters - mended)
            older.damaged_clusters = max(0, older.damaged_clusters - mended)
    if whole == {copy.target for copy in stream.copies}:
        replica.compared_at = point.started_at
    if newest is None:
        replica.seeded_at = point.committed_at
    replica.points.append(point)
    replica.sizes = dict(job.checkpoint.sizes)
    replica.received.clear()
    replica.lost_files -= found
    return point


def _way(copy: Copy) -> str:
    if copy.mode is CopyMode.INCREMENT:
        return "increment" if copy.sent_bytes else "increment, unchanged"
    return f"{copy.mode}, because {copy.why}"
