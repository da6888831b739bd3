"""What makes a VM of disks: its definition and its NVRAM, as they go into a restore point."""

from __future__ import annotations

from typing import Any, Dict

from mover.backup.virsh import Seen
from mover.image.packed_file import MOST_BYTES, TooLarge, squeezed


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
            # libvirt makes one that is not there when a VM is started, for the first time as well
            if not isinstance(error, FileNotFoundError) or seen.domain.id:
                told["nvram_missing"] = "%s cannot be read: %s" % (nvram, error.strerror)
    return told
