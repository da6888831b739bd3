"""Hands for live migration: a guest moves while it runs, with its disks or without.

The two hypervisors do it between themselves (peer to peer): the death of the connection or of the
controller does not touch it. What a controller that comes back finds is one of: it runs here, it
runs there, it is still on its way.
"""

import xml.etree.ElementTree as ET
from typing import Final, NamedTuple

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.plan.actions.desired import DesiredDisk
from controller.plan.actions.machine import MigrateDomain
from controller.providers.libvirt.migration.disks import (
    Arrival,
    clear_away,
    leave_behind,
    make_room,
    parse_sources,
)
from controller.providers.libvirt.migration.luggage import bring_media, move_disk, refuse_immovable
from controller.providers.libvirt.precondition import refuse_other_files
from controller.providers.libvirt.virsh import (
    CONNECT,
    OFF,
    failure,
    find_state,
    parse_complaint,
    virsh,
    virsh_command,
)
from controller.providers.libvirt.xml.device import find_disk, source_of
from controller.providers.libvirt.xml.xml import parse_xml, render_xml
from controller.providers.node import Node, script_command
from controller.transport.base import Command, Reply

SLOWEST_BYTES_PER_S: Final = 2 << 20
BASE_TIMEOUT_S: Final = 3600.0
# Where a disk lies elsewhere at the destination, libvirt is told by two changed definitions; they
# may hold secrets, and are files in the host's memory for as long as the move takes.
KEEP: Final = 'umask 077; mkdir -p /run/hotsite && cat >"$1"'
MOVE: Final = 'trap \'rm -f -- "$running" "$inactive"\' EXIT; running=$1 inactive=$2; shift 2; "$@"'


class Journey(NamedTuple):
    """What was made at the destination, and the files that the disks leave behind."""

    arrival: Arrival
    sources: tuple[str, ...]


def bracketed(address: str) -> str:
    """Return an address as a URI writes it."""
    return f"[{address}]" if ":" in address else address


def migrate_command(action: MigrateDomain, definitions: tuple[str, ...],
                    timeout_s: float) -> Command:
    """Return the command that moves a domain; run on the host that it leaves.

    `definitions`: files with the running and the inactive XML for the destination, or none to
    keep what it has.
    """
    data = bracketed(action.to_replication_address)
    # named one by one: libvirt would copy every disk that is not read-only, over whatever has its
    # name at the destination
    storage = ("--copy-storage-all", "--migrate-disks",
               ",".join(disk.target for disk in action.copied)) if action.copied else ()
    words = (
        "migrate", "--live", "--persistent", "--undefinesource", "--p2p", "--auto-converge",
        "--abort-on-error", *storage,
        "--desturi", f"qemu+ssh://{bracketed(action.to_address)}/system?no_tty=1",
        "--migrateuri", f"tcp://{data}", "--listen-address", action.to_replication_address,
        "--domain", action.domain,
    )
    if not definitions:
        return virsh_command(*words, timeout_s=timeout_s)
    running, inactive = definitions
    return script_command(MOVE, running, inactive, "virsh", "-q", "-c", CONNECT, *words,
                          "--xml", running, "--persistent-xml", inactive, timeout_s=timeout_s)


async def migrate(node: Node, action: MigrateDomain) -> str:
    """Move a running domain to another host, and see with both that it has arrived."""
    there = Node(node.transport, action.to)
    domain, failed = action.domain, f"{action.domain} was not moved to {action.to}"
    here_state, there_state = await find_state(node, domain), await find_state(there, domain)
    if there_state == "running" and (here_state is None or here_state in OFF):
        return f"{domain} runs on {action.to} already"
    if here_state != "running":
        raise Refused(f"{failed}: it is {here_state or 'not defined'} on {node.name}, and only"
                      " what runs can be moved live")
    if there_state is not None and there_state not in OFF:
        raise Unavailable(f"{failed}: it is {there_state} there, and runs on {node.name}; it is"
                          " looked at again")
    if await has_job(node, domain):
        raise Unavailable(f"{failed}: another job of it is running on {node.name}; it is tried"
                          " again")
    arrival = await prepare(node, there, action)
    timeout_s = BASE_TIMEOUT_S + arrival.size_bytes / SLOWEST_BYTES_PER_S
    try:
        definitions, sources = await leave_definitions(node, there, action)
    except ActionError:
        await clear_away(there, arrival)
        raise
    reply = await node.run(migrate_command(action, definitions, timeout_s))
    return await conclude(node, there, action, Journey(arrival, sources), reply)


async def has_job(node: Node, domain: str) -> bool:
    """Return whether libvirt is at work on a domain: moving, copying or saving it."""
    text = await virsh(node, "domjobinfo", "--", domain,
                       failed=f"whether {domain} on {node.name} is being worked on is not known")
    return not any(line.split() == ["Job", "type:", "None"] for line in text.splitlines())


async def prepare(node: Node, there: Node, action: MigrateDomain) -> Arrival:
    """Make room for the disks where they have to be copied."""
    if not action.with_storage:
        return Arrival(0, ())
    return await make_room(node, there, action)


async def leave_definitions(node: Node, there: Node, action: MigrateDomain) -> tuple[
        tuple[str, ...], tuple[str, ...]]:
    """Write the XML for the destination into files; return them, and the disks' files here.

    Shapes: no definitions when the paths are the same at the destination.
    Errors: Refused where the disks are to stay, and are not the same at the destination.
    """
    texts = [await virsh(node, "dumpxml", "--security-info", flag, "--", action.domain,
                         failed=f"the definition of {action.domain} on {node.name} could not be"
                                " read") for flag in ("--migratable", "--inactive")]
    roots = [parse_xml(text) for text in texts]
    failed = f"{action.domain} was not moved to {action.to}"
    for root in roots:
        refuse_immovable(root, action, failed)
    sources = parse_sources(roots[0], action.copied)
    stay = tuple(disk for disk in action.disks if disk not in action.copied)
    if stay:
        await refuse_other_files(node, there, parse_places(roots[0], stay), failed)
    await bring_media(node, there, action.media, failed)
    moved = [move_disk(root, disk) for root in roots for disk in action.copied]
    if not any(moved):
        return (), sources
    paths = tuple(f"/run/hotsite/move-{action.domain}-{name}.xml" for name in ("live", "config"))
    for path, root in zip(paths, roots, strict=True):
        reply = await node.run(script_command(KEEP, path, text=render_xml(root)))
        if reply.exit_status != 0:
            raise failure(reply, f"{action.domain} was not moved to {action.to}")
    return paths, sources


def parse_places(domain: ET.Element, disks: tuple[DesiredDisk, ...]) -> tuple[tuple[str, str], ...]:
    """Return the file of each disk here, and the path that it has at the destination."""
    found = ((find_disk(domain, disk.target), disk.path) for disk in disks)
    return tuple((source_of(element), path) for element, path in found
                 if element is not None and source_of(element))


async def conclude(node: Node, there: Node, action: MigrateDomain, journey: Journey,
                   reply: Reply) -> str:
    """Say how a migration ended, by what both ends show and not by its exit status."""
    domain, complaint = action.domain, parse_complaint(reply.stderr)
    unclear = f"whether {domain} moved from {node.name} to {action.to} is not certain"
    try:
        here_state, there_state = await find_state(node, domain), await find_state(there, domain)
        moving = here_state == "running" and await has_job(node, domain)
    except ActionError as error:
        raise OutcomeUnknown(f"{unclear}: {error}; it is looked at again") from error
    gone = here_state is None or here_state in OFF
    if there_state == "running" and gone:
        how = " with its disks" if action.with_storage else ""
        left = await leave_behind(node, journey.sources) if journey.sources else ""
        return f"moved {domain}{how} from {node.name} to {action.to} while it ran{left}"
    if here_state == "running" and not moving and (there_state is None or there_state in OFF):
        await clear_away(there, journey.arrival)
        broken = failure(reply, f"{domain} was not moved to {action.to} and runs on {node.name} as"
                                " before")
        # what broke off was the talk of the two hosts; both ends were looked at since
        raise Unavailable(str(broken)) if isinstance(broken, OutcomeUnknown) else broken
    raise OutcomeUnknown(f"{unclear}: it is {here_state or 'unknown'} on {node.name} and"
                         f" {there_state or 'unknown'} on {action.to} ({complaint});"
                         " it is looked at again")
