"""
The state of a VM's TPM, put where libvirt looks for it when a restore point becomes the VM.

    SWTPM/UUID/tpm2             the state of the point, once for an epoch
    SWTPM/UUID/tpm2.before-7    what an older copy of the VM had left there, at epoch 7
    SWTPM/UUID/hotsite-epoch    the epoch, written last: until then no guest has run on it
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import xml.etree.ElementTree as ET
from typing import List, Optional

from mover.backup.tpm import Untaken, place_of
from mover.errors import Damaged
from mover.image.regular import read_regular
from mover.replica.replica import make_folder, sync_dir, write_whole

SETTINGS = "/etc/libvirt/qemu.conf"
USERS = ("swtpm", "tss")        # Debian's, and all others'
MARK = "hotsite-epoch"
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
    above = os.path.dirname(folder)
    if _epoch_at(above) != str(epoch):
        make_folder(above)
        os.chmod(above, PASSABLE)
        _make_way(folder, "%s.before-%d" % (folder, epoch))
        _write(folder, name, held)
        write_whole(os.path.join(above, MARK), str(epoch).encode())
    return []


def _epoch_at(folder: str) -> str:
    with contextlib.suppress(FileNotFoundError, Damaged):
        return read_regular(os.path.join(folder, MARK), MOST_MARK_BYTES).decode(errors="replace")
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
