"""Facts parsed from libvirt's output, as recorded in the lab."""

import json
from pathlib import Path

import pytest

from controller.model.facts import DiskFacts, DomainFacts, DomainState, NicFacts, Ownership
from controller.providers.libvirt.facts import parse_config, parse_domains, parse_pools
from controller.providers.libvirt.xml.xml import parse_xml

RECORDED = Path(__file__).parents[2] / "transcripts/libvirt"
SMALLEST = "<domain><name>x</name><memory>1024</memory><vcpu>1</vcpu>{}</domain>"


def recorded(name: str, section: str) -> str:
    return str(json.loads((RECORDED / f"{name}.json").read_text())[section])


def domains(name: str) -> dict[str, DomainFacts]:
    return parse_domains(recorded(name, "domains"))


def test_a_running_domain_has_a_live_and_a_persistent_configuration() -> None:
    mail = domains("host")["mail"]
    assert (mail.state, mail.state_reason, mail.persistent) == (DomainState.RUNNING, "booted", True)
    assert mail.live is not None
    assert mail.config is not None
    assert mail.live.memory_bytes == mail.config.memory_bytes == 128 << 20
    assert mail.live.disks == (
        DiskFacts("vda", "/var/lib/libvirt/images/mail-vda.qcow2", "qcow2", 64 << 20,
                  bus="virtio"),)
    card = mail.live.nics[0]
    assert (card.mac, card.bridge, card.vlan, card.device) == (
        "52:54:00:0a:0a:01", "br0", 301, "vnet10")


def test_a_domain_that_is_off_has_no_live_configuration() -> None:
    files = domains("host")["files"]
    assert (files.state, files.live, files.autostart) == (DomainState.SHUT_OFF, None, True)
    assert files.config is not None


def test_a_domain_without_a_definition_is_transient() -> None:
    tmp = domains("host")["tmp"]
    assert (tmp.persistent, tmp.config) == (False, None)
    assert tmp.live is not None


def test_checkpoints_are_named_and_rows_of_older_transcripts_have_none() -> None:
    assert domains("host")["mail"].checkpoints == ()
    row = json.loads(recorded("host", "domains"))[0] | {"checkpoints": ["hotsite-000002", "x y"]}
    [domain] = parse_domains(json.dumps([row])).values()
    assert domain.checkpoints == ("hotsite-000002", "x y")


def test_a_paused_domain_says_why() -> None:
    web = domains("host")["web"]
    assert (web.state, web.state_reason) == (DomainState.PAUSED, "user")


def test_the_receiving_end_of_a_migration_is_no_running_copy() -> None:
    assert domains("migration_source")["mail"].state is DomainState.RUNNING
    assert domains("migration_source")["mail"].job == "Outgoing migration"
    assert domains("migration_destination")["mail"].state is DomainState.INCOMING


def test_a_source_that_is_paused_for_the_switch_over_is_not_taken_for_the_receiving_end() -> None:
    rows = json.loads(recorded("migration_source", "domains"))
    mail = next(row for row in rows if row["name"] == "mail")
    mail["state"] = "paused"
    assert parse_domains(json.dumps([mail]))["mail"].state is DomainState.PAUSED


def test_a_copy_that_was_migrated_away_says_so() -> None:
    mail = domains("migrated_source")["mail"]
    assert (mail.state, mail.state_reason) == (DomainState.SHUT_OFF, "migrated")


def test_the_mark_in_the_metadata_is_read_from_the_definition() -> None:
    rows = json.loads(recorded("host", "domains"))
    mail = next(row for row in rows if row["name"] == "mail")
    mark = ("<metadata><h:vm xmlns:h='https://hotsite.invalid/domain/1' estate='lab'"
            " deletion='delete'/></metadata>")
    mail["config_xml"] = SMALLEST.format(mark)
    assert parse_domains(json.dumps([mail]))["mail"].ownership == Ownership("lab", "delete")


def test_a_pool_knows_its_files() -> None:
    pool = parse_pools(recorded("host", "pools"))["default"]
    assert (pool.path, pool.active) == ("/var/lib/libvirt/images", True)
    assert 0 < pool.available_bytes <= pool.capacity_bytes
    volume = pool.volumes["mail-vda.qcow2"]
    assert (volume.format, volume.size_bytes) == ("qcow2", 64 << 20)


@pytest.mark.parametrize("text", ["", "{", "[{}]", "{}x", '[{"name": "x"}]', "[1]"])
def test_half_an_answer_is_no_answer(text: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        parse_domains(text)
    with pytest.raises(ValueError, match="not understood"):
        parse_pools(text)


@pytest.mark.parametrize(("device", "card"), [
    (("<interface type='network'><mac address='52:54:00:00:00:AA'/><source network='n'/>"
     "</interface>"),
     NicFacts("52:54:00:00:00:aa", "", None, None, kind="network", port_type="", network="n")),
    (("<interface type='bridge'><source bridge='b'/><vlan><tag id='2'/><tag id='1'/></vlan>"
     "<target dev='t'/></interface>"),
     NicFacts("", "b", None, "t", trunks=(1, 2), port_type="")),
    (("<interface type='bridge'><source bridge='b'/><vlan trunk='yes'><tag id='7'/></vlan>"
     "<virtualport type='openvswitch'/></interface>"),
     NicFacts("", "b", None, None, trunks=(7,), port_type="openvswitch")),
    (("<interface type='bridge'><source bridge='b'/><vlan><tag id='7' nativeMode='untagged'/>"
      "</vlan></interface>"),
     NicFacts("", "b", None, None, trunks=(7,), native=7, port_type="")),
    ("<interface type='bridge'><source bridge='b'/></interface>",
     NicFacts("", "b", None, None, port_type="")),
    ("<interface type='bridge'><source bridge='b'/><vlan><tag id='7'/></vlan></interface>",
     NicFacts("", "b", 7, None, port_type="")),
    ("<interface type='hostdev'><source><address type='pci' bus='0x1'/></source></interface>",
     NicFacts("", "", None, None, kind="hostdev", port_type="")),
    ("<interface type='direct'><source dev='eth0' mode='bridge'/></interface>",
     NicFacts("", "", None, None, kind="direct", port_type="")),
])
def test_access_trunk_untagged_and_other_kinds_of_cards_are_told_apart(
        device: str, card: NicFacts) -> None:
    config = parse_config(parse_xml(SMALLEST.format(f"<devices>{device}</devices>")), {})
    assert config.nics == (card,)


def test_cpus_that_are_not_plugged_in_count_for_the_ceiling_only() -> None:
    text = ("<domain><memory unit='GiB'>2</memory><currentMemory unit='MiB'>512</currentMemory>"
            "<vcpu current='2'>8</vcpu></domain>")
    config = parse_config(parse_xml(text), {})
    assert (config.cpus, config.cpus_max) == (2, 8)
    assert (config.memory_bytes, config.memory_max_bytes) == (512 << 20, 2 << 30)


@pytest.mark.parametrize(("backing", "huge"), [
    ("", False), ("<memoryBacking><locked/></memoryBacking>", False),
    ("<memoryBacking><hugepages/></memoryBacking>", True),
    ("<memoryBacking><hugepages><page size='2' unit='M'/></hugepages></memoryBacking>", True)])
def test_a_guest_whose_memory_lies_in_huge_pages_says_so(backing: str, huge: bool) -> None:
    config = parse_config(parse_xml(SMALLEST.format(backing)), {})
    assert config.hugepages is huge


def test_a_cdrom_is_not_one_of_the_disks() -> None:
    devices = ("<devices><disk type='file' device='cdrom'><target dev='sda'/></disk>"
               "<disk type='block' device='disk'><source dev='/dev/x'/><target dev='vda'/></disk>"
               "</devices>")
    config = parse_config(parse_xml(SMALLEST.format(devices)), {"/dev/x": 5})
    assert config.disks == (DiskFacts("vda", "/dev/x", "raw", 5, type="block"),)
    assert config.media == (DiskFacts("sda", "", "raw", None, device="cdrom"),)


def test_a_document_type_is_refused_before_it_can_explode() -> None:
    bomb = ("<!DOCTYPE d [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'>]>"
            "<domain><name>&b;</name></domain>")
    with pytest.raises(ValueError, match="document type"):
        parse_xml(bomb)


def test_broken_xml_is_named_as_such() -> None:
    with pytest.raises(ValueError, match="broken"):
        parse_xml("<domain>")


def test_the_letters_of_a_document_type_in_somebodys_text_are_none() -> None:
    notes = "<metadata><n:note xmlns:n='x'><![CDATA[<!DOCTYPE html><p>hi]]></n:note></metadata>"
    assert parse_xml(SMALLEST.format(notes)).findtext("metadata/{x}note") == "<!DOCTYPE html><p>hi"


def test_a_crashed_guest_whose_process_libvirt_preserves_is_not_off() -> None:
    rows = json.loads(recorded("host", "domains"))
    row = next(row for row in rows if row["live_xml"]) | {"state": "crashed", "reason": "panicked"}
    [domain] = parse_domains(json.dumps([row])).values()
    assert (domain.state, domain.state_reason) == (DomainState.PAUSED, "panicked")
    assert domain.live is not None
    [domain] = parse_domains(json.dumps([row | {"live_xml": None}])).values()
    assert domain.state is DomainState.CRASHED
