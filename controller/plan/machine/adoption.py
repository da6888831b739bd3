"""Adoption: marking a domain as ours that has a declared name and may be somebody else's.

Rule 1: a domain that differs from its spec in anything is adopted only with an approval. The
        question lists everything that would then be done to it.
Rule 2: the first plan sets the mark and nothing else; the other changes follow once it is ours.
Rule 3: a domain that cannot become what its spec says is not adopted at all.
Rule 4: the mark of what is only observed is no difference; all that differs is said.
"""

from controller.model.facts import DomainFacts
from controller.model.virtual_machine import Autostart, Power
from controller.plan.actions.action import Ask, Cause
from controller.plan.actions.desired import SetOwnership
from controller.plan.actions.machine import DefineDomain, ReconfigureDomain
from controller.plan.machine.domain import cannot_hold, desired_domain, ownership_of
from controller.plan.machine.patch import compare
from controller.plan.machine.state import Case
from controller.plan.survey.grants import WOULD


def adopt(case: Case, host_name: str, domain: DomainFacts) -> None:
    """Plan to mark a domain as ours; ask first if anything of it would change."""
    name, host = case.vm.name, case.survey.desired.hosts[host_name]
    impossible = list(dict.fromkeys(
        words for one in (domain.live, domain.config) if one is not None
        for words in cannot_hold(case.vm, one)))
    if impossible:
        case.draft.stall(case.target, "CannotHold", f"{name} on {host_name} is not taken over,"
                         f" since it cannot become as declared: {'; '.join(impossible)}")
        return
    coming = list(dict.fromkeys(_coming(case, host_name, domain)))
    if case.survey.specs.managing.of_machine(case.vm, host_name) is not None:
        for words in coming:
            case.draft.remark(case.target, f"{WOULD}{words}")
        return
    ask = None if not coming else Ask("adopt", (
        f"{name} on {host_name} (uuid {domain.uuid}) does not carry our mark and is not as its spec"
        f" says, so it may be somebody else's: with a yes it is ours, and then"
        f" {'; '.join(coming)}; without one it is left as it is: give one of the two another name"))
    what = f"{name} exists on {host_name} and is declared"
    if domain.config is None:
        case.draft.do(DefineDomain(
            target=case.target, node=host_name, cause=Cause.COMMIT, ask=ask,
            desired=desired_domain(case.vm, host, domain, case.survey),
            reason=f"{what}, but is not defined there: it would be gone when it stops",
            consequence="it is marked as ours"))
        return
    case.draft.do(ReconfigureDomain(
        target=case.target, node=host_name, domain=domain.name, uuid=domain.uuid,
        live=False, cause=Cause.COMMIT,
        ask=ask, changes=(SetOwnership(ownership_of(
            case.vm, domain.uuid, domain.name, None, case.survey)),),
        reason=f"{what}: it is taken under management",
        consequence="it is marked as ours, and nothing else is done yet"))


def _coming(case: Case, host_name: str, domain: DomainFacts) -> list[str]:
    """Return what would follow an adoption, in words; what it would lose comes first."""
    host = case.survey.desired.hosts[host_name]
    live = compare(case, host, domain.live, live=True, grow=True)
    config = compare(case, host, domain.config, live=False, grow=domain.live is None)
    words = [f"{one}, and is asked about once more" for one in (*live.takes, *config.takes)]
    words += [f"{one}: it is restarted" for one in live.restarts]
    words += [*live.words, *config.words]
    if domain.config is None:
        words.append("it is defined as its spec says")
    if case.vm.spec.power is Power.OFF and domain.state.active:
        words.append("it is shut down, since it is declared off")
    elif case.vm.spec.power is Power.ON and not domain.state.active:
        words.append("it is started, since it is declared on")
    elif case.goal is not None and case.goal != host_name and domain.state.active:
        words.append(f"it moves to {case.goal}: {case.why}")
    if domain.autostart and case.vm.spec.autostart is Autostart.OFF:
        words.append("libvirt no longer starts it by itself")
    return words
