"""What makes a VM of disks: its definition and its NVRAM, as they go into a restore point."""

from __future__ import annotations

from typing import Any, Dict

from mover.squeeze import MOST_BYTES, TooLarge, squeezed
from mover.virsh import OFF, Seen


def papers(seen: Seen) -> Dict[str, Any]:
    """Return a VM's definition and its NVRAM, or why that one is missing."""
    told: Dict[str, Any] = {"xml": seen.definition}
    nvram = seen.domain.nvram
    if nvram and not nvram.startswith("/"):
        told["nvram_missing"] = "%s is no file" % nvram
    elif nvram:
        try:
            with open(nvram, "rb") as file:
                told["nvram"] = squeezed(file.read(MOST_BYTES + 1))
        except TooLarge as why:
            told["nvram_missing"] = "%s %s" % (nvram, why)
        except OSError as error:
            # before a VM is started for the first time, libvirt has not made it yet
            if not isinstance(error, FileNotFoundError) or seen.state not in OFF:
                told["nvram_missing"] = "%s cannot be read: %s" % (nvram, error.strerror)
    return told
