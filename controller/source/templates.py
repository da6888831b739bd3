"""Templates: the domain XML files that new VMs start from; each is read once per load.

Rule 1: what libvirt writes into a running domain's XML and makes anew for each is dropped when a VM
        is made of the template. What a person may have meant, and only one VM can have, is refused
        here, by name: using it twice would mix up the data of two VMs.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple
from xml.parsers import expat

from controller.source.files import Found, pointer, read_file
from controller.source.problems import Problem

TEMPLATE_CHARACTERS = 1 << 20
MADE_BY_LIBVIRT: Final = ("/run/libvirt/", "/var/run/libvirt/", "/var/lib/libvirt/qemu/channel/",
                          "/var/lib/libvirt/qemu/domain-")
"""Where libvirt puts sockets that it makes anew for each domain."""
CHARACTER_DEVICES: Final = ("serial", "parallel", "console", "channel", "smartcard", "redirdev")
OWN_STATE: Final = {
    "os/nvram": "the firmware variables", "devices/pstore/path": "the crash log",
    "devices/tpm/backend/source": "the TPM's state",
    "devices/memory/source/path": "the non-volatile memory",
}


class NotATemplate(NamedTuple):
    """Why a file cannot be used as a template, as a sentence."""

    sentence: str


def load_template(root: Path, spec_file: str, template: str) -> str | NotATemplate:
    """Return the text of `template`, a path relative to `spec_file` below `root`."""
    path = (root / spec_file).parent / template
    try:
        real = path.resolve(strict=False)
        inside = real.is_relative_to(root)
        exists = inside and real.exists()
    except (OSError, ValueError, RuntimeError):
        return NotATemplate("is not a path: write one relative to this file")
    if not inside:
        return NotATemplate("is outside the folder of the specs: copy it into the folder")
    if not exists:
        return NotATemplate("is not there: correct the path, which is relative to this file")
    data = read_file(Found(template, real))
    if isinstance(data, Problem):
        return NotATemplate(data.sentence)
    return parse_template(data)


def parse_template(data: bytes) -> str | NotATemplate:
    """Return the text of a template, or why the bytes are none."""
    if len(data) > TEMPLATE_CHARACTERS:
        return NotATemplate("is larger than 1 MiB: that is no domain XML")
    if pointer(data):
        return NotATemplate(f"is {pointer(data)}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return NotATemplate("is not UTF-8: convert it")
    names: list[str] = []
    traps: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, _: names.append(name) if not names else None
    parser.StartDoctypeDeclHandler = lambda *_: traps.append("DOCTYPE")
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        return NotATemplate(f"is not XML: line {error.lineno}:"
                            f" {expat.ErrorString(error.code)}: correct it")
    if traps:
        return NotATemplate("holds a DOCTYPE: remove it")
    if names != ["domain"]:
        return NotATemplate(f"begins with <{names[0]}>: a template is one <domain>")
    found = "; ".join(dict.fromkeys(foreign_parts(ET.fromstring(text))))
    return NotATemplate(f"has {found}") if found else text


def fit_template(text: str, disks: Iterable[str]) -> NotATemplate | None:
    """Return why a VM with these disks cannot be made of a template; None if it can."""
    found = "; ".join(dict.fromkeys(clashes_with(ET.fromstring(text), disks)))
    return NotATemplate(f"has {found}") if found else None


def foreign_parts(domain: ET.Element) -> Iterator[str]:
    """Yield each part of a template that only one VM can have, with what to do about it."""
    for place, what in OWN_STATE.items():
        for element in domain.iterfind(place):
            path = path_of(element)
            if path:
                yield f"{what} {path} of another machine: take <{element.tag}> out of it"
    yield from _devices(domain)
    for element in domain.iterfind("devices/disk"):
        name = _target(element) or "a disk"
        for tag, what in (("encryption", "the key"), ("auth", "the login")):
            if next(element.iter(tag), None) is not None:
                yield f"{what} of {name}: take <{tag}> out; new disks are plain files"
    label = domain.find("seclabel[@type='static']")
    if label is not None:
        yield (f"the security label {label.findtext('label', '')} of another machine: take"
               " <seclabel> out")


def _devices(domain: ET.Element) -> Iterator[str]:
    for tag in CHARACTER_DEVICES:
        for element in domain.iterfind(f"devices/{tag}"):
            source = element.find("source")
            path = "" if source is None else path_of(source)
            if path and element.get("type") in {"file", "unix", "pipe"} and (
                    not path.startswith(MADE_BY_LIBVIRT)):
                yield f"the {tag} {path}, which another machine has open: take its <source> out"
    for element in domain.iterfind("devices/graphics"):
        for holder in (element, *element.iterfind("listen")):
            path = holder.get("socket", "")
            if path and not path.startswith(MADE_BY_LIBVIRT):
                yield f"the screen {path}, which another machine has open: take the socket out"


def clashes_with(domain: ET.Element, disks: Iterable[str]) -> Iterator[str]:
    """Yield each device of a template that is in the place of a declared disk."""
    declared = set(disks)
    for element in domain.iterfind("devices/disk"):
        name, kind = _target(element), element.get("device", "disk")
        if name in declared and kind != "disk":
            yield (f"a {kind} at {name}, where disk {name} is declared: give one of them another"
                   " target")
        elif name in declared and element.get("type", "file") != "file":
            yield (f"disk {name} as libvirt's kind {element.get('type')}, and the declared one is a"
                   " file: take it out")


def targets_of(text: str) -> list[str]:
    """Return the targets of a template's disks, media left out."""
    return [_target(element) for element in ET.fromstring(text).iterfind("devices/disk")
            if element.get("device", "disk") in {"disk", "lun"}]


def _target(disk: ET.Element) -> str:
    target = disk.find("target")
    return "" if target is None else target.get("dev", "")


def path_of(element: ET.Element) -> str:
    """Return the path that an element names, in its text or its <source>."""
    source = element if element.find("source") is None else element.find("source")
    assert source is not None
    named = next((source.get(key, "") for key in ("path", "file", "dir", "dev")
                  if source.get(key)), "")
    return named or (element.text or "").strip()
