"""Reads and writes libvirt's XML, refusing document types (entity bombs)."""

import io
import re
import xml.etree.ElementTree as ET
from typing import Final
from xml.parsers import expat

NAMESPACE: Final = "https://hotsite.invalid/domain/1"
UNITS: Final = {
    "b": 1, "bytes": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "k": 1 << 10, "KiB": 1 << 10, "m": 1 << 20, "M": 1 << 20, "MiB": 1 << 20,
    "g": 1 << 30, "G": 1 << 30, "GiB": 1 << 30, "t": 1 << 40, "T": 1 << 40, "TiB": 1 << 40,
}

# prefixes are for people; libvirt only looks at the namespaces
for _prefix, _address in {
    "hotsite": NAMESPACE,
    "qemu": "http://libvirt.org/schemas/domain/qemu/1.0",
    "libosinfo": "http://libosinfo.org/xmlns/libvirt/domain/1.0",
}.items():
    ET.register_namespace(_prefix, _address)


def parse_xml(text: str) -> ET.Element:
    """Return the root element of `text`.

    Errors: ValueError for broken XML, and for a document type: that is where entity bombs live.
    """
    if "<!DOCTYPE" in text:
        refuse_document_type(text)
    try:
        return ET.fromstring(text)
    except ET.ParseError as error:
        raise ValueError(f"the XML is broken: {error}") from error


def parse_whole(text: str) -> ET.Element:
    """Return the root element of a text that is written back: comments and prefixes are kept.

    Errors: as `parse_xml`.
    """
    parse_xml(text)
    for _, (prefix, address) in ET.iterparse(io.StringIO(text), ("start-ns",)):
        if prefix and not re.fullmatch(r"ns[0-9]+", prefix):    # those are ElementTree's own
            ET.register_namespace(prefix, address)
    return ET.fromstring(text, ET.XMLParser(target=ET.TreeBuilder(insert_comments=True,
                                                                  insert_pis=True)))


def refuse_document_type(text: str) -> None:
    """Raise ValueError for a real document type, not for its letters inside a text."""
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = document_type
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise ValueError(f"the XML is broken: {error}") from error


def document_type(*_: object) -> None:
    """Raise ValueError: called by the parser for a document type."""
    raise ValueError("the XML declares a document type: remove the <!DOCTYPE …> part")


def render_xml(element: ET.Element) -> str:
    """Return `element` as indented text."""
    ET.indent(element)
    return ET.tostring(element, encoding="unicode") + "\n"


def parse_amount_bytes(element: ET.Element) -> int:
    """Return a size element such as `<memory unit='KiB'>` in bytes; KiB where no unit is named."""
    unit = element.get("unit", "KiB")
    if unit not in UNITS:
        raise ValueError(f"<{element.tag}> is in the unknown unit {unit!r}")
    return int(element.text or "") * UNITS[unit]


def find_or_add(parent: ET.Element, tag: str) -> ET.Element:
    """Return the child `tag` of `parent`, made when there is none."""
    child = parent.find(tag)
    return ET.SubElement(parent, tag) if child is None else child


def remove_all(parent: ET.Element, tag: str) -> None:
    """Take every child `tag` out of `parent`."""
    for child in parent.findall(tag):
        parent.remove(child)


def says_the_same(one: str, other: str) -> bool:
    """Return whether two XML texts mean the same: prefixes and layout aside."""
    return canonical(one) == canonical(other)


def canonical(text: str) -> str:
    """Return the canonical form of an XML text."""
    return ET.canonicalize(text, strip_text=True, rewrite_prefixes=True)
