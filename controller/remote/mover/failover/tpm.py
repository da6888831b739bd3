"""
The state of a VM's TPM, put where libvirt looks for it when a restore point becomes the VM.

    SWTPM/UUID/tpm2             the state of the point, once for an epoch
    SWTPM/UUID/tpm2.before-7    what an older copy of the VM had left there, at epoch 7
    SWTPM/UUID/tpm2.epoch       the epoch, written last: until then no guest has run on it

swtpm is not root: it must be let through to its folder, which libvirt has not made yet where no VM
with a TPM was ever started.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import xml.etree.ElementTree as ET
from typing import List, Optional

from mover.backup.tpm import SWTPM, Untaken, place_of
from mover.errors import Damaged
from mover.image.regular import read_regular
from mover.replica.replica import make_folder, sync_dir, write_whole

SETTINGS = "/etc/libvirt/qemu.conf"
USERS = ("swtpm", "tss")        # Debian's, and all others'
MARK = ".epoch"
MOST_MARK_BYTES = 64
PASSABLE = 0o711


def put_tpm(domain: ET.Element, uuid: str, epoch: int, held: Optional[bytes], why: str
            ) -> List[str]:
    """Put a point's state in place; return what is lacking. `held` None: the point has none."""
    tpm = domain.find("devices/tpm")
    if tpm is None:
        return []
    if held is None:
        return ["its TPM does not have its state, which is not in the point (%s)"
                % (why or "it was made without")]
    try:
        folder, name = place_of(tpm, uuid)
    except Untaken as reason:
        return ["its TPM does not have its state: %s" % reason]
    if _epoch_of(folder) != str(epoch):
        make_folder(os.path.dirname(folder))
        if os.path.dirname(os.path.dirname(folder)) == SWTPM:
            _let_through(SWTPM, os.path.dirname(folder))
        _make_way(folder, "%s.before-%d" % (folder, epoch))
        _write(folder, name, held)
        write_whole(folder + MARK, str(epoch).encode())
    return []


def _let_through(*folders: str) -> None:
    for folder in folders:
        mode = os.stat(folder).st_mode & 0o777
        if mode | PASSABLE != mode:
            os.chmod(folder, mode | PASSABLE)


def _epoch_of(folder: str) -> str:
    with contextlib.suppress(FileNotFoundError, Damaged):
        return read_regular(folder + MARK, MOST_MARK_BYTES).decode(errors="replace")
    return ""


def _make_way(folder: str, aside: str) -> None:
    """Keep what an older copy has left; what an attempt of this epoch has left goes."""
    if not os.path.lexists(folder):
        return
    if os.path.lexists(aside):
        shutil.rmtree(folder)
    else:
        os.rename(folder, aside)
        sync_dir(os.path.dirname(folder))


def _write(folder: str, name: str, held: bytes) -> None:
    """Make the folder under another name, so that it is whole or not there."""
    part = folder + ".part"
    shutil.rmtree(part, ignore_errors=True)
    make_folder(part)
    write_whole(os.path.join(part, name), held)
    owner = _owner()
    if owner is not None:
        for path in (part, os.path.join(part, name)):
            os.chown(path, owner.pw_uid, owner.pw_gid)
    os.rename(part, folder)
    sync_dir(os.path.dirname(folder))


def _owner() -> "Optional[pwd.struct_passwd]":
    """Return whom libvirt starts swtpm as; None where nobody of that name is here."""
    names = USERS
    with contextlib.suppress(FileNotFoundError):
        with open(SETTINGS, encoding="utf-8", errors="replace") as file:
            said = re.findall(r'^\s*swtpm_user\s*=\s*"([^"]*)"', file.read(), re.MULTILINE)
        names = tuple(said[-1:]) or USERS
    for name in names:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None
