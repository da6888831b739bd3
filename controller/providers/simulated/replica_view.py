"""What a poll of a simulated host says of replicas and of what lies about without an owner."""

from collections.abc import Mapping

from controller.model.replica import (
    IncomingFacts,
    Leftover,
    LeftoverKind,
    PointFacts,
    ReplicaFacts,
)
from controller.providers.simulated.replicas import Point, Replica
from controller.providers.simulated.world import Node, World


def replica_facts(node: Node) -> Mapping[str, ReplicaFacts]:
    """Return every replica on a host, by the VM's UUID."""
    return {uuid: _facts(replica) for uuid, replica in sorted(node.replicas.items())}


def _facts(replica: Replica) -> ReplicaFacts:
    """Return one replica as its state.json and its folder tell it."""
    if replica.unreadable:
        return ReplicaFacts(replica.uuid, "", replica.path, unreadable=replica.unreadable)
    return ReplicaFacts(
        uuid=replica.uuid, machine=replica.machine, path=replica.path,
        points=tuple(map(_point, replica.points)), disks=dict(replica.sizes),
        damaged_clusters=max((one.damaged_clusters for one in replica.points), default=0),
        lost_files=tuple(sorted(replica.lost_files)),
        incoming=tuple(IncomingFacts(disk, replica.sizes.get(disk, arrived), arrived)
                       for disk, arrived in sorted(replica.arrived.items())),
        stored_bytes=replica.stored_bytes, pins=dict(replica.pins),
        scrubbed_at=replica.scrubbed_at, seeded_at=replica.seeded_at,
        compared_at=replica.compared_at)


def _point(point: Point) -> PointFacts:
    return PointFacts(point.sequence, point.checkpoint, point.started_at, point.committed_at,
                      point.quiesced, point.stored_bytes, point.known_bad,
                      point.verified_at)


def leftovers(world: World, node: Node) -> tuple[Leftover, ...]:
    """Return what is surely ours on a host and has no owner any more."""
    bench = node.workbench
    jobs = sorted(domain.uuid for domain in node.domains.values()
                  if node.libvirt_up and domain.job_is_ours
                  and domain.uuid not in bench.conducted)
    used = bench.conducted | {d.uuid for d in node.domains.values() if d.job_is_ours}
    found = [Leftover(LeftoverKind.JOB, uuid) for uuid in jobs]
    found += [Leftover(LeftoverKind.SCRATCH, path)
              for path, uuid in sorted(bench.scratch.items()) if uuid not in used]
    found += [Leftover(LeftoverKind.SOCKET, path) for path in sorted(bench.sockets)]
    found += [Leftover(LeftoverKind.KEY, mark) for mark, until_s in sorted(bench.keys.items())
              if world.now() >= until_s]
    found += [Leftover(LeftoverKind.PROGRAM, path) for path in sorted(bench.programs)]
    return tuple(found)
