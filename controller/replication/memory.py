"""The memory of a guest that is moved: saved at the source, carried, and resumed at the target.

    save      libvirt at the source writes it beside its definition; the guest stands still
    carry     the file goes to the target, beside the replica (remote/mover/failover/memory.py)
    place     its definition becomes that of the VM there, and libvirt there is given the file
    resume    libvirt there starts the VM, which goes on from it
    forget    libvirt at the source lets go of its file

From `save` on any start at the source goes on from the file, and from `place` and the definition on
any start at the target does: whoever conducts after a crash, or a person, starts the one copy that
is the VM by its epoch, and no memory is lost.

Rule 1: what could refuse at the target (processor, machine type, room) is asked before `save`.
Rule 2: the source's file is let go only once the guest was seen to run at the target.
"""

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any, Final

from controller.errors import OutcomeUnknown, Refused
from controller.plan.actions.failover import MoveDomain
from controller.plan.actions.replica import ReplicateDomain
from controller.providers.libvirt.virsh import (
    CONNECT,
    failure,
    find_state,
    virsh,
    virsh_command,
)
from controller.providers.libvirt.xml.domain import place_nics
from controller.providers.libvirt.xml.xml import (
    find_or_add,
    parse_amount_bytes,
    parse_xml,
    remove_all,
    render_xml,
)
from controller.providers.node import Node, script_command
from controller.replication.mover import Mover, RouteUnavailable, verb_command
from controller.replication.mover import failure as mover_failure
from controller.replication.ssh_route import Addresses, open_route
from controller.replication.transfer import CopyEnds

SAVE_S: Final = 600.0
BYTES_PER_S: Final = 20e6
"""Lowest rate assumed for memory, on a disk or on the wire."""
START_S: Final = 300.0
ROOM: Final = """
need=$1; shift
for place in "$@"; do
    while [ ! -d "$place" ]; do place=$(dirname -- "$place"); done
    free=$(df -PB1 -- "$place" | awk 'NR == 2 {print $4}')
    [ "$free" -gt "$need" ] || { echo "$place has $free bytes free, and $need are needed" >&2
        exit 3; }
done
"""
SAVES: Final = "/var/lib/libvirt/qemu/save"
FITS: Final = """
connect=$1 type=$2 machine=$3 arch=$4 compare=$5
virsh -q -c "$connect" domcapabilities --virttype "$type" --machine "$machine" --arch "$arch" \
    >/dev/null || exit
[ "$compare" = no ] || virsh -q -c "$connect" hypervisor-cpu-compare --error --virttype "$type" \
    --machine "$machine" --arch "$arch" /dev/stdin >&2
"""
RESUME: Final = """
uuid=$1 connect=$2
virsh -q -c "$connect" managedsave-dumpxml -- "$uuid" >/dev/null || exit
virsh -q -c "$connect" start -- "$uuid" >&2 || exit
ovs-appctl --timeout=5 fdb/flush >/dev/null 2>&1 || :
"""
TAKEN_AS_IT_IS: Final = frozenset({"host-passthrough", "maximum"})
"""Processors of which the definition does not say what the guest has seen."""
NOT_SAVED: Final = ("No such file or directory", "does not have managed save image")
OF_ANOTHER_FILE: Final = ("backingStore", "mirror", "encryption", "auth", "transient", "readonly")


async def is_saved(node: Node, uuid: str) -> bool:
    """Return whether libvirt would go on with a VM that is off from what was saved.

    It is asked for the file: of one that we gave it, `dominfo` knows only after a restart.
    """
    reply = await node.run(virsh_command("managedsave-dumpxml", "--", uuid))
    if reply.exit_status == 0:
        return True
    if any(words in reply.stderr for words in NOT_SAVED):
        return False
    raise failure(reply, f"whether {uuid} is saved on {node.name} could not be read")


async def require_movable(source: Node, target: Node, action: MoveDomain, failed: str) -> int:
    """Return the size of a guest's memory in bytes, if it could go on at the target.

    Errors: Refused with what the target lacks; the guest runs.
    """
    text = await virsh(source, "dumpxml", "--migratable", "--", action.uuid, failed=failed)
    try:
        domain = parse_xml(text)
        memory = domain.find("memory")
        size_bytes = 0 if memory is None else parse_amount_bytes(memory)
    except ValueError as error:
        raise Refused(f"{failed}: {error}") from error
    kind = domain.find("os/type")
    words = (domain.get("type", "kvm"), "" if kind is None else kind.get("machine", ""),
             "" if kind is None else kind.get("arch", ""))
    cpu = domain.find("cpu")
    if cpu is not None and cpu.get("mode") in TAKEN_AS_IT_IS:
        await _require_same_processor(source, target, failed)
    compare = cpu is not None and cpu.find("model") is not None
    reply = await target.run(script_command(FITS, CONNECT, *words, "yes" if compare else "no",
                                            text=text))
    if reply.exit_status != 0:
        raise failure(reply, f"{failed} with its memory, since {target.name} cannot be what it runs"
                      " on (`move: {by: shutdown}` moves it all the same)")
    pool = action.promotion.path.rpartition("/hotsite-replicas/")[0]
    for node, places in ((source, (SAVES,)), (target, (pool, SAVES))):
        reply = await node.run(script_command(ROOM, str(size_bytes + (64 << 20)), *places))
        if reply.exit_status != 0:
            raise Refused(f"{failed} with its memory: on {node.name} {reply.stderr.strip()}")
    return size_bytes


async def _require_same_processor(source: Node, target: Node, failed: str) -> None:
    texts = [await virsh(node, "capabilities", failed=failed) for node in (source, target)]
    one, other = (_processor(text) for text in texts)
    if not one or one != other:
        raise Refused(f"{failed} with its memory: it has the processor of its host as it is, and"
                      f" that of {target.name} differs from that of {source.name}"
                      " (`move: {by: shutdown}` moves it all the same)")


def _processor(capabilities: str) -> tuple[str, ...]:
    """Return what a host's processor is, by what a guest can see of it."""
    cpu = parse_xml(capabilities).find("host/cpu")
    if cpu is None:
        return ()
    features = sorted(one.get("name", "") for one in cpu.findall("feature"))
    return (cpu.findtext("arch", ""), cpu.findtext("model", ""), cpu.findtext("vendor", ""),
            *features)


async def save(source: Node, action: MoveDomain, size_bytes: int, failed: str) -> None:
    """Let libvirt save a guest that runs; from now on it stands still.

    Errors: Refused or Unavailable when the guest runs on; OutcomeUnknown if nobody knows.
    """
    reply = await source.run(script_command(
        'exec virsh -q -c "$2" managedsave --running -- "$1" >&2', action.uuid, CONNECT,
        timeout_s=SAVE_S + size_bytes / BYTES_PER_S))
    if await find_state(source, action.uuid) == "shut off" and await is_saved(
            source, action.uuid):
        return
    raise failure(reply, failed) if reply.exit_status else OutcomeUnknown(
        f"{failed}, as far as is known: it was to be saved, and is not; it is looked at again")


async def carry(ends: CopyEnds, copy: ReplicateDomain, size_bytes: int, failed: str) -> None:
    """Bring what was saved of a guest to the target, over the direct route or relayed."""
    limit_s = SAVE_S + size_bytes / BYTES_PER_S
    try:
        async with ends.target.session(failed) as session, open_route(
                session, ends.endpoint,
                Addresses(copy.replication_address, copy.to_replication_address), copy.path,
                ends.keys, limit_s, verb="memory-in") as route:
            await ends.source.ask("memory-out", {"uuid": copy.uuid, "to": route}, failed=failed,
                                  timeout_s=limit_s)
    except RouteUnavailable:
        await _relay(ends, copy, limit_s, failed)


async def _relay(ends: CopyEnds, copy: ReplicateDomain, limit_s: float, failed: str) -> None:
    """Bring it through the controller, where the hosts do not reach each other."""
    text = json.dumps({"uuid": copy.uuid, "to": {"fds": [1]}}) + "\n"
    sent, received = await ends.source.node.transport.relay(
        (ends.source.name, verb_command("memory-out", text=text, timeout_s=limit_s)),
        (ends.target.name, verb_command("memory-in", copy.path, timeout_s=limit_s)))
    for reply in (received, sent):
        if reply.exit_status != 0:
            raise mover_failure(reply, failed)


async def place(target: Mover, action: MoveDomain, promoted: Mapping[str, Any], definition: str,
                failed: str) -> None:
    """Give what was saved the definition of the VM at the target, and give it to libvirt there."""
    replica = action.promotion.path
    told = await target.ask("memory-show", {"replica": replica}, failed=failed)
    try:
        text = render_saved(str(told["xml"]), definition)
        text = place_nics(text, action.promotion.nics) if action.promotion.nics else text
        name = str(promoted["domain"])
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"{failed}: what was saved of it is not understood ({error})") from error
    await target.ask("memory-put", {"replica": replica, "domain": name, "xml": text},
                     failed=failed)


def render_saved(saved: str, definition: str) -> str:
    """Return the definition of a saved guest, with its files and its mark as those of another one.

    The chains below its disks are left to libvirt to find: their headers are ours.
    """
    domain, wanted = parse_xml(saved), parse_xml(definition)
    files = {_target(disk): disk for disk in wanted.findall("devices/disk")}
    for disk in domain.findall("devices/disk"):
        other = files.get(_target(disk))
        if other is None:
            raise ValueError(f"disk {_target(disk)} is not in its restore point")
        _put_on(disk, other)
    for tag in ("metadata", "os/nvram"):
        above, _, name = tag.rpartition("/")
        parent, found = domain.find(above or "."), wanted.find(tag)
        if parent is not None and found is not None:
            remove_all(parent, name)
            parent.append(found)
    return render_xml(domain)


def _target(disk: ET.Element) -> str:
    target = disk.find("target")
    return "" if target is None else target.get("dev", "")


def _put_on(disk: ET.Element, other: ET.Element) -> None:
    """Let a disk lie where another one does, or be an empty drive as that is."""
    for tag in (*OF_ANOTHER_FILE[:-1], "source"):
        remove_all(disk, tag)
    source = other.find("source")
    disk.set("type", other.get("type", "file"))
    if source is None:
        return
    disk.insert(0, source)
    driver = other.find("driver")
    if driver is not None:
        find_or_add(disk, "driver").set("type", driver.get("type", "qcow2"))


async def resume(target: Node, action: MoveDomain, failed: str) -> None:
    """Let libvirt at the target go on with the guest.

    Errors: by libvirt's words; OutcomeUnknown where it may run there.
    """
    reply = await target.run(script_command(RESUME, action.uuid, CONNECT, timeout_s=START_S))
    state = await find_state(target, action.uuid)
    if state == "running":
        return
    if reply.exit_status == 0:
        raise OutcomeUnknown(f"{failed}, as far as is known: it was started on {target.name} and is"
                             f" {state} there; it is looked at again")
    raise failure(reply, failed)


async def forget(source: Node, action: MoveDomain) -> str:
    """Let go of what the source saved; return what is to be said of it."""
    reply = await source.run(script_command(
        'exec virsh -q -c "$2" managedsave-remove -- "$1" >&2', action.uuid, CONNECT))
    return "" if reply.exit_status == 0 else (
        f"; what {source.name} saved of it was not deleted there ({reply.stderr.strip()}):"
        f" `virsh managedsave-remove {action.domain}`")
