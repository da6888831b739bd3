"""The hand that fences hosts by their BMCs, and the eye that reads them."""

import asyncio
from collections.abc import Callable
from typing import ClassVar

from controller.errors import Refused
from controller.model.desired import Desired
from controller.model.facts import Absent, Fact
from controller.model.failover.power import PowerFacts
from controller.plan.actions.action import Action
from controller.plan.actions.fencing import FenceHost
from controller.providers.redfish.bmc import Bmc


class RedfishHands:
    """The BMCs of all hosts that declare one."""

    HANDLES: ClassVar[frozenset[type[Action]]] = frozenset({FenceHost})

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._bmcs: dict[str, Bmc] = {}

    async def declare(self, desired: Desired) -> None:
        """Set the BMCs; those that left the specs are logged out of."""
        specs = {name: host.spec.bmc for name, host in desired.hosts.items()
                 if host.spec.bmc is not None}
        for name in self._bmcs.keys() - specs.keys():
            await self._bmcs.pop(name).close()
        for name, spec in specs.items():
            if name in self._bmcs:
                self._bmcs[name].declare(spec)
            else:
                self._bmcs[name] = Bmc(name, spec, self._clock)

    async def observe_power(self, host: str) -> Fact[PowerFacts]:
        """Return what the BMC of a host says; Absent for a host without one."""
        bmc = self._bmcs.get(host)
        return Absent(self._clock()) if bmc is None else await bmc.observe()

    async def apply(self, action: Action) -> str:
        """Cut a host's power and return a sentence when that is proven.

        Errors: Refused, Unavailable or OutcomeUnknown; see fence.py.
        """
        bmc = self._bmcs.get(action.node)
        if bmc is None:
            raise Refused(f"Host/{action.node} declares no BMC: it cannot be fenced by one")
        return await bmc.fence()

    async def close(self) -> None:
        """Log out of all."""
        await asyncio.gather(*(bmc.close() for bmc in self._bmcs.values()))
