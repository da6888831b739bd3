"""An import into a folder that is there: what is new is proposed, and what a person wrote stays."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.model.facts import Unknown
from controller.source.load import load_folder
from tests.adoption.estates import GIB, ImportShell, Kvm, card, file_disk
from tests.adoption.test_import import IMAGES, NAT, RBD, imported, one_site, web


def patched(shell: ImportShell, *words: str) -> str:
    """Run the import again, apply the patch that it proposes, and return it."""
    before = {path: path.read_text() for path in shell.out.rglob("*") if path.is_file()}
    done = shell(*words)
    assert done.exit_code == 2, done.output
    assert {path: path.read_text() for path in before} == before, "it wrote into the folder"
    subprocess.run(["patch", "-p1", "-d", str(shell.out)], input=done.stdout, text=True,
                   check=True, capture_output=True)
    return done.stdout


def test_the_second_import_proposes_what_is_new_and_leaves_what_a_person_wrote(
        tmp_path: Path) -> None:
    host = one_site(web())
    shell = ImportShell(tmp_path, host)
    imported(shell)
    assert shell().exit_code == 0, "nothing is new"
    file = shell.out / "vms/kvm1.yaml"
    mine = file.read_text().replace("{name: web-1}", "{name: front}   # the one that earns money")
    file.write_text(mine.replace("cpus: 2", "cpus: 4"))
    hosts = shell.out / "hosts.yaml"
    hosts.write_text(hosts.read_text().replace("  address:", "  # in the cellar\n  address:"))
    host.guests.append(web(2, devices=web(2).devices.replace("br0", "br210")))
    host.bridges = {"br0": "", "br210": ""}
    shell.hosts["10.0.0.12"] = Kvm("10.0.0.12", "kvm2", [web(3)])
    patch = patched(shell)
    assert "the one that earns money" not in [line for line in patch.split("\n")
                                               if line.startswith("-")]
    desired = load_folder(shell.out)
    assert list(desired.virtual_machines) == ["front", "web-2", "web-3"]
    assert desired.virtual_machines["front"].spec.cpus == 4
    assert [one.network for one in desired.hosts["kvm1"].spec.attachments] == ["br0", "br210"]
    assert desired.virtual_machines["web-3"].spec.nics[0].network == "br0"
    assert "# in the cellar" in hosts.read_text()
    assert "# the one that earns money" in file.read_text()
    assert shell().exit_code == 0, "it converges"


def test_the_second_import_proposes_new_disks_and_cards_of_declared_vms(tmp_path: Path) -> None:
    host = one_site(web(), web(2), web(3))
    shell = ImportShell(tmp_path, host)
    imported(shell)
    for number, more in ((0, file_disk(f"{IMAGES}/data.qcow2", "vdb") + card("52:54:00:00:01:01")),
                         (1, RBD + NAT.replace("aa:aa:01", "00:01:02")),
                         (2, card("52:54:00:00:00:01"))):
        guest = host.guests[number]
        host.guests[number] = replace(guest, devices=guest.devices + more, sizes={
            **guest.sizes, f"{IMAGES}/data.qcow2": 3 * GIB})
    patched(shell)
    machines = load_folder(shell.out).virtual_machines
    assert [(disk.name, disk.pool, disk.size_bytes) for disk in machines["web-1"].spec.disks] == [
        ("vda", "images", 10 * GIB), ("vdb", "images", 3 * GIB)]
    assert [(nic.network, nic.mac) for nic in machines["web-1"].spec.nics] == [
        ("br0", "52:54:00:00:00:01"), ("br0", "52:54:00:00:01:01")]
    second = machines["web-2"].spec
    assert [(disk.name, disk.replicate) for disk in second.disks] == [("vda", True), ("vdb", False)]
    assert [nic.source for nic in second.nics] == [None, "keep"]
    assert [nic.mac for nic in machines["web-3"].spec.nics] == ["52:54:00:00:00:03"]
    assert shell().exit_code == 0, "it converges"


@pytest.mark.parametrize("lists", ["disks", "nics"])
def test_a_list_that_is_left_out_stays_left_out(tmp_path: Path, lists: str) -> None:
    host = one_site(web())
    shell = ImportShell(tmp_path, host)
    imported(shell)
    file = shell.out / "vms/kvm1.yaml"
    lines = file.read_text().split("\n")
    at = lines.index(f"  {lists}:")
    file.write_text("\n".join(lines[:at] + lines[at + 2:]))
    assert shell().exit_code == 0


def test_an_old_copy_of_a_vm_proposes_nothing(tmp_path: Path) -> None:
    host, more = one_site(web()), file_disk(f"{IMAGES}/old.qcow2", "vdb")
    shell = ImportShell(tmp_path, host)
    imported(shell)
    old = web(running=False)
    shell.hosts["10.0.0.12"] = Kvm("10.0.0.12", "kvm2", [
        replace(old, devices=old.devices + more, sizes={**old.sizes, f"{IMAGES}/old.qcow2": GIB})])
    patch = shell().stdout
    assert "kvm2" in patch
    assert "vdb" not in patch


@pytest.mark.parametrize("trouble", [
    {"silent": "it cannot be reached"}, {"no_domains": "libvirt did not answer within 5 s"},
    {"pools": Unknown("libvirt did not answer", 0.0)}])
def test_a_host_of_which_half_is_seen_is_told_and_proposed_later(tmp_path: Path,
                                                                 trouble: dict[str, Any]) -> None:
    sick = Kvm("10.0.0.12", "kvm2", [web(2)], **trouble)
    shell = ImportShell(tmp_path, one_site(web()), sick)
    done = shell()
    assert done.exit_code == 5
    assert "answer" in done.output or "reached" in done.output
    assert list(load_folder(shell.out).virtual_machines) == ["web-1"]
    shell.hosts["10.0.0.12"] = Kvm("10.0.0.12", "kvm2", [web(2)])
    patched(shell)
    assert list(load_folder(shell.out).virtual_machines) == ["web-1", "web-2"]
