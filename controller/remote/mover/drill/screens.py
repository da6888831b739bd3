"""
What a drilled guest showed at the end of its drill, where it has a display: a few screenshots.

They are kept in the replica's folder and go with it. No disk has a folder of that name.
"""

from __future__ import annotations

import contextlib
import os
import xml.etree.ElementTree as ET

from mover.backup.virsh import VirshError, virsh
from mover.errors import TryAgain

FOLDER = "_screens"
KEPT = 4                        # of one replica
MOST_BYTES = 8 << 20
VIRSH_S = 10.0
KINDS = {b"\x89PNG": "png", b"P6": "ppm"}


def has_display(domain: ET.Element) -> bool:
    """Return whether a domain has anything to show."""
    return any(model.get("type") != "none" for model in domain.iterfind("devices/video/model"))


def keep_screen(root: str, uuid: str, sequence: int) -> str:
    """
    Keep a screenshot of what a guest shows, and return its path; the oldest of its replica go.

    Errors: TryAgain where there is none.
    """
    folder = os.path.join(root, FOLDER)
    part = os.path.join(folder, ".part")
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW, 0o600))
        virsh("screenshot", uuid, part, patience_s=VIRSH_S)
        kind, size_bytes = _kind_of(part), os.stat(part).st_size
        if kind is None or size_bytes > MOST_BYTES:
            raise TryAgain("it is no image" if kind is None else "it has %d MiB" % (
                size_bytes >> 20))
        number = max([int(name.partition("-")[0]) for name in _names(folder)], default=0) + 1
        path = os.path.join(folder, "%06d-point-%d.%s" % (number, sequence, kind))
        os.chmod(part, 0o600)
        os.rename(part, path)
        for name in _names(folder)[:-KEPT]:
            os.unlink(os.path.join(folder, name))
    except (OSError, VirshError) as error:
        raise TryAgain(str(error)) from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(part)
    return path


def _names(folder: str) -> "list[str]":
    """Return the names of the screenshots, oldest first."""
    return sorted(name for name in os.listdir(folder) if name.partition("-")[0].isdigit())


def _kind_of(path: str) -> "str | None":
    with open(path, "rb") as file:
        head = file.read(4)
    return next((kind for magic, kind in KINDS.items() if head.startswith(magic)), None)
