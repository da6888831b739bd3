"""A case: one VM under consideration, with where it stands and where it belongs."""

from dataclasses import dataclass

from controller.model.virtual_machine import VirtualMachine
from controller.plan.actions import Cause
from controller.plan.draft import Draft, cause_of
from controller.plan.replica_index import ReplicaIndex
from controller.plan.standing import Stand
from controller.plan.survey import Survey


@dataclass(frozen=True, slots=True)
class Case:
    """One VM under consideration: what it is, where it stands, where it should be."""

    vm: VirtualMachine
    stand: Stand
    goal: str | None
    """The host that placement chose; None where it found none."""
    why: str
    """Why it should move to `goal`, or why there is no goal."""
    survey: Survey
    replicas: ReplicaIndex
    draft: Draft

    @property
    def target(self) -> str:
        """Return `VirtualMachine/name`."""
        return f"VirtualMachine/{self.vm.metadata.name}"

    @property
    def cause(self) -> Cause:
        """Return whether the specs of the VM or of its networks moved, or the world did."""
        return cause_of(self.survey.policy, self.target,
                        *(f"Network/{nic.network}" for nic in self.vm.spec.nics))


def pool_first(host: str, pool: str) -> str:
    """Return the id of the action that creates a pool, should one be planned."""
    return f"create-pool:Host/{host}@{host}/{pool}"


def bridge_first(host: str) -> str:
    """Return the id of the action that creates a host's bridge, should one be planned."""
    return f"create-bridge:Host/{host}@{host}"
