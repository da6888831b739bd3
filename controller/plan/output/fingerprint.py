"""Fingerprints: one digest per declared object, equal as long as nothing in it changed."""

from collections.abc import Mapping
from hashlib import blake2b

from controller.model.desired import Desired
from controller.model.document import Document


def fingerprints(desired: Desired) -> dict[str, str]:
    """Return, by `Kind/name`, a digest that differs when the object or its template differs."""
    found = {f"Estate/{desired.estate.name}": _word(desired.estate.model_dump_json())}
    kinds: tuple[tuple[str, Mapping[str, Document]], ...] = (
        ("Site", desired.sites), ("Switch", desired.switches),
        ("InterSiteLink", desired.inter_site_links), ("Host", desired.hosts),
        ("Network", desired.networks), ("ProtectionPolicy", desired.protection_policies),
        ("Witness", desired.witnesses))
    for kind, documents in kinds:
        for name in sorted(documents):
            found[f"{kind}/{name}"] = _word(documents[name].model_dump_json())
    for name in sorted(desired.virtual_machines):
        text = desired.virtual_machines[name].model_dump_json()
        found[f"VirtualMachine/{name}"] = _word(text + desired.templates.get(name, ""))
    return found


def changed(applied: Mapping[str, str], now: Mapping[str, str]) -> frozenset[str]:
    """Return every `Kind/name` that differs between two sets of fingerprints."""
    return frozenset(name for name in applied.keys() | now.keys()
                     if applied.get(name) != now.get(name))


def _word(text: str) -> str:
    return blake2b(text.encode(), digest_size=12).hexdigest()
