"""Hands for disk files: created whole or not at all, never overwritten, grown, never shrunk."""

from dataclasses import dataclass
from typing import Final

from controller.errors import OutcomeUnknown, Refused, Unavailable
from controller.model.units import render_size, render_sizes
from controller.plan.actions.desired import DesiredDisk
from controller.plan.actions.storage import CreateDisk
from controller.providers.libvirt.image import image_format
from controller.providers.libvirt.virsh import failure, parse_complaint
from controller.providers.node import Node, plain_command, script_command
from controller.transport.base import Command, Reply
from controller.transport.json_text import parse_json

CREATE_TIMEOUT_S: Final = 120.0
COPY_TIMEOUT_S: Final = 4 * 3600.0
BUSY: Final = 75
# The file gets its name by a link, which fails where the name is taken. One that was cut off and
# still runs holds the lock on the .part, so that nobody publishes another's half-made file.
CREATE: Final = """
set -e
final=$1 format=$2 size=$3 image=$4 image_format=$5 part=$1.part
umask 077
exec 9>>"$part"
flock -n 9 || exit 75
[ "$(stat -L -c %i /proc/self/fd/9)" = "$(stat -c %i "$part")" ] || exit 75
trap 'rm -f -- "$part"' EXIT
if [ -n "$image" ]; then
    qemu-img convert -U -f "$image_format" -O "$format" -- "$image" "$part" 9>&-
    qemu-img resize -q -f "$format" -- "$part" "$size" 9>&-
else
    qemu-img create -q -f "$format" -- "$part" "$size" 9>&-
fi
sync -- "$part"
ln -T -- "$part" "$final"
sync -- "$(dirname -- "$final")"
"""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file; `allocated_bytes` is the space it occupies."""

    format: str
    size_bytes: int
    allocated_bytes: int


class Unreadable(Refused):
    """A file exists that is not of its declared format."""


def info_command(path: str, image_format: str) -> Command:
    """Return the command that reads an image file's header, without locking it."""
    return plain_command("qemu-img", "info", "-U", "--output=json", "-f", image_format, "--", path)


def parse_info(text: str) -> ImageFile:
    """Return an image file from `qemu-img info --output=json`."""
    info = parse_json(text)
    return ImageFile(info["format"], info["virtual-size"], info["actual-size"])


def create_command(disk: DesiredDisk, image_format: str = "") -> Command:
    """Return the command that creates a disk file, empty or as a copy of its image."""
    timeout_s = COPY_TIMEOUT_S if disk.image_path else CREATE_TIMEOUT_S
    return script_command(CREATE, disk.path, disk.format, str(disk.size_bytes),
                          disk.image_path or "", image_format, timeout_s=timeout_s)


def is_absent(reply: Reply) -> bool:
    """Return whether qemu-img says that there is no such file."""
    return reply.exit_status != 0 and "No such file or directory" in reply.stderr


async def find_image(node: Node, path: str, image_format: str) -> ImageFile | None:
    """Return a file of a declared format, None if it does not exist.

    Errors: Unreadable when it exists and is not of that format.
    """
    reply = await node.run(info_command(path, image_format))
    if is_absent(reply):
        return None
    if reply.exit_status != 0:
        raise Unreadable(f"{path} on {node.name} is not a {image_format} that can be read"
                         f" ({parse_complaint(reply.stderr)}): move it away by hand")
    return parse_info(reply.stdout)


async def create_disk(node: Node, action: CreateDisk) -> str:
    """Create a disk file; an existing one of the right size is left as it is."""
    disk = action.disk
    size = render_size(disk.size_bytes)
    found = await find_image(node, disk.path, disk.format)
    if found is not None and found.size_bytes == disk.size_bytes:
        return f"{disk.path} ({size}) is on {node.name} already and was left as it is"
    if found is not None:
        has, size = render_sizes(found.size_bytes, disk.size_bytes)
        raise Refused(f"{disk.path} on {node.name} is there already with {has} instead of {size}:"
                      " it is never overwritten; move it away, or declare that size")
    if disk.image_path is None:
        await make(node, disk)
        return f"created {disk.path} ({size}, {disk.format}) on {node.name}"
    known = await image_format(node, disk.image_path)
    image = None if known is None else await find_image(node, disk.image_path, known)
    if image is None:
        raise Refused(f"{node.name} has no image {disk.image_path}: put it there")
    if image.size_bytes > disk.size_bytes:
        holds, size = render_sizes(image.size_bytes, disk.size_bytes)
        raise Refused(f"image {disk.image_path} on {node.name} holds {holds} and does not fit into"
                      f" {size}: declare a larger disk")
    await make(node, disk, image.format)
    return f"created {disk.path} ({size}, {disk.format}) on {node.name} from {disk.image_path}"


async def make(node: Node, disk: DesiredDisk, image_format: str = "") -> None:
    """Make a disk file under a temporary name, then rename it.

    Errors: Refused when the pool is full or the name is taken; then nothing is left behind.
    """
    reply = await node.run(create_command(disk, image_format))
    if reply.exit_status == 0:
        return
    failed = f"{disk.path} was not created on {node.name}"
    if reply.exit_status == BUSY:
        raise Unavailable(f"{failed}: an earlier attempt is still at work on it;"
                          " it is tried again")
    if "No space left on device" in reply.stderr:
        raise Refused(f"{failed}: pool {disk.pool} is full; the part that was written is removed;"
                      " make room, or declare another pool")
    if "File exists" in reply.stderr:
        raise Refused(f"{failed}: a file of that name has appeared; it is never overwritten")
    raise failure(reply, failed)


async def grow_file(node: Node, path: str, image_format: str, size_bytes: int) -> str:
    """Make the disk of a domain that is off larger.

    QEMU's lock refuses this while a guest has the file open.
    """
    found = await find_image(node, path, image_format)
    if found is None:
        raise Refused(f"{path} is not on {node.name}: it cannot grow")
    if found.size_bytes >= size_bytes:
        return f"{path} has {render_size(found.size_bytes)} already"
    reply = await node.run(plain_command("qemu-img", "resize", "-q", "-f", image_format, "--", path,
                                         str(size_bytes), timeout_s=CREATE_TIMEOUT_S))
    if reply.exit_status != 0:
        raise failure(reply, f"{path} on {node.name} did not grow to {render_size(size_bytes)}")
    after = await find_image(node, path, image_format)
    if after is None or after.size_bytes < size_bytes:
        raise OutcomeUnknown(f"{path} on {node.name} was resized, yet is not larger")
    return f"{path} has {render_size(size_bytes)} now"
