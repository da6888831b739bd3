"""The pools of this machine, the files in them, and the space that these take."""

import html
import os
import re
import stat

from filesystem import filesystem_of
from mover.image.header import head_of, virtual_size

FOLDERS = ("dir", "fs", "netfs")    # kinds of pools that hold files


def guess_format(path: str) -> tuple:
    """Return the format that a file of a pool seems to have, and the virtual size in that format.

    The format of a domain's disk is what its XML says; this guess is for all other files.
    """
    form = "qcow2" if head_of(path)[:4] == b"QFI\xfb" else "raw"
    size = virtual_size(path, form)
    return form if size is not None else "raw", size


def pool_of(name: str, xml: str, active: bool) -> dict:
    """Return one pool with the files in it now, since libvirt's own list may be old.

    A pool of a kind without a folder holds no files. If the folder cannot be read, `unknown` says
    why.
    """
    path = path_of(xml)
    pool = {"name": name, "path": path, "active": active, "capacity": 0, "available": 0,
            "volumes": [], "type": kind_of(xml)}
    if not path or pool["type"] not in FOLDERS:
        return pool
    if not active and pool["type"] != "dir":
        return {**pool, "unknown": f"it is not active, so its files in {path} are not known"}
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
    """Return libvirt's word for the kind of a pool."""
    kind = re.search(r"<pool type=['\"]([^'\"]*)", xml)
    return kind[1] if kind else ""


def volumes_of(place: str) -> list:
    """Return the regular files of a pool's folder."""
    found = []
    with os.scandir(place) as entries:
        for entry in entries:
            name = os.fsencode(entry.name).decode(errors="replace")
            try:
                details = entry.stat(follow_symlinks=True)
            except FileNotFoundError:
                if not entry.is_symlink():
                    continue    # removed meanwhile
                details = None
            except OSError:
                details = None
            if details is None:     # a dead link or the like occupies its name all the same
                found.append({"name": name, "format": "raw", "size": None, "allocated": 0})
                continue
            if stat.S_ISREG(details.st_mode):
                kind, size = guess_format(entry.path)
                found.append({"name": name, "format": kind, "size": size,
                              "inode": f"{details.st_dev:x}:{details.st_ino:x}",
                              "allocated": coarse(details.st_blocks * 512)})
    return found


def coarse(size: int) -> int:
    """Return a size rounded to about 3 %, since it changes all the time."""
    step = 1 << max(0, size.bit_length() - 6)
    return size // step * step
