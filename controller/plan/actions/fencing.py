"""Actions that keep a host which may still be alive from being a second copy of anything."""

from dataclasses import dataclass
from typing import ClassVar

from controller.model.document import Rung
from controller.plan.actions.action import Action, Symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceHost(Action):
    """Cut a host's power by its BMC, and prove that it is off. The host itself is not asked."""

    verb: ClassVar[str] = "fence"
    rung: ClassVar[Rung] = Rung.FAILOVER
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.FENCE

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return none: nobody waits for facts of a host that is silent."""
        return ()

    @property
    def powers(self) -> tuple[str, ...]:
        """Return the host: its BMC is looked at afterwards."""
        return (self.node,)
