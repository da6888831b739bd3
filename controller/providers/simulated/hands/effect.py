"""An effect: a generator that changes the world in steps, yields waits, and returns a sentence.

Rule 1: an effect runs on its node, not in the controller. When power, libvirtd or the controller
goes away during a wait, OutcomeUnknown is raised in it; it may tidy up, and must let it through.
"""

from collections.abc import Generator
from typing import NamedTuple

from controller.errors import Refused
from controller.providers.simulated.world import Domain, Node


class Wait(NamedTuple):
    """Time that passes before the effect continues."""

    seconds: float
    command_ends: bool = False
    """Whether the controller must then be there to send the next command."""


Effect = Generator[Wait, None, str]


def domain_of(node: Node, name: str) -> Domain:
    """Return the domain.

    Errors: Refused in virsh's words when there is none.
    """
    if name not in node.domains:
        raise Refused(f"{node.name}: no domain with matching name '{name}'")
    return node.domains[name]
