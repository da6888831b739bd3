"""How far the promotion of a VM has come, and whether it serves again.

What proves that is declared (`health`): that it boots; that its guest agent answers, which libvirt
shows by the channel that the agent opens. A TCP port or a ping cannot be tried from a host, which
has no address in its guests' networks: such a VM runs and counts as started, not proven.
"""

from controller.failover.situation import Progress
from controller.model.facts import DomainFacts, runs
from controller.model.failover.record import Record
from controller.model.protection_policy import HealthSpec
from controller.model.units import render_duration
from controller.plan.actions.promotion import PromoteReplica
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.survey.epochs import epoch_of
from controller.plan.survey.survey import Survey

Answer = tuple[Progress, str]


def progress_of(protected: ProtectedMachine, record: Record | None, survey: Survey) -> Answer:
    """Return how far a VM's promotion has come on the host that its record names, and why."""
    name = protected.name
    if record is None:
        return Progress.WAITING, ""
    node = record.machines[name].node
    here = next((one.domain for one in survey.sightings.get(name, ()) if one.host == node
                 and epoch_of(one.domain, survey.specs.names) == record.epoch), None)
    if here is not None and runs(here):
        started_at = survey.context.promoted.get(name, record.began_at)
        return health_of(here, protected.policy.health, survey.now_s - started_at)
    if any(flight.target == f"VirtualMachine/{name}" and flight.action_id.startswith(
               PromoteReplica.verb) for flight in survey.context.in_flight):
        return Progress.STARTING, f"it is being started on {node}"
    return Progress.WAITING, ""


def health_of(domain: DomainFacts, health: HealthSpec, ran_s: float) -> Answer:
    """Return whether a VM that runs serves as its policy wants it to."""
    if health.tcp is not None or health.ping:
        what = f"its port {health.tcp}" if health.tcp is not None else "whether it answers pings"
        return Progress.UNPROVEN, f"it runs, and {what} is not tried from here"
    if not health.agent:
        return Progress.HEALTHY, "it runs"
    if domain.agent:
        return Progress.HEALTHY, "its guest agent answers"
    if ran_s < health.within_s:
        return Progress.STARTING, "it boots, and its guest agent does not answer yet"
    return Progress.UNPROVEN, (f"its guest agent has not answered within"
                               f" {render_duration(health.within_s)}")
