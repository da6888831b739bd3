"""Actions by which we leave: our marks, guards, programs and notes go, and guests run on."""

from dataclasses import dataclass
from typing import ClassVar

from controller.model.document import Rung
from controller.plan.actions.action import Action, Symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveMark(Action):
    """Take our mark out of a domain's metadata; nothing else of the domain is touched."""

    domain: str
    uuid: str
    verb: ClassVar[str] = "remove-mark"
    rung: ClassVar[Rung] = Rung.PRUNE
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.REMOVE

    @property
    def detail(self) -> str:
        """Return the domain."""
        return self.uuid


@dataclass(frozen=True, slots=True, kw_only=True)
class EndGuard(Action):
    """Have every grantor of a host count on its guard no more, then end the guard."""

    host: str
    grantors: tuple[str, ...]
    """The nodes that may grant to it."""
    term: int
    """Of the controller; a grantor that has seen a higher one refuses."""
    verb: ClassVar[str] = "end-guard"
    rung: ClassVar[Rung] = Rung.PRUNE
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.REMOVE


@dataclass(frozen=True, slots=True, kw_only=True)
class EndGrantor(Action):
    """End the grantor of a node. Only once no guard runs that it could leave without a grant."""

    verb: ClassVar[str] = "end-grantor"
    rung: ClassVar[Rung] = Rung.PRUNE
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.REMOVE


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetNode(Action):
    """Remove our programs, keys, locks, terms and records from a node, and empty folders of ours.
    """

    folders: tuple[str, ...] = ()
    """Of pools: in them are the folders in which replicas and scratch files lie."""
    verb: ClassVar[str] = "forget"
    rung: ClassVar[Rung] = Rung.PRUNE
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.REMOVE
