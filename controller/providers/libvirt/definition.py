"""Hands for definitions: define, undefine, and remove a domain with its disks."""

import posixpath
from typing import Final

from controller.errors import Refused
from controller.plan.actions.desired import (
    DesiredDomain,
    DomainChange,
    SetCpus,
    SetMemory,
    SetOwnership,
    UpdateNic,
)
from controller.plan.actions.machine import DefineDomain, RemoveDomain, UndefineDomain
from controller.providers.libvirt.domain import switch_off
from controller.providers.libvirt.facts import parse_ownership
from controller.providers.libvirt.precondition import virsh_if_files
from controller.providers.libvirt.set_aside import set_aside
from controller.providers.libvirt.used_files import find_used_files
from controller.providers.libvirt.virsh import (
    OFF,
    STDIN,
    address_of,
    failure,
    find_state,
    find_xml,
    virsh,
    virsh_command,
)
from controller.providers.libvirt.xml.device import find_nic, is_access
from controller.providers.libvirt.xml.domain import (
    Machine,
    default_template,
    parse_machine,
    patch_domain,
    render_domain,
)
from controller.providers.libvirt.xml.xml import parse_xml
from controller.providers.node import Node, script_command

# whether KVM works: the device must open, its existence proves nothing; opened for reading, because
# a shell creates a missing file that it opens for writing
OPEN_KVM: Final = "[ -c /dev/kvm ] && exec 9</dev/kvm"
# what libvirt keeps about a domain is deleted with it; that does not include its disks
METADATA: Final = ("--managed-save", "--snapshots-metadata", "--checkpoints-metadata")


async def define(node: Node, action: DefineDomain) -> str:
    """Define a domain; a running one without a definition gets the one it runs with."""
    desired = action.desired
    known_as = address_of(desired.name, desired.uuid)
    found = await find_xml(node, known_as, inactive=True)
    try:
        if found is None:
            template = desired.template or default_template(await find_machine(node))
            text = render_domain(desired, template)
        else:
            text = redefinition(node, desired, found)
    except ValueError as error:
        raise Refused(f"{desired.name} was not defined on {node.name}: {error}") from error
    if found is not None and await is_persistent(node, known_as):
        return f"{desired.name} is defined on {node.name} already"
    # a running domain has its disks open, even if their files were deleted
    files = () if found is not None else tuple(disk.path for disk in desired.disks)
    await virsh_if_files(node, files, "define", STDIN, text=text,
                         failed=f"{desired.name} was not defined on {node.name}")
    again = "" if found is None else " as it runs there: its definition had been lost"
    return f"defined {desired.name} on {node.name}{again}"


def redefinition(node: Node, desired: DesiredDomain, found: str) -> str:
    """Return a definition made from the one that a domain runs with.

    Errors: Refused when that is another VM of the same name.
    """
    root = parse_xml(found)
    uuid = root.findtext("uuid", "")
    if uuid != desired.uuid:
        raise Refused(f"{node.name} has another domain {desired.name}, with uuid {uuid} instead of"
                      f" {desired.uuid}: rename one of them")
    nics: tuple[DomainChange, ...] = tuple(
        UpdateNic(nic) for nic in desired.nics
        if (card := find_nic(root, nic.mac)) is None or is_access(card))
    return patch_domain(found, (SetMemory(desired.memory_bytes), SetCpus(desired.cpus),
                                SetOwnership(desired.ownership), *nics))


async def find_machine(node: Node) -> Machine:
    """Return what the host can run."""
    text = await virsh(node, "domcapabilities",
                       failed=f"what {node.name} can run could not be read")
    opened = await node.run(script_command(OPEN_KVM))
    return parse_machine(text, kvm=opened.exit_status == 0)


async def is_persistent(node: Node, domain: str) -> bool:
    """Return whether a domain is defined, and not merely running."""
    text = await virsh(node, "dominfo", "--", domain,
                       failed=f"{domain} on {node.name} could not be read")
    return any(line.split() == ["Persistent:", "yes"] for line in text.splitlines())


async def undefine(node: Node, action: UndefineDomain) -> str:
    """Undefine a domain that is off; its disks and firmware variables stay."""
    state = await find_state(node, action.domain)
    if state is None:
        return f"{node.name} does not know {action.domain} already"
    if state not in OFF:
        raise Refused(f"{action.domain} on {node.name} is {state}: only what is off is undefined")
    await forget(node, action.domain, "--keep-nvram")
    return f"{node.name} forgot {action.domain}; its disks are still there"


async def forget(node: Node, domain: str, nvram: str) -> None:
    """Undefine a domain."""
    reply = await node.run(virsh_command("undefine", nvram, *METADATA, "--", domain))
    if reply.exit_status != 0 and await find_state(node, domain) is not None:
        raise failure(reply, f"{domain} is still defined on {node.name}")


async def remove(node: Node, action: RemoveDomain) -> str:
    """Shut a domain down, set exactly the given files aside, and undefine it."""
    await refuse_paths_in_use(node, action)
    await refuse_without_permission(node, action.domain)
    state = await find_state(node, action.domain)
    if state is not None and state not in OFF:
        await switch_off(node, action.domain, action.limit_s)
    if action.disk_paths:   # before undefining: if interrupted here, the domain is seen again
        await set_aside(node, action.disk_paths, action.suffix, action.domain)
    if await find_state(node, action.domain) is not None:
        await forget(node, action.domain, "--nvram")
    disks = ", ".join(f"{path}{action.suffix}" for path in action.disk_paths) or "no disk"
    return f"removed {action.domain} from {node.name}; what is left of it is {disks}"


async def refuse_without_permission(node: Node, domain: str) -> None:
    """Raise Refused if the domain's own mark does not allow its removal."""
    text = await find_xml(node, domain, inactive=True)
    if text is None:
        return
    root = parse_xml(text)
    mark = parse_ownership(root)
    if mark is not None and mark.uuid not in {"", root.findtext("uuid", "")}:
        raise Refused(f"{domain} was not removed from {node.name}: its mark was written for"
                      " another domain, so it may be a clone of that one")
    if mark is None or mark.deletion != "delete":
        raise Refused(f"{domain} was not removed from {node.name}: its last applied spec does not"
                      " say `deletion: delete`")


async def refuse_paths_in_use(node: Node, action: RemoveDomain) -> None:
    """Raise Refused if any of the files is used by another domain, or is no plain path."""
    for path in action.disk_paths:
        if not path.startswith("/") or posixpath.normpath(path) != path:
            raise Refused(f"{action.domain} was not removed from {node.name}: {path!r} is not a"
                          " plain absolute path")
    used = await find_used_files(node) if action.disk_paths else ()
    for use in used:
        shared = next((path for path in action.disk_paths if use.concerns(path)), None)
        if shared is not None and use.domain != action.domain:
            raise Refused(f"{action.domain} was not removed from {node.name}: {shared} {use.verb}"
                          f" used by {use}")
