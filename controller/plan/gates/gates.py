"""Gates: which steps of a plan may be done now, and what clears each of the others.

A gate is a function of one action that returns a ruling, or None if it has nothing against it.
Gates only ever say no: none makes an action happen, and none changes one. They are asked in a fixed
order, and the first that objects gives the step its ruling:

    rule                        no because                               cleared by
    ----------------------------------------------------------------------------------------------
    law, order                  a law would be broken; a circle          facts that differ
    undone                      the node undid it before                 a commit, approve, resume
    in-use own-address loop     the network is used, or would loop       the network as it is seen
    lease                       another controller may conduct by now    the lease, renewed
    suspended                   somebody paused the object               resume, or the end of it
    fact-age, unread            facts are old, or one thing is unknown   an answer
    identity                    another domain has its UUID, MAC, file   a person, by hand
    storm                       too many hosts of the site are silent    hosts that answer
    delete-ceiling              the plan deletes too much                `limits.deletes`
    quarantine                  repaired too often in a short time       time, or a commit
    window                      a maintenance window forbids it          its next edge
    adopt anew takes renamed …  the action itself asks a person          approve
    autonomy                    its rung is above the granted one        approve
    grace                       removed from the specs only just now     time, or approve
    fact-age, order, in-flight  (waiting) a stale host elsewhere, a      the other step
                                step that must end first, no free slot

Why in this order. The laws are checked before any gate, on the finished and ordered list (laws.py):
no grant, approval or clock may answer for them. Refusals that only the world clears come before
those that a person clears, so that nobody is asked for an approval that changes nothing; `undone`
is first, since it is about a node that was cut off. What merely has to wait follows what is
refused. Concurrency is last, because it alone has a memory: it gives a slot to each action that it
lets pass, and one that is not going to begin must not occupy a slot.

The autonomy ladder is `Rung`: report < network < replicate < start < migrate < restart < prune <
failover < delete. What is on `report` or `network` is done in a storm, too. Only repairs of drift
are quarantined, and copies never are. An ask cannot be granted beforehand: it waits whatever rung
the specs allow, for a yes to this one action.

Rule 1: an approval answers the gates that ask for one (ask, autonomy, undone, grace), no other; a
        break-glass answers window and autonomy for what it changes (approval.py).
Rule 2: every refusal is a sentence with its number, and names what clears it.
"""

from collections.abc import Mapping
from typing import Final

from controller.model.document import Rung
from controller.model.facts import Known
from controller.model.units import render_duration, render_instant
from controller.plan.actions.action import Action, Cause
from controller.plan.actions.desired import DesiredDisk
from controller.plan.actions.failover import EndStaleDomain, MoveDomain, WriteRecord
from controller.plan.actions.fencing import AdmitAddresses, DropAddresses, FenceHost
from controller.plan.actions.guarding import RestoreGrants, RevokeGrants
from controller.plan.actions.machine import (
    DefineDomain,
    MigrateDomain,
    RemoveDomain,
    RestartDomain,
    StartDomain,
    UndefineDomain,
)
from controller.plan.actions.promotion import PromoteReplica
from controller.plan.actions.replica import ReplicateDomain, replica_of
from controller.plan.actions.storage import CreateDisk, CreatePool
from controller.plan.gates.approval import asks_first, glass_over, is_approved, needs_yes
from controller.plan.gates.ceiling import Deletions, above_ceiling, deletions_of
from controller.plan.gates.concurrency import ConcurrencyLimits, is_long
from controller.plan.gates.grace import in_grace
from controller.plan.gates.identity import identity_taken
from controller.plan.gates.network import NetworkGates, leaving_vlans
from controller.plan.gates.scopes import granted, pause_of
from controller.plan.machine.removal import disk_paths
from controller.plan.steps.contained import FAULTS, not_understood
from controller.plan.steps.draft import counted
from controller.plan.steps.plan import Ruling, Step, Verdict
from controller.plan.survey.survey import Survey

UNLIMITED: Final = (WriteRecord, RevokeGrants, RestoreGrants, FenceHost, DropAddresses,
                    AdmitAddresses, PromoteReplica)
"""They have widths of their own, or none."""
OF_FAILOVER: Final = (*UNLIMITED, MoveDomain, EndStaleDomain)
OF_A_DOMAIN: Final = ("VirtualMachine/", "Replica/")
ALLOWED: Final = Ruling(Verdict.ALLOWED)


def rule_all(steps: tuple[Step, ...], survey: Survey) -> tuple[Step, ...]:
    """Return the steps, each with the ruling of the first gate that objects."""
    if not steps:
        return ()
    deletions = deletions_of(steps, survey)
    storms = storms_of(survey)
    new_pools = pools_to_create(steps)
    limits = ConcurrencyLimits(survey)
    limits.expect([step.action for step in steps if step.action.rung is Rung.REPLICATE])
    moves = {replica_of(step.action.target): step for step in steps
             if isinstance(step.action, MigrateDomain | RestartDomain | MoveDomain)}
    network = NetworkGates(survey, leaving_vlans(step.action for step in steps))
    verdicts: dict[str, Verdict] = {}
    ruled = []
    for step in steps:
        try:
            ruling = step.ruling if step.ruling.verdict is not Verdict.ALLOWED else (
                network.judge(step.action) or judge(step.action, survey, storms,
                                                            deletions)
                or stale_elsewhere(step.action, survey)
                or after_pools(step.action, new_pools) or _after_refused(step, verdicts)
                or _after_move(step.action, moves, survey, storms)
                or (None if isinstance(step.action, UNLIMITED) else limits.take(step.action))
                or ALLOWED)
        except FAULTS as error:
            ruling = Ruling(Verdict.REFUSED, "fault", not_understood(step.action.target, error))
        verdicts[step.action.id] = ruling.verdict
        ruled.append(step if ruling is step.ruling else Step(step.action, step.after, ruling))
    return tuple(ruled)


def judge(action: Action, survey: Survey, storms: Mapping[str, str],
          deletions: Deletions) -> Ruling | None:
    """Return the ruling of the first gate that objects to an action alone; None if none does."""
    if (ruling := without_lease(action, survey)) is not None:
        return ruling
    if isinstance(action, OF_FAILOVER):
        return of_failover(action, survey)
    for gate in (suspended, fact_age, unread, identity_taken):
        ruling = gate(action, survey)
        if ruling is not None:
            return ruling
    if storms and action.rung.height > Rung.NETWORK.height:
        for site in dict.fromkeys(survey.site_of(node) for node in action.nodes):
            if site in storms:
                return Ruling(Verdict.REFUSED, "storm", storms[site],
                              f"when the hosts of {site} answer again")
    if (ruling := above_ceiling(action, deletions, survey)) is not None:
        return ruling
    return (quarantined(action, survey) or outside_windows(action, survey)
            or asks_first(action, survey) or beyond_autonomy(action, survey)
            or in_grace(action, survey))


def of_failover(action: Action, survey: Survey) -> Ruling | None:
    """Return the ruling of the gates that hold back a failover; None if none objects.

    Its own table has decided by views, proofs and limits of its own; silence is what it is about,
    and it waits for no window. A person's order is a yes to all of it.
    """
    ruling = suspended(action, survey) or fact_age(action, survey)
    if ruling is None and isinstance(action, PromoteReplica | MoveDomain):
        ruling = unread(action, survey) or identity_taken(action, survey)
    if ruling is None:
        ruling = asks_first(action, survey)
    if ruling is None and action.cause is not Cause.HUMAN:
        ruling = beyond_autonomy(action, survey)
    return ruling


def suspended(action: Action, survey: Survey) -> Ruling | None:
    """Refuse an action on anything that is suspended."""
    pause = pause_of(action, survey)
    if pause is None:
        return None
    return Ruling(
        Verdict.REFUSED, "suspended",
        f"{pause.target} is suspended by {pause.by} until {render_instant(pause.until_at)}:"
        f" {pause.why}", f"hotsite resume {pause.target}")


def without_lease(action: Action, survey: Survey) -> Ruling | None:
    """Refuse what cannot be undone while the lease that was held is not known to be ours."""
    lease = survey.context.lease
    if lease is None or lease.held or action.rung.height < Rung.FAILOVER.height:
        return None
    return Ruling(Verdict.REFUSED, "lease", lease.sentence,
                  "when this controller has the lease")


def fact_age(action: Action, survey: Survey) -> Ruling | None:
    """Refuse an action on a node that does not answer, or whose facts are too old."""
    for node in action.nodes:
        if not isinstance(survey.observed.nodes.get(node), Known):
            why = survey.duplicates.get(node, "does not answer")
            return Ruling(Verdict.REFUSED, "fact-age", f"{node} {why}", f"when {node} answers")
        if node in survey.stale:
            return Ruling(Verdict.REFUSED, "fact-age", survey.stale[node],
                          f"when {node} answers")
    return None


def stale_elsewhere(action: Action, survey: Survey) -> Ruling | None:
    """Make a creation or removal wait while any host's facts are too old to rule the VM out there.

    These two are right only if no host has the VM; to start or move one, start_blocker looks.
    """
    if not survey.stale:
        return None
    name = action.target.partition("/")[2]
    if isinstance(action, UndefineDomain | RemoveDomain):
        why_all = f"nobody knows whether {name} is still there"
    elif isinstance(action, DefineDomain | CreateDisk) and name not in survey.sightings:
        why_all = f"{name} may be there by now"
    else:
        return None
    for host, why in survey.stale.items():
        if host in survey.desired.hosts:
            return Ruling(Verdict.WAITING, "fact-age", f"{why}: {why_all}", f"when {host} answers")
    return None


def unread(action: Action, survey: Survey) -> Ruling | None:
    """Refuse an action on a domain, or one that needs a pool, whose own facts are unknown."""
    name = action.target.partition("/")[2]
    for seen in survey.sightings.get(name, ()) if action.target.startswith(OF_A_DOMAIN) else ():
        if seen.domain.unknown:
            return Ruling(Verdict.REFUSED, "unread", f"{name} on {seen.host} could not be read:"
                          f" {seen.domain.unknown}", f"when libvirt on {seen.host} shows it")
    if not survey.unreadable_pools:
        return None
    node, disks = needs_of(action)
    pools = survey.pools(node) or {}
    for disk in disks:
        if disk.pool in pools and pools[disk.pool].unknown:
            return Ruling(Verdict.REFUSED, "unread", f"pool {disk.pool} of {node} could not be"
                          f" seen: {pools[disk.pool].unknown}", f"when {node} shows it")
    if isinstance(action, StartDomain | RestartDomain | ReplicateDomain):
        return wrong_file_system(action, survey)
    return None


def wrong_file_system(action: StartDomain | RestartDomain | ReplicateDomain,
                      survey: Survey) -> Ruling | None:
    """Refuse to start or copy a VM whose pool folder shows another file system than its own.

    A running VM may still be copied: QEMU has its files open, whatever is mounted over them.
    """
    name, node = action.domain, action.node
    domain = survey.domains.get(node, {}).get(name)
    open_already = domain is not None and domain.state.active and (
        isinstance(action, ReplicateDomain))
    files = () if domain is None or open_already else disk_paths(domain)
    for pool in (survey.pools(node) or {}).values():
        if pool.expected and any(path.startswith(f"{pool.path.rstrip('/')}/") for path in files):
            return Ruling(Verdict.REFUSED, "unread", f"{name} has its disks in pool {pool.name} of"
                          f" {node}, which does not show its own files: {pool.unknown}",
                          f"when {node} shows them")
    return None


def needs_of(action: Action) -> tuple[str, tuple[DesiredDisk, ...]]:
    """Return the node and the disks whose pools an action needs."""
    match action:
        case CreateDisk():
            return action.node, (action.disk,)
        case DefineDomain():
            return action.node, action.desired.disks
        case MigrateDomain():
            return action.to, action.disks
    return action.node, ()


def storms_of(survey: Survey) -> dict[str, str]:
    """Return a sentence for every site of which too many hosts are silent."""
    return {site: sentence for site in sorted(survey.desired.sites)
            if (sentence := storm(site, survey)) is not None}


def is_storm(unwell: int, hosts: int, share: float) -> bool:
    """Return whether so many of a site's hosts are silent that our own link may be the fault."""
    return unwell >= 2 and unwell > share * hosts


def storm(site: str, survey: Survey) -> str | None:
    """Return why nothing is healed at `site`, if too many of its hosts are silent; else None.

    One silent host is never a storm, however few hosts the site has.
    """
    hosts = [host for host in survey.hosts_of_site.get(site, ()) if host not in survey.lost]
    unwell = [host for host in hosts if host not in survey.duplicates
              and (host in survey.unreachable or host in survey.stale)]
    share = survey.desired.estate.spec.limits.storm_share
    if not is_storm(len(unwell), len(hosts), share):
        return None
    return (f"{len(unwell)} of the {len(hosts)} hosts of {site} do not answer"
            f" ({len(unwell) / len(hosts):.0%}, the limit is {share:.0%}): the fault may be on our"
            " side, so nothing but its network is healed there")


def quarantined(action: Action, survey: Survey) -> Ruling | None:
    """Refuse to repair a target that was repaired too often in a short time."""
    if action.cause is not Cause.DRIFT or (
            action.rung is Rung.REPLICATE):     # a replica left alone only ages
        return None
    repairs = survey.context.repairs.get(action.target, ())
    limits = survey.desired.estate.spec.limits
    count = limits.quarantine_repairs
    if len(repairs) < count:
        return None
    if survey.now_s - repairs[-1] >= limits.quarantine_for_s:
        return None
    if not any(last - first <= limits.quarantine_within_s
               for first, last in zip(repairs, repairs[count - 1:], strict=False)):
        return None
    out_at = repairs[-1] + limits.quarantine_for_s
    return Ruling(
        Verdict.REFUSED, "quarantine",
        f"{action.target} was repaired {count} times within"
        f" {render_duration(limits.quarantine_within_s)} and does not stay well: it is left alone"
        f" until {render_instant(out_at)}",
        "find out what breaks it; a new commit that changes it is let through")


def outside_windows(action: Action, survey: Survey) -> Ruling | None:
    """Refuse an action inside a window that denies it, or outside all that allow it; deny wins."""
    if not survey.context.windows or glass_over(action, survey) is not None:
        return None
    relevant = [window for window in survey.context.windows
                if action.rung.height >= window.above.height
                and not is_emergency(action, window.emergency)]
    denying = [window for window in relevant if window.effect == "deny" and window.open]
    allowing = [window for window in relevant if window.effect == "allow"]
    if denying:
        window = denying[0]
        return Ruling(Verdict.REFUSED, "window", f"window {window.name} denies {action.rung} and"
                      " higher now", _when(window.changes_at))
    if allowing and not any(window.open for window in allowing):
        names = ", ".join(window.name for window in allowing)
        instants = [window.changes_at for window in allowing if window.changes_at is not None]
        return Ruling(Verdict.REFUSED, "window", f"{action.rung} is allowed only in window {names},"
                      " which is closed now", _when(min(instants, default=None)))
    return None


def is_emergency(action: Action, classes: tuple[str, ...]) -> bool:
    """Return whether an action is of a class that a window never holds back."""
    if "copy" in classes and isinstance(action, ReplicateDomain):
        return True
    return ("repair" in classes and action.cause is Cause.DRIFT and not action.takes
            and action.rung.height <= Rung.START.height)


def _when(at: float | None) -> str:
    return "edit the Estate's windows" if at is None else f"at {render_instant(at)}"


def beyond_autonomy(action: Action, survey: Survey) -> Ruling | None:
    """Ask for approval of an action above the rung that is granted for it."""
    scope, rung = granted(action, survey)
    if (action.rung.height <= rung.height or is_approved(action, survey)
            or glass_over(action, survey) is not None):
        return None
    return needs_yes(action, survey, "autonomy",
                     f"{action.rung} is beyond {rung}, which {scope} grants")


def pools_to_create(steps: tuple[Step, ...]) -> dict[str, tuple[str, ...]]:
    """Return, by pool, the hosts on which this plan creates or starts it."""
    found: dict[str, tuple[str, ...]] = {}
    for step in steps:
        if isinstance(step.action, CreatePool):
            pool = step.action.pool
            found[pool] = (*found.get(pool, ()), step.action.node)
    return found


def after_pools(action: Action, new_pools: Mapping[str, tuple[str, ...]]) -> Ruling | None:
    """Make a new disk wait for pools that other hosts still have to start: it may lie in one."""
    if not isinstance(action, CreateDisk):
        return None
    hosts = [host for host in new_pools.get(action.disk.pool, ()) if host != action.node]
    if not hosts:
        return None
    others = f" and on {counted(len(hosts) - 1, 'more host')}" if len(hosts) > 1 else ""
    return Ruling(Verdict.WAITING, "order", f"pool {action.disk.pool} is first made on"
                  f" {hosts[0]}{others}: its folder may hold this disk already",
                  "when that is done")


def _after_move(action: Action, moves: Mapping[str, Step], survey: Survey,
                storms: Mapping[str, str]) -> Ruling | None:
    """Make a copy wait for a restart of its VM, and a copy of whole disks for a move of it.

    A move or restart that a gate refuses delays nothing. An increment is still made before a move.
    """
    step = moves.get(action.target)
    if (step is None or not isinstance(action, ReplicateDomain)
            or step.ruling.verdict is not Verdict.ALLOWED
            or (isinstance(step.action, MigrateDomain) and not is_long(action))
            or judge(step.action, survey, storms, Deletions(0, 0, 0)) is not None):
        return None
    return Ruling(Verdict.WAITING, "order", f"{step.action.id} comes first", "when that is done")


def _after_refused(step: Step, verdicts: Mapping[str, Verdict]) -> Ruling | None:
    """Make a step wait for one that comes first and is refused or needs approval."""
    for name in step.after:
        if verdicts.get(name) in {Verdict.REFUSED, Verdict.NEEDS_APPROVAL}:
            return Ruling(Verdict.WAITING, "order", f"{name} comes first and is"
                          f" {'refused' if verdicts[name] is Verdict.REFUSED else verdicts[name]}",
                          "whatever clears that")
    return None
