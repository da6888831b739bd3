"""The facts script on a host whose programs are played, with every trouble they can have."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from controller.providers.libvirt.facts import parse_domains, parse_pools
from controller.providers.linux.program import PARTS, module_of
from controller.providers.openvswitch.facts import parse_bridges, parse_interfaces
from tests.providers.linux.conftest import REMOTE, PlayedHost


def text_of(answer: Any, section: str) -> Any:
    """Return one section's content."""
    assert "text" in answer["sections"][section], answer["sections"][section]
    return json.loads(answer["sections"][section]["text"])


def test_domains_are_told_as_they_were_recorded(host: PlayedHost) -> None:
    told = {domain["name"]: domain for domain in text_of(host.ask(), "domains")}
    for domain in host.domains:
        sizes = dict.fromkeys(domain["disk_sizes"])  # their files are not on this machine
        assert told.pop(domain["name"]) == {**domain, "disk_sizes": sizes}
    assert told == {}


def test_the_controllers_parsers_understand_the_answer(host: PlayedHost) -> None:
    sections = host.ask()["sections"]
    assert set(parse_domains(sections["domains"]["text"])) == {d["name"] for d in host.domains}
    assert set(parse_pools(sections["pools"]["text"])) == {"default"}
    assert set(parse_bridges(sections["bridges"]["text"])) == {"br0"}


def test_a_domains_checkpoints_are_told_sorted_in_the_same_reading(host: PlayedHost) -> None:
    host.ask()
    host.domains[0]["checkpoints"] = ["hotsite-000012", "by hand", "hotsite-000011.2"]
    host.set_libvirt()
    host.readings()
    told = {d["name"]: d["checkpoints"] for d in text_of(host.ask(), "domains")}
    assert told.pop(host.domains[0]["name"]) == ["by hand", "hotsite-000011.2", "hotsite-000012"]
    assert not any(told.values())
    assert host.readings() == 1


@pytest.mark.parametrize("part", ["facts", *map(module_of, PARTS["facts.py"])])
def test_every_part_can_be_imported_by_itself(part: str) -> None:
    code = f"import sys; sys.path.insert(0, {str(REMOTE)!r}); import {part}"
    assert subprocess.run([sys.executable, "-I", "-S", "-c", code]).returncode == 0


def test_versions_and_hardware_are_told(host: PlayedHost) -> None:
    answer = host.ask()
    assert answer["versions"] == {"libvirt": "9.0.0", "qemu": "7.2.22", "openvswitch": "3.1.0"}
    assert answer["hardware"]["cpus"] >= 1
    assert 0 < answer["hardware"]["memory_available_bytes"] <= answer["hardware"]["memory_bytes"]
    assert answer["began"] <= answer["now"]
    assert len(answer["boot_id"]) == 36


def test_one_virsh_is_enough_while_nothing_comes_or_goes(host: PlayedHost) -> None:
    host.ask()
    host.readings()
    host.ask()
    assert host.readings() == 1


def test_what_the_asker_has_is_not_sent_again(host: PlayedHost) -> None:
    digests = {name: part["digest"] for name, part in host.ask()["sections"].items()}
    again = host.ask(known=digests)["sections"]
    assert again == {name: {"digest": digest, "same": True} for name, digest in digests.items()}


def test_a_domain_that_came_went_or_stopped_is_told_by_the_next_answer(host: PlayedHost) -> None:
    host.ask()
    host.domains[0]["name"] = "renamed"
    gone = host.domains.pop()
    host.domains[1].update(state="shut off", reason="destroyed", live_xml=None)
    host.set_libvirt()
    told = text_of(host.ask(), "domains")
    assert [d["name"] for d in told] == sorted(d["name"] for d in host.domains)
    assert gone["name"] not in {d["name"] for d in told}
    assert next(d for d in told if d["name"] == host.domains[1]["name"])["reason"] == "destroyed"


def test_a_domain_that_goes_during_the_reading_spoils_nothing(host: PlayedHost) -> None:
    host.ask()
    host.set_libvirt("vanish")
    told = text_of(host.ask(), "domains")
    assert [d["name"] for d in told] == sorted(d["name"] for d in host.domains[1:])


def test_the_far_end_of_a_migration_is_told_as_such(host: PlayedHost) -> None:
    host.domains[1].update(state="paused", reason="migrating", job="Incoming migration")
    host.set_libvirt()
    told = {d["name"]: d for d in text_of(host.ask(), "domains")}
    assert told[host.domains[1]["name"]]["job"] == "Incoming migration"
    assert {d["job"] for name, d in told.items() if name != host.domains[1]["name"]} == {None}


def test_a_full_disks_pause_has_one_word(host: PlayedHost) -> None:
    host.domains[1].update(state="paused", reason="I/O error")
    host.set_libvirt()
    assert "ioerror" in {d["reason"] for d in text_of(host.ask(), "domains")}


@pytest.mark.parametrize(("trouble", "sentence"), [
    ("dead", "libvirt did not answer: failed to connect to the hypervisor"),
    ("hang", "libvirt did not answer within 1.5 s"),
    ("cut", "libvirt's answer is not whole"),
    ("babble", "libvirt said more than 1 MiB"),
])
def test_a_broken_libvirt_spoils_its_own_sections_alone(
        host: PlayedHost, trouble: str, sentence: str) -> None:
    host.ask()
    host.set_libvirt(trouble)
    answer = host.ask()
    assert answer["sections"]["domains"] == {"error": sentence}
    assert answer["sections"]["pools"] == {"error": sentence}
    assert answer["sections"]["replicas"] == {"error": sentence}
    assert answer["sections"]["leftovers"] == {"error": sentence}
    assert "text" in answer["sections"]["bridges"]
    assert answer["hardware"]["memory_bytes"] > 0
    host.set_libvirt()
    assert len(text_of(host.ask(), "domains")) == len(host.domains)


def test_a_libvirt_that_begins_when_it_is_asked_is_waited_for_as_long_as_the_asker_says(
        host: PlayedHost) -> None:
    host.set_libvirt("idle")
    assert host.error("domains") == "libvirt did not answer within 1.5 s"
    assert len(text_of(host.ask(want="domains", waking_s=60.0), "domains")) == len(host.domains)


def test_a_busy_libvirt_is_given_as_many_times_longer_as_the_asker_says(host: PlayedHost) -> None:
    host.limit_s = 0.3
    host.set_libvirt("slow")
    assert host.error("domains") == "libvirt did not answer within 0.3 s"
    patient = host.ask(want="domains", patience=200.0)
    rows = text_of(patient, "domains")
    assert len(rows) == len(host.domains)
    assert not any("unknown" in row for row in rows)


def test_libvirt_without_domains_is_told_as_such(host: PlayedHost) -> None:
    host.domains, host.pools = [], []
    host.set_libvirt()
    answer = host.ask()
    assert text_of(answer, "domains") == []
    assert text_of(answer, "pools") == []


def test_a_program_that_is_not_installed_makes_its_sections_absent(host: PlayedHost) -> None:
    (host.bin / "virsh").unlink()
    sections = host.ask()["sections"]
    for name in ("domains", "pools", "replicas", "leftovers"):
        assert sections[name] == {"absent": True}
    assert "text" in sections["bridges"]


def test_a_virsh_that_is_gone_says_nothing_of_the_domains_that_it_showed(host: PlayedHost) -> None:
    (host.bin / "virsh").unlink()
    (host.folder / "etc").mkdir()
    sections = host.ask()["sections"]
    assert sections["domains"] == sections["pools"] == {
        "error": "libvirt was here and virsh is gone: put it back"}


@pytest.mark.parametrize(("program", "sentence"), [
    ("#!/bin/sh\necho 'ovs-vsctl: unix:/run/openvswitch/db.sock: no such file' >&2; exit 1",
     "Open vSwitch did not answer: ovs-vsctl: unix:/run/openvswitch/db.sock: no such file"),
    ("#!/bin/sh\nexit 3", "Open vSwitch did not answer: status 3"),
    ("#!/bin/sh\necho '{}'", "Open vSwitch's answer is not whole"),
    ("#!/no/such/interpreter\n", "Open vSwitch cannot be run: No such file or directory"),
    ("\177ELF", "Open vSwitch cannot be run: Exec format error"),
    ("#!/bin/sh\nprintf '\\377\\376'", "Open vSwitch answered with bytes that are no text"),
])
def test_a_broken_open_vswitch_spoils_its_own_section_alone(
        host: PlayedHost, program: str, sentence: str) -> None:
    host.install("ovs-vsctl", program)
    sections = host.ask()["sections"]
    assert sections["bridges"] == {"error": sentence}
    assert "text" in sections["domains"]


def test_a_warning_beside_a_whole_answer_is_told_and_spoils_nothing(host: PlayedHost) -> None:
    warning = "Interface table in Open_vSwitch database lacks mtu_request column"
    host.install("ovs-vsctl", f"""#!/bin/sh
echo "2026-11-28T11:00:0$$Z|00001|ovsdb_idl|WARN|{warning}" >&2
case "$*" in --version) echo "ovs-vsctl (Open vSwitch) 3.1.0";; *) cat {host.folder}/tables; esac
""")
    one, other = host.ask(), host.ask()
    assert "text" in one["sections"]["bridges"]
    assert one["warnings"] == other["warnings"] == {"bridges": warning}


def test_addresses_are_told_with_what_lies_on_what(host: PlayedHost) -> None:
    told = parse_interfaces(host.ask()["sections"]["interfaces"]["text"])
    assert sorted(told) == ["bond0", "br0", "br0.300", "eth0", "ovs-system", "tr0", "up0", "up1",
                            "virbr0"]
    assert told["eth0"].addresses == ("10.77.0.11/24",)     # what only the link knows is not told
    assert told["br0"].addresses == ("192.168.1.10/24", "2001:db8::10/64")
    assert (told["br0.300"].parent, told["br0.300"].vlan) == ("br0", 300)
    assert (told["up0"].master, told["up1"].master) == ("ovs-system", "bond0")
    assert (told["virbr0"].kind, told["tr0"].parent) == ("bridge", None)


@pytest.mark.parametrize(("program", "sentence"), [
    (None, "`ip` of iproute2 cannot be run: No such file or directory"),
    ("#!/bin/sh\necho 'ip: unrecognized option: j' >&2; exit 1",
     "`ip` of iproute2 did not answer: ip: unrecognized option: j"),
    ("#!/bin/sh\necho '1: lo: <LOOPBACK>'",
     "`ip -json` did not answer as iproute2 does: install its package"),
])
def test_a_host_that_cannot_tell_its_addresses_says_so(
        host: PlayedHost, program: str | None, sentence: str) -> None:
    (host.bin / "ip").unlink()
    if program is not None:
        host.install("ip", program)
    sections = host.ask()["sections"]
    assert sections["interfaces"] == {"error": sentence}
    assert "text" in sections["bridges"]


def test_the_mirrors_of_a_bridge_that_has_some_are_told(host: PlayedHost) -> None:
    lines = (host.folder / "tables").read_text().splitlines()
    bridge = json.loads(lines[0])
    bridge["headings"].append("mirrors")
    for row in bridge["data"]:
        row.append(["uuid", "m"])
    host.set_tables("\n".join([json.dumps(bridge), *lines[1:]]))
    (host.folder / "mirrors").write_text(json.dumps({
        "headings": ["_uuid", "output_port", "output_vlan"],
        "data": [[["uuid", "m"], ["set", []], 300]]}))
    host.install("ovs-vsctl", f"""#!/bin/sh
case "$*" in --version) echo "ovs-vsctl (Open vSwitch) 3.1.0";;
*Mirror) cat {host.folder}/mirrors;; *) cat {host.folder}/tables; esac
""")
    told = parse_bridges(host.ask()["sections"]["bridges"]["text"])
    assert told["br0"].mirror_vlans == (300,)


def test_only_what_is_wanted_is_looked_at(host: PlayedHost) -> None:
    answer = host.ask(want="bridges")
    assert set(answer["sections"]) == {"bridges"}
    assert host.readings() == 0


def test_volumes_are_told_with_the_size_that_guests_see(host: PlayedHost, tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    head = b"QFI\xfb" + struct.pack(">IQIIQ", 3, 0, 0, 16, 5 << 30)
    (pool / "b.qcow2").write_bytes(head.ljust(512, b"\0"))
    (pool / "a.raw").write_bytes(bytes(4096))
    (pool / "folder").mkdir()
    [told] = text_of(host.ask(), "pools")
    assert [(v["name"], v["format"], v["size"]) for v in told["volumes"]] == [
        ("a.raw", "raw", 4096), ("b.qcow2", "qcow2", 5 << 30)]
    assert told["path"] == str(pool)
    assert 0 < told["available"] <= told["capacity"]


def test_an_inactive_pool_is_told_with_its_path(host: PlayedHost, tmp_path: Path) -> None:
    host.pools[0]["active"] = False
    host.set_libvirt()
    [told] = text_of(host.ask(), "pools")
    assert (told["active"], told["path"]) == (False, str(tmp_path / "pool"))
