"""A host with one odd object: that one is unknown, and all others are reported."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.model.facts import DomainFacts, DomainState, PoolFacts
from controller.providers.libvirt.facts import parse_domains, parse_pools
from tests.providers.linux.conftest import REMOTE, PlayedHost

Trouble = Callable[[dict[str, Any]], None]
NOT_OF_THIS = "Timed out during operation: cannot acquire state change lock"


def seen(host: PlayedHost) -> tuple[dict[str, DomainFacts], dict[str, PoolFacts]]:
    """What the controller makes of what the host tells."""
    told = host.texts("domains pools replicas leftovers")
    return parse_domains(told["domains"]), parse_pools(told["pools"])


def odd_domains(host: PlayedHost, known: int) -> dict[str, str]:
    """Why domains are unknown; all others are told, and the pool."""
    domains, pools = seen(host)
    assert not pools["default"].unknown
    assert len([one for one in domains.values() if not one.unknown]) == known
    return {name: one.unknown for name, one in domains.items() if one.unknown}


@pytest.mark.parametrize("asked_before", [False, True])
@pytest.mark.parametrize(("trouble", "why"), [
    (lambda one: one.update(hangs=True), "libvirt did not answer within 1 s when it was asked"),
    (lambda one: one.update(fails=NOT_OF_THIS), f"libvirt does not show it: {NOT_OF_THIS}"),
    (lambda one: one.update(config_xml="<network/>", live_xml="<network/>"),
     "libvirt does not show its definition"),
    (lambda one: one.update(state="in two minds"), "unknown state 'in two minds'"),
    (lambda one: one.update(live_xml=one["live_xml"].replace("<memory", "<memory unit='ell'", 1)
                            .replace(" unit='KiB'", "", 1)), "it is not understood"),
])
def test_a_domain(host: PlayedHost, trouble: Trouble, why: str, asked_before: bool) -> None:
    host.limit_s = 10.0
    if asked_before:
        host.ask()
    odd = next(one for one in host.domains if one["live_xml"])
    trouble(odd)
    host.set_libvirt()
    found = odd_domains(host, len(host.domains) - 1)
    assert list(found) == [odd["name"]]
    assert why in found[odd["name"]]


@pytest.mark.parametrize("asked_before", [False, True])
def test_a_domain_that_ends_while_it_is_read_is_read_as_it_is_then(
        host: PlayedHost, asked_before: bool) -> None:
    """A test of ours that shuts a guest down saw it as unknown, with what it was before."""
    host.limit_s = 10.0
    if asked_before:
        host.ask()
    odd = next(one for one in host.domains if one["state"] == "running")
    odd["turns"] = 1
    host.set_libvirt()
    domains, _ = seen(host)
    assert (domains[odd["name"]].unknown, domains[odd["name"]].state) == (
        "", DomainState.SHUT_OFF)
    assert not [one.name for one in domains.values() if one.unknown]


def test_a_domain_that_hung_is_asked_about_alone_and_told_once_it_answers(host: PlayedHost) -> None:
    host.limit_s = 10.0
    odd = host.domains[0]
    odd["hangs"] = True
    host.set_libvirt()
    assert list(odd_domains(host, len(host.domains) - 1)) == [odd["name"]]
    host.readings()
    assert list(odd_domains(host, len(host.domains) - 1)) == [odd["name"]]
    assert host.readings() == 2     # the calm ones, and the odd one by itself
    odd["hangs"] = False
    host.set_libvirt()
    assert odd_domains(host, len(host.domains)) == {}
    host.readings()
    host.ask()
    assert host.readings() == 1


def test_two_that_hang_and_one_that_fails_leave_all_others_told(host: PlayedHost) -> None:
    host.limit_s = 10.0
    for one in host.domains[:2]:
        one["hangs"] = True
    host.domains[2]["fails"] = NOT_OF_THIS
    host.set_libvirt()
    assert len(odd_domains(host, len(host.domains) - 3)) == 3


def test_an_unknown_domain_is_on_or_off_as_libvirt_lists_it(host: PlayedHost) -> None:
    for one in host.domains:
        one["fails"] = NOT_OF_THIS
    host.set_libvirt()
    domains, _ = seen(host)
    assert {name: one.state.active for name, one in domains.items()} == {
        one["name"]: one["state"] != "shut off" for one in host.domains}
    assert {one.state for one in domains.values()} == {DomainState.RUNNING, DomainState.SHUT_OFF}


@pytest.mark.parametrize("name", [
    "two words", "line\u2028separator", "next\x85line", "form\x0cfeed", "file\x1cseparator",
    "-leading", "semi; colon", "quo'te", "\u00e9t\u00e9", "a  b ", "@@0123456789abcdef@@",
])
def test_a_domain_of_any_name_is_told_by_it(host: PlayedHost, name: str) -> None:
    host.domains[0]["name"] = name
    host.set_libvirt()
    domains, _ = seen(host)
    assert domains[name].uuid == host.domains[0]["uuid"]
    assert len(domains) == len(host.domains)


def test_a_name_that_is_no_text_spoils_nothing(host: PlayedHost) -> None:
    host.domains[0]["name"] = "caf\udce9"
    host.set_libvirt()
    domains, _ = seen(host)
    assert len(domains) == len(host.domains)


def test_a_warning_beside_good_answers_is_no_failure(host: PlayedHost) -> None:
    fake = (host.bin / "virsh").read_text()
    host.install("virsh", fake.replace("def main() -> None:", (
        "sys.stderr.write('2026-11-28 12:00:00.000+0000: 7: warning : something is odd\\n')\n"
        "def main() -> None:")))
    assert odd_domains(host, len(host.domains)) == {}


# Each as `virsh pool-dumpxml` of libvirt 9.0 shows it.
FOLDERLESS = {
    "rbd": "<source><host name='10.0.0.1' port='6789'/><name>libvirt-pool</name>"
           "<auth type='ceph' username='libvirt'><secret uuid='u'/></auth></source>",
    "iscsi-direct": "<source><host name='10.0.0.2'/><device path='iqn.2020-01.x:y'/>"
                    "<initiator><iqn name='iqn.z'/></initiator></source>",
    "gluster": "<source><host name='h'/><dir path='/'/><name>vol</name></source>",
    "sheepdog": "<source><host name='h'/><name>sheep</name></source>",
    "zfs": "<source><name>tank</name></source><target><path>/dev/zvol/tank</path></target>",
    "logical": "<source><name>vg0</name></source><target><path>/dev/vg0-not-there</path></target>",
    "mpath": "<target><path>/dev/mapper-not-there</path></target>",
    "disk": "<source><device path='/dev/sdz'/></source>"
            "<target><path>/dev-not-there</path></target>",
}


@pytest.mark.parametrize("kind", FOLDERLESS)
def test_a_pool_that_is_no_folder_of_files(host: PlayedHost, kind: str) -> None:
    host.pools.append({"name": "odd", "active": True, "xml": (
        f"<pool type='{kind}'>\n  <name>odd</name>\n{FOLDERLESS[kind]}</pool>")})
    host.set_libvirt()
    domains, pools = seen(host)
    assert len(domains) == len(host.domains)
    assert (pools["odd"].type, pools["odd"].volumes, pools["odd"].unknown) == (kind, {}, "")
    assert not pools["default"].unknown


def gone(host: PlayedHost, _odd: dict[str, Any]) -> str:
    return "cannot be read: No such file or directory"


def hangs(_host: PlayedHost, odd: dict[str, Any]) -> str:
    odd["hangs"] = True
    return "libvirt did not answer within"


def fails(_host: PlayedHost, odd: dict[str, Any]) -> str:
    odd["fails"] = "internal error: pool is asynchronously deactivating"
    return "pool is asynchronously deactivating"


@pytest.mark.parametrize("trouble", [gone, hangs, fails])
def test_a_pool(host: PlayedHost, trouble: Callable[[PlayedHost, dict[str, Any]], str]) -> None:
    host.limit_s = 10.0
    odd = {"name": "Downloads", "path": str(host.folder / "gone"), "active": True}
    host.pools.append(odd)
    why = trouble(host, odd)
    host.set_libvirt()
    domains, pools = seen(host)
    assert why in pools["Downloads"].unknown
    assert pools["Downloads"].replicas_unknown
    assert not pools["default"].unknown
    assert not any(one.unknown for one in domains.values())


def test_a_file_of_a_pool_that_cannot_be_read_is_there_all_the_same(
        host: PlayedHost, tmp_path: Path) -> None:
    (tmp_path / "pool/loop").symlink_to(tmp_path / "pool/loop")
    (tmp_path / "pool/dangling").symlink_to("/no/such/file")
    (tmp_path / "pool/good").write_bytes(bytes(512))
    _, pools = seen(host)
    assert {name: one.size_bytes for name, one in pools["default"].volumes.items()} == {
        "loop": None, "dangling": None, "good": 512}


@pytest.mark.parametrize("kind", ["fs", "netfs"])
def test_what_is_in_a_pool_that_is_not_mounted_is_unknown(host: PlayedHost, kind: str) -> None:
    host.pools[0].update(active=False, kind=kind)
    host.set_libvirt()
    assert "it is not active, so its files in" in seen(host)[1]["default"].unknown


def test_a_list_of_pools_that_hangs_leaves_the_domains_known(host: PlayedHost) -> None:
    host.limit_s = 10.0
    host.set_libvirt("pool list hangs")
    sections = host.ask()["sections"]
    assert len(parse_domains(sections["domains"]["text"])) == len(host.domains)
    for name in ("pools", "replicas", "leftovers"):
        assert "did not answer within 1 s" in sections[name]["error"]


def test_a_folder_that_hangs_darkens_what_lies_in_it_alone(
        host: PlayedHost, tmp_path: Path) -> None:
    stuck, disks = tmp_path / "stuck", tmp_path / "stuck/disks"
    disks.mkdir(parents=True)
    host.pools.append({"name": "nfs", "path": str(stuck), "active": True})
    row = next(one for one in host.domains if one["live_xml"])
    path = next(iter(row["disk_sizes"]))
    for key in ("live_xml", "config_xml"):
        row[key] = row[key].replace(path, f"{disks}/one.qcow2")
    host.set_libvirt()
    host.slow = str(stuck)
    domains, pools = seen(host)
    assert "does not answer: its file system hangs" in pools["nfs"].unknown
    assert not pools["default"].unknown
    odd = domains[row["name"]]
    assert not odd.unknown
    assert odd.live is not None
    assert odd.live.disks[0].size_bytes is None
    seen(host)
    assert "does not answer: its file system hangs" in seen(host)[1]["nfs"].unknown


def many(host: PlayedHost, count: int) -> None:
    """Give the host many domains, most of them off."""
    model = next(one for one in host.domains if one["state"] == "shut off")
    for number in range(count):
        new = str(uuid.UUID(int=number + (4 << 76) + (8 << 62)))
        host.domains.append({**model, "uuid": new, "name": f"vm-{number}"})
    host.set_libvirt()


def test_more_domains_than_one_command_can_name(host: PlayedHost) -> None:
    host.limit_s, host.still_s, host.limit_mib = 60.0, 20.0, 24
    many(host, 450)
    assert odd_domains(host, len(host.domains)) == {}
    host.readings()
    assert odd_domains(host, len(host.domains)) == {}
    assert 1 < host.readings() < 8
    longest = max(map(len, (host.bin / "arguments").read_text().split("\0")))
    assert longest < 128 << 10


@pytest.mark.skipif(shutil.which("virsh") is None, reason="no virsh")
def test_a_real_virsh_is_understood(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(REMOTE)!r}); import libvirt_poll, programs\n"
        "virsh = ('virsh', '-q', '-c', 'test:///default')\n"
        "programs.VIRSH = libvirt_poll.VIRSH = virsh\n"
        "libvirt = libvirt_poll.LibvirtPoll()\n"
        "for _ in range(2): told = libvirt.finish(programs.run_all(libvirt.begin()))\n"
        "import json; json.dump([[row['name'], row.get('unknown', '')]"
        " for row in told['domains'] + told['pools']], sys.stdout)")
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "HOME": str(tmp_path)})
    domain, pool = json.loads(said.stdout)
    assert domain[0] == "test"
    assert "not supported by the connection driver" in domain[1]    # it knows of no jobs
    assert pool == ["default-pool", ""]
