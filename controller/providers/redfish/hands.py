"""The hand that fences hosts by their BMCs, and the eye that reads them.

Rule 1: nothing of HTTP is loaded before the first BMC is asked: a single run asks none.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from controller.errors import Refused
from controller.model.desired import Desired
from controller.model.facts import Absent, Fact
from controller.model.failover.power import PowerFacts
from controller.model.host import BmcSpec
from controller.plan.actions.action import Action
from controller.plan.actions.fencing import FenceHost

if TYPE_CHECKING:
    from controller.providers.redfish.bmc import Bmc


def begin_of(action: Action) -> float | None:
    """Return how soon a fence must begin."""
    return action.begin_s if isinstance(action, FenceHost) else None


class RedfishHands:
    """The BMCs of all hosts that declare one."""

    HANDLES: ClassVar[frozenset[type[Action]]] = frozenset({FenceHost})

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._specs: Mapping[str, BmcSpec] = {}
        self._bmcs: dict[str, Bmc] = {}

    async def declare(self, desired: Desired) -> None:
        """Set the BMCs; those that left the specs are logged out of."""
        self._specs = {name: host.spec.bmc for name, host in desired.hosts.items()
                       if host.spec.bmc is not None}
        for name, bmc in self._bmcs.items():
            if name in self._specs:
                bmc.declare(self._specs[name])
        gone = [self._bmcs.pop(name) for name in self._bmcs.keys() - self._specs.keys()]
        await asyncio.gather(*(bmc.close() for bmc in gone))

    def _bmc(self, host: str) -> "Bmc | None":
        """Return the BMC of a host, None if it declares none."""
        if host not in self._bmcs and host in self._specs:
            from controller.providers.redfish.bmc import Bmc  # noqa: PLC0415  # httpx loads slowly

            self._bmcs[host] = Bmc(host, self._specs[host], self._clock)
        return self._bmcs.get(host)

    async def observe_power(self, host: str) -> Fact[PowerFacts]:
        """Return what the BMC of a host says; Absent for a host without one."""
        bmc = self._bmc(host)
        return Absent(self._clock()) if bmc is None else await bmc.observe()

    async def apply(self, action: Action) -> str:
        """Cut a host's power and return a sentence when that is proven.

        Errors: Refused, Unavailable or OutcomeUnknown; see fence.py.
        """
        bmc = self._bmc(action.node)
        if bmc is None:
            raise Refused(f"Host/{action.node} declares no BMC: it cannot be fenced by one")
        return await bmc.fence(begin_of(action))

    async def close(self) -> None:
        """Log out of all."""
        await asyncio.gather(*(bmc.close() for bmc in self._bmcs.values()))
