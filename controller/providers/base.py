"""The interface of every provider of an estate; tests/conformance tests them all alike."""

from collections.abc import AsyncIterator
from typing import Protocol

from controller.model.desired import Desired
from controller.model.facts import Fact, NodeFacts
from controller.model.failover.power import PowerFacts
from controller.plan.actions.action import Action


class Provider(Protocol):
    """An estate of nodes that can be observed and changed."""

    async def declare(self, desired: Desired) -> None:
        """Set the nodes and how they are reached; may be called again at any time."""
        ...

    async def observe(self, node: str) -> Fact[NodeFacts]:
        """Poll a node and return its facts.

        Errors: none: an unreachable node, or one whose answer makes no sense, is an Unknown with a
        sentence and the facts last seen.
        """
        ...

    async def observe_power(self, host: str) -> Fact[PowerFacts]:
        """Ask a host's BMC and return what it says of the host's power.

        Shapes: Absent for a host that declares no BMC. During a fence: what that has read last.
        Errors: none, as above.
        """
        ...

    async def apply(self, action: Action) -> str:
        """Make one change and return a sentence that says what was done.

        Errors: Refused, Unavailable or OutcomeUnknown; see controller.errors.
        """
        ...

    def watch(self) -> AsyncIterator[str]:
        """Yield a node's name each time something happened there."""
        ...

    async def close(self) -> None:
        """Close every connection; no task is left running."""
        ...
