"""Everything that can be done to libvirt on a host, by action."""

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final

from controller.plan.actions import (
    Action,
    CreateDisk,
    CreatePool,
    DefineDomain,
    DisableAutostart,
    MigrateDomain,
    ReconfigureDomain,
    RemoveDomain,
    RestartDomain,
    ResumeDomain,
    ShutDownDomain,
    StartDomain,
    UndefineDomain,
)
from controller.providers.libvirt import (
    definition,
    disk,
    domain,
    migration,
    pool,
    reconfigure,
)
from controller.providers.node import Node
from controller.transport.base import Transport

HANDS: Final[dict[type[Action], Callable[[Node, Any], Awaitable[str]]]] = {
    CreatePool: pool.create_pool,
    CreateDisk: disk.create_disk,
    DefineDomain: definition.define,
    StartDomain: domain.start,
    ResumeDomain: domain.resume,
    ShutDownDomain: domain.shut_down,
    RestartDomain: domain.restart,
    DisableAutostart: domain.disable_autostart,
    ReconfigureDomain: reconfigure.reconfigure,
    MigrateDomain: migration.migrate,
    UndefineDomain: definition.undefine,
    RemoveDomain: definition.remove,
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
        return await HANDS[type(action)](Node(self._transport, action.node), action)
