"""Images that new disks begin as a copy of: files of a pool, known by the beginning they have.

Rule 1: QEMU is never asked to find out what a file is. A guest's raw disk lies in the same folders,
        and into its beginning the guest writes what it likes, the names of its host's files, too.
"""

from typing import Final

from controller.errors import Refused
from controller.providers.libvirt.virsh import failure
from controller.providers.node import Node, plain_command

HEAD_BYTES: Final = 512
QCOW2: Final = b"QFI\xfb"
BELOW: Final = slice(8, 16)
"""Where the name of the file below begins; zero where there is none."""
FEATURES: Final = slice(72, 80)
DATA_FILE: Final = 1 << 2
OTHERS: Final = {b"KDMV": "VMDK", b"COWD": "VMDK", b"# Disk Descriptor": "VMDK", b"<<< ": "VDI",
                 b"conectix": "VHD", b"vhdxfile": "VHDX", b"QED\0": "QED", b"LUKS\xba\xbe": "LUKS"}


async def image_format(node: Node, path: str) -> str | None:
    """Return what format an image has, None when it is not there.

    Errors: Refused where it names other files, or is of a kind that no disk here is made of.
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
    """Return `qcow2` or `raw`, by the beginning of a file.

    Errors: Refused, which begins with `name`.
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
