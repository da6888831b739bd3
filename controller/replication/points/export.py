"""Export a restore point as standalone files: each whole or not at all, never over another file."""

from dataclasses import dataclass
from typing import Any, Final

from controller.errors import Refused, Unavailable
from controller.model.replica import PARTS
from controller.model.units import render_size
from controller.plan.actions.replica import ExportPoint
from controller.plan.machine.device_support import is_emulated_tpm, missing_from
from controller.providers.libvirt.facts import parse_config
from controller.providers.libvirt.virsh import failure, parse_complaint
from controller.providers.libvirt.xml.xml import parse_xml
from controller.providers.node import safe_word, script_command
from controller.replication.mover import Mover
from controller.transport.base import Command
from controller.transport.json_text import parse_json

EXPORT_S: Final = 12 * 3600.0
TAKEN, BUSY, NO_FOLDER = 73, 75, 74
# The file gets its name by a link, which fails if the name is taken by now.
EXPORT: Final = f"""
set -e
source=$1 format=$2 final=$3 part=$3.part
umask 077
[ -d "$(dirname -- "$final")" ] || exit {NO_FOLDER}
[ ! -e "$final" ] || exit {TAKEN}
exec 9>>"$part"
flock -n 9 || exit {BUSY}
trap 'rm -f -- "$part"' EXIT
qemu-img convert -f "$format" -O qcow2 -- "$source" "$part" 9>&-
sync -- "$part"
ln -T -- "$part" "$final"
sync -- "$(dirname -- "$final")"
qemu-img info --output=json -f qcow2 -- "$final"
"""
PART: Final = f"""
set -e
umask 077
[ ! -e "$2" ] || exit {TAKEN}
cp --no-clobber -- "$1" "$2"
sync -- "$2"
"""
DEFINITION: Final = f'{PART}cat -- "$1"\n'


@dataclass(frozen=True, slots=True)
class Export:
    """One disk of a point: the file on top of its chain, and the file to write."""

    disk: str
    source: str
    format: str
    final: str


def export_command(export: Export) -> Command:
    """Return the command that writes one disk."""
    return script_command(EXPORT, export.source, export.format, export.final, timeout_s=EXPORT_S)


def parse_exports(shown: dict[str, Any], action: ExportPoint) -> tuple[Export, ...]:
    """Return the disks to write, from the answer of `replica-show`.

    Errors: Refused when the point does not exist any more.
    """
    points = shown["replicas"][action.path]["points"]
    chain = [point for point in points if point["sequence"] <= action.sequence]
    if not chain or chain[-1]["sequence"] != action.sequence:
        raise Refused(f"restore point {action.sequence} of {action.machine} is not on"
                      f" {action.node} any more")
    found = []
    for disk in sorted(chain[-1]["files"]):
        name = [point["files"][disk] for point in chain if point["files"].get(disk)][-1]
        source = f"{action.path}/{disk}/{name}"
        image_format = "raw" if name.endswith(".raw") else "qcow2"
        if name.endswith(".man"):
            image_format, source = former_disk(shown["replicas"][action.path]["files"][disk], name)
        found.append(Export(disk, source, image_format, f"{stem(action)}-{disk}.qcow2"))
    return tuple(found)


def former_disk(files: list[dict[str, Any]], name: str) -> tuple[str, str]:
    """Return the format and the path of the disk of which a file of a replica is the manifest."""
    [check] = [str(file["check"]) for file in files if file["name"] == name]
    image_format, _, path = check.partition(":")
    return image_format, path


def parse_lacking(shown: dict[str, Any], action: ExportPoint, definition: str) -> list[str]:
    """Return the parts of the VM that are not in the point, each with why.

    A point made by an older version does not name them: they are found by its definition.
    """
    [point] = [one for one in shown["replicas"][action.path]["points"]
               if one["sequence"] == action.sequence]
    facts = point.get("facts") or {}
    found = list(facts.get("without", ()))
    missing = {name: str(why) for name in PARTS if (why := facts.get(f"{name}_missing"))}
    try:
        config = parse_config(parse_xml(definition), {})
    except ValueError:
        config = None
    if config is not None and "without" not in facts:
        found += map(str, missing_from(point["files"], config))
    if config is not None and "tpm" not in point.get("meta", ()) and any(
            map(is_emulated_tpm, config.devices)):
        missing.setdefault("tpm", "it was made without")
    return [*found, *(f"its {word} ({missing[name]})" for name, word in PARTS.items()
                      if name in missing)]


def stem(action: ExportPoint) -> str:
    """Return the common beginning of the paths of an export's files."""
    return f"{action.folder.rstrip('/')}/{action.machine}-{action.sequence:06d}"


async def export(mover: Mover, action: ExportPoint) -> str:
    """Write a point's disks and its definition; meanwhile a pin protects it from retention."""
    failed = f"restore point {action.sequence} of {action.machine} was not exported"
    if not action.folder.startswith("/"):
        raise Refused(f"{failed}: {action.folder} is not a path from / on {action.node}")
    safe_word(action.folder, "folder")
    pin = {"replica": action.path, "holder": f"export-{action.sequence}"}
    await mover.ask("pin", {**pin, "sequence": action.sequence}, failed=failed)
    try:
        shown = await mover.ask("replica-show", {"replicas": [action.path]}, failed=failed)
        written = [await write(mover, one, failed) for one in parse_exports(shown, action)]
        definition = await write_definition(mover, action, failed)
        parts = await write_parts(mover, action, shown, failed)
    finally:
        await mover.ask("pin", {**pin, "sequence": None}, failed=f"{failed}: its pin"
                        f" {pin['holder']} stays")
    lacking = parse_lacking(shown, action, definition)
    return (f"exported restore point {action.sequence} of {action.machine} on {action.node}:"
            f" {', '.join(written)}, and its definition {stem(action)}.xml{parts}"
            + (f"; not in it: {', '.join(lacking)}" if lacking else ""))


async def write(mover: Mover, export: Export, failed: str) -> str:
    """Write one disk and return its file with its size."""
    reply = await mover.node.run(export_command(export))
    if reply.exit_status == TAKEN:
        raise Refused(f"{failed}: {export.final} is there already and is never overwritten;"
                      " remove it, or name another folder")
    if reply.exit_status == NO_FOLDER:
        raise Refused(f"{failed}: {mover.name} has no folder for {export.final}: make it there")
    if reply.exit_status == BUSY:
        raise Unavailable(f"{failed}: another export is writing {export.final}")
    if "No space left on device" in reply.stderr:
        raise Refused(f"{failed}: there is no room on {mover.name} for {export.final}; what was"
                      " written is removed")
    if reply.exit_status != 0:
        raise failure(reply, f"{failed}: {export.final}")
    info = parse_json(reply.stdout)
    return f"{export.final} ({render_size(info['virtual-size'])})"


async def write_definition(mover: Mover, action: ExportPoint, failed: str) -> str:
    """Write the domain's XML as it was at that point, and return it."""
    source = f"{action.path}/meta/{action.sequence:06d}/domain.xml"
    reply = await mover.node.run(script_command(DEFINITION, source, f"{stem(action)}.xml"))
    if reply.exit_status == TAKEN:
        raise Refused(f"{failed}: {stem(action)}.xml is there already and is never overwritten")
    if reply.exit_status != 0:
        raise failure(reply, f"{failed}: its definition, {parse_complaint(reply.stderr)}")
    return reply.stdout


async def write_parts(mover: Mover, action: ExportPoint, shown: dict[str, Any],
                      failed: str) -> str:
    """Write what the point has besides disks and definition; return it in words."""
    [point] = [one for one in shown["replicas"][action.path]["points"]
               if one["sequence"] == action.sequence]
    words = ""
    for name in (one for one in PARTS if one in point.get("meta", ())):
        final = f"{stem(action)}.{name}"
        reply = await mover.node.run(script_command(
            PART, f"{action.path}/meta/{action.sequence:06d}/{name}", final))
        if reply.exit_status == TAKEN:
            raise Refused(f"{failed}: {final} is there already and is never overwritten")
        if reply.exit_status != 0:
            raise failure(reply, f"{failed}: its {PARTS[name]}, {parse_complaint(reply.stderr)}")
        words += f", its {PARTS[name]} {final}"
    return words
