"""Which objects a commit touched: one fingerprint per object, compared with the converged ones."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

from controller.model.desired import Desired
from controller.model.document import Document
from controller.plan.actions import Cause
from controller.plan.plan import Plan

PLACED_KINDS: Final = ("VirtualMachine", "Host", "Switch")
"""Kinds that steps are about; the others show their differences on these."""


def documents(desired: Desired) -> Mapping[str, Document]:
    """Return every declared object by `Kind/name`."""
    kinds: tuple[Mapping[str, Document], ...] = (
        desired.sites, desired.switches, desired.inter_site_links, desired.hosts,
        desired.networks, desired.virtual_machines, desired.protection_policies)
    found: dict[str, Document] = {f"Estate/{desired.estate.name}": desired.estate}
    for objects in kinds:
        found |= {f"{type(one).__name__}/{name}": one for name, one in objects.items()}
    return found


def fingerprints(desired: Desired) -> Mapping[str, str]:
    """Return a short digest of every object, its template included, by `Kind/name`."""
    found = {}
    for name, document in documents(desired).items():
        text = document.model_dump_json()
        if name.startswith("VirtualMachine/"):
            text += desired.templates.get(document.name, "")
        found[name] = blake2b(text.encode(), digest_size=8).hexdigest()
    return found


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> frozenset[str]:
    """Return every object that is new, gone or different."""
    return frozenset(name for name in before.keys() | now.keys()
                     if before.get(name) != now.get(name))


def settled(plan: Plan, before: Mapping[str, str], now: Mapping[str, str]) -> Mapping[str, str]:
    """Return the fingerprints that are true of the world, as far as `plan` shows.

    Shapes: all of `now` when no step is a commit's and nothing is unknown; else an object with a
    step or an unknown keeps its old one, and so does every kind that has no steps of its own.
    """
    busy = {step.action.target for step in plan.steps if step.action.cause is Cause.COMMIT}
    unseen = {remark.target for remark in plan.remarks if remark.unknown}
    if not busy and not unseen:
        return now
    found = {}
    for name in sorted(before.keys() | now.keys()):
        done = name.startswith(PLACED_KINDS) and name not in busy | unseen
        value = now.get(name) if done else before.get(name)
        if value is not None:
            found[name] = value
    return found
