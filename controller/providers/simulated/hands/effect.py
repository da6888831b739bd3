"""The shape of an effect: a generator that changes the world bit by bit and says how long it took.

Rule 1: an effect runs on the node, not in the controller. When the world gets in its way, whoever
drives it throws OutcomeUnknown into it; it may tidy up and must let the error through.
"""

from collections.abc import Generator
from typing import NamedTuple

from controller.errors import Refused
from controller.providers.simulated.world import Domain, Node


class Wait(NamedTuple):
    """Time that passes before the effect goes on."""

    seconds: float
    command_ends: bool = False
    """True where the controller must still be there to send the next command."""


Effect = Generator[Wait, None, str]


def domain_of(node: Node, name: str) -> Domain:
    """Return the domain.

    Errors: Refused in virsh's words when there is none.
    """
    if name not in node.domains:
        raise Refused(f"{node.name}: no domain with matching name '{name}'")
    return node.domains[name]
