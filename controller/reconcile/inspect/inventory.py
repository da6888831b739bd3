"""What was seen, as rows for tables: hosts, switches, VMs, pools, ports and replicas."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from controller.model.facts import Absent, Fact, NodeFacts
from controller.model.replica import ReplicaFacts
from controller.reconcile.inspect.loop_status import LastFacts, LoopStatus
from controller.reconcile.observe.view import last_known

T = TypeVar("T")
Row = dict[str, Any]


def freshness(loop_status: LoopStatus, node: str, seen: LastFacts) -> Row:
    """Return whether the node answers now, and the age of its last facts."""
    nodes = (loop_status.heartbeat or {}).get("nodes") or {}
    known = loop_status.alive and (nodes.get(node) or {}).get("state") == "known"
    return {"seen": "now" if known else "before", "age_s": max(0.0, loop_status.now_s - seen.at)}


def host_rows(loop_status: LoopStatus) -> Iterator[Row]:
    """Yield one row per hypervisor."""
    for node, seen in sorted(loop_status.seen.items()):
        if not isinstance(seen.facts.domains, Absent):
            domains = value_of(seen.facts.domains)
            active = [one for one in domains.values() if one.state.active] if domains else []
            yield {"name": node, **hardware(seen.facts),
                   "running": None if domains is None else len(active),
                   "domains": None if domains is None else len(domains),
                   "libvirt": seen.facts.versions.get("libvirt"),
                   "qemu": seen.facts.versions.get("qemu"), **freshness(loop_status, node, seen)}


def switch_rows(loop_status: LoopStatus) -> Iterator[Row]:
    """Yield one row per switch."""
    for node, seen in sorted(loop_status.seen.items()):
        if isinstance(seen.facts.domains, Absent):
            bridges = value_of(seen.facts.bridges)
            ports = [port for one in bridges.values() for port in one.ports.values()] \
                if bridges else []
            yield {"name": node, "bridges": None if bridges is None else len(bridges),
                   "ports": None if bridges is None else len(ports),
                   "down": sum(port.link_up is False for port in ports),
                   "openvswitch": seen.facts.versions.get("openvswitch"),
                   **freshness(loop_status, node, seen)}


def vm_rows(loop_status: LoopStatus) -> Iterator[Row]:
    """Yield one row per domain and host that has it."""
    for node, seen in sorted(loop_status.seen.items()):
        for name, domain in sorted((value_of(seen.facts.domains) or {}).items()):
            config = domain.live or domain.config
            yield {"name": name, "host": node, "state": domain.state.value,
                   "reason": domain.state_reason, "cpus": config.cpus if config else None,
                   "memory_bytes": config.memory_bytes if config else None,
                   "managed": "yes" if domain.ownership else "no",
                   **freshness(loop_status, node, seen)}


def pool_rows(loop_status: LoopStatus) -> Iterator[Row]:
    """Yield one row per pool and host."""
    for node, seen in sorted(loop_status.seen.items()):
        for name, pool in sorted((value_of(seen.facts.pools) or {}).items()):
            yield {"name": name, "host": node, "path": pool.path,
                   "active": "yes" if pool.active else "no",
                   "capacity_bytes": pool.capacity_bytes, "available_bytes": pool.available_bytes,
                   "volumes": len(pool.volumes), **freshness(loop_status, node, seen)}


def port_rows(loop_status: LoopStatus) -> Iterator[Row]:
    """Yield one row per port and node."""
    for node, seen in sorted(loop_status.seen.items()):
        for bridge in (value_of(seen.facts.bridges) or {}).values():
            for name, port in sorted(bridge.ports.items()):
                yield {"name": name, "host": node, "bridge": bridge.name,
                       "tag": "-" if port.tag is None else port.tag,
                       "trunks": ",".join(map(str, port.trunks)) or "-",
                       "link": {True: "up", False: "down", None: None}[port.link_up],
                       "mac": port.attached_mac or "-", "rstp": port.rstp_role or "-",
                       **freshness(loop_status, node, seen)}


def replica_rows(loop_status: LoopStatus) -> Iterator[Row]:
    """Yield one row per replica and host that holds it."""
    for node, seen in sorted(loop_status.seen.items()):
        for uuid, one in sorted((value_of(seen.facts.replicas) or {}).items()):
            newest = one.newest
            yield {"name": one.machine or uuid, "host": node, "points": len(one.points),
                   "newest": newest.sequence if newest else "-",
                   "point_age_s": age_of(newest.started_at, loop_status.now_s) if newest else None,
                   "health": health(one), "stored_bytes": one.stored_bytes,
                   "scrub_age_s": age_of(one.scrubbed_at, loop_status.now_s),
                   **freshness(loop_status, node, seen)}


def age_of(at: float | None, now_s: float) -> float | None:
    """Return the age of an instant; None stays None."""
    return None if at is None else max(0.0, now_s - at)


def health(replica: ReplicaFacts) -> str:
    """Return the health of a replica in a word or two."""
    if replica.unreadable:
        return "unreadable"
    if replica.lost_files:
        count = len(replica.lost_files)
        return f"{count} file{'s' * (count != 1)} lost"
    if replica.damaged_clusters:
        count = replica.damaged_clusters
        return f"{count} cluster{'s' * (count != 1)} damaged"
    return "sound" if replica.points else "no point yet"


def hardware(facts: NodeFacts) -> Row:
    """Return a node's processors, memory and load."""
    seen = value_of(facts.hardware)
    if seen is None:
        return {"cpus": None, "memory_bytes": None, "available_bytes": None, "load": None}
    return {"cpus": seen.cpus, "memory_bytes": seen.memory_bytes,
            "available_bytes": seen.memory_available_bytes, "load": round(seen.load_1m, 2)}


def value_of(fact: Fact[T]) -> T | None:
    """Return the value that was last seen; None if none ever was."""
    last = last_known(fact)
    return last.value if last else None


ROWS: Final[Mapping[str, Callable[[LoopStatus], Iterator[Row]]]] = {
    "host": host_rows, "switch": switch_rows, "vm": vm_rows, "pool": pool_rows, "port": port_rows,
    "replica": replica_rows,
}
