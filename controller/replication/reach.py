"""From the source host to the target host while one copy is open: reached when first needed.

A login takes as long as the beginning of a copy, so where something most likely has to be sent
both are done at a time: the copy is then open, and the guest bothered, for less long.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from controller.replication.mover import Mover
from controller.transport.base import Conversation

Passage = Callable[[], AbstractAsyncContextManager[dict[str, Any]]]
"""Opens the way, see passage.open_passage; it stays open until it is left."""


class Reach:
    """Movers on the source that reach the target, each for one transfer; `stack` ends them."""

    def __init__(self, source: Mover, uuid: str, passage: Passage, stack: AsyncExitStack) -> None:
        self._source, self._uuid, self._passage, self._stack = source, uuid, passage, stack
        self._to: dict[str, Any] | None = None
        self._waiting: Conversation | None = None

    async def prepare(self) -> None:
        """Have a mover reach the target now, for the first transfer.

        Errors: as `open_passage`; that the target cannot be reached is told by the transfer.
        """
        self._waiting = await self.sender()

    async def sender(self) -> Conversation:
        """Return a mover that waits to be told what to send."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            return waiting
        if self._to is None:
            self._to = await self._stack.enter_async_context(self._passage())
        return await self._stack.enter_async_context(
            self._source.converse("send", {"to": self._to}, self._uuid))
