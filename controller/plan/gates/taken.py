"""Taken: the gate before everything that would begin a VM while another domain has what makes it.
"""

from collections.abc import Iterator

from controller.plan.actions.action import Action
from controller.plan.actions.desired import AttachDisk, AttachNic, SetOwnership
from controller.plan.actions.machine import (
    DefineDomain,
    MigrateDomain,
    ReconfigureDomain,
    RestartDomain,
    ResumeDomain,
    StartDomain,
)
from controller.plan.actions.storage import CreateDisk
from controller.plan.machine.state import way_out
from controller.plan.steps.plan import Ruling, Verdict
from controller.plan.survey.survey import Survey

BEGINNINGS = StartDomain | ResumeDomain | DefineDomain | CreateDisk | MigrateDomain | RestartDomain


def taken(action: Action, survey: Survey) -> Ruling | None:
    """Refuse to begin a VM, or to take a domain over, whose identity another domain has."""
    kind, _, name = action.target.partition("/")
    if kind != "VirtualMachine":
        return None
    if isinstance(action, BEGINNINGS) or _adopts(action, survey):
        rivals = survey.identities.rivals.get(name, ())
        if isinstance(action, ResumeDomain):    # it holds its disks already
            rivals = tuple(one for one in rivals if one.claim.domain.state.active)
        if rivals:
            return Ruling(Verdict.REFUSED, "identity", "; ".join(str(one) for one in rivals),
                          way_out(name, rivals))
        stranger = _namesake(action, survey)
        if stranger is not None:
            return Ruling(Verdict.REFUSED, "identity", stranger, "rename one of the two")
    for mac in _cards(action):
        holder = survey.identities.holder_of(name, mac)
        if holder is not None:
            return Ruling(Verdict.REFUSED, "identity", str(holder), way_out(name, (holder,)))
    for host, path in _files(action):
        user = survey.identities.user_of(name, host, path, survey.file_identity(host, path))
        if user is not None:
            return Ruling(Verdict.REFUSED, "identity", str(user), way_out(name, (user,)))
    return None


def _adopts(action: Action, survey: Survey) -> bool:
    """Return whether a domain is to get its first mark."""
    if not isinstance(action, ReconfigureDomain) or not any(
            isinstance(change, SetOwnership) for change in action.changes):
        return False
    domain = survey.domains.get(action.node, {}).get(action.domain)
    return domain is not None and domain.ownership is None


def _namesake(action: Action, survey: Survey) -> str | None:
    """Return that another machine has the libvirt name where the domain is to be defined."""
    if isinstance(action, DefineDomain):
        host, name, uuid = action.node, action.desired.name, action.desired.uuid
    elif isinstance(action, MigrateDomain):
        moving = survey.domains.get(action.node, {}).get(action.domain)
        host, name, uuid = action.to, action.domain, "" if moving is None else moving.uuid
    else:
        return None
    other = survey.domains.get(host, {}).get(name)
    if other is None or other.uuid == uuid:
        return None
    return f"{host} has another domain of the name {name}, with uuid {other.uuid}"


def _cards(action: Action) -> Iterator[str]:
    """Yield every card that an action would give to its VM."""
    if isinstance(action, DefineDomain):
        yield from (nic.mac for nic in action.desired.nics)
    elif isinstance(action, ReconfigureDomain):
        yield from (change.nic.mac for change in action.changes if isinstance(change, AttachNic))


def _files(action: Action) -> Iterator[tuple[str, str]]:
    """Yield host and path of every disk that an action would give to its VM."""
    if isinstance(action, CreateDisk):
        yield action.node, action.disk.path
    elif isinstance(action, DefineDomain):
        yield from ((action.node, disk.path) for disk in action.desired.disks)
    elif isinstance(action, MigrateDomain):
        yield from ((action.to, disk.path) for disk in action.disks)
    elif isinstance(action, ReconfigureDomain):
        yield from ((action.node, change.disk.path) for change in action.changes
                    if isinstance(change, AttachDisk))
