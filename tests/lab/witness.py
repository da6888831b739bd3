"""Watch the guests of the specs from outside: their records, and the longest gap in them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.lab import STATE, Lab, Record, wait_until

RECORD = re.compile(rb"record (\d{12}) (\d+) ([\d.]+)\n")
RING = 4096
"""A guest writes over its oldest record when it has written so many."""
IMAGES = "/var/lib/libvirt/images"


def disk_of(host: str, vm: str) -> Path:
    """Return the file of a declared guest's disk, as this machine sees it."""
    return STATE / f"nodes/{host}/disk/images/{vm}-vda.qcow2"


def written(host: str, vm: str) -> tuple[Record, ...]:
    """Return what a guest wrote to its disk, by number; a qcow2 file holds it as it is."""
    try:
        content = disk_of(host, vm).read_bytes()
    except FileNotFoundError:
        return ()
    found = {Record(int(n), int(rtc), float(up)) for n, rtc, up in RECORD.findall(content)}
    return tuple(sorted(found))


def last_number(host: str, vm: str) -> int:
    """Return the number of the last record of a guest; 0 before the first."""
    records = written(host, vm)
    return records[-1].number if records else 0


def counts_on(host: str, vm: str, last: int) -> None:
    """Wait for records after `last`, and hold that none is missing: it is the same disk."""
    wait_until(f"new records of {vm}", lambda: last_number(host, vm) > last + 1)
    numbers = [record.number for record in written(host, vm)]
    assert numbers == list(range(max(1, numbers[-1] - RING + 1), numbers[-1] + 1))


def started(lab: Lab, host: str, vm: str) -> int:
    """Return how often libvirt on a host has started a guest, by its own log."""
    log = f"/var/log/libvirt/qemu/{vm}.log"
    text = lab.exec(host, "sh", "-c", f"grep -c 'starting up' {log} || true")
    return int(text.strip() or 0)


@contextmanager
def replaced(lab: Lab, host: str, program: str, script: str) -> Iterator[None]:
    """Put a script in the place of a program on one host, and what it hides beside, as $REAL."""
    real, fake = f"/run/real-{Path(program).name}", f"/run/fake-{Path(program).name}"
    lab.exec(host, "sh", "-c", 'cp "$1" "$2" && cat >"$3" && chmod 755 "$3"'
             ' && mount --bind "$3" "$1"', "sh", program, real, fake,
             text=f"#!/bin/sh\nREAL={real}\n{script}\n")
    try:
        yield
    finally:
        lab.exec(host, "umount", "-l", program)
