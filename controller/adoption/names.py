"""Names made safe: what a libvirt domain, pool or bridge is called in the specs.

libvirt takes nearly any text as a name, the specs take small letters, digits, dots and dashes. A
name that fits stays as it is; another is written as near to it as can be, and what libvirt calls
the object stays beside it. Two objects never get one name, and one object gets the same name each
time: which one it is depends on nothing but the names that are taken already.
"""

import re
import unicodedata
from collections.abc import Container
from typing import Final

from controller.model.virtual_machine import is_ambiguous

LONGEST: Final = 63
_FITS: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_OTHERS: Final = re.compile(r"[^a-z0-9.]+")


def fits(name: str) -> bool:
    """Return whether the specs take a name as it is."""
    return _FITS.fullmatch(name) is not None


def safe_name(text: str, otherwise: str) -> str:
    """Return `text` as a name of the specs; `otherwise` where none of its letters can be kept."""
    if fits(text):
        return text
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return _OTHERS.sub("-", plain).strip("-.")[:LONGEST].rstrip("-.") or otherwise


def machine_name(domain: str, uuid: str, host: str, taken: Container[str]) -> str:
    """Return the name of a VM: its domain's if that is free, else with its host behind it.

    A number or a UUID alone would mean another domain to libvirt.
    """
    name = safe_name(domain, f"vm-{uuid[:8]}" if uuid else "vm")
    if is_ambiguous(name):
        name = f"vm-{name}"
    return free_name(name, taken, host)


def free_name(name: str, taken: Container[str], behind: str = "") -> str:
    """Return a name that is not taken: with `behind` appended, and then with a number."""
    candidate = name
    number = 1
    while candidate in taken:
        tail = "-".join(part for part in (behind, str(number) if number > 1 else "") if part)
        tail = f"-{tail or number + 1}"
        candidate = name[:LONGEST - len(tail)].rstrip("-.") + tail
        number += 1
    return candidate
