"""The pools of this machine, the files that lie in them, and how much room they take."""

import html
import os
import re
import stat

from filesystem import filesystem_of
from mover.image.header import head_of, virtual_size

FOLDERS = ("dir", "fs", "netfs")    # kinds of pools that hold files


def look(path: str) -> tuple:
    """Return what a file of a pool seems to be, and the size its guest would see then.

    Whose disk it is says what it is: this is all that is known of a file that is nobody's.
    """
    form = "qcow2" if head_of(path)[:4] == b"QFI\xfb" else "raw"
    size = virtual_size(path, form)
    return form if size is not None else "raw", size


def pool_of(name: str, xml: str, active: bool) -> dict:
    """Return one pool with the files that lie in it now; libvirt's own list of them is old.

    One of a kind that has no folder holds no files. What cannot be looked into says so in
    `unknown`, and is known no further than its folder.
    """
    path = path_of(xml)
    pool = {"name": name, "path": path, "active": active, "capacity": 0, "available": 0,
            "volumes": [], "type": kind_of(xml)}
    if not path or pool["type"] not in FOLDERS:
        return pool
    if not active and pool["type"] != "dir":
        return {**pool, "unknown": f"it is not active, so nobody sees what is in {path}"}
    try:
        space = os.statvfs(path)
        pool["capacity"] = space.f_blocks * space.f_frsize
        step = max(1, pool["capacity"] // 100)  # rounded: it changes all the time
        pool["available"] = space.f_bavail * space.f_frsize // step * step
        pool["volumes"] = sorted(volumes_of(path), key=lambda v: v["name"])
        pool.update(filesystem_of(path))
    except OSError as error:
        return {**pool, "unknown": f"{path} cannot be read: {error.strerror}"}
    return pool


def path_of(xml: str) -> str:
    """Return the folder of a pool; empty where it has none."""
    path = re.search(r"<path>([^<]*)</path>", xml.partition("<target>")[2])
    return html.unescape(path[1]) if path else ""


def kind_of(xml: str) -> str:
    """Return what kind of pool it is; those that are folders can hold files of ours."""
    kind = re.search(r"<pool type=['\"]([^'\"]*)", xml)
    return kind[1] if kind else ""


def volumes_of(place: str) -> list:
    """Return the regular files of a pool's folder."""
    found = []
    with os.scandir(place) as entries:
        for entry in entries:
            try:
                details = entry.stat(follow_symlinks=True)
            except FileNotFoundError:
                if not entry.is_symlink():
                    continue    # it went while we looked
                details = None
            except OSError:
                details = None
            if details is None:     # it has its name all the same
                found.append({"name": os.fsencode(entry.name).decode(errors="replace"),
                              "format": "raw", "size": None, "allocated": 0})
                continue
            if stat.S_ISREG(details.st_mode):
                kind, size = look(entry.path)
                found.append({"name": os.fsencode(entry.name).decode(errors="replace"),
                              "format": kind, "size": size,
                              "inode": f"{details.st_dev:x}:{details.st_ino:x}",
                              "allocated": coarse(details.st_blocks * 512)})
    return found


def coarse(size: int) -> int:
    """Return a size that changes all the time to about three hundredths."""
    step = 1 << max(0, size.bit_length() - 6)
    return size // step * step
