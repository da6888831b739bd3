"""What guards and grantors say for a failover: who is guarded, who grants whom, who hears whom.

    guarded   its guard was seen to run and was granted before, by numbers no longer than declared,
              and held every VM that it may have to end
    grants    of every grantor that the host asks, by the specs or by its own word: one left out
              could go on granting
              a host that was renamed is asked for under each name that it had: what was told to
              it before it fell silent is what it goes by
    views     a witness hears a host when that asks it; of one that never asks it, it knows nothing

Ages are what a grantor last said, by its own clock, and no time is added to them: the controller's
clock may be set.
"""

from collections.abc import Iterator, Mapping
from math import inf

from controller.failover.situation import Grant, View
from controller.model.facts import DomainFacts, Known, runs
from controller.model.failover.guard import GrantorFacts, GuardFacts
from controller.plan.guarding.orders import orders_of
from controller.plan.survey.renamed import nodes_of
from controller.plan.survey.silence import last_of
from controller.plan.survey.survey import NEVER_ASKED, Survey

RESETS = frozenset({"hardware", "fifo"})
"""Devices that reset a host whose kernel hangs; a FIFO is a lab's."""


def guard_of(host: str, survey: Survey) -> GuardFacts | None:
    """Return the guard of a host as it was last seen; None if it never was."""
    node = last_of(survey.observed.nodes.get(host, NEVER_ASKED))
    return None if node is None else last_of(node.guard)


def grantor_of(node: str, survey: Survey) -> GrantorFacts | None:
    """Return the grantor of a node that answers now, and whose answer is not old."""
    if node not in survey.nodes or node in survey.stale or node in survey.lost:
        return None
    fact = survey.nodes[node].grantor
    return fact.value if isinstance(fact, Known) and fact.value.running else None


def is_guarded(host: str, survey: Survey) -> bool:
    """Return whether the guard of a host surely ends its guests once nobody grants it."""
    guard, spec = guard_of(host, survey), survey.desired.estate.spec.failover.guard
    if guard is None or not (guard.running and guard.granted) or guard.stubborn:
        return False
    if (guard.deadline_s > spec.deadline_s or guard.kill_s > spec.kill_s
            or guard.feed_s > spec.feed_s or guard.watchdog_s > spec.watchdog_s):
        return False
    names = set(names_of(host, survey))
    return not not_held(host, guard, survey) and not any(
        names.intersection(grantor.disarmed) for name in grantors_of(host, survey)
        if (grantor := grantor_of(name, survey)) is not None)


def has_watchdog(host: str, survey: Survey) -> bool:
    """Return whether the guard of a host was seen to feed a device that resets the host."""
    guard = guard_of(host, survey)
    return (guard is not None and guard.fed and guard.watchdog in RESETS
            and guard.watchdog_timeout_s <= guard.watchdog_s)


def grantors_of(host: str, survey: Survey) -> tuple[str, ...]:
    """Return everybody that a host asks, by the specs or by its own word, sorted."""
    told, guard = orders_of(survey.desired).guards.get(host), guard_of(host, survey)
    names = {one.name for one in told.grantors} if told is not None else set[str]()
    return tuple(sorted(names if guard is None else names | asked_by(guard, survey)))


def asked_by(guard: GuardFacts, survey: Survey) -> frozenset[str]:
    """Return the present names of those whom a guard asks.

    Another machine may have the name by now: what the guard asks is where it was told to ask.
    """
    now, declared = nodes_of(survey.specs.renames), orders_of(survey.desired).grantors
    found = set()
    for former in guard.grantors:
        name, address = now.get(former, former), guard.addresses.get(former)
        moved = address is not None and name in declared and declared[name].address != address
        found.add(f"{name} at {address}" if moved else name)
    return frozenset(found)


def names_of(host: str, survey: Survey) -> tuple[str, ...]:
    """Return the names by which grantors may know a host: its own, then its former ones."""
    spec = survey.desired.hosts.get(host)
    return (host, *(one for one in (spec.spec.formerly if spec is not None else ())
                    if one not in survey.desired.hosts))


def grants_of(host: str, survey: Survey) -> tuple[Grant, ...]:
    """Return what each grantor says of a host; one that cannot be asked has no age."""
    names = names_of(host, survey)
    return tuple(_grant(name, names, grantor_of(name, survey))
                 for name in grantors_of(host, survey))


def _grant(name: str, names: tuple[str, ...], grantor: GrantorFacts | None) -> Grant:
    """Return what a grantor says of a host; it has granted to it if it did so under any name."""
    if grantor is None:
        return Grant(grantor=name, age_s=None)
    said = [_granted(one, grantor) for one in names if one == names[0] or _knows(grantor, one)]
    return Grant(grantor=name, age_s=min(age_s for age_s, _ in said),
                 revoked=min(epoch for _, epoch in said),
                 revoked_once=max(epoch for _, epoch in said))


def _granted(host: str, grantor: GrantorFacts) -> tuple[float, int]:
    """Return how long ago a grantor granted to a host, and the epoch that it is refused for."""
    revoked = grantor.revoked.get(host)
    return (_heard_s(host, grantor), 0) if revoked is None else (revoked.age_s, revoked.epoch)


def _knows(grantor: GrantorFacts, host: str) -> bool:
    return any(host in names for names in (
        grantor.hears, grantor.silent, grantor.never, grantor.revoked))


def _heard_s(host: str, grantor: GrantorFacts) -> float:
    if host in grantor.hears:
        return 0.0
    return grantor.silent.get(host, grantor.listening_s)


def view_of(witness: str, survey: Survey) -> View:
    """Return which hosts a witness hears, as far as they ask it."""
    fact = survey.observed.nodes.get(witness, NEVER_ASKED)
    place = survey.desired.witnesses[witness].spec.place
    grantor = grantor_of(witness, survey)
    if not isinstance(fact, Known):
        return View(by=witness, place=place, age_s=None)
    if grantor is None:         # it is there, and has heard nobody
        return View(by=witness, place=place, age_s=max(0.0, survey.now_s - fact.observed_at))
    now, heard_s = nodes_of(survey.specs.renames), dict[str, float]()
    for name in (*grantor.hears, *grantor.silent):
        host = now.get(name, name)
        heard_s[host] = min(_heard_s(name, grantor), heard_s.get(host, inf))
    return View(by=witness, place=place, age_s=max(0.0, survey.now_s - fact.observed_at),
                listening_s=grantor.listening_s, heard_s=heard_s,
                deaf_to=frozenset(_strangers(witness, heard_s, survey)))


def _strangers(witness: str, heard_s: Mapping[str, float], survey: Survey) -> Iterator[str]:
    """Yield the hosts that a witness did not hear, and that were never seen to ask it."""
    for host in survey.desired.hosts:
        guard = guard_of(host, survey)
        if host not in heard_s and (guard is None or not guard.running
                                    or witness not in asked_by(guard, survey)):
            yield host


def not_held(host: str, guard: GuardFacts, survey: Survey) -> list[str]:
    """Return the VMs that run on a host, should end when it is cut off, and are not held."""
    machines, policies = survey.desired.virtual_machines, survey.desired.protection_policies
    held = set(guard.held)
    return sorted(
        name for name, domain in _running(host, survey)
        if (policy := policies.get(str(machines[name].spec.protection))) is not None
        and policy.spec.isolation == "stop" and domain.uuid not in held)


def _running(host: str, survey: Survey) -> Iterator[tuple[str, DomainFacts]]:
    """Yield the declared VMs that run on a host, or ran there when it was last seen."""
    names = survey.specs.names.present
    domains = survey.domains.get(host)
    if domains is None and host in survey.unreachable:
        domains = survey.unreachable[host].domains
    for domain in (domains or {}).values():
        mark = domain.ownership
        found = domain.name if mark is None or not mark.name else mark.name
        name = names.get(found, found)
        if name in survey.desired.virtual_machines and runs(domain):
            yield name, domain
