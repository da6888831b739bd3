"""Actions on guards and grantors: what each is told, and to whom a grantor grants."""

from dataclasses import dataclass, field
from typing import ClassVar

from controller.model.document import Rung
from controller.model.failover.guard import GrantorOrders, GuardOrders
from controller.plan.actions.action import Action, Symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallGuard(Action):
    """Tell the guard of a host what it goes by, and start it, or a newer one in its place.

    On the rung of copies: like them it brings a program of ours and ends nothing by itself. Whether
    it may ever end a guest is declared by that VM's policy, and decided by grants.
    """

    orders: GuardOrders = field(hash=False)
    verb: ClassVar[str] = "install-guard"
    rung: ClassVar[Rung] = Rung.REPLICATE
    takes: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallGrantor(Action):
    """Tell the grantor of a node to whom it may grant, and start it, or a newer one in its place.
    """

    orders: GrantorOrders = field(hash=False)
    verb: ClassVar[str] = "install-grantor"
    rung: ClassVar[Rung] = Rung.REPLICATE
    takes: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeGrants(Action):
    """Have a grantor refuse hosts from now on, durably, and say how old its last grants are.

    Once all grantors of a host refuse it, its guests with `isolation: stop` end.
    """

    hosts: tuple[str, ...]
    epoch: int
    """Of the failover that needs it; only one as high undoes it."""
    term: int
    """Of the controller that conducts; a grantor that has seen a higher one refuses."""
    by: str
    verb: ClassVar[str] = "revoke-grants"
    rung: ClassVar[Rung] = Rung.FAILOVER
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.FENCE

    @property
    def detail(self) -> str:
        """Return the epoch and the hosts."""
        return f"{self.epoch}-{'+'.join(self.hosts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreGrants(Action):
    """Have a grantor grant to hosts again, unless a higher epoch has revoked them."""

    hosts: tuple[str, ...]
    epoch: int
    term: int
    by: str
    verb: ClassVar[str] = "restore-grants"
    rung: ClassVar[Rung] = Rung.FAILOVER
    takes: ClassVar[bool] = False

    @property
    def detail(self) -> str:
        """Return the epoch and the hosts."""
        return f"{self.epoch}-{'+'.join(self.hosts)}"
