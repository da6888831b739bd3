"""Say whether a raw disk of the guest of guest.s has every record that must be there.

Runs on a stock host: `python3 records.py DISK`. The number in sector 1 is written after its record,
so a disk as of any instant has the last 4096 records up to that number.
"""

import struct
import sys
from pathlib import Path

MARK, RING, FIRST, RECORD_BYTES = b"tock", 4096, 1 << 20, 4096


def missing(disk: bytes) -> tuple[int, list[int]]:
    """Return the last number, and the records up to it that are not whole."""
    mark, number = disk[512:516], struct.unpack_from("<I", disk, 516)[0]
    if mark != MARK:
        return 0, [1]
    lost = []
    for one in range(max(1, number - RING + 1), number + 1):
        at = FIRST + one % RING * RECORD_BYTES
        # of the oldest one the next may be half written over it already
        if disk[at:at + RECORD_BYTES] != struct.pack("<I", one) * 1024 and one > number - RING + 1:
            lost.append(one)
    return number, lost


with Path(sys.argv[1]).open("rb") as file:
    last, lost = missing(file.read(FIRST + RING * RECORD_BYTES))
print(f"record {last} is the last; {len(lost)} are missing: {lost[:5]}")
sys.exit(1 if lost else 0)
