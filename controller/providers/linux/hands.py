"""The hand for each action on what we keep on nodes ourselves."""

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final

from controller.plan.actions.action import Action
from controller.plan.actions.failover import WriteRecord
from controller.plan.actions.guarding import (
    InstallGrantor,
    InstallGuard,
    RestoreGrants,
    RevokeGrants,
)
from controller.plan.actions.leaving import EndGrantor, EndGuard, ForgetNode
from controller.providers.linux.guard import (
    install_grantor,
    install_guard,
    restore_grants,
    revoke_grants,
)
from controller.providers.linux.leaving.hands import end_grantor, end_guard, forget
from controller.providers.linux.record import write_record
from controller.providers.node import Node
from controller.transport.base import Transport

HANDS: Final[dict[type[Action], Callable[[Node, Any], Awaitable[str]]]] = {
    WriteRecord: write_record,
    InstallGuard: install_guard,
    InstallGrantor: install_grantor,
    RevokeGrants: revoke_grants,
    RestoreGrants: restore_grants,
    EndGuard: end_guard,
    EndGrantor: end_grantor,
    ForgetNode: forget,
}


class LinuxHands:
    """Applies the actions that need no program but our own."""

    HANDLES: ClassVar[frozenset[type[Action]]] = frozenset(HANDS)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def apply(self, action: Action) -> str:
        """Make one change and return a sentence that says what was done.

        Errors: Refused, Unavailable or OutcomeUnknown; see controller.errors.
        """
        return await HANDS[type(action)](Node(self._transport, action.node), action)
