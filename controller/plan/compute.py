"""The one function behind plan, heal, dry run, what-if and the simulator: what should be done.

    specs, facts, context, now
      │
      ▼
    survey ──► locations ──► layout                  what is; where each VM is; where it belongs
      │
      ▼
    diffs: switches, hosts, VMs, removals, purges    each puts steps, remarks and stalls down
           then failovers, replicas, leftovers       in one draft
      │
      ▼
    corrections: wait_for_capacity, narrow_last      steps of one object wait for another's
      │
      ▼
    only_observe                                     what is only observed loses its steps
      │
      ▼
    order ──► laws ──► gates ──► conditions ──► Plan

Why in this order:

* The survey is taken once and read by all, so that a host is not silent for one diff and answering
  for another. Only the laws read the facts again: a mistake of the survey must not hide from them.
* Layout comes before the VMs, since where one VM goes depends on all others. The diff of one
  VM is given its goal, and does not weigh VMs against each other.
* The order of the diffs is not the order of the steps: a step names the steps that must succeed
  before it, and `order` sorts them at the end. Only `wait_for_capacity` and `narrow_last` read the
  steps of others, so they follow the diffs whose steps they read.
* What is only observed loses its steps once all are there, since steps of others may need them.
* Laws come before gates. A law is broken only by a mistake of ours: all steps of that target are
  refused, whatever anybody granted, and occupy no slot of the concurrency limits.
* Gates rule in the order of the steps: a step waits if one that it names is held back, and the
  concurrency limits serve the first steps first.
* Conditions come last: whether an object is converging or stalled depends on the rulings.

Equal arguments give an equal plan; ties go by name. Between two calls only caches survive, which
change no result. A fault at one object (an odd fact, a mistake of ours) takes back what was put
down for it and stalls that object alone: see `steps/contained.py`.
"""

from collections.abc import Mapping
from dataclasses import replace

from controller.model.desired import Desired
from controller.model.facts import Absent, Fact, Known, NodeFacts, Observed, Unknown
from controller.plan.conditions.conditions import conditions_of
from controller.plan.conditions.gateway import gateway_conditions
from controller.plan.conditions.guarded import guarded_conditions
from controller.plan.conditions.healthy import health_conditions
from controller.plan.conditions.replica import replica_conditions
from controller.plan.conditions.survivable import judge_sites
from controller.plan.drill.drilled import drill_conditions
from controller.plan.drill.nightly import diff_drills
from controller.plan.failover.addresses import diff_addresses
from controller.plan.failover.orders import diff_failovers, next_failover_at
from controller.plan.gates.gates import rule_all, storms_of
from controller.plan.gates.grace import next_grace_at
from controller.plan.gates.laws import strike
from controller.plan.gates.observing import only_observe
from controller.plan.guarding.upkeep import diff_guards
from controller.plan.machine.layout import Layout, lay_out, wait_for_capacity
from controller.plan.machine.removal import diff_asides, diff_undeclared
from controller.plan.machine.state import Case, Location, MachineState, locate
from controller.plan.machine.superseded import diff_superseded, superseded_conditions
from controller.plan.machine.virtual_machine import diff_virtual_machine, needs_nothing
from controller.plan.network.gateway import diff_gateways
from controller.plan.network.host import diff_host
from controller.plan.network.trunk import diff_switch, narrow_last
from controller.plan.promotion.what_if import what_if
from controller.plan.replication.checkpoints import diff_checkpoints
from controller.plan.replication.leftovers import diff_leftovers, tell_unclaimed, tell_unseen
from controller.plan.replication.protected_machine import find_protected
from controller.plan.replication.schedule import diff_replicas
from controller.plan.replication.tails import diff_tails
from controller.plan.steps.contained import FAULTS, break_off, contained, not_understood
from controller.plan.steps.draft import Draft, order
from controller.plan.steps.plan import Plan
from controller.plan.survey.context import Context
from controller.plan.survey.replicas import ReplicaIndex, index_replicas
from controller.plan.survey.silence import last_of
from controller.plan.survey.survey import Survey, take_survey


def compute(desired: Desired, observed: Observed, context: Context, now_s: float) -> Plan:
    """Return every step needed, in an order in which it may be done, ruled on by every gate."""
    survey = take_survey(desired, observed, context, now_s)
    draft = Draft()
    for name in sorted(desired.switches):
        with contained(f"Switch/{name}", draft):
            diff_switch(desired.switches[name], survey, draft)
    diff_gateways(survey, draft)
    for name in sorted(desired.hosts):
        with contained(f"Host/{name}", draft):
            diff_host(desired.hosts[name], survey, draft)
    locations = locate_all(survey, draft)
    layout = lay_out(locations, survey, draft)
    index = index_replicas(survey)
    diff_guards(survey, draft)
    diff_superseded(survey, draft)
    diff_machines(locations, layout, index, survey, draft)
    diff_undeclared(survey, draft)
    purge_at = diff_asides(survey, draft)
    wait_for_capacity(layout, survey, draft)
    protected_machines = find_protected(locations, index, survey, draft)
    diff_addresses(survey, draft)
    failovers, used = diff_failovers(protected_machines, index, layout, survey, draft)
    findings = diff_replicas(protected_machines, index, layout, survey, draft)
    drill_at = diff_drills(protected_machines, failovers, survey, draft)
    takeovers = what_if(protected_machines, index, layout, survey, draft) if survey.lost else ()
    diff_leftovers(survey, draft)
    diff_checkpoints(survey, draft)
    tail_at = diff_tails(protected_machines, survey, draft)
    tell_unclaimed(protected_machines, index, draft)
    tell_unseen(index, survey, draft)
    narrow_last(draft, survey)
    observing = only_observe(locations, protected_machines, survey, draft)
    for site, sentence in storms_of(survey).items():
        draft.remark(f"Site/{site}", sentence, unknown=True)
    steps = rule_all(strike(order(draft.items), without(survey)), survey)
    conditions = conditions_of(survey, locations, layout, steps, draft.stalls, observing)
    conditions += (*superseded_conditions(survey), *guarded_conditions(survey),
                   *gateway_conditions(survey), *health_conditions(locations, survey))
    conditions += tuple(replica_conditions(protected_machines, index, findings, survey))
    proofs, stale_at = drill_conditions(protected_machines, survey)
    conditions += tuple(proofs)
    judged = judge_sites(protected_machines, locations, index, layout, survey)
    conditions += tuple(judged.conditions)
    remarks = tuple(sorted(dict.fromkeys(draft.remarks),
                           key=lambda one: (one.target, one.sentence)))
    due_ats = (findings.due_at, next_grace_at(steps, survey), purge_at,
               next_failover_at(survey, failovers), tail_at, stale_at, drill_at)
    return Plan(desired.revision, steps, remarks, conditions,
                min((at for at in due_ats if at is not None), default=None), draft.kept, failovers,
                takeovers, observing.sentence, used, judged.sites, judged.hosts,
                judged.assumed)


def locate_all(survey: Survey, draft: Draft) -> dict[str, Location]:
    """Return where every VM is; where a fault prevents that, stall the VM and call it UNKNOWN."""
    locations: dict[str, Location] = {}
    for name in survey.desired.virtual_machines:
        try:
            locations[name] = locate(name, survey)
        except FAULTS as error:
            target = f"VirtualMachine/{name}"
            locations[name] = Location(MachineState.UNKNOWN, sentence=not_understood(target, error))
            draft.stall(target, "NotUnderstood", locations[name].sentence)
    return locations


def without(survey: Survey) -> Observed:
    """Return what is observed, without nodes assumed lost and older copies on silent hosts.

    The laws then see what counts: such a copy was proven off before its VM was promoted.
    """
    observed = survey.observed
    if not survey.lost and not survey.superseded_unseen:
        return observed
    old: dict[str, set[str]] = {}
    for sightings in survey.superseded_unseen.values():
        for host, domain in sightings:
            old.setdefault(host, set()).add(domain.uuid)
    return replace(observed, nodes={
        name: _without_domains(fact, old[name]) if name in old else fact
        for name, fact in observed.nodes.items() if name not in survey.lost})


def _without_domains(fact: Fact[NodeFacts], uuids: set[str]) -> Fact[NodeFacts]:
    """Return the fact of a silent node without some of the domains last seen there."""
    node = last_of(fact)
    domains = None if node is None else last_of(node.domains)
    if node is None or domains is None or isinstance(fact, Absent):
        return fact
    left = {name: one for name, one in domains.items() if one.uuid not in uuids}
    last = replace(node, domains=replace(node.domains, value=left) if isinstance(
        node.domains, Known) else Unknown("as last seen", 0.0, left))
    return replace(fact, value=last) if isinstance(fact, Known) else replace(fact, last=last)


def diff_machines(locations: Mapping[str, Location], layout: Layout, index: ReplicaIndex,
                  survey: Survey, draft: Draft) -> None:
    """Put down what differs on every VM that layout has not settled."""
    machines = survey.desired.virtual_machines
    for name in survey.specs.machines:
        if name in layout.skipped:
            continue
        mark = draft.mark()
        try:
            if not needs_nothing(machines[name], locations[name], layout.goals.get(name), survey):
                diff_virtual_machine(Case(machines[name], locations[name], layout.goals.get(name),
                                          layout.why.get(name, ""), survey, index, draft))
        except FAULTS as error:
            break_off(f"VirtualMachine/{name}", draft, mark, error)
