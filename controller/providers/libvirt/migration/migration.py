"""Hands for live migration: a guest moves to another host while it runs, with its disks or without.

The two libvirts migrate between themselves (peer to peer): once it has begun, neither a broken
connection nor a crash of the controller stops it. The controller prepares and concludes.

    1 look           running at the source; not at the destination; no other job. If it already
                     runs at the destination and is off or gone at the source: done.
    2 disks          an empty file of the exact size at the destination for each disk to copy; a
                     stale one is renamed; one that is used, or not this VM's by name, refuses
    3 definitions    two XML texts in files at the source (running and inactive), if paths or the
                     places of cards differ; a disk that stays, and a medium in a drive, is the
                     same file on both hosts
    4 virsh migrate  libvirt copies the disks, then memory; switches over; undefines the source
    5 conclude       by the domain's state on both hosts, never by the exit status

The order: all that can refuse comes before 4, since 4 cannot be taken back. The disks come first,
since their sizes set the time limit; they are deleted again if 3 fails.

Who writes: only this command writes to the new disks, and only to files it has just made or that
an earlier attempt left empty. The source's files are renamed (`.moved`) only after both hosts show
that the guest has moved; a file that another domain uses keeps its name.

Conclusions in 5:

    runs at the destination; off or gone at the source      moved; the old copies are renamed
    runs at the source, no job; not at the destination      not moved; the new disks are deleted
    anything else, or a host does not answer                OutcomeUnknown: observed again

A crash of the controller leaves: before 4, empty disks at the destination, which the next attempt
uses, and the two definitions, which the next migration writes over (they are in /run, so a reboot
deletes them); during 4, a migration that continues; after 4, old copies under their own names,
which the next migration back to that host renames as stale.
"""

import re
import xml.etree.ElementTree as ET
from typing import Final
from urllib.parse import quote

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.plan.actions.desired import DesiredDisk
from controller.plan.actions.machine import MigrateDomain
from controller.providers.libvirt.migration.disks import (
    TargetDisks,
    create_target_disks,
    delete_created,
    move_disk,
    parse_sources,
    refuse_immovable,
    rename_old_copies,
)
from controller.providers.libvirt.migration.media import bring_media
from controller.providers.libvirt.precondition import require_same_files
from controller.providers.libvirt.virsh import (
    CONNECT,
    OFF,
    failure,
    find_state,
    parse_complaint,
    virsh,
    virsh_command,
)
from controller.providers.libvirt.xml.device import find_disk, find_nic, place_nic, source_of
from controller.providers.libvirt.xml.xml import parse_xml, render_xml
from controller.providers.node import Node, script_command
from controller.transport.base import Command, Reply

SLOWEST_BYTES_PER_S: Final = 2 << 20
SSH_PORT: Final = 22
BASE_TIMEOUT_S: Final = 3600.0
PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}")
"""Names of domains that a file may be named by; for all others it is their UUID."""
# Where a disk's path or a card's place differs at the destination, libvirt is given two changed
# definitions. They may hold secrets: they are files in the host's memory, and exist only during the
# migration.
WRITE: Final = 'umask 077; mkdir -p /run/hotsite && cat >"$1"'
MOVE: Final = 'trap \'rm -f -- "$running" "$inactive"\' EXIT; running=$1 inactive=$2; shift 2; "$@"'


def bracketed(address: str) -> str:
    """Return an address as a URI writes it."""
    return f"[{address}]" if ":" in address else address


def authority_of(action: MigrateDomain) -> str:
    """Return whom the source's libvirt calls: its root logs in as the account declared there."""
    user = "" if action.to_user == "root" else f"{quote(action.to_user)}@"
    port = "" if action.to_port == SSH_PORT else f":{action.to_port}"
    return f"{user}{bracketed(action.to_address)}{port}"


def migrate_command(action: MigrateDomain, definitions: tuple[str, ...],
                    timeout_s: float) -> Command:
    """Return the command that migrates a domain; it runs on the source host.

    `definitions`: files with the running and the inactive XML for the destination, or none to keep
    the domain's own.
    """
    data = bracketed(action.to_replication_address)
    # named one by one: else libvirt copies every writable disk, over whatever has its path at the
    # destination
    storage = ("--copy-storage-all", "--migrate-disks",
               ",".join(disk.target for disk in action.copied)) if action.copied else ()
    words = (
        "migrate", "--live", "--persistent", "--undefinesource", "--p2p", "--auto-converge",
        "--abort-on-error", *storage,
        "--desturi", f"qemu+ssh://{authority_of(action)}/system?no_tty=1",
        "--migrateuri", f"tcp://{data}", "--listen-address", action.to_replication_address,
        "--domain", action.domain,
    )
    if not definitions:
        return virsh_command(*words, timeout_s=timeout_s)
    running, inactive = definitions
    return script_command(MOVE, running, inactive, "virsh", "-q", "-c", CONNECT, *words,
                          "--xml", running, "--persistent-xml", inactive, timeout_s=timeout_s)


async def migrate(node: Node, action: MigrateDomain) -> str:
    """Move a running domain to another host, and confirm it on both."""
    target = Node(node.transport, action.to)
    domain, failed = action.domain, f"{action.domain} was not moved to {action.to}"
    source_state, target_state = await find_state(node, domain), await find_state(target, domain)
    if target_state == "running" and (source_state is None or source_state in OFF):
        return f"{domain} runs on {action.to} already"
    if source_state != "running":
        raise Refused(f"{failed}: it is {source_state or 'not defined'} on {node.name}, and only"
                      " what runs can be moved live")
    if target_state is not None and target_state not in OFF:
        raise Unavailable(f"{failed}: it is {target_state} there, and runs on {node.name}; it is"
                          " looked at again")
    if await has_job(node, domain):
        raise Unavailable(f"{failed}: another job of it is running on {node.name}; it is tried"
                          " again")
    created = (await create_target_disks(node, target, action) if action.with_storage
               else TargetDisks(0, ()))
    timeout_s = BASE_TIMEOUT_S + created.size_bytes / SLOWEST_BYTES_PER_S
    try:
        definitions, sources = await write_definitions(node, target, action)
    except ActionError:
        await delete_created(target, created)
        raise
    reply = await node.run(migrate_command(action, definitions, timeout_s))
    outcome = await conclude(node, target, action, created, reply)
    outcome += await keep_autostart(target, action) if action.autostart else ""
    return outcome + (await rename_old_copies(node, sources) if sources else "")


async def keep_autostart(target: Node, action: MigrateDomain) -> str:
    """Let libvirt at the destination start the domain with its host, as it was at the source."""
    reply = await target.run(virsh_command("autostart", "--", action.domain))
    if reply.exit_status == 0:
        return f"; libvirt there starts it with {target.name}"
    return (f"; libvirt there does not start it with {target.name} as before"
            f" ({parse_complaint(reply.stderr)}): `virsh autostart` there")


async def has_job(node: Node, domain: str) -> bool:
    """Return whether libvirt runs a job on a domain: a migration, a backup, a save."""
    text = await virsh(node, "domjobinfo", "--", domain,
                       failed=f"whether {domain} on {node.name} is being worked on is not known")
    return not any(line.split() == ["Job", "type:", "None"] for line in text.splitlines())


async def write_definitions(node: Node, target: Node, action: MigrateDomain) -> tuple[
        tuple[str, ...], tuple[str, ...]]:
    """Write the XML for the destination into files; return these, and the copied disks' sources.

    Shapes: no definitions if paths and cards are the same at the destination.
    Errors: Refused for anything that cannot move, or shared disks that differ at the destination.
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
        await require_same_files(node, target, parse_places(roots[0], stay), failed)
    await bring_media(node, target, action.media, failed)
    moved = [move_disk(root, disk) for root in roots for disk in action.copied]
    moved += [place_nic(card, nic) for root in roots for nic in action.nics
              if (card := find_nic(root, nic.mac)) is not None]
    if not any(moved):
        return (), sources
    word = action.domain if PLAIN.fullmatch(action.domain) else action.uuid
    paths = tuple(f"/run/hotsite/move-{word}-{name}.xml" for name in ("live", "config"))
    for path, root in zip(paths, roots, strict=True):
        reply = await node.run(script_command(WRITE, path, text=render_xml(root)))
        if reply.exit_status != 0:
            raise failure(reply, f"{action.domain} was not moved to {action.to}")
    return paths, sources


def parse_places(domain: ET.Element, disks: tuple[DesiredDisk, ...]) -> tuple[tuple[str, str], ...]:
    """Return each disk's file at the source, and its path at the destination."""
    found = ((find_disk(domain, disk.target), disk.path) for disk in disks)
    return tuple((source_of(element), path) for element, path in found
                 if element is not None and source_of(element))


async def conclude(node: Node, target: Node, action: MigrateDomain, created: TargetDisks,
                   reply: Reply) -> str:
    """Return the sentence of a migration that succeeded, by what both hosts show; else raise."""
    domain, complaint = action.domain, parse_complaint(reply.stderr)
    unclear = f"whether {domain} moved from {node.name} to {action.to} is not certain"
    try:
        source_state = await find_state(node, domain)
        target_state = await find_state(target, domain)
        moving = source_state == "running" and await has_job(node, domain)
    except ActionError as error:
        raise OutcomeUnknown(f"{unclear}: {error}; it is looked at again") from error
    gone = source_state is None or source_state in OFF
    if target_state == "running" and gone:
        how = " with its disks" if action.with_storage else ""
        return f"moved {domain}{how} from {node.name} to {action.to} while it ran"
    if source_state == "running" and not moving and (target_state is None or target_state in OFF):
        await delete_created(target, created)
        broken = failure(reply, f"{domain} was not moved to {action.to} and runs on {node.name} as"
                                " before")
        # only the two hosts' connection broke: both states were read since
        raise Unavailable(str(broken)) if isinstance(broken, OutcomeUnknown) else broken
    raise OutcomeUnknown(f"{unclear}: it is {source_state or 'unknown'} on {node.name} and"
                         f" {target_state or 'unknown'} on {action.to} ({complaint});"
                         " it is looked at again")
