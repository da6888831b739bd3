"""Survivable and NotPortable of single VMs: listed only where something is in the way.

What Protected, Fresh and NotPortable say of a VM, its Survivable does not say again: that it has no
replica, no sound point, or none that is seen or young enough, or that it cannot start there.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from controller.model.condition import Condition, ConditionType, Status
from controller.plan.machine.capability import Effect, Misfit
from controller.plan.promotion.takeover import Hindrance
from controller.plan.survey.survey import Survey

SAID_ELSEWHERE: Final = frozenset({
    "NoReplica", "NoPoint", "CannotBeSeen", "HostsSilent", "TooOld", "InTheFuture", "DiskLeftOut",
    "CannotRunThere", "FirmwareMissing", "MediumMissing", "TiedToItsHost", "TpmMissing"})
WAYS_OUT: Final = {
    "MemoryShort": "move VMs away from that host, or add memory there",
    "HugePagesShort": "set more huge pages aside there",
    "CpusShort": "move VMs away from that host, or raise `cpuRatio`",
    "GroupShared": "move one of the two, so that their replicas are on two hosts",
    "SpaceShort": "free space in that pool, or lower `failover.growth`",
    "InMaintenance": "end the maintenance of that host",
    "NetworkMissing": "let that network pass there",
    "GroupSkew": "give all VMs of a group the same RPO",
    "GroupSplit": "have them at one site: `hotsite failover {group} --planned` moves those at home"
                  " away, too, and `hotsite failback {group}` those away home",
}
STATUS: Final = ((Status.TRUE, (Effect.PREVENTS, Effect.LEAVES_BEHIND)),
                 (Status.UNKNOWN, (Effect.UNKNOWN,)), (Status.FALSE, (Effect.TELLS,)))


def recovery_conditions(waiting: Mapping[str, Hindrance],
                        misfits: Mapping[str, tuple[Misfit, ...]],
                        survey: Survey) -> Iterator[Condition]:
    """Yield what would keep single VMs from coming back where their replicas lie."""
    revision = survey.desired.revision
    for name, hindrance in waiting.items():
        if any(one.sure and one.reason not in SAID_ELSEWHERE for one in hindrance.obstacles):
            yield survey.specs.cached(not_survivable, name, hindrance, revision,
                                      survey.specs.group_of.get(name, ""))
    for name, unlike in misfits.items():
        yield survey.specs.cached(not_portable, name, unlike, revision)


def not_survivable(name: str, hindrance: Hindrance, revision: str, group: str = "") -> Condition:
    """Return Survivable as false for a VM of `group`, if it has one, with what to do."""
    here = [one for one in hindrance.obstacles if one.reason not in SAID_ELSEWHERE]
    ways = dict.fromkeys(WAYS_OUT[one.reason].format(group=f"Group/{group}")
                         for one in here if one.reason in WAYS_OUT)
    words = "; ".join(one.sentence for one in here)
    return Condition(f"VirtualMachine/{name}", ConditionType.SURVIVABLE, Status.FALSE,
                     here[0].reason, f"{words}: {', and '.join(ways)}" if ways else words, revision)


def not_portable(name: str, misfits: tuple[Misfit, ...], revision: str) -> Condition:
    """Return whether what a VM is made of ties it to its host."""
    status, first = next((status, one) for status, effects in STATUS for one in misfits
                         if one.effect in effects)
    return Condition(f"VirtualMachine/{name}", ConditionType.NOT_PORTABLE, status, first.reason,
                     "; ".join(one.sentence for one in misfits), revision)
