"""Whether a silent host is proven off, by what, and if not, why not.

Three proofs, each by observation:

  redfish   its BMC was read Off twice in a row, now. Nothing that a BMC promises counts: not the
            status of a reset, not PoweringOff. A BMC that reads Off while its host is heard is the
            BMC of another machine, and proves nothing ever.
  guard     every grantor refuses the host, and the last grant of each is older than the inequality
            (`inequality.py`). All of them, since the guard is content with any of them. A grantor
            that cannot be asked is named, unless it is itself proven off for that long. This proves
            that guests whose policy says `isolation: stop` are gone, and nothing of the others.
  human     a person's word, for this boot of the host; it expires when the host is heard again.

A proof that is in the record stays one while the host is silent, and nothing that is seen speaks
against it. A host that is heard needs no proof: what it runs is seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from controller.failover.inequality import undone_until_s, wait_s
from controller.failover.quorum import answers, unheard_s
from controller.failover.situation import Bmc, Grant, HostSituation, MachineSituation, Situation
from controller.model.failover.record import Proof, RecordedHost
from controller.model.units import render_duration

LEAST_READS = 2
ARE_NEEDED = " are needed"
"""A sentence that ends so is about time alone: nobody has to do anything."""


@dataclass(frozen=True, slots=True)
class Fencing:
    """What is known of one silent host."""

    proof: Proof | None
    """The one that holds for the most VMs."""
    blockers: tuple[str, ...]
    """Why each method has not proven it."""
    waits_for: tuple[str, ...]
    cut_power: bool
    """Whether its BMC should be told to cut its power."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What the proofs of one host depend on besides the host."""

    situation: Situation
    epoch: int
    recorded: RecordedHost | None
    ordered: bool
    """Whether a person ordered the failover."""
    spares: tuple[str, ...]
    """VMs on it that are to go on where it is cut off: `isolation: run`."""


def judge_host(host: HostSituation, trial: Trial) -> Fencing:
    """Return whether a host is proven off, or why not and what could be done."""
    proofs = [proof for proof in (by_word(host, trial), by_bmc(host, trial), by_record(host, trial),
                                  by_guard(host, trial)) if proof is not None]
    proofs.sort(key=lambda one: one.how == "guard")
    silent_grantors = tuple(unasked(host, trial))
    blockers = tuple(_blockers(host, trial))
    strong = bool(proofs) and proofs[0].how != "guard"
    return Fencing(proofs[0] if proofs else None, blockers, (*silent_grantors, host.name),
                   not strong and _cut_power(host, trial, bool(proofs), bool(silent_grantors)))


def covers(proof: Proof | None, machine: MachineSituation) -> bool:
    """Return whether a proof of its host shows that a VM does not run there."""
    return proof is not None and (proof.how != "guard" or machine.isolation == "stop")


def by_word(host: HostSituation, trial: Trial) -> Proof | None:
    """Return a person's word that a host is off, while it holds."""
    word = host.word
    if word is None or word.boot_id != host.boot_id or _heard_since(host, word.age_s):
        return None
    return Proof("human", f"{word.by} says that {host.name} is off: {word.reason}",
                 trial.situation.now_at)


def _heard_since(host: HostSituation, age_s: float) -> bool:
    return host.heard and unheard_s(host) < age_s


def by_bmc(host: HostSituation, trial: Trial) -> Proof | None:
    """Return what its BMC proves."""
    bmc = host.bmc
    if (bmc is None or "redfish" not in host.fencing or distrust(host) or bmc.on
            or bmc.off_reads < LEAST_READS or not _is_fresh(bmc, trial.situation)):
        return None
    return Proof("redfish", f"the BMC of {host.name} was read Off {bmc.off_reads} times in a row",
                 trial.situation.now_at)


def _is_fresh(bmc: Bmc, situation: Situation) -> bool:
    return bmc.age_s is not None and bmc.age_s <= situation.bmc_age_s


def distrust(host: HostSituation) -> str:
    """Return why the BMC of a host must not be believed; empty if nothing speaks against it."""
    bmc = host.bmc
    if bmc is None or bmc.distrust:
        return "" if bmc is None else bmc.distrust
    if bmc.off_reads and _heard_since(host, bmc.off_s):
        return f"{host.name} answered while its BMC read Off: it is the BMC of another machine"
    return ""


def by_record(host: HostSituation, trial: Trial) -> Proof | None:
    """Return the proof that was written down, unless something seen speaks against it."""
    recorded = trial.recorded
    if recorded is None or recorded.proof is None or answers(host, trial.situation):
        return None
    proof = recorded.proof
    if host.boot_id and recorded.boot_id != host.boot_id:
        return None
    if proof.how == "redfish" and host.bmc is not None and (host.bmc.on or distrust(host)):
        return None
    if proof.how == "guard" and any(grants(one, trial.epoch) for one in host.grants):
        return None
    return proof


def grants(grant: Grant, epoch: int) -> bool:
    """Return whether a grantor that can be asked still grants, or did so for an older failover."""
    return grant.age_s is not None and grant.revoked < epoch


def by_guard(host: HostSituation, trial: Trial) -> Proof | None:
    """Return what the silence of every grantor proves."""
    if any(True for _ in _against_guard(host, trial)):
        return None
    least_s = wait_s(trial.situation.guard, watchdog=host.watchdog)
    return Proof("guard", f"no grantor of {host.name} has granted for {render_duration(least_s)}:"
                          " its guests are gone", trial.situation.now_at)


def _against_guard(host: HostSituation, trial: Trial) -> Iterator[str]:
    """Yield every reason why the guard proves nothing of a host yet."""
    if "guard" not in host.fencing:
        yield f"{host.name} declares no fencing by its guard"
        return
    if not host.guarded:
        yield (f"no guard was seen on {host.name} before" if host.heard else
               f"this controller never saw {host.name}, nor whether its guard ran")
        return
    if not host.grants:
        yield f"{host.name} has no grantor that could refuse it"
    if not (trial.ordered or host.watchdog or host.bmc is not None or host.accept_freeze):
        yield (f"{host.name} has neither watchdog nor BMC: frozen now, it could come back with its"
               " guests, and `acceptFreeze` is not declared")
    yield from _against_grants(host, trial)


def _against_grants(host: HostSituation, trial: Trial) -> Iterator[str]:
    """Yield every grantor that leaves it open whether a host is still content."""
    least_s = wait_s(trial.situation.guard, watchdog=host.watchdog)
    young: list[Grant] = []
    for grant in host.grants:
        off_s = _off_for_s(grant.grantor, trial)
        if off_s is not None and off_s >= least_s:
            continue
        if grant.age_s is None and off_s is not None:
            yield (f"{grant.grantor} is off for {_seconds(off_s)}, and {_seconds(least_s)}"
                   f"{ARE_NEEDED}")
        elif grant.age_s is None:
            yield f"{grant.grantor} cannot be asked whether {host.name} still reaches it"
        elif grant.revoked < trial.epoch:
            yield f"{grant.grantor} still grants to {host.name}"
        elif grant.age_s < least_s:
            young.append(grant)
    if young:
        last = min(young, key=lambda one: (one.age_s or 0.0, one.grantor))
        yield (f"{last.grantor} granted to {host.name} {_seconds(last.age_s or 0.0)} ago, and"
               f" {_seconds(least_s)}{ARE_NEEDED}")


def _seconds(duration_s: float) -> str:
    return f"{duration_s:.0f} s"


def _off_for_s(grantor: str, trial: Trial) -> float | None:
    """Return for how long a grantor has been proven off; None if it is not.

    Only what shows that the machine itself is off: a guard ends guests, and goes on granting.
    """
    host = trial.situation.hosts.get(grantor)
    if host is None or answers(host, trial.situation):
        return None
    if by_word(host, trial) is not None and host.word is not None:
        return host.word.age_s
    if by_bmc(host, trial) is not None and host.bmc is not None:
        return host.bmc.off_s
    return None


def unasked(host: HostSituation, trial: Trial) -> Iterator[str]:
    """Yield the grantors of a host that cannot be asked, and are not proven off themselves."""
    for grant in host.grants:
        if grant.age_s is None and _off_for_s(grant.grantor, trial) is None:
            yield grant.grantor


def may_cut_power(host: HostSituation, trial: Trial) -> bool:
    """Return whether the power of a host may be cut by its BMC, should that be needed.

    By itself never where a VM is to go on although its host is cut off: a person has to order it.
    """
    return ("redfish" in host.fencing and host.bmc is not None and not distrust(host)
            and (trial.ordered or not trial.spares))


def _cut_power(host: HostSituation, trial: Trial, proven: bool, grantor_silent: bool) -> bool:
    if host.bmc is None or host.bmc.failed or not may_cut_power(host, trial):
        return False
    guard_first = (host.fencing[0] == "guard" and host.guarded and bool(host.grants)
                   and not grantor_silent)
    return bool(trial.spares) if proven else not guard_first or bool(trial.spares)


def _blockers(host: HostSituation, trial: Trial) -> Iterator[str]:
    """Yield in the order of the spec why each method has proven nothing."""
    for method in host.fencing:
        if method == "guard":
            yield from _against_guard(host, trial)
        elif host.bmc is None:
            if "guard" not in host.fencing or not host.guarded:
                yield f"{host.name} has no BMC"
        elif distrust(host):
            yield distrust(host)
        elif not may_cut_power(host, trial):
            yield (f"{host.name} is not powered off by itself, since {', '.join(trial.spares)}"
                   " should go on there (`isolation: run`)")
        else:
            says, whose = _bmc_says(host.bmc, trial.situation), f"the BMC of {host.name}"
            yield says if whose in says else f"{whose}: {says}"
    if host.word is not None and by_word(host, trial) is None:
        yield (f"what {host.word.by} said of {host.name} holds no more: it was heard since, or has"
               " booted again")


def _bmc_says(bmc: Bmc, situation: Situation) -> str:
    if bmc.failed:
        return bmc.failed
    if bmc.sentence:
        return bmc.sentence
    if not _is_fresh(bmc, situation):
        return "it does not answer"
    return "On" if bmc.on else f"read Off {bmc.off_reads} of {LEAST_READS} times"


def too_late(host: HostSituation, trial: Trial, *, fencing: bool) -> bool:
    """Return whether guests of a host may have been ended by us: its power was perhaps cut, or the
    youngest grant that is known of is so old that its guard may have acted."""
    if fencing and may_cut_power(host, trial):
        return True
    if trial.recorded is not None and trial.recorded.proof is not None:
        return True
    known = [one.age_s for one in host.grants if one.age_s is not None]
    return host.guarded and bool(known) and min(known) >= undone_until_s(trial.situation.guard)
