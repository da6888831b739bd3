"""The BMCs of simulated hosts: how each kind of them answers, well and badly, on virtual time.

Rule 1: a BMC cuts the power of its host; what it says of that is another matter.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from controller.errors import Refused, Unavailable
from controller.providers.redfish.fence import FORCE_OFF
from controller.providers.redfish.power_watch import PowerWatch, Reading
from controller.providers.simulated.power import power_off, power_on
from controller.providers.simulated.world import Node, World
from controller.transport.base import NoConnection

HANG_S: Final = 8.0
ANSWER_S: Final = 0.05
RESETS: Final = ("On", FORCE_OFF, "GracefulShutdown", "ForceRestart")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one kind of BMC behaves."""

    off_after_s: float | None = 0.3
    """From ForceOff until the power is cut; None: it is not."""
    meanwhile: str = "On"
    """What it says from ForceOff until then."""
    afterwards: str = "Off"
    """What it says of a host without power."""
    before: str = "On"
    """What it says of a host with power."""
    resets: tuple[str, ...] = RESETS
    down_if_off: str = ""
    """How it turns ForceOff down when the host is off already."""
    fails: str = ""
    """What it answers instead of the state."""
    fails_at: int = 1
    """Every so many readings it does."""
    refuses: str = ""
    """Why nobody gets anything from it."""
    expired: bool = False
    """Its certificate is past its date: only who pins exactly that one believes it."""
    hangs: bool = False
    stranger: bool = False
    """It is another machine's."""
    back_after_s: float | None = None
    """It gives power back by itself, so long after it cut it."""


DIALECTS: Final[Mapping[str, Dialect]] = {
    "plain": Dialect(),
    "idrac": Dialect(off_after_s=2.0, down_if_off="HTTP 409"),
    "ilo": Dialect(resets=(), down_if_off="HTTP 400"),
    "openbmc": Dialect(off_after_s=4.0, meanwhile="PoweringOff"),
    "supermicro": Dialect(),
    "chassis": Dialect(),
    "task202": Dialect(off_after_s=4.0, meanwhile="PoweringOff"),
    "slow-off": Dialect(off_after_s=40.0, meanwhile="PoweringOff"),
    "stuck": Dialect(off_after_s=None, meanwhile="PoweringOff"),
    "liar": Dialect(off_after_s=None),
    "null-state": Dialect(meanwhile="", afterwards="", before=""),
    "hangs": Dialect(hangs=True),
    "http500": Dialect(fails="HTTP 500"),
    "flaky": Dialect(fails="HTTP 500", fails_at=2),
    "empty-body": Dialect(fails="its answer is empty", fails_at=2),
    "html": Dialect(fails="its answer is not Redfish"),
    "two": Dialect(refuses="2 systems are behind it"),
    "no-forceoff": Dialect(resets=("On", "GracefulShutdown")),
    "wrong-password": Dialect(refuses="it refuses the password"),
    "wrong-certificate": Dialect(refuses="its certificate is not the pinned one"),
    "expired": Dialect(expired=True),
    "unreachable": Dialect(fails="no connection within 3 s"),
    "stranger": Dialect(stranger=True),
    "always-on": Dialect(back_after_s=20.0),
}


def system_uuid(node: Node) -> str:
    """Return the UUID of a simulated machine."""
    return str(uuid5(NAMESPACE_URL, f"machine/{node.name}"))


class SimulatedBmc(PowerWatch):
    """The BMC of one simulated host."""

    def __init__(self, world: World, host: str, clock: Callable[[], float]) -> None:
        super().__init__(host, clock)
        self._world = world
        self._cut_s: float | None = None
        self._asked = 0
        self.pinned = False
        """Whether its certificate is believed by its fingerprint."""

    @property
    def _dialect(self) -> Dialect:
        return DIALECTS[self._world.node(self.host).bmc]

    async def ask(self) -> Reading:
        """Return what it says now.

        Errors: Refused, Unavailable.
        """
        await self._answer()
        dialect, node = self._dialect, self._world.node(self.host)
        self._asked += 1
        if dialect.fails and self._asked % dialect.fails_at == 0:
            raise Unavailable(f"the BMC of {self.host} does not answer: {dialect.fails}")
        if dialect.stranger:
            return Reading("Off", str(uuid5(NAMESPACE_URL, "machine/stranger")), dialect.resets)
        state = dialect.before if node.powered else dialect.afterwards
        if node.powered and self._cut_s is not None:
            state = dialect.meanwhile
        return Reading(state, system_uuid(node), dialect.resets)

    async def force_off(self) -> tuple[bool, str]:
        """Cut the host's power, as its dialect does that.

        Errors: Refused, Unavailable.
        """
        await self._answer()
        dialect, node = self._dialect, self._world.node(self.host)
        if not node.powered and dialect.down_if_off:
            return False, f"to {FORCE_OFF} {dialect.down_if_off}"
        if node.powered and self._cut_s is None and not dialect.stranger:
            self._cut_s = self._world.now()
            if dialect.off_after_s is not None:
                asyncio.get_running_loop().call_later(dialect.off_after_s, self._cut, node)
        return True, f"to {FORCE_OFF} HTTP 204"

    async def _answer(self) -> None:
        """Let the time of an answer pass; a BMC without power or network gives none."""
        dialect, node = self._dialect, self._world.node(self.host)
        await asyncio.sleep(HANG_S if dialect.hangs else ANSWER_S)
        if dialect.hangs or node.site in self._world.sites_cut or not node.bmc_up:
            raise NoConnection(f"the BMC of {self.host} cannot be reached")
        if dialect.expired and not self.pinned:
            raise Refused(f"the BMC of {self.host} is not believed: certificate has expired")
        if dialect.refuses:
            raise Refused(f"the BMC of {self.host} is of no use: {dialect.refuses}")

    def _cut(self, node: Node) -> None:
        self._cut_s = None
        power_off(self._world, node)
        if (back_s := self._dialect.back_after_s) is not None:
            asyncio.get_running_loop().call_later(back_s, power_on, self._world, node)
