"""What switches drop of old copies: their source addresses, where these come over a trunk.

It is a belt beside the proofs: whatever an old copy sends after all, from a host that thaws, does
not reach the site where its VM runs by then. Only the switches of that site drop it: at the old
site the same addresses come over the trunk from the VM itself.
"""

from collections.abc import Iterator

from controller.model.facts import Known
from controller.model.switch import Switch
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.survey.survey import Survey


def filtering_switches(survey: Survey) -> Iterator[tuple[str, Switch]]:
    """Yield the switches that answer, say what they drop, and have a trunk to another site."""
    for name, switch in survey.desired.switches.items():
        facts = survey.nodes.get(name)
        if facts is not None and isinstance(facts.dropped, Known) and any(
                port.link is not None for port in switch.spec.ports):
            yield name, switch


def dropped_on(switch: str, survey: Survey) -> frozenset[str]:
    """Return the addresses that a switch drops on our order."""
    facts = survey.nodes.get(switch)
    if facts is None or not isinstance(facts.dropped, Known):
        return frozenset()
    return frozenset(one.mac for one in facts.dropped.value)


def macs_of(protected: ProtectedMachine) -> frozenset[str]:
    """Return the addresses of a VM's cards."""
    return frozenset(nic.mac.lower() for nic in protected.vm.spec.nics)


def promoted_at(name: str, survey: Survey) -> str | None:
    """Return the site of the host that a record promotes a VM on; None if none does."""
    for record in survey.records.values():
        if name in record.machines and record.machines[name].node in survey.desired.hosts:
            return survey.site_of(record.machines[name].node)
    return None


def dropped_everywhere(protected: ProtectedMachine, survey: Survey) -> bool:
    """Return whether each switch of a promoted VM's site drops what its old copy sends."""
    macs, site = macs_of(protected), promoted_at(protected.name, survey)
    return all(dropped_on(name, survey) >= macs for name, switch in filtering_switches(survey)
               if switch.spec.site == site)
