"""Grants: how far the specs let healing go, and what they pause, by object.

Rule 1: nearly all objects say nothing. The index that is read for every action holds only those
        that do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controller.model.desired import Desired
from controller.model.document import Rung, Scope, Suspend
from controller.model.units import parse_instant_at
from controller.plan.survey.context import Suspension

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
