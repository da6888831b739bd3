"""Grants: how far the specs let healing go, what they pause, and what is only observed, by object.

Rule 1: nearly all objects say nothing. The index that is read for every action holds only those
        that do.
Rule 2: the nearest that says anything counts, for `manage` as for `autonomy`: VM within host within
        site within estate. Nothing said anywhere is full.
Rule 3: a VM's own `manage` covers it on the host that it is on. Any other host that an action
        touches counts by its own chain, up to the estate: nothing is brought to where it is only
        observed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controller.model.desired import Desired
from controller.model.document import Manage, Rung, Scope, Suspend
from controller.model.units import parse_instant_at
from controller.model.virtual_machine import VirtualMachine
from controller.plan.survey.context import Suspension

WOULD = "would be changed if managed: "
Grant = tuple[str, Rung]
"""`Kind/name` of the object that grants, and the highest rung that it grants."""


@dataclass(frozen=True, slots=True)
class Grants:
    """The grants and pauses of one set of specs."""

    own: Mapping[str, Rung]
    """By `Kind/name`: the estate, and every object whose own spec grants something."""
    estate: Grant
    around: Mapping[str, Grant]
    """By node: its own grant, or else that of its site; no entry if neither says anything."""
    suspended: Mapping[str, Suspend]
    """By `Kind/name`: the pause in its own spec, ended or not."""


def every_scope(desired: Desired) -> Iterator[tuple[str, Scope]]:
    """Yield every object that can grant something or be paused."""
    yield f"Estate/{desired.estate.name}", desired.estate.spec
    for kind, documents in (
            ("Site", desired.sites), ("Host", desired.hosts), ("Switch", desired.switches),
            ("InterSiteLink", desired.inter_site_links), ("Network", desired.networks),
            ("ProtectionPolicy", desired.protection_policies),
            ("VirtualMachine", desired.virtual_machines), ("Witness", desired.witnesses)):
        for name in sorted(documents):
            yield f"{kind}/{name}", documents[name].spec


def find_grants(desired: Desired) -> Grants:
    """Return the grants and pauses that the specs declare."""
    grants: dict[str, Rung] = {}
    suspended: dict[str, Suspend] = {}
    for target, scope in every_scope(desired):
        if scope.autonomy is not None:
            grants[target] = scope.autonomy
        if scope.suspend is not None:
            suspended[target] = scope.suspend
    around: dict[str, Grant] = {}
    for node in (*desired.switches, *desired.hosts):
        kind, site = ("Host", desired.hosts[node].spec.site) if node in desired.hosts else (
            "Switch", desired.switches[node].spec.site)
        for target in (f"Site/{site}", f"{kind}/{node}"):   # the nearer one has the last word
            if target in grants:
                around[node] = target, grants[target]
    return Grants(grants, (f"Estate/{desired.estate.name}", desired.estate.spec.autonomy), around,
                  suspended)


def pauses(grants: Grants, by_hand: tuple[Suspension, ...], now_s: float) -> dict[str, Suspension]:
    """Return what is paused now; a pause by hand replaces the one in the spec."""
    found = {}
    for target, suspend in grants.suspended.items():
        until_at = parse_instant_at(suspend.until)
        if until_at > now_s:
            found[target] = Suspension(target, suspend.by, suspend.why, until_at)
    return found | {one.target: one for one in by_hand if one.until_at > now_s}


@dataclass(frozen=True, slots=True)
class Managing:
    """What the specs say of managing, by object that says anything."""

    own: Mapping[str, Manage]
    """By `Kind/name`: every object whose own spec says it."""
    watches: bool
    """Whether anything at all is only observed."""
    estate: str
    """`Estate/name`."""
    around: Mapping[str, str]
    """By node: the nearest that says anything, of the node, its site and the estate."""

    def observer(self, *near: str, node: str | None = None) -> str | None:
        """Return the object by whose word something is only observed; None if it is managed.

        Shapes: `near` are the objects nearer than the node, nearest first.
        """
        found = next((one for one in near if one in self.own), None)
        if found is None:
            found = self.estate if node is None else self.around.get(node, self.estate)
        return found if self.own.get(found) is Manage.OBSERVE else None

    def of_machine(self, vm: VirtualMachine, host: str | None) -> str | None:
        """Return by whose word a VM is only observed: its own, or that around where it is.

        One that is nowhere is judged by where it is declared to be.
        """
        if not self.watches:
            return None
        near, placement = [f"VirtualMachine/{vm.metadata.name}"], vm.spec.placement
        if host is None and placement.host is None and placement.site is not None:
            near.append(f"Site/{placement.site}")
        return self.observer(*near, node=host or placement.host)


def because(observer: str, desired: Desired) -> str:
    """Return by whose word something is only observed, as a clause."""
    place = desired.places.get(observer)
    return f"{observer} says `manage: observe`{f' at {place}' if place else ''}"


def find_managing(desired: Desired, scopes: Iterator[tuple[str, Scope]]) -> Managing:
    """Return what the specs say of managing."""
    own = {target: scope.manage for target, scope in scopes if scope.manage is not None}
    estate = f"Estate/{desired.estate.name}"
    around = {}
    if own:
        sites = {f"Host/{name}": host.spec.site for name, host in desired.hosts.items()}
        sites |= {f"Switch/{name}": one.spec.site for name, one in desired.switches.items()}
        sites |= {f"Witness/{name}": "" for name in desired.witnesses}
        for target, site in sites.items():
            around[target.partition("/")[2]] = next(
                (one for one in (target, f"Site/{site}") if one in own), estate)
    return Managing(own, Manage.OBSERVE in own.values(), estate, around)
