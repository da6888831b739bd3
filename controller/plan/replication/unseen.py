"""Unseen replicas: why the state of a VM's replica is unknown, in words that stay the same."""

from controller.model.units import render_instant
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.survey.replicas import ReplicaIndex
from controller.plan.survey.survey import Survey


def unsure_of_replica(protected: ProtectedMachine, index: ReplicaIndex, survey: Survey) -> str:
    """Return why the state of a VM's replica is unknown; empty if it is known."""
    hidden = protected.hidden
    if hidden is not None:
        point = hidden.sound
        last = "" if point is None else (
            f"; its newest point there began at {render_instant(point.started_at)}")
        return (f"its replica is on {hidden.host}, and {_since(hidden.host, index, survey)}{last};"
                f" {way_out(hidden.host)}")
    return unlisted_hosts(index, survey) if protected.current is None else ""


def unlisted_hosts(index: ReplicaIndex, survey: Survey) -> str:
    """Return why any replica may be where none can be seen; empty if all would be seen."""
    if not index.unlisted:
        return ""
    host = next(iter(index.unlisted))
    mend = "" if host in survey.nodes else f"; {way_out(host)}"
    return f"a replica may be where none can be seen: {_since(host, index, survey)}{mend}"


def _since(host: str, index: ReplicaIndex, survey: Survey) -> str:
    """Return why a host's replicas are unknown, without an age, which would change all the time."""
    if host in survey.nodes:
        return index.unseen[host]
    return f"{host} does not answer"


def way_out(host: str) -> str:
    """Return what a person can do about a replica on a host that cannot be seen."""
    return f"bring {host} back, or remove it from the specs: then a first copy is made elsewhere"
