"""What every provider of an estate is; tests/conformance runs one suite over all of them."""

from collections.abc import AsyncIterator
from typing import Protocol

from controller.model.desired import Desired
from controller.model.facts import Fact, NodeFacts
from controller.plan.actions.action import Action


class Provider(Protocol):
    """An estate of nodes that can be seen and changed."""

    async def declare(self, desired: Desired) -> None:
        """Learn which nodes there are and how to reach them; may be called again at any time."""
        ...

    async def observe(self, node: str) -> Fact[NodeFacts]:
        """Return what one poll of `node` says.

        Errors: none for an unreachable or babbling node: that is an Unknown with a sentence,
        which remembers what was last seen.
        """
        ...

    async def apply(self, action: Action) -> str:
        """Make one change and return a sentence that says what was done.

        Errors: Refused, Unavailable or OutcomeUnknown; see controller.errors.
        """
        ...

    def watch(self) -> AsyncIterator[str]:
        """Yield the name of a node each time something happened there; it carries no content."""
        ...

    async def close(self) -> None:
        """Let go of every connection; nothing runs on afterwards."""
        ...
