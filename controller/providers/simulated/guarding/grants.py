"""Guards and grantors in memory: who was granted when, and what a host that is cut off ends.

Grants pass whenever somebody looks at a node, which is often enough for a loop that polls. A grant
is then never noted later than it would really be, so no host counts as content for longer than a
real one does.
"""

from controller.model.failover.guard import GrantorFacts, GuardFacts, Revocation, Tombstone
from controller.providers.simulated.guarding.state import GrantorState, GuardState
from controller.providers.simulated.power import end_domain
from controller.providers.simulated.world import Node, World, executes

EVERY_S, STILL_S = 1.0, 20.0
LATELY_S, HEARD_S = 10.0, 5.0
HOUR_S, DAY_S = 3600.0, 86400.0
VERSION = "simulated"


def pass_grants(world: World) -> None:
    """Let every guard ask every grantor, and end its guests where it was not granted for long."""
    now_s = world.now()
    if now_s - world.granted_at < EVERY_S:
        return
    world.granted_at = now_s
    listening = {(grantor.orders.name, grantor.orders.address): other
                 for other in world.nodes.values() if (grantor := grantor_in(other)) is not None}
    for node in world.nodes.values():
        guard = guard_in(node)
        if guard is None or node.hung:
            continue
        still_s, guard.round_at = now_s - (guard.round_at or now_s), now_s
        for one in guard.orders.grantors:
            _ask(world, node, guard, one.name, listening.get((one.name, one.address)), now_s)
        if guard.granted_at is None:
            continue
        if now_s - guard.granted_at >= guard.orders.deadline_s:
            _end(world, node, guard, still_s if still_s > STILL_S else 0.0)
        else:
            running = {domain.uuid for domain in node.domains.values() if executes(domain)}
            for uuid in running & guard.tombstones.keys():
                del guard.tombstones[uuid]


def guard_in(node: Node) -> GuardState | None:
    """Return the guard that runs on a node."""
    guard = node.guard
    return guard if guard is not None and node.powered and guard.boot == node.boot else None


def grantor_in(node: Node) -> GrantorState | None:
    """Return the grantor that runs on a node."""
    grantor = node.grantor
    return grantor if grantor is not None and node.powered and grantor.boot == node.boot else None


def _ask(world: World, node: Node, guard: GuardState, name: str, other: Node | None,
         now_s: float) -> None:
    """Let a guard ask, under the names that its orders have for it and for the grantor."""
    grantor, host = None if other is None else grantor_in(other), guard.orders.host
    if (other is None or grantor is None or other.hung or not world.passes(node.name, other.name)
            or host not in grantor.orders.hosts):
        return
    grantor.heard[host] = now_s
    if host not in grantor.refused:
        grantor.granted[host] = guard.granted_at = guard.granted_by[name] = now_s


def _end(world: World, node: Node, guard: GuardState, still_s: float) -> None:
    now_s = world.now()
    for domain in list(node.domains.values()):
        if executes(domain) and domain.name in guard.orders.victims:
            guard.tombstones[domain.uuid] = Tombstone(
                domain.uuid, domain.name, world.epoch(),
                f"nobody has granted {node.name} for {now_s - (guard.granted_at or 0):.0f} s",
                still_s)
            end_domain(node, domain, "shutdown")
            world.notify(node.name)


def guard_facts(world: World, node: Node) -> GuardFacts:
    """Return the guard of a host as its facts show it."""
    guard, now_s = guard_in(node), world.now()
    if guard is None:
        return GuardFacts()
    orders = guard.orders
    lately = tuple(one.name for one in orders.grantors
                   if now_s - guard.granted_by.get(one.name, -HOUR_S) < LATELY_S)
    return GuardFacts(
        running=True, program=VERSION, digest=orders.digest, since_at=guard.began_at,
        granted=guard.granted_at is not None,
        content=guard.granted_at is not None and now_s - guard.granted_at < orders.deadline_s,
        grantors=tuple(one.name for one in orders.grantors), granted_by=lately,
        addresses={one.name: one.address for one in orders.grantors},
        deadline_s=orders.deadline_s, kill_s=orders.kill_s, feed_s=orders.feed_s,
        watchdog_s=orders.watchdog_s, watchdog="none" if orders.watchdog is None else "hardware",
        identity="" if orders.watchdog is None else VERSION, fed=orders.watchdog is not None,
        watchdog_timeout_s=orders.watchdog_s, processes=2,
        held=tuple(sorted(domain.uuid for domain in node.domains.values()
                          if executes(domain) and domain.name in orders.victims)),
        tombstones=tuple(guard.tombstones[uuid] for uuid in sorted(guard.tombstones)))


def _rarely(duration_s: float) -> float:
    whole = int(duration_s)
    return float(1 << whole.bit_length() - 1) if whole > 0 else 0.0


def grantor_facts(world: World, node: Node) -> GrantorFacts:
    """Return the grantor of a node as its facts show it."""
    grantor, now_s = grantor_in(node), world.now()
    if grantor is None:
        return GrantorFacts()
    ages = {host: now_s - at for host, at in grantor.heard.items()}
    return GrantorFacts(
        running=True, program=VERSION, digest=grantor.orders.digest, name=node.name,
        term=grantor.term, listening_s=_rarely(min(now_s - grantor.began_at, HOUR_S)),
        hears=tuple(sorted(host for host, age_s in ages.items() if age_s < HEARD_S)),
        silent={host: min(age_s, HOUR_S) // 1 for host, age_s in sorted(ages.items())
                if age_s >= HEARD_S},
        never=tuple(sorted(set(grantor.orders.hosts) - set(ages))),
        revoked={host: Revocation(
            one.epoch, one.term, one.by, one.why,
            min(now_s - grantor.granted.get(host, grantor.began_at), DAY_S) // 1,
            host not in grantor.granted) for host, one in sorted(grantor.refused.items())})
