"""Images that new disks are copied from: the format of a file, by its first bytes.

Rule 1: QEMU is never asked to detect a format. Guests' raw disks lie in the same folders, and a
        guest can write any header into its disk, including one that names files of the host.
"""

from typing import Final

from controller.errors import Refused
from controller.providers.libvirt.virsh import failure
from controller.providers.node import Node, plain_command

HEAD_BYTES: Final = 512
QCOW2: Final = b"QFI\xfb"
BELOW: Final = slice(8, 16)
"""Offset of the backing file's name in a qcow2 header; zero if there is none."""
FEATURES: Final = slice(72, 80)
DATA_FILE: Final = 1 << 2
OTHERS: Final = {b"KDMV": "VMDK", b"COWD": "VMDK", b"# Disk Descriptor": "VMDK", b"<<< ": "VDI",
                 b"conectix": "VHD", b"vhdxfile": "VHDX", b"QED\0": "QED", b"LUKS\xba\xbe": "LUKS"}


async def image_format(node: Node, path: str) -> str | None:
    """Return an image's format, None if it does not exist.

    Errors: Refused when it refers to other files, or has a format that is not supported.
    """
    reply = await node.run(plain_command("od", "-An", "-v", "-tx1", "-N", str(HEAD_BYTES), "--",
                                         path))
    if reply.exit_status != 0 and "No such file or directory" in reply.stderr:
        return None
    if reply.exit_status != 0:
        raise failure(reply, f"image {path} on {node.name} cannot be read")
    return parse_format(bytes.fromhex("".join(reply.stdout.split())),
                        f"image {path} on {node.name}")


def parse_format(head: bytes, name: str) -> str:
    """Return `qcow2` or `raw`, by the first bytes of a file.

    Errors: Refused, with a sentence that begins with `name`.
    """
    other = next((word for magic, word in OTHERS.items() if head.startswith(magic)), None)
    if other is not None:
        raise Refused(f"{name} is {other}: make a qcow2 of it with `qemu-img convert`, and declare"
                      " that")
    if not head.startswith(QCOW2):
        return "raw"
    apart = head[4:8] >= b"\0\0\0\3" and int.from_bytes(head[FEATURES]) & DATA_FILE
    if any(head[BELOW]) or apart:
        raise Refused(f"{name} does not stand alone, and the files that it names are not read: make"
                      " one file of it with `qemu-img convert`, and declare that")
    return "qcow2"
