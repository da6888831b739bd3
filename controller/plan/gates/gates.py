"""The gates: what each action may do now, and the number, the rule and the way out if it may not.

Rule 1: gates only say no. The first that does speaks; a person's approval answers one gate alone,
        the one about autonomy.
Rule 2: every refusal is a sentence with its number, and names what clears it.
"""

from collections.abc import Callable, Mapping
from typing import Final

from controller.model.document import Rung
from controller.model.facts import Known
from controller.model.instants import render_instant
from controller.model.units import render_duration
from controller.plan.actions.action import Action, Cause
from controller.plan.actions.desired import DesiredDisk
from controller.plan.actions.machine import (
    DefineDomain,
    MigrateDomain,
    RemoveDomain,
    RestartDomain,
    StartDomain,
    UndefineDomain,
)
from controller.plan.actions.replica import ReplicateDomain, replica_of
from controller.plan.actions.storage import CreateDisk, CreatePool
from controller.plan.gates.asking import asked, is_approved
from controller.plan.gates.ceiling import Toll, above_ceiling, toll_of
from controller.plan.gates.concurrency import ConcurrencyLimits, is_long
from controller.plan.gates.grace import waits_out
from controller.plan.gates.network import NetworkGates, leaving_vlans
from controller.plan.gates.scopes import granted, pause_of
from controller.plan.gates.taken import taken
from controller.plan.machine.removal import disk_paths
from controller.plan.steps.contained import FAULTS, not_understood
from controller.plan.steps.draft import counted
from controller.plan.steps.plan import Ruling, Step, Verdict
from controller.plan.survey.survey import Survey

OF_A_DOMAIN: Final = ("VirtualMachine/", "Replica/")
ALLOWED: Final = Ruling(Verdict.ALLOWED)
Gate = Callable[[Action, Survey], Ruling | None]


def rule_all(steps: tuple[Step, ...], survey: Survey) -> tuple[Step, ...]:
    """Return the steps with every gate's word on them."""
    if not steps:
        return ()
    toll = toll_of(steps, survey)
    storms = storms_of(survey)
    coming = pools_to_come(steps)
    slots = ConcurrencyLimits(survey)
    slots.expect([step.action for step in steps if step.action.rung is Rung.REPLICATE])
    leaving = moves_of(steps)
    network = NetworkGates(survey, leaving_vlans(step.action for step in steps))
    verdicts: dict[str, Verdict] = {}
    ruled = []
    for step in steps:
        try:
            ruling = step.ruling if step.ruling.verdict is not Verdict.ALLOWED else (
                network.judge(step.action) or judge(step.action, survey, storms, toll)
                or not_asked_lately(step.action, survey)
                or before_pools(step.action, coming) or _held_back(step, verdicts)
                or _after_move(step.action, leaving, survey, storms)
                or slots.take(step.action) or ALLOWED)
        except FAULTS as error:
            ruling = Ruling(Verdict.REFUSED, "fault", not_understood(step.action.target, error))
        verdicts[step.action.id] = ruling.verdict
        ruled.append(step if ruling is step.ruling else Step(step.action, step.after, ruling))
    return tuple(ruled)


def judge(action: Action, survey: Survey, storms: dict[str, str], toll: Toll) -> Ruling | None:
    """Return the first gate's no to `action`; None when all of them let it pass."""
    for gate in (suspended, fact_age, unread, taken):
        ruling = gate(action, survey)
        if ruling is not None:
            return ruling
    if storms and action.rung.height > Rung.NETWORK.height:
        for site in dict.fromkeys(survey.site_of(node) for node in action.nodes):
            if site in storms:
                return Ruling(Verdict.REFUSED, "storm", storms[site],
                              f"when the hosts of {site} answer again")
    if (ruling := above_ceiling(action, toll, survey)) is not None:
        return ruling
    return (quarantined(action, survey) or outside_windows(action, survey)
            or asked(action, survey) or beyond(action, survey) or waits_out(action, survey))


def suspended(action: Action, survey: Survey) -> Ruling | None:
    """Refuse what stands in a scope that somebody paused."""
    pause = pause_of(action, survey)
    if pause is None:
        return None
    return Ruling(
        Verdict.REFUSED, "suspended",
        f"{pause.target} is suspended by {pause.by} until {render_instant(pause.until_at)}:"
        f" {pause.why}", f"hotsite resume {pause.target}")


def fact_age(action: Action, survey: Survey) -> Ruling | None:
    """Refuse what would be decided on facts that are old or missing."""
    for node in action.nodes:
        if not isinstance(survey.observed.nodes.get(node), Known):
            why = survey.duplicates.get(node, "does not answer")
            return Ruling(Verdict.REFUSED, "fact-age", f"{node} {why}", f"when {node} answers")
        if node in survey.stale:
            return Ruling(Verdict.REFUSED, "fact-age", survey.stale[node],
                          f"when {node} answers")
    return None


def not_asked_lately(action: Action, survey: Survey) -> Ruling | None:
    """Hold back what is right only if it is so everywhere while a host answered too long ago."""
    if not survey.stale:
        return None
    name = action.target.partition("/")[2]
    if isinstance(action, UndefineDomain | RemoveDomain):
        words = f"nobody knows whether {name} is still there"
    elif isinstance(action, DefineDomain | CreateDisk) and name not in survey.sightings:
        words = f"{name} may be there by now"
    else:
        return None
    for host, why in survey.stale.items():
        if host in survey.desired.hosts:
            return Ruling(Verdict.WAITING, "fact-age", f"{why}: {words}", f"when {host} answers")
    return None


def unread(action: Action, survey: Survey) -> Ruling | None:
    """Refuse what concerns a domain, or needs a pool, that alone could not be seen."""
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
        return on_other_files(action, survey)
    return None


def on_other_files(action: StartDomain | RestartDomain | ReplicateDomain,
                   survey: Survey) -> Ruling | None:
    """Refuse to start or copy a VM from a folder that shows the files of another file system.

    What runs has its own files open, whatever lies over them now.
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
    """Return the disks whose pools an action needs, and on which node."""
    match action:
        case CreateDisk():
            return action.node, (action.disk,)
        case DefineDomain():
            return action.node, action.desired.disks
        case MigrateDomain():
            return action.to, action.disks
    return action.node, ()


def storms_of(survey: Survey) -> dict[str, str]:
    """Return, by site that has too many silent hosts, the sentence about it."""
    return {site: sentence for site in sorted(survey.desired.sites)
            if (sentence := storm(site, survey)) is not None}


def is_storm(unwell: int, hosts: int, share: float) -> bool:
    """Return whether so many of a site's hosts are unwell that it may be our own fault."""
    return unwell >= 2 and unwell > share * hosts


def storm(site: str, survey: Survey) -> str | None:
    """Return why nothing is healed at `site`, when more of its hosts are unwell than may be.

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
    """Refuse to repair again what has been repaired too often in a short time."""
    if action.cause is not Cause.DRIFT or (
            action.rung is Rung.REPLICATE):     # to leave a replica alone makes nothing better
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
    """Refuse what a closed window does not allow or an open one denies; deny wins."""
    if not survey.context.windows:
        return None
    speaking = [window for window in survey.context.windows
                if action.rung.height >= window.above.height]
    denying = [window for window in speaking if window.effect == "deny" and window.open]
    allowing = [window for window in speaking if window.effect == "allow"]
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


def _when(at: float | None) -> str:
    return "edit the Estate's windows" if at is None else f"at {render_instant(at)}"


def beyond(action: Action, survey: Survey) -> Ruling | None:
    """Ask a person about what is above the rung that the nearest scope grants."""
    scope, rung = granted(action, survey)
    if action.rung.height <= rung.height or is_approved(action, survey):
        return None
    return Ruling(Verdict.NEEDS_APPROVAL, "autonomy",
                  f"{action.rung} is beyond {rung}, which {scope} grants",
                  f"hotsite approve {action.id}")


def pools_to_come(steps: tuple[Step, ...]) -> dict[str, tuple[str, ...]]:
    """Return, by pool, the hosts on which it is still to be made or started."""
    found: dict[str, tuple[str, ...]] = {}
    for step in steps:
        if isinstance(step.action, CreatePool):
            pool = step.action.pool
            found[pool] = (*found.get(pool, ()), step.action.node)
    return found


def before_pools(action: Action, coming: Mapping[str, tuple[str, ...]]) -> Ruling | None:
    """Hold back a new disk while it may lie, unseen, in a pool that another host is to get back."""
    if not isinstance(action, CreateDisk):
        return None
    hosts = [host for host in coming.get(action.disk.pool, ()) if host != action.node]
    if not hosts:
        return None
    others = f" and on {counted(len(hosts) - 1, 'more host')}" if len(hosts) > 1 else ""
    return Ruling(Verdict.WAITING, "order", f"pool {action.disk.pool} is first made on"
                  f" {hosts[0]}{others}: its folder may hold this disk already",
                  "when that is done")


def moves_of(steps: tuple[Step, ...]) -> dict[str, Step]:
    """Return, by `Replica/name`, the step that is to move or restart the VM."""
    return {replica_of(step.action.target): step for step in steps
            if isinstance(step.action, MigrateDomain | RestartDomain)}


def _after_move(action: Action, leaving: Mapping[str, Step], survey: Survey,
                storms: dict[str, str]) -> Ruling | None:
    """Let a copy wait where the VM is about to be restarted, or moved away from a long copy.

    A move that no gate lets pass holds nothing up; before one that may go, an increment is made.
    """
    step = leaving.get(action.target)
    if (step is None or not isinstance(action, ReplicateDomain)
            or step.ruling.verdict is not Verdict.ALLOWED
            or (isinstance(step.action, MigrateDomain) and not is_long(action))
            or judge(step.action, survey, storms, Toll(0, 0, 0)) is not None):
        return None
    return Ruling(Verdict.WAITING, "order", f"{step.action.id} comes first", "when that is done")


def _held_back(step: Step, verdicts: dict[str, Verdict]) -> Ruling | None:
    for name in step.after:
        if verdicts.get(name) in {Verdict.REFUSED, Verdict.NEEDS_APPROVAL}:
            return Ruling(Verdict.WAITING, "order", f"{name} comes first and is"
                          f" {'refused' if verdicts[name] is Verdict.REFUSED else verdicts[name]}",
                          "whatever clears that")
    return None
