"""Hands for pools: directories that hold disks."""

import xml.etree.ElementTree as ET

from controller.errors import Refused
from controller.plan.actions.storage import AcceptPool, CreatePool
from controller.providers.libvirt.virsh import STDIN, failure, virsh, virsh_command
from controller.providers.libvirt.xml.xml import parse_xml, render_xml
from controller.providers.node import Node


def render_pool(pool: str, path: str) -> str:
    """Return the definition of a directory pool."""
    element = ET.Element("pool", type="dir")
    ET.SubElement(element, "name").text = pool
    ET.SubElement(ET.SubElement(element, "target"), "path").text = path
    return render_xml(element)


async def find_pool_path(node: Node, pool: str) -> str | None:
    """Return the directory of a defined pool, None when there is no such pool."""
    reply = await node.run(virsh_command("pool-dumpxml", "--", pool))
    if reply.exit_status != 0 and "no storage pool with matching name" in reply.stderr:
        return None
    if reply.exit_status != 0:
        raise failure(reply, f"pool {pool} on {node.name} could not be read")
    return parse_xml(reply.stdout).findtext("target/path", "")


async def create_pool(node: Node, action: CreatePool) -> str:
    """Define a missing pool and start an inactive one; files stay as they are."""
    pool, failed = action.pool, f"pool {action.pool} was not created on {node.name}"
    path = await find_pool_path(node, pool)
    if path is not None and path.rstrip("/") != action.path.rstrip("/"):
        raise Refused(f"pool {pool} on {node.name} is in {path}, not in {action.path}:"
                      " declare that path, or move the pool by hand")
    if path is None:
        await virsh(node, "pool-define", STDIN, text=render_pool(pool, action.path), failed=failed)
        # creates the directory unless it exists
        await virsh(node, "pool-build", "--", pool, failed=failed)
    reply = await node.run(virsh_command("pool-start", "--", pool))
    if reply.exit_status != 0 and "already active" not in reply.stderr:
        raise failure(reply, f"pool {pool} was not started on {node.name}")
    await virsh(node, "pool-autostart", "--", pool, failed=failed)
    return f"pool {pool} is active on {node.name} in {action.path}"


async def accept_pool(node: Node, action: AcceptPool) -> str:
    """Report that a pool is accepted as it is now; only the controller's memory of it changes."""
    return f"pool {action.pool} of {node.name} counts as it is seen on {action.identity}"
