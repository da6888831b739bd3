"""
Promoted VMs come to life: libvirt is given their definitions, all at once, then starts them.

    look       one virsh: checkpoints that libvirt keeps of an older copy here; their records go
    define     one virsh: every definition, autostart off, and what libvirt holds then
    start      one virsh for each VM, so many at a time as the host's width says: its QEMU is there,
               and its processors stand
    flush      the host's switches forget where they saw which address
    go         one virsh: the processors of each, in the order of the request

A boot takes all the processors that it gets. Were each guest let go as soon as its QEMU is there,
the boots of the first would hold up the starts of the last; so they wait for each other, and no
guest runs before libvirt has made all of its host's QEMUs.

Rule 1: only a domain whose definition has the epoch that was asked for is started: where defining
        failed, an older copy may be there under the same UUID.
Rule 2: one that fails, or hangs, holds up the others for START_S at most, and they are told apart.
Rule 3: started means that it was let go. One that stands after a crash of ours is `paused (user)`,
        which whoever conducts sees, and resumes as any VM that is declared on.

How each VM's part failed is answered as virsh said it; of one that did not, nothing. All of it may
be asked for again: a definition is replaced by the same one, and what runs stays as it is.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, NamedTuple
from uuid import UUID

from mover.backup.definition import epoch_of
from mover.backup.virsh import Unanswered, VirshError, answers, virsh
from mover.errors import Refused, TryAgain
from mover.requests import Requests

START_S = 60.0          # for one VM
ALL_S = 150.0           # for all of a request; what is not begun by then is not begun
FLUSH = ("ovs-appctl", "--timeout=5", "fdb/flush")
ACTIVE = "already active"
RUNNING = "already running"
KILLED = 137            # as shells say it of a process that was killed

Failure = Dict[str, Any]
"""How virsh ended, by its exit status and its error output; or a status and a sentence of ours."""


class Machine(NamedTuple):
    """One promoted VM, and whether it is started now."""

    uuid: str
    epoch: int
    xml: str
    start: bool
    width: int = 1          # how many of them start at a time


def run(words: List[str]) -> Dict[str, Any]:
    """Define the VMs of {"machines": [Machine, …]}, and start those that say so."""
    machines = parse_machines(Requests().request)
    try:
        failures = define(machines)
    except VirshError as error:
        failures = {one.uuid: said_by(error) for one in machines}
    failures.update(start([one for one in machines if one.start and one.uuid not in failures]))
    return {"machines": [failures.get(one.uuid, {}) for one in machines]}


def parse_machines(request: Dict[str, Any]) -> List[Machine]:
    """Return the VMs of a request."""
    try:
        return [Machine(**{**one, "uuid": str(UUID(one["uuid"]))}) for one in request["machines"]]
    except (KeyError, TypeError, ValueError) as error:
        raise Refused("the request cannot be read: %s" % error) from None


def said_by(error: VirshError) -> Failure:
    """Return how a virsh ended: killed, where it was not done in time."""
    return {"status": KILLED if isinstance(error, Unanswered) else 1,
            "stderr": error.said or "error: %s" % error}


def define(machines: List[Machine]) -> Dict[str, Failure]:
    """Define all, and return by UUID what virsh said of each that is not as it should be."""
    _forget_checkpoints([one.uuid for one in machines])
    questions = [("define {%d}" % number, "autostart --disable %s" % one.uuid,
                  "dumpxml --inactive %s" % one.uuid) for number, one in enumerate(machines)]
    outputs, errors = answers(*(word for three in questions for word in three),
                              files=tuple(one.xml for one in machines))
    return {one.uuid: {"status": 1, "stderr": "error: " + (
                errors or "libvirt does not say how it is defined")}
            for one, xml in zip(machines, outputs[2::3])
            if not xml.strip() or epoch_of(xml) != one.epoch}


def _forget_checkpoints(uuids: List[str]) -> None:
    """Let libvirt forget the checkpoints of older copies: they are of disks that are not theirs."""
    names, _ = answers(*("checkpoint-list --name " + uuid for uuid in uuids))
    old = ["checkpoint-delete --metadata %s %s" % (uuid, shlex.quote(name))
           for uuid, found in zip(uuids, names) for name in found.splitlines() if name.strip()]
    if old:
        answers(*old)


def start(machines: List[Machine]) -> Dict[str, Failure]:
    """Start all, and return by UUID what virsh said of each that failed.

    Before the first is let go the host's switches forget where they saw which address: a guest that
    says nothing would be looked for behind the uplink, where its old copy was, for minutes.
    """
    if not machines:
        return {}
    until_s = time.monotonic() + ALL_S
    failures: Dict[str, Failure] = {}
    paused: List[str] = []

    def launch(machine: Machine) -> None:
        """Start one, and note what virsh said if it failed."""
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            failures[machine.uuid] = {"status": TryAgain.status, "sentence": (
                "the starts before it took longer than %g s" % ALL_S)}
            return
        try:
            virsh("start", "--force-boot", "--paused", machine.uuid,
                  patience_s=min(START_S, left_s))
            paused.append(machine.uuid)
        except VirshError as error:
            if ACTIVE not in str(error):
                failures[machine.uuid] = said_by(error)

    with ThreadPoolExecutor(max(one.width for one in machines)) as pool:
        list(pool.map(launch, machines))
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(FLUSH, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=10, check=False)
    failures.update(resume([one.uuid for one in machines if one.uuid in paused]))
    return failures


def resume(uuids: List[str]) -> Dict[str, Failure]:
    """Let the processors of each run, and return by UUID what virsh said of each that still stands.

    One virsh asks for all. Where it does not come to its end, each is asked for by itself.
    """
    if not uuids:
        return {}
    try:
        told, errors = answers(*(word + uuid for uuid in uuids for word in (
            "resume ", "domstate ")))
    except VirshError:
        with ThreadPoolExecutor(len(uuids)) as pool:
            return {uuid: failure for uuid, failure in zip(uuids, pool.map(_resume, uuids))
                    if failure}
    return {uuid: {"status": 1, "stderr": "error: it is started, and stands: " + (
                "; ".join(one for one in errors.split("; ") if uuid in one) or errors)}
            for uuid, state in zip(uuids, told[1::2]) if state.split()[:1] == ["paused"]}


def _resume(uuid: str) -> Failure:
    """Let one run, and return what virsh said if it was not let go."""
    try:
        virsh("resume", uuid, patience_s=START_S)
    except VirshError as error:
        return {} if RUNNING in str(error) else said_by(error)
    return {}
