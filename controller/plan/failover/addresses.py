"""The network fence: which source addresses the survivors' switches drop, and from which ports.

While a failover is open, frames that bear the address of a promoted VM may come into its site only
from where it runs now. So each switch there drops them on its trunks, and on the ports of hosts
that failed. What is wanted follows from the records alone, as all that is level-triggered: a switch
that lost its flows gets them again, and in its next phase a failover wants none any more.

Flows that nobody wants are taken away only where a record says that their failover is past: silence
of those who hold records is no reason.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from controller.failover.states import Phase
from controller.model.facts import Known
from controller.model.failover.dropped import DroppedAddress
from controller.model.failover.record import Record
from controller.plan.actions.action import Cause
from controller.plan.actions.fencing import AdmitAddresses, DropAddresses
from controller.plan.steps.draft import Draft
from controller.plan.survey.survey import Survey

DROPPED_IN: Final = frozenset({Phase.PROMOTING, Phase.SPLIT_BRAIN, Phase.LED_ELSEWHERE,
                               Phase.RETURNING})
"""Phases in which old copies may be alive."""
Wanted = Mapping[str, frozenset[DroppedAddress]]
"""By switch."""


def diff_addresses(survey: Survey, draft: Draft) -> None:
    """Put down what the switches that answer should drop, and do not, or the other way round."""
    wanted = wanted_of(survey)
    for switch in sorted(survey.desired.switches):
        present = _present(switch, survey)
        if present or (present is not None and switch in wanted):
            _diff(switch, wanted.get(switch, frozenset()), present, survey, draft)


def not_dropped(survey: Survey) -> frozenset[str]:
    """Return the addresses that a switch which answers should drop, and does not."""
    return frozenset(one.mac for switch, entries in wanted_of(survey).items()
                     if (present := _present(switch, survey)) is not None
                     for one in entries - present)


def _present(switch: str, survey: Survey) -> frozenset[DroppedAddress] | None:
    """Return what a switch drops; None if it cannot be seen."""
    facts = survey.nodes.get(switch)
    if facts is None or not isinstance(facts.dropped, Known):
        return None
    return frozenset(facts.dropped.value)


def wanted_of(survey: Survey) -> Wanted:
    """Return what each switch should drop."""
    found: dict[str, set[DroppedAddress]] = {}
    for record in survey.records.values():
        if record.phase not in DROPPED_IN:
            continue
        for former, machine in record.machines.items():
            name = survey.specs.names.present.get(former, former)
            if (machine.node not in survey.desired.hosts
                    or survey.epochs.get(name, 0) > record.epoch):
                continue        # what was promoted or moved since may send from anywhere
            macs = _macs(name, survey)
            for switch, bridge, port in _ways_in(machine.node, record, survey):
                found.setdefault(switch, set()).update(
                    DroppedAddress(bridge, port, mac, record.epoch) for mac in macs)
    return {switch: frozenset(entries) for switch, entries in found.items()}


def _macs(machine: str, survey: Survey) -> frozenset[str]:
    vm = survey.desired.virtual_machines.get(machine)
    return frozenset() if vm is None else frozenset(nic.mac.lower() for nic in vm.spec.nics)


def _ways_in(node: str, record: Record, survey: Survey) -> Iterator[tuple[str, str, str]]:
    """Yield switch, bridge and port of each way by which a failed host reaches a survivor."""
    site = survey.site_of(node)
    for name, switch in survey.desired.switches.items():
        if switch.spec.site == site:
            for port in switch.spec.ports:
                if port.link is not None or port.host in record.hosts:
                    yield name, switch.spec.bridge, port.name


def _diff(switch: str, wanted: frozenset[DroppedAddress], present: frozenset[DroppedAddress],
          survey: Survey, draft: Draft) -> None:
    """Put down what one switch has to change."""
    missing = wanted - present
    for bridge, epoch in sorted({(one.bridge, one.epoch) for one in missing}):
        mine = [one for one in missing if (one.bridge, one.epoch) == (bridge, epoch)]
        macs = tuple(sorted({one.mac for one in mine}))
        draft.do(DropAddresses(
            target=f"Switch/{switch}", node=switch, bridge=bridge, epoch=epoch, macs=macs,
            ports=tuple(sorted({one.port for one in mine})), cause=_cause(epoch, survey),
            reason=f"{len(macs)} addresses of promoted VMs may still be sent by their old hosts",
            consequence="frames from there with these addresses are dropped; all others pass"))
    macs_wanted = {one.mac for one in wanted}
    past = [one for one in present - wanted
            if one.mac not in macs_wanted and _is_past(one.epoch, survey)]
    for bridge in sorted({one.bridge for one in past}):
        macs = tuple(sorted({one.mac for one in past if one.bridge == bridge}))
        draft.do(AdmitAddresses(
            target=f"Switch/{switch}", node=switch, bridge=bridge, macs=macs,
            cause=_cause(max(one.epoch for one in past), survey),
            reason=f"the failover for which {switch} drops {len(macs)} addresses is past",
            consequence="frames with these addresses pass again from every side"))


def _is_past(epoch: int, survey: Survey) -> bool:
    """Return whether a record says that the failover of an epoch needs no network fence."""
    return any(record.epoch > epoch or (record.epoch == epoch and record.phase not in DROPPED_IN)
               for record in survey.records.values())


def _cause(epoch: int, survey: Survey) -> Cause:
    """Return HUMAN if a person ordered the failover of an epoch, else DRIFT."""
    return Cause.HUMAN if any(record.ordered for record in survey.records.values()
                              if record.epoch == epoch) else Cause.DRIFT
