"""The situation that a decision on failover depends on, filled from specs, facts and context.

    survey ──► hosts: silence, grants, BMC, a person's word      ─┐
    records on nodes, orders of persons, lease                    ├─► Situation ─► failover.decide
    protected VMs: home, target, point, gates, progress          ─┘

Rule 1: what was not asked, or not answered, goes in as unknown: a silent witness has no age, a
        grantor that cannot be asked has none either.
Rule 2: a host is silent only if the last question to it failed; old facts alone do not make it so,
        since the controller's clock may have been set.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

from controller.failover.power import distrust
from controller.failover.situation import (
    Bmc,
    HostSituation,
    Lease,
    MachineSituation,
    RecordCopy,
    Request,
    Situation,
    Word,
)
from controller.failover.states import Phase
from controller.model.facts import Absent, Known, NodeFacts, Observed, Unknown, runs
from controller.model.failover.power import ON
from controller.plan.failover.addresses import not_dropped
from controller.plan.failover.breach import breach_of
from controller.plan.failover.gates import gates_of
from controller.plan.failover.health import progress_of
from controller.plan.guarding.grants import grants_of, has_watchdog, is_guarded, view_of
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.steps.takeover import Promotion
from controller.plan.survey.context import MOVE_TRIES
from controller.plan.survey.controller import controller_inside
from controller.plan.survey.epochs import epoch_of
from controller.plan.survey.identity import Sighting
from controller.plan.survey.silence import last_of
from controller.plan.survey.survey import NEVER_ASKED, Survey

STARTS: Final = 4
"""A host makes so many QEMUs at a time at least, unless its `startWidth` is declared."""


def situation_of(protected: Iterable[ProtectedMachine], promotions: Mapping[str, Promotion],
                 survey: Survey) -> Situation:
    """Return the situation of the whole estate."""
    spec, context = survey.desired.estate.spec.failover, survey.context
    undropped = not_dropped(survey)
    return Situation(
        hosts={name: host_situation(name, survey) for name in survey.desired.hosts},
        machines={one.name: machine_situation(one, promotions, undropped, survey)
                  for one in protected},
        views=tuple(view_of(name, survey) for name in sorted(survey.desired.witnesses)),
        records=tuple(_copies(survey)), unwritable=dict(_unwritable(survey)),
        requests=tuple(Request(target=one.target, by=one.by, reason=one.why, back=one.back,
                               planned=one.planned, accepts_loss=one.accepts_loss,
                               point=one.point, at=one.at)
                       for one in context.failovers),
        place=context.place, lease=_lease(survey), controller_inside=controller_inside(survey),
        highest_epoch=_highest_epoch(survey), guard=spec.guard,
        suspect_after_s=spec.suspect_after_s, now_at=survey.now_s,
        listening_s=max(0.0, survey.now_s - since_at)
        if (since_at := survey.observed.listening_since_at) > 0 else None)


def _lease(survey: Survey) -> Lease:
    """Return whether this controller conducts; without a declared lease it always does."""
    view = survey.context.lease
    return Lease() if view is None else Lease(term=view.term, fresh=view.held, holder=view.holder)


def host_situation(name: str, survey: Survey) -> HostSituation:
    """Return what is seen of one host."""
    spec = survey.desired.hosts[name].spec
    fact = survey.observed.nodes.get(name, NEVER_ASKED)
    last = last_of(fact)
    silent_s = unheard_s = 0.0
    if isinstance(fact, Unknown) and fact.since_at > 0:
        unheard_s = max(0.0, survey.now_s - fact.unseen_since_at)
        silent_s = survey.now_s - silent_since_at(fact, survey.observed)
    return HostSituation(
        name=name, site=spec.site, silent_s=max(0.0, silent_s), heard=last is not None,
        boot_id="" if last is None else last.boot_id, accept_freeze=spec.accept_freeze,
        fencing=spec.fencing, bmc=None if spec.bmc is None else bmc_of(name, survey),
        word=_word(name, survey), maintenance=spec.maintenance,
        start_width=start_width(name, survey),
        guarded=is_guarded(name, survey), watchdog=has_watchdog(name, survey),
        grants=grants_of(name, survey), unheard_s=unheard_s)


def start_width(host: str, survey: Survey) -> int:
    """Return how many VMs a host may boot at once; unless declared, half its processors: a boot
    keeps one busy, and what runs there already needs the others."""
    declared, hardware = survey.desired.hosts[host].spec.start_width, survey.hardware(host)
    if declared is not None:
        return declared
    return 1 if hardware is None else max(1, hardware.cpus // 2)


def starts_at_once(host: str, survey: Survey) -> int:
    """Return how many starts a host is asked for at a time, unless its width is declared: none of
    these guests runs before all of them are made, so that they need less than as many boots."""
    declared = survey.desired.hosts[host].spec.start_width
    return declared if declared is not None else max(STARTS, start_width(host, survey))


def silent_since_at(fact: Unknown[NodeFacts], observed: Observed) -> float:
    """Return since when a node that does not answer is asked in vain, by this controller.

    It was not asked while this controller did not run, or slept.
    """
    return max(fact.unseen_since_at, observed.listening_since_at)


def bmc_of(host: str, survey: Survey) -> Bmc:
    """Return what a host's BMC says, and how old that is."""
    fact = survey.observed.powers.get(host)
    doubt = "" if fact is None else distrust(host, fact, survey.observed.nodes.get(
        host, NEVER_ASKED))
    if not isinstance(fact, Known):
        return Bmc(sentence="" if fact is None or isinstance(fact, Absent) else fact.reason,
                   distrust=doubt)
    power, now_s = fact.value, survey.now_s
    since_at = power.off_since_at
    return Bmc(off_reads=0 if power.refusal else power.off_reads,
               off_s=0.0 if since_at is None else max(0.0, now_s - since_at),
               on=power.state == ON, age_s=max(0.0, now_s - fact.observed_at),
               failed=power.refusal, distrust=doubt)


def _word(host: str, survey: Survey) -> Word | None:
    for one in survey.context.confirmations:
        if one.host == host:
            return Word(by=one.by, reason=one.why, boot_id=one.boot_id,
                        age_s=max(0.0, survey.now_s - one.at))
    return None


def _copies(survey: Survey) -> Iterator[RecordCopy]:
    for node in sorted(survey.observed.nodes):
        facts = last_of(survey.observed.nodes[node])
        held = None if facts is None else last_of(facts.records)
        for record in (held or {}).values():
            yield RecordCopy(node=node, record=record)


def _unwritable(survey: Survey) -> Iterator[tuple[str, str]]:
    """Yield the nodes that answer and cannot hold a record, with why."""
    for name, facts in survey.nodes.items():
        if isinstance(facts.records, Unknown):
            yield name, facts.records.reason


def _highest_epoch(survey: Survey) -> int:
    held = (one.record.epoch for one in _copies(survey))
    refused = (epoch for epoch, _ in survey.isolation.refused.values())
    return max((0, *survey.epochs.values(), *held, *refused))


def machine_situation(protected: ProtectedMachine, promotions: Mapping[str, Promotion],
                      undropped: frozenset[str], survey: Survey) -> MachineSituation:
    """Return what is seen of one VM; `undropped` are addresses that old copies may still use."""
    name, policy, current = protected.name, protected.policy, protected.current
    record = max((one for one in survey.records.values() if name in one.machines),
                 key=lambda one: one.rank, default=None)
    progress, detail = progress_of(protected, record, survey)
    home = home_of(protected, survey)
    point = promotions[name].point if name in promotions else protected.point
    return MachineSituation(
        name=name, uuid=protected.uuid, home=home,
        failover=who_orders(protected, home, survey),
        isolation=policy.isolation, group=protected.vm.spec.group,
        start_order=protected.vm.spec.start_order,
        target=None if current is None else current.host,
        point=None if point is None else point.sequence,
        gates=gates_of(protected, promotions, survey),
        may_run_on=tuple(_may_run_on(name, survey)), runs_on=tuple(_runs_on(name, survey)),
        progress=progress, detail=detail,
        addresses_dropped=undropped.isdisjoint(
            nic.mac.lower() for nic in protected.vm.spec.nics),
        diverged_known=_copy_is_off(name, home, survey),
        reverse_fresh=_is_fresh_at(protected, home, survey),
        move_failed=move_failed(name, survey),
        epoch=survey.epochs.get(name, 0), at=protected.host or "",
        at_home=is_at_home(protected, survey), declared_at=_declared_at(protected, survey),
        watched=policy.health.asks, breach=breach_of(name, record, survey))


def who_orders(protected: ProtectedMachine, home: str,
               survey: Survey) -> Literal["automatic", "confirm", "manual"]:
    """Return who may order the failover of a VM: only a person where anything is only observed."""
    managing, current = survey.specs.managing, protected.current
    nodes = [home, *(() if current is None else (current.host,))]
    watched = managing.of_machine(protected.vm, home or None) is not None or any(
        managing.observer(node=node) is not None for node in nodes if node)
    declared = protected.policy.failover
    return "confirm" if watched and declared == "automatic" else declared


def move_failed(name: str, survey: Survey) -> str:
    """Return why a VM is not tried to be moved any more; empty where it can be."""
    failed = survey.context.failed_moves.get(name)
    if failed is None or failed.tries < MOVE_TRIES:
        return ""
    return (f"{name} stays where it is, after its move has failed {failed.tries} times:"
            f" {failed.sentence}; once that is mended, order it again")


def _declared_at(protected: ProtectedMachine, survey: Survey) -> frozenset[str]:
    placement = protected.vm.spec.placement
    site, host = placement.site, placement.host
    if site is None and host is not None and host in survey.desired.hosts:
        site = survey.site_of(host)
    return frozenset((*([] if site is None else [f"Site/{site}"]),
                      *([] if host is None else [f"Host/{host}"])))


def is_at_home(protected: ProtectedMachine, survey: Survey) -> bool | None:
    """Return whether a VM is at the site that it is declared at; None if that is not known."""
    placement, host = protected.vm.spec.placement, protected.location.host
    site = placement.site
    if site is None and placement.host is not None and placement.host in survey.desired.hosts:
        site = survey.site_of(placement.host)
    return None if site is None or host is None else survey.site_of(host) == site


def home_of(protected: ProtectedMachine, survey: Survey) -> str:
    """Return the host whose loss concerns a VM.

    That is where it runs. While it is away from its site, or a failover of it is open, that is the
    host of its older copy, until the host that it runs on by then is silent, too.
    """
    name, host = protected.name, protected.host
    older = (*survey.superseded.get(name, ()), *survey.superseded_unseen.get(name, ()))
    if not older or (host is not None and host not in survey.nodes):
        return host or ""
    opened = [record for record in survey.records.values()
              if record.phase != Phase.CALM and name in record.machines]
    if not opened and is_at_home(protected, survey) is not False:
        return host or older[0].host
    names, lost = survey.specs.names, {one for record in opened for one in record.hosts}
    return max(older, key=lambda one: (one.host in lost, epoch_of(one.domain, names))).host


def _sightings(name: str, survey: Survey) -> tuple[Sighting, ...]:
    return (*survey.sightings.get(name, ()), *survey.superseded.get(name, ()))


def _runs_on(name: str, survey: Survey) -> Iterator[str]:
    return (one.host for one in _sightings(name, survey) if runs(one.domain))


def _may_run_on(name: str, survey: Survey) -> Iterator[str]:
    """Yield the silent hosts that may run a VM: it was last seen active there, they never were
    seen, or something of ours was under way with it there."""
    last = {one.host for one in survey.last_seen.get(name, ()) if one.domain.state.active}
    last |= {node for flight in survey.context.in_flight
             if flight.target == f"VirtualMachine/{name}" for node in flight.nodes}
    for host, silent in survey.unreachable.items():
        if host in last or silent.domains is None:
            yield host


def _copy_is_off(name: str, home: str, survey: Survey) -> bool:
    """Return whether the older copy of a VM is seen, and is off."""
    older = [one.domain for one in survey.superseded.get(name, ()) if one.host == home]
    return bool(older) and not any(one.state.active for one in older)


def _is_fresh_at(protected: ProtectedMachine, home: str, survey: Survey) -> bool:
    """Return whether a VM that runs elsewhere has a fresh replica at the site of its old host."""
    current, point = protected.current, protected.point
    if (current is None or point is None or home not in survey.desired.hosts
            or survey.site_of(current.host) != survey.site_of(home)):
        return False
    return survey.now_s - point.started_at <= 2 * protected.policy.rpo_s
