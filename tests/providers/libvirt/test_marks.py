"""Our mark in a domain's metadata, and what of its disks is its own."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import DomainFacts, FileUse, Ownership, Role
from controller.plan.actions.desired import SetOwnership
from controller.providers.libvirt.facts import parse_domains, parse_ownership
from controller.providers.libvirt.xml.domain import patch_domain, render_mark
from controller.providers.libvirt.xml.xml import NAMESPACE

MARK = Ownership("lab", "delete", "sql-prod", Role.PROMOTED, 3, "u-1", "sql")
DOMAIN = """<domain type='kvm'><name>sql</name><uuid>u-1</uuid><memory>1048576</memory>
<vcpu>1</vcpu><metadata><other:x xmlns:other='urn:o' y='1'/></metadata>
<devices>%s</devices></domain>"""


def domain(devices: str, **row: Any) -> DomainFacts:
    return parse_domains(json.dumps([{
        "name": "sql", "uuid": "u-1", "state": "shut off", "reason": "shutdown",
        "persistent": True, "autostart": False, "job": None, "live_xml": None,
        "config_xml": DOMAIN % devices, "disk_sizes": {}, **row}]))["sql"]


def test_a_mark_is_read_as_it_was_written_and_other_marks_stay() -> None:
    text = patch_domain(DOMAIN % "", (SetOwnership(MARK),))
    root = ET.fromstring(text)
    assert parse_ownership(root) == MARK
    assert root.find("metadata/{urn:o}x") is not None
    later = replace(MARK, epoch=4)
    again = ET.fromstring(patch_domain(text, (SetOwnership(later),)))
    assert parse_ownership(again) == later
    assert len(again.findall(f"metadata/{{{NAMESPACE}}}vm")) == 1


def test_the_mark_alone_says_the_same() -> None:
    mark = ET.fromstring(render_mark(MARK))
    whole = ET.fromstring(patch_domain(DOMAIN % "", (SetOwnership(MARK),)))
    found = whole.find(f"metadata/{{{NAMESPACE}}}vm")
    assert found is not None
    assert mark.attrib == found.attrib


@pytest.mark.parametrize(("attributes", "expected"), [
    ("estate='lab' deletion='keep'", Ownership("lab", "keep")),
    ("estate='lab' role='newer' epoch='x'", Ownership("lab", "keep")),
])
def test_marks_of_other_versions_are_read(attributes: str, expected: Ownership) -> None:
    root = ET.fromstring(f"<domain><metadata><m:vm xmlns:m='{NAMESPACE}' {attributes}/></metadata>"
                         "</domain>")
    assert parse_ownership(root) == expected


def test_what_a_guest_writes_is_its_own_and_what_it_only_reads_is_not() -> None:
    found = domain(
        "<disk type='file' device='disk'><source file='/p/sql.qcow2'/><backingStore type='file'>"
        "<source file='/p/golden.qcow2'/></backingStore><target dev='vda'/></disk>"
        "<disk type='block' device='lun'><source dev='/dev/sdb'/><target dev='sda'/></disk>"
        "<disk type='file' device='cdrom'><source file='/iso/debian.iso'/><target dev='sdb'/>"
        "</disk>"
        "<disk type='file' device='disk'><source file='/p/ro.raw'/><target dev='vdb'/><readonly/>"
        "</disk>"
        "<disk type='file' device='disk'><source file='/p/quorum.raw'/><target dev='vdc'/>"
        "<shareable/></disk>",
        identities={"/p/sql.qcow2": "fe01:12"},
        disk_traits={"/p/sql.qcow2": {"layers": ["/p/golden.qcow2", "/p/oldest.raw"]}})
    assert found.files == (
        FileUse("/dev/sdb", True), FileUse("/iso/debian.iso", False),
        FileUse("/p/golden.qcow2", False), FileUse("/p/oldest.raw", False),
        FileUse("/p/quorum.raw", False), FileUse("/p/ro.raw", False),
        FileUse("/p/sql.qcow2", True, "fe01:12"))
