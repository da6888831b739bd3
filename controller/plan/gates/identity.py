"""The identity gate: no VM is begun, and no domain adopted, while another domain has its identity.

A VM's identity is its UUID, its MACs and its disk files, whatever its name; by law 3 no two running
domains share any of it. A new card or disk is refused in the same way if another domain has it.
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
from controller.plan.steps.plan import Ruling, Verdict
from controller.plan.survey.namesakes import way_out
from controller.plan.survey.survey import Survey

BEGINS = StartDomain | ResumeDomain | DefineDomain | CreateDisk | MigrateDomain | RestartDomain


def identity_taken(action: Action, survey: Survey) -> Ruling | None:
    """Refuse to begin a VM, adopt a domain or plug a part in if another domain has its identity."""
    kind, _, name = action.target.partition("/")
    if kind != "VirtualMachine":
        return None
    if isinstance(action, BEGINS) or _adopts(action, survey):
        rivals = survey.identities.rivals.get(name, ())
        if isinstance(action, ResumeDomain):    # it holds its disks already
            rivals = tuple(one for one in rivals if one.claim.domain.state.active)
        if rivals:
            return Ruling(Verdict.REFUSED, "identity", "; ".join(str(one) for one in rivals),
                          way_out(name, rivals))
        namesake = _namesake(action, survey)
        if namesake is not None:
            return Ruling(Verdict.REFUSED, "identity", namesake, "rename one of the two")
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
    """Return whether an action gives a domain its first mark."""
    if not isinstance(action, ReconfigureDomain) or not any(
            isinstance(change, SetOwnership) for change in action.changes):
        return False
    domain = survey.domains.get(action.node, {}).get(action.domain)
    return domain is not None and domain.ownership is None


def _namesake(action: Action, survey: Survey) -> str | None:
    """Return the sentence if another domain has the libvirt name on the host of the new one."""
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
    """Yield the MAC of every card that an action would give to its VM."""
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
