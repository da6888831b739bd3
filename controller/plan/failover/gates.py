"""How the VMs of silent hosts would come back, as the gates and points of a failover.

It is what `Survivable` says in peacetime, asked of the hosts that are silent now.
"""

from collections.abc import Iterable, Iterator, Mapping

from controller.failover.situation import Gate
from controller.plan.machine.layout import Layout
from controller.plan.promotion.asked import asked_of
from controller.plan.promotion.surroundings import surroundings_of
from controller.plan.promotion.takeover import take_over
from controller.plan.replication.protected_machine import ProtectedMachine, twin_of
from controller.plan.steps.takeover import Outcome, Promotion
from controller.plan.survey.replicas import ReplicaIndex
from controller.plan.survey.survey import Survey


def promotions_of(protected: Iterable[ProtectedMachine], index: ReplicaIndex, layout: Layout,
                  survey: Survey) -> dict[str, Promotion]:
    """Return, by VM on a silent host, how it comes back if all of these come back at once."""
    lost: dict[str, list[ProtectedMachine]] = {}
    for one in protected:
        if one.host is not None and one.host in survey.unreachable and one.site is not None:
            lost.setdefault(one.site, []).append(one)
    found: dict[str, Promotion] = {}
    for site, arriving in sorted(lost.items()):
        twin = twin_of(site, survey)
        if twin is not None:
            there = surroundings_of(twin, [one.name for one in arriving], layout, index, survey)
            found |= {one.machine: one for one in take_over(
                arriving, there, asked_of(arriving, survey)).promotions}
    return found


def gates_of(protected: ProtectedMachine, promotions: Mapping[str, Promotion],
             survey: Survey) -> tuple[Gate, ...]:
    """Return what stands against starting a VM elsewhere; nothing while its host answers."""
    promotion, name = promotions.get(protected.name), protected.name
    if promotion is None:
        silent = protected.host is not None and protected.host in survey.unreachable
        return (Gate(sentence=f"{protected.site} has no twin that could take {name}"),) if (
            silent) else ()
    return tuple(_gates(promotion, protected.policy.shedding))


def _gates(promotion: Promotion, shedding: int) -> Iterator[Gate]:
    name = promotion.machine
    if promotion.outcome is Outcome.STAYS_OFF:
        yield Gate(sentence=f"{name} is declared off, and is not started")
    for why in promotion.gates:
        if promotion.outcome is Outcome.SHED:
            yield Gate(sentence=f"{name} stays off, being of class {shedding}: {why.sentence}")
        elif why.yields:
            yield Gate(sentence=f"{name} waits for a person: {why.sentence}: bring its old host"
                       " back, or order it with `--accept-loss`", yields=True)
        else:
            yield Gate(sentence=f"{name} cannot start: {why.sentence}")
