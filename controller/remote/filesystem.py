"""Which file system a folder lies on, by an identity that survives reboots, and if it is mounted.

Device numbers and device names change; a UUID, a share's address and a data set's name do not.
"""

import glob
import os
import re

MOUNTS = "/proc/self/mountinfo"
TABLES = ("/etc/fstab",)
UNITS = "/etc/systemd/system/*.mount"
BY_UUID = "/dev/disk/by-uuid"
BLANKS = re.compile(r"\\([0-7]{3})")


def filesystem_of(path: str) -> dict:
    """Return the file system of a folder, and a declared mount point above it that is not mounted.

    Both are empty where that is not known.
    """
    place = os.path.realpath(path)
    try:
        mounts = mounts_of(read(MOUNTS))
    except OSError:
        return {"identity": "", "unmounted": ""}
    here = next((mount for mount in reversed(mounts) if is_below(place, mount[0])), None)
    points = {mount[0] for mount in mounts}
    unmounted = [point for point in declared_points() if point not in points
                 and is_below(place, point) and (here is None or len(point) > len(here[0]))]
    return {"identity": "" if here is None else identity_of(*here[1:]),
            "unmounted": max(unmounted, key=len, default="")}


def mounts_of(text: str) -> list:
    """Return (mount point, root in the file system, type, source) of every mount, shortest first.
    """
    found = []
    for line in text.split("\n"):
        left, _, right = line.partition(" - ")
        before, after = left.split(" "), right.split(" ")
        if len(before) > 4 and len(after) > 1:
            found.append((plain(before[4]), plain(before[3]), after[0], plain(after[1])))
    return sorted(found, key=lambda mount: len(mount[0]))


def identity_of(root: str, kind: str, source: str) -> str:
    """Return the identity of a file system, with the part of it that is mounted."""
    part = "" if root == "/" else f" {root}"
    return f"{kind} {uuid_of(source) or source}{part}"


def uuid_of(source: str) -> str:
    """Return the UUID of the file system on a block device; empty if it has none."""
    try:
        device = os.stat(source).st_rdev
        if not device:
            return ""
        for name in sorted(os.listdir(BY_UUID)):
            if os.stat(os.path.join(BY_UUID, name)).st_rdev == device:
                return name
    except OSError:
        return ""
    return ""


def declared_points() -> set:
    """Return every mount point that fstab or a mount unit names, but for swap and the root."""
    found = set()
    for table in TABLES:
        try:
            lines = read(table).split("\n")
        except OSError:
            continue
        words = [line.split() for line in lines if not line.lstrip().startswith("#")]
        found |= {plain(parts[1]) for parts in words if len(parts) > 2}
    for unit in glob.glob(UNITS):
        try:
            found |= set(re.findall(r"^Where=(\S+)\s*$", read(unit), re.MULTILINE))
        except OSError:
            continue
    return {os.path.realpath(point) for point in found
            if point.startswith("/") and point.rstrip("/")}


def is_below(place: str, point: str) -> bool:
    """Return whether a path lies at or below a mount point."""
    return place == point or place.startswith(point.rstrip("/") + "/")


def plain(text: str) -> str:
    """Return a path without the octal escapes that the tables use for blanks."""
    return BLANKS.sub(lambda match: chr(int(match[1], 8)), text)


def read(path: str) -> str:
    """Return the text of a file."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()
