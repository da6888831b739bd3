"""A VM's definition, that is its XML, NVRAM and TPM state, as it goes into a restore point."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any, Dict

from mover.backup.tpm import read_tpm
from mover.backup.virsh import DomainStatus
from mover.image.packed_file import MOST_BYTES, TooLarge, pack_line

MARK = "metadata/{https://hotsite.invalid/domain/1}vm"


def read_definition(status: DomainStatus) -> Dict[str, Any]:
    """Return {"xml", "epoch"} with {"nvram"} and {"tpm"}, or with {"…_missing"} and the reason."""
    found: Dict[str, Any] = {"xml": status.definition, "epoch": epoch_of(status.definition),
                             **read_tpm(ET.fromstring(status.definition))}
    nvram = status.domain.nvram
    if nvram and not nvram.startswith("/"):
        found["nvram_missing"] = "%s is no file" % nvram
    elif nvram:
        try:
            with open(nvram, "rb") as file:
                found["nvram"] = pack_line(file.read(MOST_BYTES + 1))
        except TooLarge as why:
            found["nvram_missing"] = "%s %s" % (nvram, why)
        except OSError as error:
            # of a VM that is off it may be missing: libvirt creates it at the next start
            if not isinstance(error, FileNotFoundError) or status.domain.id:
                found["nvram_missing"] = "%s cannot be read: %s" % (nvram, error.strerror)
    return found


def epoch_of(text: str) -> int:
    """Return which copy of its VM a domain is, by its mark; 0 without one, and for a clone."""
    root = ET.fromstring(text)
    mark = root.find(MARK)
    if mark is None or mark.get("uuid", "") not in ("", root.findtext("uuid")):
        return 0
    epoch = mark.get("epoch", "")
    return int(epoch) if epoch.isdecimal() else 0
