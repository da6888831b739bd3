"""Protected machines: for each protected VM its location, its twin site and its replicas."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from controller.model.facts import DiskFacts, DomainFacts
from controller.model.protection_policy import ProtectionPolicySpec
from controller.model.replica import PointFacts
from controller.model.virtual_machine import VirtualMachine
from controller.plan.machine.device_support import LeftOut, coverage_of
from controller.plan.machine.state import Location, MachineState
from controller.plan.steps.contained import FAULTS, break_off
from controller.plan.steps.draft import Draft
from controller.plan.survey.identity import domain_uuid, domain_uuids
from controller.plan.survey.replicas import Held, ReplicaIndex, holds_anything
from controller.plan.survey.survey import Survey

BEFORE_IT_RUNS: Final = frozenset({"promoting", "led-elsewhere"})
"""Phases of a record that may still wait for a VM of it to start."""
COPYABLE: Final = frozenset({MachineState.RUNNING, MachineState.OFF, MachineState.RENAMED})
"""In these states a VM is one machine on one host, whose disks can be copied."""


class ProtectedMachine(NamedTuple):
    """One protected VM under consideration."""

    name: str
    vm: VirtualMachine
    policy: ProtectionPolicySpec
    location: Location
    uuid: str
    host: str | None
    """Its host, or the one that it was last seen on; of one that this controller never saw, and
    that has a replica, a silent host that may have it."""
    site: str | None
    twin: str | None
    """The site at which its replica belongs."""
    held: tuple[Held, ...]
    stale: tuple[Held, ...]
    current: Held | None
    """The replica to be kept fresh: the newest of those at the twin site."""
    point: PointFacts | None
    """The newest sound restore point of that one."""
    disks: tuple[DiskFacts, ...]
    """The disks that are copied, as they are in use now."""
    left: tuple[LeftOut, ...]
    """The parts that are not, by the facts."""
    epoch: int = 0
    """Which copy of the VM its domain is, by its mark: nothing is done to a replica for less."""

    @property
    def target(self) -> str:
        """Return `Replica/name`."""
        return f"Replica/{self.name}"

    @property
    def misplaced(self) -> Held | None:
        """Return a replica at the wrong site that holds anything, if there is one."""
        return next((one for one in self.held if one is not self.current
                     and holds_anything(one.replica)), None)

    @property
    def hidden(self) -> Held | None:
        """Return a replica that cannot be seen now and may be the newest one, if there is one."""
        if not self.stale:
            return None
        newest = max(self.stale, key=_freshness)
        if self.current is not None and _freshness(self.current) >= _freshness(newest):
            return None
        return newest


def _freshness(held: Held) -> tuple[int, float]:
    """Return how new a replica is: by point number first, since clocks may be wrong."""
    point = held.sound
    return (-1, -1.0) if point is None else (point.sequence, point.started_at)


def find_protected(locations: Mapping[str, Location], index: ReplicaIndex, survey: Survey,
                   draft: Draft) -> list[ProtectedMachine]:
    """Return every protected VM, sorted by name."""
    found = []
    twins = {name: twin_of(name, survey) for name in survey.desired.sites}
    for name in survey.specs.protected:
        try:
            found.append(_protect(name, locations[name], twins, index, survey))
        except FAULTS as error:
            break_off(f"Replica/{name}", draft, draft.mark(), error)
    return found


def _protect(name: str, location: Location, twins: Mapping[str, str | None], index: ReplicaIndex,
             survey: Survey) -> ProtectedMachine:
    vm = survey.desired.virtual_machines[name]
    assert vm.spec.protection is not None, "it is given"
    policy = survey.desired.protection_policies[vm.spec.protection].spec
    host, domain = location.host, location.domain
    if host is None or domain is None:
        host, domain = _last_place(name, survey)
    uuid = domain.uuid if domain is not None else (
        _superseded_uuid(name, survey) or _uuid_of(name, index, survey))
    held = index.held.get(uuid, ())
    if host is None and domain is None and any(one.sound is not None for one in held):
        host = _unseen_place(vm, survey)
    site = None if host is None else survey.desired.hosts[host].spec.site
    twin = None if site is None else twins[site]
    current = _current(held, site, twin, survey) if held else None
    config = None if location.domain is None else location.domain.live or location.domain.config
    copied, left = survey.specs.cached(coverage_of, name, config, survey.desired)
    return ProtectedMachine(name, vm, policy, location, uuid, host, site, twin, held,
                            index.stale.get(uuid, ()), current,
                            None if current is None else current.sound, copied, left,
                            epoch_of(domain))


def epoch_of(domain: DomainFacts | None) -> int:
    """Return which copy of its VM a domain is, by its own mark."""
    mark = None if domain is None else domain.ownership
    if domain is None or mark is None or mark.uuid not in {"", domain.uuid}:
        return 0
    return mark.epoch


def _uuid_of(name: str, index: ReplicaIndex, survey: Survey) -> str:
    """Return the UUID of a VM that is nowhere: declared, or of its replica if we gave it that."""
    uuids = domain_uuids(survey.specs.names, name)
    return next((uuid for uuid in uuids if uuid in index.held or uuid in index.stale),
                survey.specs.names.uuids.get(name) or domain_uuid(survey.estate_name, name))


def _superseded_uuid(name: str, survey: Survey) -> str | None:
    """Return the UUID of the older copies of a VM that failed over; None if it never did."""
    for there in (survey.superseded, survey.superseded_unseen):
        for _, domain in there.get(name, ()):
            return domain.uuid
    return None


def twin_of(site: str, survey: Survey) -> str | None:
    """Return the site that takes over for `site`: its twin, or the only other one."""
    twin = survey.desired.sites[site].spec.twin
    if twin is not None and twin in survey.desired.sites:
        return twin
    others = [one for one in survey.desired.sites if one != site]
    return others[0] if len(others) == 1 else None


def _last_place(name: str, survey: Survey) -> tuple[str | None, DomainFacts | None]:
    for seen in (survey.last_seen.get(name), survey.assumed_lost.get(name)):
        if seen:
            return seen[0]
    several = survey.sightings.get(name)
    return (None, several[0].domain) if several else (None, None)


def _unseen_place(vm: VirtualMachine, survey: Survey) -> str | None:
    """Return a silent host of its site that this controller never saw: the one it is declared on,
    or the first by name. It may be on any other of them as well."""
    going_on = max((one.epoch for one in survey.records.values()
                    if one.phase in BEFORE_IT_RUNS and vm.name in one.machines), default=0)
    if survey.epochs.get(vm.name, 0) > going_on:
        return None     # its newest copy is one that failed over, and is nowhere to be seen
    unseen = [host for host, silent in sorted(survey.unreachable.items()) if silent.domains is None]
    placement = vm.spec.placement
    if placement.host is not None:
        return placement.host if placement.host in unseen else None
    return next((one for one in unseen if survey.site_of(one) == placement.site), None)


def _current(held: tuple[Held, ...], site: str | None, twin: str | None,
             survey: Survey) -> Held | None:
    """Return the newest replica at the twin site, or at any site if that is unknown.

    An empty folder does not count: the first copy may go to another host if that one is full.
    """
    hosts = survey.desired.hosts
    fit = [one for one in held if holds_anything(one.replica)
           and (site is None or hosts[one.host].spec.site == twin)]
    if len(fit) == 1:
        return fit[0]
    return max(fit, key=lambda one: (_freshness(one), not one.replica.unreadable), default=None)
