"""What is to be done about every site and host that may have to be given up: one pure function.

For each case the table of `states.py` is walked from the phase that its record says. Then:

  1. The record comes first. A phase is entered when every survivor that can hold the record holds
     it, with this controller's term; until then writing it is all that is ordered. So whoever
     conducts next finds what may have been begun, and goes on from there. A failover that ends
     before its first record leaves nothing behind but revocations, which are restored when their
     host is seen.
     Gating alone is passed by, where a VM may start at once: the record of promoting says all that
     its own would say, and every VM waits as long as it takes to write one.
  2. Only what undoes (restoring grants before the point of no return) does not wait for the record:
     a grant that comes back late ends guests for nothing.
  3. Without a fresh lease nothing is ordered at all, whatever the phase.
  4. No VM is promoted without a proof for each host that may run it. That is asked again at each
     single start, and not only when the phase is entered.

What is decided depends on the situation alone: nothing is remembered here between two decisions.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from controller.failover.asked import Destination, Spent, means, spent, targets_of
from controller.failover.case import Case, open_cases, open_records
from controller.failover.endings import hindrance, left, movable
from controller.failover.orders import (
    Decision,
    DropAddresses,
    Fence,
    Move,
    Order,
    PassAddresses,
    Quarantine,
    Restore,
    Resume,
    Reverse,
    Revoke,
    WriteRecord,
)
from controller.failover.quorum import Told, answers
from controller.failover.signals import PERSON, SIGNALS, may_run_elsewhere, only_watches, to_resume
from controller.failover.situation import HostSituation, MachineSituation, Request, Situation
from controller.failover.states import RECORDED, TABLE, Phase, Transition
from controller.failover.waves import next_starts, passing, stuck, waiting_sentences
from controller.model.failover.record import Proof, Record, RecordedHost, RecordedMachine

ROWS: Final[Mapping[Phase, tuple[Transition, ...]]] = {
    phase: tuple(row for row in TABLE if row.start is phase) for phase in Phase}
NOTHING_BEGUN: Final = frozenset({
    Phase.SUSPECTED, Phase.LINK_SUSPECTED, Phase.AGREED, Phase.AWAITING_HUMAN})


def decide(situation: Situation) -> tuple[Decision, ...]:
    """Return what is to be done about each scope of which there is something to say."""
    cases = tuple(open_cases(situation))
    return (*(decide_case(case) for case in cases), *_refused(situation, cases),
            *_left_behind(situation, cases))


def decide_case(case: Case) -> Decision:
    """Return the next phase of one case, why, whom it waits for, and what is ordered."""
    phase, row, told = walk(case)
    sentence = (row.sentence.format(scope=case.words, why=told.why) if row is not None
                else f"{case.words}: nothing is to be done")
    twice = [one for one in case.machines if one.breach]
    if twice and phase is Phase.RETURNING:
        sentence += (f"; two copies of {', '.join(one.name for one in twice)} ran at once:"
                     " `hotsite status` says for how long")
    held = _held(case, phase)
    orders = tuple(_orders(case, phase, held)) if only_watches(case) is None else ()
    lost = ("no node that answers can hold the record of it",) if (
        held is None and phase in RECORDED and phase is not Phase.CALM
        and not case.survivors) else ()
    waiting = waiting_sentences(case) if (
        case.record is not None and phase is not Phase.CALM
        and (case.hosts or case.undeclared)) else ()
    return Decision(
        scope=case.scope, phase=phase, sentence=sentence, waits_for=told.waits_for, orders=orders,
        waiting=(*lost, *(one.breach for one in twice), *waiting,
                 *(_staying(case) if phase is Phase.MOVING_BACK else ())),
        epoch=case.record.epoch if case.record is not None else 0)


def _staying(case: Case) -> Iterator[str]:
    """Yield why each VM stays whose move goes on without it."""
    return (why for one in left(case) if (why := hindrance(one, case)) is not None)


def walk(case: Case) -> tuple[Phase, Transition | None, Told]:
    """Return the phase that the table leads to, the last row taken, and what its signal said."""
    phase, last, said = case.phase, None, Told("")
    for _ in Phase:
        found = _seen(phase, case)
        if found is None:
            break
        last, said = found
        stays, phase = last.end is phase, last.end
        if stays or (phase in RECORDED and phase is not case.phase):
            break
    ready = _seen(phase, case) if phase is Phase.GATING and last is not None else None
    if ready is not None and ready[0].end is Phase.PROMOTING and phase is not case.phase:
        last, told = ready
        return last.end, last, told._replace(why=f"{told.why}; proven off: {said.why}")
    return phase, last, said


def _seen(phase: Phase, case: Case) -> tuple[Transition, Told] | None:
    """Return the first row of a phase whose signal is seen, and what that says."""
    return next(((row, told) for row in ROWS[phase]
                 if (told := SIGNALS[row.signal](case)) is not None), None)


def _orders(case: Case, phase: Phase, held: Record | None) -> Iterator[Order]:
    """Yield what is ordered in a phase: first its record, then what it is for."""
    if phase in NOTHING_BEGUN:
        yield from _restored(case) if phase is Phase.LINK_SUSPECTED else ()
        if case.record is None:
            return
        phase = case.phase          # gating, whose VMs wait for a person
        held = _held(case, phase)
    if phase is Phase.CALM and case.record is None:
        return
    record = _record(case, phase)
    lacking = tuple(node for node in case.survivors if _copy(case, node) != record)
    if lacking:
        yield WriteRecord(lacking, record)
    if phase is Phase.CALM:
        yield from _restored(case)
    elif held is not None:
        yield from ORDERS[phase](case, held)


def _copy(case: Case, node: str) -> Record | None:
    return next((copy.record for copy in case.situation.records
                 if copy.node == node and copy.record.scope == case.scope), None)


def _held(case: Case, phase: Phase) -> Record | None:
    """Return the record that every survivor holds in that phase and term; None if one does not."""
    copies = [_copy(case, node) for node in case.survivors]
    sound = [one for one in copies if one is not None and one.phase == phase
             and one.epoch == case.epoch and one.term == case.situation.lease.term]
    if not copies or len(sound) < len(copies):
        return None
    return min(sound, key=lambda one: one.step)


def _record(case: Case, phase: Phase) -> Record:
    """Return what should be written down of a case in a phase."""
    old, situation = case.record, case.situation
    by, why = next(((one.by, one.reason) for one in case.requests), (situation.controller, ""))
    begun = old or Record(scope=case.scope, epoch=case.epoch, term=situation.lease.term,
                          phase=phase, by=by, reason=why or _why(case),
                          began_at=situation.now_at, step=0)
    wanted = replace(
        begun, phase=phase, term=situation.lease.term,
        hosts={} if phase is Phase.CALM else _recorded_hosts(case, phase),
        machines={} if phase is Phase.CALM else _recorded_machines(case, phase),
        ordered=tuple(sorted(case.ordered)), accepted=tuple(sorted(case.accepted)),
        back=(bool(begun.machines) or case.moves[0].back) if (
            case.moves and phase is Phase.MOVING_BACK) else begun.back,
        points={} if phase is Phase.CALM else {
            **begun.points, **{one.target: one.point for one in case.requests if one.point}})
    return wanted if wanted == old else replace(
        wanted, step=begun.step + 1, changed_at=situation.now_at)


def _why(case: Case) -> str:
    return case.agreed.why if case.agreed is not None else "ordered by a person"


def _recorded_hosts(case: Case, phase: Phase) -> dict[str, RecordedHost]:
    """Return the hosts of a case with their proofs; none of one that answers, or may be resumed."""
    old = case.record.hosts if case.record is not None else {}
    dropped = phase in {Phase.REVOKING, Phase.RETURNING}
    found = {}
    for host in case.hosts:
        before = old.get(host.name, RecordedHost(host.boot_id, None, host.guarded, host.watchdog))
        fencing = case.fencings.get(host.name)
        proof = None if dropped or fencing is None else _kept(before.proof, fencing.proof)
        boot_id = host.boot_id if dropped and host.boot_id else before.boot_id or host.boot_id
        proven_at = before.proven_at or (0.0 if proof is None else proof.at)
        found[host.name] = RecordedHost(boot_id, proof, before.guarded and host.guarded,
                                        before.watchdog and host.watchdog, proven_at)
    return {**{name: one for name, one in old.items() if name not in found}, **found}


def _kept(old: Proof | None, new: Proof | None) -> Proof | None:
    """Return the proof as it was first found, unless it fell or a stronger one was found."""
    if old is None or new is None:
        return new
    return new if old.how != new.how and old.how == "guard" else old


def _recorded_machines(case: Case, phase: Phase) -> dict[str, RecordedMachine]:
    found = dict(case.record.machines) if case.record is not None else {}
    if phase is Phase.PROMOTING:
        found |= {one.name: RecordedMachine(one.uuid, one.point, one.target)
                  for one in passing(case) if one.target is not None}
    return found


def _revoke(case: Case, held: Record) -> Iterator[Order]:
    hosts: dict[str, list[str]] = {}
    for host in case.silent:
        for grant in host.grants:
            if grant.revoked < held.epoch:
                hosts.setdefault(grant.grantor, []).append(host.name)
    for grantor, names in sorted(hosts.items()):
        yield Revoke(grantor, tuple(names), held.epoch)


def _restored(case: Case) -> Iterator[Order]:
    return restore(case.hosts)


def restore(hosts: tuple[HostSituation, ...]) -> Iterator[Order]:
    """Yield the restoring of every grant to these hosts that is revoked."""
    found: dict[tuple[str, int], list[str]] = {}
    for host in hosts:
        for grant in host.grants:
            epoch = max(grant.revoked, grant.revoked_once)
            if epoch:
                found.setdefault((grant.grantor, epoch), []).append(host.name)
    for (grantor, epoch), names in sorted(found.items()):
        yield Restore(grantor, tuple(names), epoch)


def _fence(case: Case, held: Record) -> Iterator[Order]:
    yield from _revoke(case, held)
    for name, fencing in sorted(case.fencings.items()):
        if fencing.cut_power:
            yield Fence(name, held.epoch)


def _drop_addresses(case: Case, held: Record) -> Iterator[Order]:
    names = tuple(one.name for one in case.machines
                  if one.name in held.machines and not one.addresses_dropped)
    if names:
        yield DropAddresses(names, held.epoch)


def _promote(case: Case, held: Record) -> Iterator[Order]:
    yield from _revoke(case, held)
    yield from _drop_addresses(case, held)
    yield from _quarantine(case, held)
    safe = {one.name for one in case.machines
            if stuck(one, case) is None and _proof_is_held(one, case, held)}
    yield from (one for one in next_starts(case, held) if one.machine in safe)


def _proof_is_held(machine: MachineSituation, case: Case, held: Record) -> bool:
    """Return whether the record has a proof of each host that may run a VM and does not answer."""
    away = {host.name for host in case.silent} & {machine.home, *machine.may_run_on}
    return all(held.hosts[name].proof is not None for name in away)


def _quarantine(case: Case, held: Record) -> Iterator[Order]:
    for host in case.answering:
        yield Quarantine(host.name, tuple(sorted(held.machines)), held.epoch)


def _return(case: Case, held: Record) -> Iterator[Order]:
    if held.machines:
        yield from _quarantine(case, held)
        running = {host for one in case.machines for host in (*one.runs_on, *one.may_run_on)}
        yield from restore(tuple(one for one in case.answering if one.name not in running))
        return
    yield from _restored(case)
    for one in to_resume(case):
        if may_run_elsewhere(one, case) is None:
            yield Resume(one.name, one.home, held.epoch)


def _reverse(case: Case, held: Record) -> Iterator[Order]:
    dropped = tuple(one.name for one in case.machines
                    if one.name in held.machines and one.addresses_dropped)
    if dropped:
        yield PassAddresses(dropped, held.epoch)
    yield from _protected(case, held)
    for one in case.machines:
        if one.name in held.machines and not one.reverse_fresh:
            yield Reverse(one.name, one.home, held.epoch)


def _move(case: Case, held: Record) -> Iterator[Order]:
    yield from restore(case.answering)      # else its guards would end what arrives
    yield from (Move(one.name, held.epoch + 1) for one in movable(case))


def _protected(case: Case, held: Record) -> Iterator[Order]:
    yield from _quarantine(case, held)
    yield from restore(case.answering)


ORDERS: Final[Mapping[Phase, Callable[[Case, Record], Iterator[Order]]]] = {
    Phase.REVOKING: _revoke, Phase.FENCING: _fence, Phase.GATING: _revoke,
    Phase.PROMOTING: _promote, Phase.SPLIT_BRAIN: _drop_addresses, Phase.LED_ELSEWHERE: _quarantine,
    Phase.RETURNING: _return, Phase.REVERSING: _reverse, Phase.PROTECTED_REVERSED: _protected,
    Phase.MOVING_BACK: _move,
}
"""What is ordered in each recorded phase, once its record is held."""


def used_up(situation: Situation) -> tuple[Spent, ...]:
    """Return the orders of persons that are refused, or that a record holds by now."""
    if not situation.requests:
        return ()
    cases = tuple(open_cases(situation))
    refused = tuple(Spent(one) for one in _not_taken(situation, cases))
    return (*refused, *spent(situation, open_records(situation)))


def _not_taken(situation: Situation, cases: tuple[Case, ...]) -> Iterator[Request]:
    return (request for request in situation.requests
            if not any(request in case.requests for case in cases))


def _refused(situation: Situation, cases: tuple[Case, ...]) -> Iterator[Decision]:
    """Yield for each order of a person that nothing is done about why not."""
    for request in _not_taken(situation, cases):
        verb = "failback" if request.back else "failover"
        yield Decision(scope=request.target, phase=Phase.CALM, waits_for=(PERSON,),
                       sentence=f"`hotsite {verb}` of {request.target} by {request.by} is"
                                f" refused: {_why_refused(request, situation)}")


def _why_refused(request: Request, situation: Situation) -> str:
    kind, _, name = request.target.partition("/")
    way = Destination(request.target, request.back)
    meant = [one for one in situation.machines.values() if means(way, one, situation)]
    if request.planned and meant:
        return "each VM that it means is there already"
    hosts = {host.name for host in situation.hosts.values()
             if request.target in {f"Site/{host.site}", f"Host/{host.name}"}}
    hosts |= {one.home for one in situation.machines.values()
              if request.target in targets_of(one)}
    if not hosts or request.planned:
        return f"there is no VM with a replica at {kind} {name}" if hosts else (
            f"there is no {kind} {name} that could fail over")
    well = sorted(name for name in hosts if name in situation.hosts
                  and answers(situation.hosts[name], situation))
    if not well:
        sites = sorted({situation.hosts[name].site for name in hosts if name in situation.hosts})
        return (f"all of site {' and '.join(sites)} is silent: order `hotsite failover"
                f" {' '.join(sites)}`, or one of its VMs")
    return (f"{', '.join(well)} answered less than {situation.suspect_after_s:.0f} s ago;"
            " to move what is well, order it as `--planned`")


def _left_behind(situation: Situation, cases: tuple[Case, ...]) -> Iterator[Decision]:
    """Yield the restoring of grants that no failover needs: its controller ended before it wrote
    a record, or after it wrote that it is over."""
    if not situation.lease.fresh:
        return
    taken = {host.name for case in cases for host in case.hosts}
    for host in situation.hosts.values():
        if host.name in taken or not answers(host, situation):
            continue
        orders = tuple(restore((host,)))
        if orders:
            yield Decision(scope=f"Host/{host.name}", phase=Phase.CALM, orders=orders,
                           sentence=f"host {host.name} is well, and is granted to again: no"
                                    " failover needs that it is refused")
