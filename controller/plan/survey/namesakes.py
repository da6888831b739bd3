"""Namesakes: domains that are called as a VM, or have something of it, and what a person can do."""

import re
from collections.abc import Sequence

from controller.plan.survey.identity import Rival, stranger
from controller.plan.survey.survey import Survey

_PLAIN = re.compile(r"[\w.+:@%,][\w.+:@%,-]*", re.ASCII)


def of_another_uuid(name: str, survey: Survey) -> str | None:
    """Return that a domain has a VM's libvirt name and not the UUID that it declares, if so."""
    names = survey.specs.names
    if name not in names.uuids:
        return None
    called = names.libvirt_name(name)
    for held in (survey.sightings, survey.last_seen):
        for host, domain in held.get(stranger(called), ()):
            return (f"{host} has a domain {called} with uuid {domain.uuid}, and `uuid:"
                    f" {names.uuids[name]}` is declared for {name}: that one is not touched, and"
                    f" {name} is not created beside it; correct `uuid:` if it is {name}, else give"
                    " one of the two another name")
    return None


def way_out(name: str, rivals: Sequence[Rival]) -> str:
    """Return what a person can do if another domain has a VM's identity."""
    other, owner = rivals[0].claim.domain.name, rivals[0].claim.owner
    if owner == stranger(other):
        return (f"if {other} is {name}, correct `domain:` and `uuid:` of {name}; else give one of"
                " them its own uuid, cards and disks")
    if other == name != owner:
        return (f"{owner} had the name {name} before, and libvirt goes on calling it so: declare"
                " the new one under a name that none ever had")
    return (f"if {other} is {name}, rename it back or declare it as {other} with `formerly:"
            f" {name}`; if {name} was {other} in the specs, write `formerly: {other}` into it;"
            f" else give one of them its own uuid, cards and disks")


def quoted(word: str) -> str:
    """Return a word as a person types it in a shell, behind `--` if it looks like an option."""
    shown = word if _PLAIN.fullmatch(word) else "'" + word.replace("'", "'\\''") + "'"
    return f"-- {shown}" if word.startswith("-") else shown
