"""What can be seen of a case: each signal is a function that says why, or None if it is not seen.

A signal looks at the case alone, never at the phase's history; what must be remembered is in the
record. The same signal means the same in every phase.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from controller.failover.case import Case
from controller.failover.endings import (
    called_off,
    lost_again,
    move_failed,
    moved,
    moving,
    overtaken,
    planned,
    planned_waits,
    recorded,
    reverse_fresh,
    reverse_stale,
    undeclared,
)
from controller.failover.fencing import ARE_NEEDED, may_cut_power, unasked
from controller.failover.quorum import (
    Told,
    answers,
    heard_by_others,
    listed,
    missing,
    own_link,
    still_heard,
)
from controller.failover.situation import MachineSituation, Progress
from controller.failover.states import Signal
from controller.failover.waves import (
    current_wave,
    gated,
    obstacles,
    passing,
    stuck,
    unwanted,
    waiting_sentences,
)
from controller.model.units import render_duration

PERSON = "a person"
SHOWN = 4
"""So many reasons stand in one sentence."""
BY: Final = {"redfish": "its BMC", "guard": "its guard", "human": "a person's word"}


def silent(case: Case) -> Told | None:
    """None of its hosts has answered for long enough."""
    if not case.silent or case.answering:
        return None
    shortest_s = min(host.silent_s for host in case.hosts)
    return Told(f"{_names(host.name for host in case.hosts)} for {render_duration(shortest_s)}")


def _names(names: Iterator[str]) -> str:
    several = list(names)
    return ", ".join(several) if len(several) < 6 else f"{len(several)} hosts"



def witness_sees(case: Case) -> Told | None:
    """Somebody else hears one of its hosts."""
    return still_heard(case.hosts, case.situation)


def own_line(case: Case) -> Told | None:
    """Most of every site is silent."""
    return own_link(case.situation)


def view_missing(case: Case) -> Told | None:
    """Fewer than two places say that it is gone."""
    if case.agreed is not None:
        return None
    told = missing(case.hosts, case.situation)
    name = case.scope.partition("/")[2]
    return told._replace(why=f"{told.why}; where it is lost, order `hotsite failover {name}`")


def views_agree(case: Case) -> Told | None:
    """Two places say that it is gone, and nobody denies it."""
    return case.agreed


def ordered(case: Case) -> Told | None:
    """A person ordered it, or a part of it, to fail over."""
    for request in case.requests:
        if not request.planned:
            reason = f": {request.reason}" if request.reason else ""
            return Told(f"{request.by} ordered `hotsite failover` of {request.target}{reason}")
    return None


def only_watches(case: Case) -> Told | None:
    """This controller does not surely hold the lease, or has not looked at all survivors yet."""
    lease = case.situation.lease
    if lease.fresh:
        return _looks_first(case)
    return Told(f"{lease.holder} holds the lease" if lease.holder else "it has no fresh lease",
                (lease.holder or PERSON,))


def _looks_first(case: Case) -> Told | None:
    """A controller that began a moment ago reads every survivor's record before it goes on."""
    situation, mine = case.situation, {host.name for host in case.hosts}
    since_s = situation.listening_s
    if case.record is None or since_s is None or since_s >= situation.suspect_after_s:
        return None
    unheard = [host.name for host in situation.hosts.values()
               if host.name not in mine and not answers(host, situation)]
    unheard += [view.by for view in situation.views if view.age_s is None]
    if not unheard:
        return None
    return Told(f"it began {since_s:.0f} s ago, and has not heard"
                f" {', '.join(unheard[:5])} yet", tuple(unheard))


def nothing_ran(case: Case) -> Told | None:
    """Nothing ran on it that could start elsewhere, and does not run there already."""
    if any(not one.runs_on for one in case.machines):
        return None
    return Told("nothing ran on it that has to start elsewhere")


def needs_person(case: Case) -> Told | None:
    """Nothing has begun, and no VM could start elsewhere by what is declared and ordered."""
    if case.record is not None or may_begin(case) is not None:
        return None
    if case.unreadable is not None:
        return Told(case.unreadable, (PERSON,))
    against = (unwanted(one, case) or gated(one, case) for one in case.machines)
    return Told(_first([why for why in against if why]), (PERSON,))


def may_begin(case: Case) -> Told | None:
    """Some VM of it may start elsewhere, as soon as its hosts are proven off."""
    held = {one.group for one in case.machines if one.group is not None
            and (unwanted(one, case) or gated(one, case)) is not None}
    willing = [one.name for one in case.machines if not one.runs_on and one.group not in held
               and unwanted(one, case) is None and gated(one, case) is None]
    if not willing or case.unreadable is not None:
        return None
    by = ordered(case)
    return Told(f"{_count(willing)} of it will start elsewhere" if by is None else by.why)


def _count(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} VMs"


def _again(case: Case) -> Told | None:
    if case.answering:
        return Told(f"{case.answering[0].name} answers again")
    return None if case.ordered else heard_by_others(case.hosts, case.situation)


def seen_in_time(case: Case) -> Told | None:
    """It is heard again before anything can have been ended."""
    return None if case.late else _again(case)


def seen_late(case: Case) -> Told | None:
    """One of its hosts answers again, and its guests may have been ended."""
    return _again(case) if case.late and case.answering else None


def still_granted(case: Case) -> Told | None:
    """A grantor of one of its hosts grants, or cannot be asked."""
    found = list(_open_grants(case))
    if not found:
        return None
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return Told(found[0][1] + more, tuple(dict.fromkeys(name for name, _ in found)))


def _open_grants(case: Case) -> Iterator[tuple[str, str]]:
    for host in case.silent:
        trial, proof = case.trials[host.name], case.fencings[host.name].proof
        if proof is not None:
            continue
        silent_grantors = frozenset(unasked(host, trial))
        for grant in host.grants:
            if grant.grantor in silent_grantors:
                if not may_cut_power(host, trial):
                    yield grant.grantor, (
                        f"{grant.grantor} cannot be asked whether {host.name} still reaches it;"
                        f" bring it back, or where you know that {host.name} is off: `hotsite"
                        f" confirm-fenced {host.name}`")
            elif grant.age_s is not None and grant.revoked < case.epoch:
                yield grant.grantor, f"{grant.grantor} still grants to {host.name}"


def revoked(case: Case) -> Told | None:
    """Every grantor that has to refuse its hosts does."""
    return Told("all that can be asked refuse it") if still_granted(case) is None else None


def unproven_host(case: Case) -> Told | None:
    """One of its hosts that do not answer is not proven off."""
    open_ones = {name: one for name, one in case.fencings.items() if one.proof is None}
    if not open_ones:
        return None
    every = _alike((name, why) for name, one in open_ones.items() for why in one.blockers)
    helpless = [name for name, one in open_ones.items()
                if not any(why.endswith(ARE_NEEDED) for why in one.blockers)]
    advice = (f"; where you know that it is off: `hotsite confirm-fenced {helpless[0]}`"
              if helpless else "")
    waits_for = dict.fromkeys(name for one in open_ones.values() for name in one.waits_for)
    return Told(_first(every) + advice, tuple(waits_for))


def _alike(said: Iterable[tuple[str, str]]) -> list[str]:
    """Return sentences about hosts; those that differ by the host's name alone are said once."""
    found: dict[str, list[tuple[str, str]]] = {}
    for host, sentence in said:
        found.setdefault(sentence.replace(host, "?"), []).append((host, sentence))
    return [same[0][1] if len(same) == 1 else
            f"{same[0][1]} (the same of {_names(host for host, _ in same[1:])})"
            for same in found.values()]


def proven(case: Case) -> Told | None:
    """Each of its hosts that do not answer is proven off."""
    if unproven_host(case) is not None or not case.silent:
        return None
    proofs = {name: one.proof for name, one in case.fencings.items() if one.proof is not None}
    if len(proofs) <= 2:
        return Told("; ".join(proof.sentence for proof in proofs.values()))
    ways = dict.fromkeys(proof.how for proof in proofs.values())
    return Told("; ".join(f"{_names(name for name, one in proofs.items() if one.how == way)} by"
                          f" {BY[way]}" for way in ways))


def all_wait(case: Case) -> Told | None:
    """None of its VMs may go on."""
    if passing(case):
        return None
    return Told(_first([why for _, why in obstacles(case)]) or "it has none", (PERSON,))


def _first(sentences: list[str]) -> str:
    """Return what can be read at once; the rest is said of each VM."""
    more = [f"and {len(sentences) - SHOWN} more"] if len(sentences) > SHOWN else []
    return "; ".join((*dict.fromkeys(sentences[:SHOWN]), *more))


def some_ready(case: Case) -> Told | None:
    """Some of its VMs may go on."""
    found = [one.name for one in passing(case)]
    return Told(listed(found)) if found else None


def _old_copies(case: Case) -> Iterator[tuple[MachineSituation, tuple[str, ...]]]:
    for one in case.machines:
        node = case.promoted(one)
        elsewhere = tuple(host for host in one.runs_on if host != node)
        if node is not None and elsewhere:
            yield one, elsewhere


def old_copy_runs(case: Case) -> Told | None:
    """A VM that its record promotes is seen to run somewhere else as well."""
    found = [f"{one.name} runs on {' and '.join(hosts)}, and on {case.promoted(one)} it is"
             f" {one.progress} for epoch {case.epoch}: end one of them by hand"
             for one, hosts in _old_copies(case)]
    return Told("; ".join(found), (PERSON,)) if found else None


def old_copy_gone(case: Case) -> Told | None:
    """No VM that its record promotes is seen to run anywhere else."""
    return Told("the waves go on") if old_copy_runs(case) is None else None


def wave_runs(case: Case) -> Told | None:
    """A VM of its record has not started, or is not healthy yet."""
    wave = current_wave(case)
    if not wave:
        return None
    return Told(f"order {wave[0].start_order}: {listed([one.name for one in wave])}",
                tuple(one.name for one in wave))


def waves_done(case: Case) -> Told | None:
    """Every VM of its record has started, or cannot."""
    if current_wave(case) or case.record is None or not case.record.machines:
        return None
    stopped = [why for one in case.machines if (why := stuck(one, case)) is not None]
    healthy = sum(one.progress is Progress.HEALTHY for one in case.machines)
    return Told(_first([f"{healthy} of {len(case.machines)} are healthy", *stopped]))


def away(case: Case) -> Told | None:
    """None of its old hosts answers."""
    if case.answering:
        return None
    rest = waiting_sentences(case)
    verb = "does" if len(case.hosts) == 1 else "do"
    said = (f"{_names(host.name for host in case.hosts)} {verb} not answer" if case.hosts
            else "none of its hosts is declared any more")
    return Told(said + (f"; {_first(list(rest))}" if rest else ""),
                tuple(host.name for host in case.silent))


def old_host_answers(case: Case) -> Told | None:
    """One of its old hosts answers."""
    return Told(f"{case.answering[0].name} answers") if case.answering else None


def not_promoted(case: Case) -> Told | None:
    """Its record promotes nothing."""
    if case.record is not None and case.record.machines:
        return None
    lost = to_resume(case)
    unseen = {one.name: host for one in lost
              if (host := may_run_elsewhere(one, case)) is not None}
    if unseen:
        name, host = next(iter(unseen.items()))
        return Told(f"{name} may run on {host}, which does not answer", (host,))
    names = tuple(one.name for one in lost)
    return Told(f"{', '.join(names[:8])} start again" if names else "nothing is missing", names)


def to_resume(case: Case) -> tuple[MachineSituation, ...]:
    """Return the VMs that do not run, and whose old host answers."""
    answering = {host.name for host in case.answering}
    return tuple(one for one in case.machines if one.home in answering and not one.runs_on)


def may_run_elsewhere(machine: MachineSituation, case: Case) -> str | None:
    """Return which host that does not answer a VM could have been promoted on by somebody else."""
    mine = {host.name for host in case.hosts}
    for host in case.situation.hosts.values():
        if (host.name not in mine and not answers(host, case.situation)
                and (host.name == machine.target or machine.point is None)):
            return host.name
    return next((name for name in machine.may_run_on
                 if (seen := case.situation.hosts.get(name)) is None
                 or not answers(seen, case.situation)), None)


def settled(case: Case) -> Told | None:
    """Its record promotes nothing, and no VM on a host that answers is missing."""
    if case.record is not None and case.record.machines:
        return None
    return None if to_resume(case) else Told("nothing was promoted, and nothing is missing")


def old_copies(case: Case) -> Told | None:
    """An old copy runs, or it is not known what its disks hold."""
    if old_copies_off(case) is not None:
        return None
    running = [f"{one.name} runs on {' and '.join(hosts)}" for one, hosts in _old_copies(case)]
    unread = [one.name for one in recorded(case) if not one.diverged_known]
    if unread:
        running.append(f"what the old disks of {', '.join(unread[:8])} hold is not known yet")
    return Told("; ".join(running), tuple(host.name for host in case.silent))


def old_copies_off(case: Case) -> Told | None:
    """No old copy runs, and it is known what the disks of each hold."""
    mine = recorded(case)
    if not mine or any(_old_copies(case)) or not all(one.diverged_known for one in mine):
        return None
    return Told("their old copies are off and compared")


SIGNALS: Final[Mapping[Signal, Callable[[Case], Told | None]]] = {
    Signal.SILENT: silent, Signal.WITNESS_SEES: witness_sees,
    Signal.OWN_LINK: own_line, Signal.VIEW_MISSING: view_missing,
    Signal.VIEWS_AGREE: views_agree, Signal.ORDERED: ordered, Signal.PLANNED: planned,
    Signal.PLANNED_WAITS: planned_waits,
    Signal.ONLY_WATCHES: only_watches, Signal.NEEDS_PERSON: needs_person,
    Signal.MAY_BEGIN: may_begin, Signal.SEEN_IN_TIME: seen_in_time, Signal.SEEN_LATE: seen_late,
    Signal.GRANTOR_OPEN: still_granted, Signal.REVOKED: revoked, Signal.UNPROVEN: unproven_host,
    Signal.PROVEN: proven, Signal.ALL_WAIT: all_wait, Signal.SOME_READY: some_ready,
    Signal.OLD_COPY_RUNS: old_copy_runs, Signal.OLD_COPY_GONE: old_copy_gone,
    Signal.WAVE_RUNS: wave_runs, Signal.WAVES_DONE: waves_done, Signal.AWAY: away,
    Signal.OLD_HOST_ANSWERS: old_host_answers, Signal.NOT_PROMOTED: not_promoted,
    Signal.SETTLED: settled, Signal.OLD_COPIES: old_copies,
    Signal.OLD_COPIES_OFF: old_copies_off, Signal.REVERSE_STALE: reverse_stale,
    Signal.REVERSE_FRESH: reverse_fresh, Signal.ON_THE_WAY: moving, Signal.MOVE_FAILED: move_failed,
    Signal.MOVED: moved, Signal.NOTHING_RAN: nothing_ran, Signal.CALLED_OFF: called_off,
    Signal.OVERTAKEN: overtaken, Signal.LOST_AGAIN: lost_again, Signal.UNDECLARED: undeclared,
}
"""What each signal of the table asks."""
