"""Everything that can be done to libvirt on a host, by action."""

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final

from controller.plan.actions import (
    Action,
    DisableAutostart,
    RestartDomain,
    ResumeDomain,
    ShutDownDomain,
    StartDomain,
)
from controller.providers.libvirt import domain
from controller.providers.node import Node
from controller.transport.base import Transport

HANDS: Final[dict[type[Action], Callable[[Node, Any], Awaitable[str]]]] = {
    StartDomain: domain.start,
    ResumeDomain: domain.resume,
    ShutDownDomain: domain.shut_down,
    RestartDomain: domain.restart,
    DisableAutostart: domain.disable_autostart,
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
