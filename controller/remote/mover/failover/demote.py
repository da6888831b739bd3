"""
Take a promotion back that never came to run: of a planned move that failed.

Whether it ran is told by its overlays: a cluster that a guest wrote is there for ever. So this is
refused where any overlay holds one, and where libvirt here knows a domain of that epoch; then the
copy here is the VM, or may be. Otherwise nothing is lost with it.

    overlays deleted, and the memory that was brought or that libvirt was given
    ══ state.json replaced ══   the replica follows the VM where that is, again

Cut off before the commit, it is asked for again, or the promotion is; both go on.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import Any, Dict, List

from mover.backup.definition import epoch_of as epoch_of_mark
from mover.backup.virsh import VirshError, answers
from mover.errors import Refused, TryAgain
from mover.failover.definition import nvram_of, parse_definition, targets_of
from mover.failover.memory import drop, forget
from mover.failover.overlay import overlay_paths
from mover.failover.promote import MOST_XML_BYTES, NO_DOMAIN
from mover.image.regular import open_regular, read_regular
from mover.replica.replica import Replica, locked, sync_dir
from mover.replica.state import point_of
from mover.requests import Requests

PATIENCE_S = 10.0
TABLE = struct.Struct(">IQ")    # qcow2: the entries of the first table, and where it is
TABLE_AT, TABLE_BYTES, MOST_ENTRIES = 36, 8, 4 << 20


def run(words: List[str]) -> Dict[str, Any]:
    """Take back what was promoted of {"replica", "uuid"}; the VM is the copy of epoch "to"."""
    request = Requests().request
    root = os.path.abspath(str(request["replica"]))
    with locked(root, patience_s=PATIENCE_S) as replica:
        held = replica.state.facts.get("promoted")
        if not held:
            drop(root)
            return {"demoted": 0}
        epoch, to = int(held["epoch"]), int(request["to"])
        if to >= epoch:
            raise Refused("the replica became the VM at epoch %d, which is not newer than %d"
                          % (epoch, to))
        _require_none_here(str(request["uuid"]), epoch)
        files = _files(replica, held)
        name = (_definition(replica, held).findtext("name") or "").strip()
        for path in files:
            require_unwritten(path)
        forget(str(request["uuid"]), name)
        drop(root)
        for path in (*files, *_others(replica, held)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        for folder in sorted({os.path.dirname(path) for path in files}):
            sync_dir(folder)
        state = replica.state
        replica.commit(state._replace(
            pins={who: at for who, at in state.pins.items() if who != "failover-%d" % epoch},
            facts={**{key: value for key, value in state.facts.items() if key != "promoted"},
                   "epoch": to}))
        return {"demoted": epoch}


def _require_none_here(uuid: str, epoch: int) -> None:
    """Raise Refused where libvirt knows the VM by that epoch, or a newer one."""
    try:
        (xml,), errors = answers("dumpxml --inactive " + uuid)
    except VirshError as error:
        raise TryAgain("libvirt does not say whether the VM is here: %s" % error) from None
    if not xml.strip():
        if any(words in errors for words in NO_DOMAIN):
            return
        raise TryAgain("libvirt does not say whether the VM is here: %s" % errors)
    if epoch_of_mark(xml) >= epoch:
        raise Refused("the copy of epoch %d is defined on this host: it is the VM" % epoch)


def _files(replica: Replica, held: Dict[str, Any]) -> List[str]:
    """Return the overlays of a promotion, those that are there."""
    point = point_of(replica.state, int(held["sequence"]))
    disks = sorted(disk for disk in point.files if disk in targets_of(_definition(replica, held)))
    paths = overlay_paths(replica.root, str(held["machine"]), disks, int(held["epoch"]))
    return sorted(path for path in paths.values() if os.path.lexists(path))


def _others(replica: Replica, held: Dict[str, Any]) -> List[str]:
    """Return the NVRAM of a promotion, if it has one."""
    nvram = nvram_of(_definition(replica, held), int(held["epoch"]))
    return [nvram[1]] if nvram else []


def _definition(replica: Replica, held: Dict[str, Any]) -> Any:
    where = os.path.join(replica.root, "meta", "%06d" % int(held["sequence"]), "domain.xml")
    return parse_definition(read_regular(where, MOST_XML_BYTES).decode(), where)


def require_unwritten(path: str) -> None:
    """Raise Refused where a guest has written to an overlay: its first table has an entry then."""
    fd = open_regular(path)
    try:
        head = os.pread(fd, TABLE_AT + TABLE.size, 0)
        if len(head) < TABLE_AT + TABLE.size or head[:4] != b"QFI\xfb":
            raise Refused("%s is no overlay" % path)
        entries, start = TABLE.unpack_from(head, TABLE_AT)
        table = os.pread(fd, min(entries, MOST_ENTRIES) * TABLE_BYTES, start)
    finally:
        os.close(fd)
    if entries > MOST_ENTRIES or len(table) < entries * TABLE_BYTES or any(table):
        raise Refused("a guest has written to %s: what it wrote is the VM's" % path)
