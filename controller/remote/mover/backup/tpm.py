"""
The state of a VM's emulated TPM, as it goes into a restore point.

libvirt keeps it in a folder by the VM's UUID, SWTPM/UUID/tpm2/tpm2-00.permall, from which swtpm is
started. This permanent state is one small file, which swtpm replaces whole at each change, so that
it can be read at any time. What is volatile is gone at each start of the VM anyway.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from typing import Dict, Tuple

from mover.errors import Damaged
from mover.image.packed_file import MOST_BYTES, TooLarge, pack_line
from mover.image.regular import read_regular

SWTPM = "/var/lib/libvirt/swtpm"
FILES = {"2.0": ("tpm2", "tpm2-00.permall"), "1.2": ("tpm1.2", "tpm-00.permall")}


class Untaken(Exception):
    """The state is in no restore point, for the reason in the text."""


def read_tpm(root: ET.Element) -> Dict[str, str]:
    """Return {"tpm"}, packed, of a domain's XML; {"tpm_missing"} with the reason; {}: no TPM."""
    tpm = root.find("devices/tpm")
    if tpm is None:
        return {}
    try:
        return {"tpm": pack_line(_state_of(tpm, root.findtext("uuid") or ""))}
    except (Untaken, TooLarge) as why:
        return {"tpm_missing": str(why)}


def _state_of(tpm: ET.Element, uuid: str) -> bytes:
    path = os.path.join(*place_of(tpm, uuid))
    try:
        return read_regular(path, MOST_BYTES)
    except FileNotFoundError:
        raise Untaken("%s is not there: it has never been started here" % path) from None
    except (OSError, Damaged) as error:
        raise Untaken("%s cannot be read: %s" % (path, getattr(error, "strerror", "") or error)
                      ) from None


def place_of(tpm: ET.Element, uuid: str) -> Tuple[str, str]:
    """Return the folder and the name of a TPM's state; Untaken where it is not such a file."""
    backend = tpm.find("backend")
    kind = "" if backend is None else backend.get("type", "")
    if backend is None or kind != "emulator":
        raise Untaken("it is %s, not one that libvirt emulates" % (kind or "not known"))
    if backend.find("encryption") is not None:
        raise Untaken("its state is encrypted, and only libvirt on its host has the key")
    source = backend.find("source")
    if source is not None and source.get("type") != "dir":
        raise Untaken("its state is written in place, and has no whole copy while it is in use")
    versions = [version for version in FILES if backend.get("version", version) == version]
    places = []
    for version in versions:
        folder, name = FILES[version]
        place = os.path.join(SWTPM, uuid, folder) if source is None else source.get("path", "")
        if os.path.exists(os.path.join(place, name)) or len(versions) == 1:
            places.append((place, name))
    if len(places) != 1:
        raise Untaken("it does not say of which version it is")
    return places[0]
