"""What if: who of the VMs that are assumed lost would come back, and who would not."""

from collections.abc import Sequence
from dataclasses import replace

from controller.model.units import render_size
from controller.model.virtual_machine import Power
from controller.plan.machine.layout import Layout
from controller.plan.promotion.asked import asked_of
from controller.plan.promotion.surroundings import surroundings_of
from controller.plan.promotion.takeover import take_over
from controller.plan.replication.protected_machine import ProtectedMachine, twin_of
from controller.plan.steps.draft import Draft, counted
from controller.plan.steps.takeover import Outcome, Takeover
from controller.plan.survey.replicas import ReplicaIndex
from controller.plan.survey.survey import Survey


def what_if(protected_machines: Sequence[ProtectedMachine], index: ReplicaIndex, layout: Layout,
            survey: Survey, draft: Draft) -> tuple[Takeover, ...]:
    """Return how the VMs that are assumed lost would come back, and report those that would not."""
    found = []
    lost = [one for one in protected_machines if one.name in layout.lost]
    for site in sorted({one.site for one in lost if one.site is not None}):
        here = [one for one in lost if one.site == site]
        twin = twin_of(site, survey)
        if twin is None:
            draft.remark(f"Site/{site}", f"{site} has no twin: none of its VMs would come back")
            continue
        there = surroundings_of(twin, [one.name for one in here], layout, index, survey)
        takeover = take_over(here, there, asked_of(here, survey))
        names = {target.partition("/")[2] for target in survey.context.assumed_down}
        hosts = [host for host in survey.hosts_of_site[site] if host in names]
        found.append(replace(takeover, lost=site if site in names else " and ".join(hosts)))
    _report(tuple(found), layout, survey, draft)
    return tuple(found)


def _report(takeovers: tuple[Takeover, ...], layout: Layout, survey: Survey, draft: Draft) -> None:
    machines = survey.desired.virtual_machines
    running = [name for name in sorted(layout.lost) if machines[name].spec.power is Power.ON]
    bare = [name for name in running if machines[name].spec.protection is None]
    for name in bare:
        draft.remark(f"VirtualMachine/{name}", (
            f"{name} ({render_size(machines[name].spec.memory_bytes)}) would be lost with"
            f" {survey.assumed_lost[name][0].host} and not come back: no protection policy gives it"
            " a replica"))
    outcomes = [one.outcome for takeover in takeovers for one in takeover.promotions]
    back, shed = outcomes.count(Outcome.RETURNS), outcomes.count(Outcome.SHED)
    words = [f"{back} would come back elsewhere"]
    words += [f"{shed} would stay off for want of room"] if shed else []
    wait = len(running) - back - shed - len(bare)
    words += [f"{wait} would wait for a person"] if wait > 0 else []
    words += [f"{len(bare)} {'is' if len(bare) == 1 else 'are'} not protected"] if bare else []
    for target in sorted(survey.context.assumed_down):
        draft.remark(target, f"taken as lost: of {counted(len(running), 'VM')} lost,"
                     f" {', '.join(words)}")
