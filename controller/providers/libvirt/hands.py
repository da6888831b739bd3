"""The hand for each action that changes libvirt on a host."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, ClassVar, Final

from controller.errors import Refused
from controller.model.virtual_machine import is_ambiguous
from controller.plan.actions.action import Action
from controller.plan.actions.failover import EndStaleDomain
from controller.plan.actions.leaving import RemoveMark
from controller.plan.actions.machine import (
    DefineDomain,
    DisableAutostart,
    MigrateDomain,
    PruneDomain,
    ReconfigureDomain,
    RemoveDomain,
    RestartDomain,
    ResumeDomain,
    ShutDownDomain,
    StartDomain,
    UndefineDomain,
)
from controller.plan.actions.replica import DropCheckpoints
from controller.plan.actions.storage import (
    AcceptPool,
    CreateDisk,
    CreatePool,
    PurgeFiles,
    ReturnDisk,
)
from controller.providers.libvirt.checkpoint import drop_checkpoints, remove_mark
from controller.providers.libvirt.definition import define, remove, undefine
from controller.providers.libvirt.disk import create_disk
from controller.providers.libvirt.domain import (
    disable_autostart,
    restart,
    resume,
    shut_down,
    start,
)
from controller.providers.libvirt.migration.migration import migrate
from controller.providers.libvirt.pool import accept_pool, create_pool
from controller.providers.libvirt.reconfigure import reconfigure
from controller.providers.libvirt.set_aside import purge, return_disk
from controller.providers.libvirt.stale import end_stale
from controller.providers.node import Node
from controller.transport.base import Transport

HANDS: Final[dict[type[Action], Callable[[Node, Any], Awaitable[str]]]] = {
    CreatePool: create_pool,
    CreateDisk: create_disk,
    DefineDomain: define,
    StartDomain: start,
    ResumeDomain: resume,
    ShutDownDomain: shut_down,
    RestartDomain: restart,
    DisableAutostart: disable_autostart,
    ReconfigureDomain: reconfigure,
    PruneDomain: reconfigure,
    MigrateDomain: migrate,
    UndefineDomain: undefine,
    DropCheckpoints: drop_checkpoints,
    RemoveDomain: remove,
    ReturnDisk: return_disk,
    PurgeFiles: purge,
    EndStaleDomain: end_stale,
    RemoveMark: remove_mark,
    AcceptPool: accept_pool,
}


class LibvirtHands:
    """Applies the actions that change domains, their disks and their pools."""

    HANDLES: ClassVar[frozenset[type[Action]]] = frozenset(HANDS)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def apply(self, action: Action) -> str:
        """Make one change and return a sentence that says what was done.

        Errors: Refused, Unavailable or OutcomeUnknown; see controller.errors.
        """
        return await HANDS[type(action)](Node(self._transport, action.node), addressed(action))


def addressed(action: Action) -> Action:
    """Return the action with a domain that virsh finds: by its UUID if its name could be another's.

    Errors: Refused where no UUID is known.
    """
    name = getattr(action, "domain", "")
    if not is_ambiguous(name):
        return action
    uuid = getattr(action, "uuid", "")
    if not uuid:
        raise Refused(f"{action.verb} of domain {name} on {action.node} was not tried: virsh takes"
                      " that name for the number or uuid of another domain; rename it by hand")
    by_uuid: dict[str, Any] = {"domain": uuid}
    return replace(action, **by_uuid)
