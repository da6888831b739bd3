"""The way back: a VM's former disks become the base of a replica, and later their tail is let go.

The mover on their host does it (remote/mover/failover/adopt.py). If the host on which the VM was
promoted answers, the hashes of the promoted point are brought over first: with them and the old
bitmap only what diverged has to be read. Without them all of the disks is read; what is sent
afterwards is the same.
"""

import json
from typing import Any, Final

from controller.errors import ActionError, OutcomeUnknown
from controller.model.units import render_size
from controller.plan.actions.promotion import AdoptDisks, ReleaseTail
from controller.replication.mover import Mover, failure, verb_command
from controller.replication.transfer import HEADER_BYTES, KNOWN_FOLDER, MANIFEST_S

ADOPT_S: Final = 3600.0
SLOW_BYTES_S: Final = 50e6
"""Lowest rate assumed for reading and hashing a disk."""
MOST_MANIFEST_BYTES: Final = 1 << 32
"""Of one disk; it has 16 bytes for each 64 KiB, so this is for 16 TiB."""


async def adopt(mover: Mover, promoted: Mover | None, action: AdoptDisks, now: float) -> str:
    """Take the VM's former disks back and return a sentence that says what was done."""
    failed = f"the former disks of {action.machine} on {action.node} were not taken back"
    request: dict[str, Any] = {
        "replica": action.path, "vm": action.uuid, "epoch": action.epoch, "by": action.by,
        "at": now, "until": action.until,
        "facts": {"machine": action.machine, "estate": action.estate}}
    remark = ""
    if promoted is not None:
        try:
            request |= await bring_known(mover, promoted, action, failed)
        except ActionError as error:
            remark = f"; all of them was read, since the promoted point was not ({error})"
    answer = await mover.ask("adopt", request, failed=failed,
                             timeout_s=ADOPT_S + action.size_bytes / SLOW_BYTES_S)
    try:
        disks, sequence = ", ".join(answer["disks"]), int(answer["sequence"] or 0)
        read = render_size(int(answer["read_bytes"]))
        tracked = ", ".join(disk for disk, how in answer["by"].items() if how == "bitmap")
        left = "".join(f"; {disk} is not among them: {why}"
                       for disk, why in sorted(answer["left_out"].items()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OutcomeUnknown(f"{failed}, as far as is known: its mover answered with something"
                             f" that is not understood ({error!r})") from error
    if not disks:
        return (f"no former disk of {action.machine} on {action.node} can be the base of its"
                f" replica there, so that is seeded{left}")
    by = f", of {tracked} only what its bitmap names" if tracked else ""
    return (f"{disks} of {action.machine} on {action.node} are the base of its replica there;"
            f" restore point {sequence} keeps what they hold; {read} read{by}{left}{remark}")


async def bring_known(mover: Mover, promoted: Mover, action: AdoptDisks,
                      failed: str) -> dict[str, Any]:
    """Bring the hashes of the promoted point; return what they add to the request."""
    path = action.promoted_path
    made = await promoted.ask("replica-make", {"replica": path, "vm": action.uuid}, failed=failed)
    try:
        [point] = [one for one in made["replica"]["points"]
                   if one["sequence"] == action.promoted_point]
        origins = dict(point["facts"].get("origins", {}))
        found: dict[str, Any] = {"algorithm": made["algorithm"], "secret": made["secret"]}
        checkpoint = str(point["checkpoint"])
        disks = sorted(point["files"])
    except (KeyError, TypeError, ValueError) as error:
        raise OutcomeUnknown(f"{promoted.name} has no restore point {action.promoted_point}"
                             f" ({error!r})") from error
    known = {}
    for disk in disks if checkpoint else ():
        if disk in origins:
            known[disk] = {"checkpoint": checkpoint, "origin": origins[disk],
                           "manifest": await bring_manifest(mover, promoted, action, disk)}
    return {**found, "known": known}


async def bring_manifest(mover: Mover, promoted: Mover, action: AdoptDisks, disk: str) -> str:
    """Bring the hashes of one disk at the promoted point; return their path."""
    into = f"{KNOWN_FOLDER}/known-{action.uuid}-{disk}.man"
    text = json.dumps({"replica": action.promoted_path, "disk": disk,
                       "point": action.promoted_point}) + "\n"
    replies = await mover.node.transport.relay(
        (promoted.name, verb_command("manifest-out", text=text, timeout_s=MANIFEST_S)),
        (mover.name, verb_command("manifest-in", into, str(HEADER_BYTES + MOST_MANIFEST_BYTES),
                                  timeout_s=MANIFEST_S)))
    for reply in replies:
        if reply.exit_status != 0:
            raise failure(reply, f"the hashes of {disk} were not brought from {promoted.name}")
    return into


async def release(mover: Mover, action: ReleaseTail) -> str:
    """Let a tail go and return a sentence that says what was done."""
    name = action.target.partition("/")[2]
    await mover.ask("release", {"replica": action.path, "sequence": action.sequence,
                                "epoch": action.epoch},
                    failed=f"restore point {action.sequence} of {name} on {mover.name} was not"
                           " released")
    return (f"released restore point {action.sequence} of {name} on {mover.name}: from now on it is"
            " retired like any other")
