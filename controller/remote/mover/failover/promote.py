"""
A restore point becomes the VM, on the host that holds the replica. Nothing is copied.

    look       libvirt here does not run another copy of the VM; the point is sound and whole
    ══ state.json replaced ══   epoch and pin `failover-EPOCH`, in one commit: from now on no copy
               of an older VM is received, and no file that the point reads goes
    overlays   one for each disk, in the pool's top folder (overlay.py); NVRAM likewise; the state
               of the TPM where libvirt looks for it (tpm.py)
    answer     the definition of that point (definition.py), which the caller defines and starts

Every step is named by the epoch and finds what an earlier attempt has done: a promotion that was
cut off anywhere is asked for again and goes on. What is there under its name is never overwritten,
since a guest may have written to it. Nothing is undone: before the commit there is nothing to undo,
and after it the replica is the VM.

A promotion waits for nobody. Whoever changes the replica at that moment, by a merge or a copy, is
ended: each of them may be killed anywhere, see retire.py and publish.py. What they leave unfinished
stays so while the pin holds.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from mover.backup.definition import epoch_of as epoch_of_mark
from mover.backup.virsh import OFF, VirshError, answers
from mover.errors import MoverError, Refused, TryAgain
from mover.failover.definition import (
    Place,
    nvram_of,
    parse_definition,
    render,
    targets_of,
)
from mover.failover.overlay import make_overlay, make_passable, overlay_paths
from mover.failover.tpm import put_tpm
from mover.image.packed_file import MOST_BYTES
from mover.image.regular import read_regular
from mover.locks import lock_of_drill
from mover.processes import end, movers_at, receivers
from mover.replica.replica import Replica, locked, make_folder, sync_dir, write_whole
from mover.replica.scrub import note_missing_files
from mover.replica.state import Point, State, epoch_of, point_of
from mover.requests import Requests

PATIENCE_S = 1.0        # for whoever changes the replica at this moment
ENDING_S = 10.0         # for a mover to end after SIGTERM
MOST_XML_BYTES = 16 << 20
UUID = re.compile(r"[0-9a-fA-F-]{36}\Z")
NO_DOMAIN = ("failed to get domain", "Domain not found", "no domain with matching")


class Request(NamedTuple):
    """One VM to be promoted; `without`: targets of disks that it may lack."""

    replica: str
    sequence: int
    epoch: int
    uuid: str
    machine: str                        # the VM's name, which begins the names of its files
    without: Tuple[str, ...] = ()
    mark: Dict[str, str] = {}           # noqa: RUF012  (of the mark, besides role and epoch)


class Here(NamedTuple):
    """What libvirt says of a VM on this host; without a state, `errors` say why."""

    state: str
    xml: str
    errors: str


def run(words: List[str]) -> Dict[str, Any]:
    """Promote the VMs of {"machines": [Request, …]}; one that fails does not hold up the others."""
    found: List[Dict[str, Any]] = []
    asked = Requests().request["machines"]
    here = look_at([str(fields.get("uuid", "")) for fields in asked])
    for fields in asked:
        try:
            request = parse_request(fields)
            found.append({"promoted": promote(request, here.get(request.uuid))})
        except MoverError as error:
            found.append({"failed": {"status": error.status, "sentence": str(error)}})
        except OSError as error:
            found.append({"failed": {"status": MoverError.status, "sentence": "%s: %s" % (
                error.filename or "the system", error.strerror)}})
    return {"machines": found}


def parse_request(fields: Dict[str, Any]) -> Request:
    """Return one VM's request from JSON."""
    try:
        request = Request(**{**fields, "without": tuple(fields.get("without", ()))})
        if not UUID.match(request.uuid):
            raise ValueError("%r is no UUID" % request.uuid)
        return request._replace(sequence=int(request.sequence), epoch=int(request.epoch))
    except (TypeError, ValueError) as error:
        raise Refused("the request cannot be read: %s" % error) from None


def promote(request: Request, here: Optional[Here] = None) -> Dict[str, Any]:
    """Promote one VM and return its definition; `runs`: a domain of this epoch runs already."""
    runs = _require_no_other(request, here or look_at([request.uuid])[request.uuid])
    root = os.path.abspath(request.replica)
    end(movers_at(lock_of_drill(root)))         # its watchdog takes the drill away
    note_missing_files(root)
    with _alone(root) as replica:
        state, point = replica.state, point_of(replica.state, request.sequence)
        where = os.path.join(root, "meta", "%06d" % point.sequence, "domain.xml")
        domain = parse_definition(text_of(where), where)
        if (domain.findtext("uuid") or "").strip() != request.uuid or state.vm != request.uuid:
            raise Refused("%s holds the replica of %s, not of %s" % (root, state.vm, request.uuid))
        disks = require_whole(request.without, point, targets_of(domain))
        paths = overlay_paths(root, request.machine, disks, request.epoch)
        if not _is_promoted(request, state):
            replica.commit(_promoted(request, state))
        end(receivers(root))
        make_passable(replica, disks)
        places = {disk: Place(paths[disk], make_overlay(replica, disk, point.sequence, paths[disk]))
                  for disk in disks}
        nvram = nvram_of(domain, request.epoch)
        remarks = _put_nvram(root, point, nvram[1]) if nvram else []
        remarks += put_tpm(domain, request.uuid, request.epoch, held_part(root, point, "tpm"),
                           point.facts.get("tpm_missing", ""))
        made = render(domain, places, nvram[1] if nvram else "", {
            **request.mark, "name": request.machine, "role": "promoted",
            "epoch": str(request.epoch), "uuid": request.uuid})
        return {"uuid": request.uuid, "domain": domain.findtext("name"), "xml": made.xml,
                "runs": runs, "overlays": paths, "started_at": point.started_at,
                "ejected": made.ejected, "remarks": remarks}


def look_at(uuids: List[str]) -> Dict[str, Here]:
    """Return what libvirt says of each VM; one virsh asks for all, and an error is theirs that it
    names."""
    known = [uuid for uuid in uuids if UUID.match(uuid)]
    if not known:
        return {}
    try:
        outputs, errors = answers(*(question for uuid in known for question in (
            "domstate " + uuid, "dumpxml --inactive " + uuid)))
    except VirshError as error:
        return {uuid: Here("", "", str(error)) for uuid in known}
    return {uuid: Here(state.strip(), xml, errors) for uuid, state, xml in zip(
        known, outputs[::2], outputs[1::2])}


def _require_no_other(request: Request, here: Here) -> bool:
    """
    Return whether the VM runs here as of this epoch; Refused where another copy of it does.

    Errors: TryAgain where libvirt does not say so.
    """
    state, xml, errors = here
    if not state:
        if any(words in one and request.uuid in one for one in errors.split("; ")
               for words in NO_DOMAIN):
            return False
        raise TryAgain("libvirt does not say whether the VM runs here: %s" % errors)
    epoch = epoch_of_mark(xml)
    if epoch > request.epoch:
        raise Refused("a copy of epoch %d of it is on this host: nothing is promoted at epoch %d"
                      % (epoch, request.epoch))
    state = state.partition(" (")[0]
    runs = state not in OFF
    if runs and epoch != request.epoch:
        raise Refused("a copy of epoch %d of it is %s on this host: end that first"
                      % (epoch, state))
    return runs


@contextlib.contextmanager
def _alone(root: str) -> Iterator[Replica]:
    """Open the replica alone; end the movers that change it if they do not end by themselves."""
    with contextlib.ExitStack() as stack:
        try:
            replica = stack.enter_context(locked(root, patience_s=PATIENCE_S))
        except TryAgain:
            end(movers_at(os.path.join(root, "lock")))
            replica = stack.enter_context(locked(root, patience_s=ENDING_S))
        yield replica


def require_whole(without: Sequence[str], point: Point, wanted: List[str]) -> List[str]:
    """Return the disks of a point; Refused for one that reads wrong, or lacks a disk."""
    if point.damaged:
        raise Refused("restore point %d has %d damaged clusters: it never becomes the VM"
                      % (point.sequence, point.damaged))
    missing = sorted(set(wanted) - set(point.files) - set(without))
    if missing:
        why = point.facts.get("left_out", {})
        raise Refused("restore point %d does not have %s: it becomes the VM only if that is"
                      " accepted" % (point.sequence, ", ".join(
                          "disk %s%s" % (disk, " (%s)" % why[disk] if disk in why else "")
                          for disk in missing)))
    return sorted(disk for disk in point.files if disk in wanted)


def _is_promoted(request: Request, state: State) -> bool:
    """Return whether the commit is made; Refused where the epoch is another copy's."""
    held = state.facts.get("promoted")
    if held and held["epoch"] == request.epoch:
        if held["sequence"] == request.sequence:
            return True
        raise Refused("restore point %d has become the VM at epoch %d already: another one does so"
                      " only at a newer epoch" % (held["sequence"], request.epoch))
    if request.epoch <= epoch_of(state):
        raise Refused("the replica follows epoch %d of its VM: its points become the VM only at a"
                      " newer one, not at %d" % (epoch_of(state), request.epoch))
    return False


def _promoted(request: Request, state: State) -> State:
    return state._replace(
        pins={**state.pins, "failover-%d" % request.epoch: request.sequence},
        facts={**state.facts, "epoch": request.epoch, "promoted": {
            "epoch": request.epoch, "sequence": request.sequence, "machine": request.machine}})


def text_of(path: str) -> str:
    """Return a point's definition; Refused where it has none."""
    try:
        return read_regular(path, MOST_XML_BYTES).decode()
    except FileNotFoundError:
        raise Refused("%s is missing: the point has no definition" % path) from None
    except UnicodeDecodeError:
        raise Refused("%s is no text" % path) from None


def held_part(root: str, point: Point, name: str) -> Optional[bytes]:
    """Return what a point holds besides its disks; None where it does not."""
    if name not in point.meta:
        return None
    return read_regular(os.path.join(root, "meta", "%06d" % point.sequence, name), MOST_BYTES)


def _put_nvram(root: str, point: Point, path: str) -> List[str]:
    """Put a point's NVRAM where the definition says, if it is not there; return what is lacking."""
    if os.path.exists(path):
        return []
    held = held_part(root, point, "nvram")
    if held is None:
        return ["its NVRAM is not in the point (%s): the firmware begins with its defaults"
                % point.facts.get("nvram_missing", "it had none")]
    make_folder(os.path.dirname(path))
    write_whole(path, held)     # no guest has it yet: it has this epoch's name
    sync_dir(os.path.dirname(path))
    return []
