"""
What a drill has made, written down before it is made, and how it is taken away.

    FOLDER/drill-UUID.lock      held by the conductor and by its watchdog: nobody else takes it away
    REPLICA/drill/plan.json     first to come, last to go: what there may be, by name
    REPLICA/drill/*.qcow2       the overlays that the guest writes to; its NVRAM
    state.json                  a pin, `drill`, and later what the drill has found out

Taking away looks, and remembers nothing: domain, bridges, ports, sockets, pin, folder, in this
order, each by the name that plan.json gives it. So it may be cut off anywhere and be begun again,
by the watchdog, by the next drill, or by the sweep.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from typing import Any, Dict, List, Optional
from uuid import UUID, uuid5

from mover.backup.virsh import GONE, VirshError, virsh
from mover.drill.bridges import remove_bridges, remove_ports
from mover.drill.isolated import PREFIX
from mover.drill.serving import remove_sockets
from mover.errors import MoverError, Refused, TryAgain
from mover.image.regular import read_regular
from mover.locks import lock_of_drill, take_lock
from mover.replica.replica import locked, write_whole

FOLDER = PIN = "drill"
PLAN = "plan.json"
PASSABLE = 0o711        # QEMU, which is not root, passes through to a file whose name it knows
MOST_BYTES = 1 << 20
LOCK_S = 30.0
KEPT_RESULTS = 8
ENDED = (*GONE, "no domain with matching")


def folder_of(root: str) -> str:
    """Return the folder of a replica's drill."""
    return os.path.join(root, FOLDER)


def drill_uuid(uuid: str) -> str:
    """Return the UUID of a VM's drills, which is never that of a VM."""
    return str(uuid5(UUID(uuid), "hotsite drill"))


def hold(root: str) -> int:
    """Take the lock of a replica's drill; TryAgain while somebody conducts one."""
    path = lock_of_drill(root)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        take_lock(fd, "a drill of this replica goes on already")
    except TryAgain:
        os.close(fd)
        raise
    return fd


def write_plan(root: str, plan: Dict[str, Any]) -> None:
    """Write down what a drill is about to make."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder_of(root), 0o700)
    os.chmod(folder_of(root), PASSABLE)
    write_whole(os.path.join(folder_of(root), PLAN), json.dumps(plan).encode())


def read_plan(root: str) -> Dict[str, Any]:
    """Return what a drill may have made; empty where nothing says so."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        plan = json.loads(read_regular(os.path.join(folder_of(root), PLAN), MOST_BYTES))
        if isinstance(plan, dict):
            return plan
    return {}


def take_away(root: str, result: Optional[Dict[str, Any]] = None) -> None:
    """
    Take away all that a drill has made; the caller holds its lock. `result` stays noted.

    Errors: TryAgain, OSError: something stays, and it is tried again.
    """
    plan = read_plan(root)
    uuid = plan.get("uuid") or _uuid_by_name(root)
    if uuid:
        end_domain(str(uuid))
    remove_bridges([str(name) for name in plan.get("bridges", ())])
    remove_ports([str(name) for name in plan.get("ports", ())])
    if plan.get("name"):
        remove_sockets(str(plan["name"]))
    _unpin(root, result)
    folder = folder_of(root)
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if name != PLAN:
                os.unlink(os.path.join(folder, name))
        shutil.rmtree(folder)


def _uuid_by_name(root: str) -> str:
    """Return which drill's domain a replica without a plan may still have, by its folder's name."""
    try:
        return drill_uuid(os.path.basename(root))
    except ValueError:
        return ""


def end_domain(uuid: str) -> None:
    """
    End a drill's domain; it is transient, so nothing of it stays.

    Errors: TryAgain while it is there, or libvirt does not say.
    """
    try:
        if not virsh("domname", uuid).strip().startswith(PREFIX):
            raise Refused("domain %s is no drill" % uuid)
        virsh("destroy", uuid)
        virsh("domname", uuid)
    except VirshError as error:
        if any(words in str(error) for words in ENDED):
            return
        raise TryAgain("the drill's domain does not end: %s" % error) from None
    raise TryAgain("the drill's domain does not end")


def _unpin(root: str, result: Optional[Dict[str, Any]]) -> None:
    if not os.path.isdir(root):
        return              # somebody has removed the replica, and its pins with it
    with locked(root, patience_s=LOCK_S) as replica:
        state = replica.state
        if PIN not in state.pins and result is None:
            return
        facts = state.facts
        if result is not None:
            facts = {**facts, "drills": [*facts.get("drills", ())[-KEPT_RESULTS + 1:], result]}
        replica.commit(state._replace(facts=facts, pins={
            who: at for who, at in state.pins.items() if who != PIN}))


def take_away_stubbornly(roots: List[str], results: Dict[str, Dict[str, Any]], until_s: float,
                         pause_s: float = 1.0) -> Dict[str, str]:
    """Take drills away until all are gone; return, by replica, why one is still there."""
    left = dict.fromkeys(roots, "")
    until = time.monotonic() + until_s
    while True:
        for root in list(left):
            try:
                take_away(root, results.get(root))
                del left[root]
            except (MoverError, OSError) as error:
                left[root] = str(error)
        if not left or time.monotonic() > until:
            return left
        time.sleep(pause_s)
