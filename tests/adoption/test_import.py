"""An import from beginning to end: what is written is valid, and the plan on it is empty."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.adoption import propose
from controller.adoption.host_keys import HostKey
from controller.adoption.reading import Request
from controller.model.desired import Desired
from controller.model.facts import PoolFacts
from controller.providers.linux.estate import endpoints_of
from controller.source.load import load_folder
from tests.adoption.estates import (
    GIB,
    KEY,
    FixedEstate,
    Guest,
    ImportShell,
    Kvm,
    card,
    file_disk,
    uuid_of,
)

IMAGES = "/var/lib/libvirt/images"
LVM = ("<disk type='block' device='disk'><driver name='qemu' type='raw'/>"
       "<source dev='/dev/vg0/win'/><target dev='vda' bus='virtio'/></disk>")
RBD = ("<disk type='network' device='disk'><driver name='qemu' type='raw'/>"
       "<source protocol='rbd' name='pool/img'/><target dev='vdb' bus='virtio'/></disk>")
NAT = ("<interface type='network'><mac address='52:54:00:aa:aa:01'/><source network='default'/>"
       "<model type='e1000'/></interface>")
TPM = ("<tpm model='tpm-crb'><backend type='emulator'/></tpm><hostdev mode='subsystem' type='usb'>"
       "<source><vendor id='0x046d'/><product id='0x0825'/></source></hostdev>")


def web(number: int = 1, **changes: Any) -> Guest:
    """A plain VM."""
    path = f"{IMAGES}/web-{number}.qcow2"
    plain = Guest(f"web-{number}", number, file_disk(path) + card(f"52:54:00:00:00:{number:02x}"),
                  sizes={path: 10 * GIB})
    return replace(plain, **changes)


def one_site(*guests: Guest, **host: Any) -> Kvm:
    """One host with these guests."""
    return Kvm("10.0.0.11", "kvm1", list(guests), **host)


def imported(shell: ImportShell, *words: str) -> Desired:
    """What was written by an import that ended well."""
    done = shell(*words)
    assert done.exit_code == 0, done.output
    return load_folder(shell.out)


def text_of(shell: ImportShell) -> str:
    """Every spec that was written."""
    return "\n".join(path.read_text() for path in sorted(shell.out.rglob("*.yaml")))


def test_a_plain_host_is_written_down_and_nothing_is_done(tmp_path: Path) -> None:
    shell = ImportShell(tmp_path, one_site(web()))
    done = shell()
    assert done.exit_code == 0, done.output
    assert "protection: standard" in done.output
    desired = load_folder(shell.out)
    spec = desired.virtual_machines["web-1"].spec
    assert desired.estate.spec.manage == "observe"
    assert [(disk.pool, disk.size_bytes, disk.source) for disk in spec.disks] == [
        ("images", 10 * GIB, None)]
    assert [(nic.network, nic.mac) for nic in spec.nics] == [("br0", "52:54:00:00:00:01")]
    assert (spec.uuid, spec.cpus, spec.placement.site) == (uuid_of(1), 2, "site1")
    assert spec.template == "../templates/web-1.xml"
    assert "Replicas need two sites" in text_of(shell)


def test_an_odd_vm_is_declared_as_far_as_the_specs_can_say_and_the_rest_is_told(
        tmp_path: Path) -> None:
    odd = Guest("WIN_2019", 9, LVM + RBD + NAT + card("52:54:00:aa:aa:02", "br210") + TPM,
                autostart=True, sizes={"/dev/vg0/win": 20 * GIB})
    pools = {"images": PoolFacts("images", IMAGES, True, GIB, GIB),
             "ceph": PoolFacts("ceph", "", True, GIB, GIB, type="rbd"),
             "ISO_x": PoolFacts("ISO_x", "/iso", True, GIB, GIB)}
    shell = ImportShell(tmp_path, one_site(odd, pools=pools, bridges={"br0": "", "br210": ""}))
    done = shell()
    assert done.exit_code == 0, done.output
    desired = load_folder(shell.out)
    spec = desired.virtual_machines["win-2019"].spec
    assert (spec.domain, spec.placement.host) == ("WIN_2019", "kvm1")
    assert [disk.source and (disk.source.block or disk.source.observed) for disk in spec.disks] == [
        "/dev/vg0/win", "rbd:pool/img"]
    assert [disk.replicate for disk in spec.disks] == [True, False]
    assert [(nic.source, nic.network, nic.model) for nic in spec.nics] == [
        ("keep", None, "e1000"), (None, "br210", "virtio")]
    assert {pool.name: pool.type for pool in desired.hosts["kvm1"].spec.pools} == {
        "images": "dir", "ceph": "rbd"}
    words = " ".join(done.output.split())
    for said in ("disk vdb", "libvirt's own network default", "pool ISO_x", "usb 046d:0825"):
        assert said in words
    assert "its TPM's state" in text_of(shell)
    assert "`off` before a failover may be automatic" in text_of(shell)


@pytest.mark.parametrize("name", ["123", "WIN: 2019", "it's \"quoted\"", "- a #b", "名前", "*x",
                                  "a\u202eb", "no", "x" * 200, "\x1b[31mred", "{a, b}"])
def test_a_hostile_name_is_kept_as_libvirts_and_harms_nothing(tmp_path: Path, name: str) -> None:
    shell = ImportShell(tmp_path, one_site(web(name=name, xml="x"), web(2)))
    shell.hosts["10.0.0.11"].guests[0].xml = ""
    done = shell()
    assert done.output.isprintable() or "\x1b" not in done.output
    assert done.exit_code in {0, 5}, done.output
    names = {vm.spec.domain or own for own, vm in load_folder(shell.out).virtual_machines.items()}
    assert "web-2" in names
    assert name in names or "could not be read" in " ".join(done.output.split()) or (
        "cannot say" in " ".join(done.output.split()))


def test_two_subnets_are_two_sites_that_are_each_others_twins(tmp_path: Path) -> None:
    shell = ImportShell(tmp_path, one_site(web()), Kvm("10.0.1.11", "kvm2", [web(2)]))
    desired = imported(shell)
    assert {name: site.spec.twin for name, site in desired.sites.items()} == {
        "site1": "site2", "site2": "site1"}
    assert desired.hosts["kvm2"].spec.site == "site2"


def test_a_site_that_is_named_is_believed(tmp_path: Path) -> None:
    shell = ImportShell(tmp_path, one_site(web()), Kvm("10.0.0.12", "kvm2"))
    desired = imported(shell, "--site=paris=10.0.0.11", "--site=milan=10.0.0.12")
    assert {name: host.spec.site for name, host in desired.hosts.items()} == {
        "kvm1": "paris", "kvm2": "milan"}


# --- keys


@pytest.mark.parametrize("words", [
    pytest.param(("10.0.0.11",), id="as root"),
    pytest.param(("--user=ops", "10.0.0.11"), id="as an account that becomes root by sudo"),
    pytest.param(("ops@10.0.0.11", ), id="as the account of one host"),
    pytest.param(("--user=ops", "root@10.0.0.11:2222"), id="as root of one host"),
])
def test_hosts_are_read_by_the_same_login_that_the_specs_declare(tmp_path: Path,
                                                                  words: tuple[str, ...]) -> None:
    shell = ImportShell(tmp_path, one_site(web()))
    desired = imported(shell, *words)
    declared = endpoints_of(desired)
    assert [replace(one, name=declared[0].name) for one in shell.endpoints] == list(declared)
    assert declared[0].sudo is (declared[0].user != "root")


def test_no_key_is_believed_without_a_fingerprint_a_file_or_a_person(tmp_path: Path) -> None:
    shell = ImportShell(tmp_path, one_site(web()))
    done = shell("--yes", trusted=False)
    assert done.exit_code == 3
    assert KEY.fingerprint in done.output
    assert "--yes confirms no key" in done.output
    assert not shell.out.exists()
    assert not shell.known_hosts.exists()
    shell.known_hosts.write_text(f"10.0.0.11 {KEY.kind} {KEY.encoded}\n")
    assert shell(trusted=False).exit_code == 0


def test_without_a_key_to_log_in_by_no_host_is_asked_and_no_host_key_written(
        tmp_path: Path) -> None:
    shell = ImportShell(tmp_path, one_site(web()))
    done = shell.run("import", "10.0.0.11", "--out", str(shell.out), "--known-hosts",
                     str(shell.known_hosts), "--fingerprint", KEY.fingerprint,
                     "--key", str(tmp_path / "none"))
    assert done.exit_code == 4
    assert f"the key {tmp_path}/none cannot be read (No such file or directory)" in done.output
    assert "ssh-keygen -t ed25519" in done.output
    assert (shell.out.exists(), shell.known_hosts.exists()) == (False, False)


def test_a_key_that_changed_is_refused_with_both_fingerprints(tmp_path: Path) -> None:
    other = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIP39RnfBiVZ5+KCX99eUSH5UF4WQvKPFuay"
                    "+G98+MiDy", "SHA256:x")
    shell = ImportShell(tmp_path, one_site(web()))
    shell.known_hosts.write_text(f"10.0.0.11 {other.kind} {other.encoded}\n")
    before = shell.known_hosts.read_text()
    done = shell()
    assert done.exit_code == 3
    assert done.output.count("SHA256:") == 2
    assert KEY.fingerprint in done.output
    assert (shell.out.exists(), shell.known_hosts.read_text()) == (False, before)


def test_a_key_under_another_name_is_recognised_and_still_asked_about(tmp_path: Path) -> None:
    shell = ImportShell(tmp_path, one_site(web()))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/known_hosts").write_text(f"kvm1.example.net {KEY.kind} {KEY.encoded}\n")
    done = shell(trusted=False)
    assert done.exit_code == 3
    assert "known as kvm1.example.net" in done.output


# --- what cannot be seen, and who claims what


def test_where_nothing_is_seen_nothing_is_written(tmp_path: Path) -> None:
    shell = ImportShell(tmp_path, one_site(silent="it cannot be reached"))
    assert shell().exit_code == 5
    assert not shell.out.exists()


def test_one_domain_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    shell = ImportShell(tmp_path, one_site(web(), web(2, unknown="libvirt did not answer")))
    done = shell()
    assert done.exit_code == 5
    assert "domain web-2" in done.output
    assert list(load_folder(shell.out).virtual_machines) == ["web-1"]


@pytest.mark.parametrize(("first", "second", "declared"), [
    (True, False, "kvm1"), (False, True, "kvm2"), (True, True, None), (False, False, None)])
def test_of_two_hosts_with_one_uuid_the_one_that_runs_it_has_it(
        tmp_path: Path, first: bool, second: bool, declared: str | None) -> None:
    there = Kvm("10.0.1.11", "kvm2", [web(1, running=second), web(2)])
    shell = ImportShell(tmp_path, one_site(web(1, running=first)), there)
    done = shell()
    assert done.exit_code == 0, done.output
    machines = load_folder(shell.out).virtual_machines
    assert ("web-1" in machines) == (declared is not None)
    if declared is not None:
        assert "web-1" in (shell.out / f"vms/{declared}.yaml").read_text()
    assert "the same UUID" in done.output


def test_of_two_vms_of_one_name_the_specs_take_one_and_the_other_is_told(tmp_path: Path) -> None:
    shell = ImportShell(tmp_path, one_site(web(running=False)), Kvm("10.0.1.11", "kvm2", [
        web(2, name="web-1")]))
    done = shell()
    assert done.exit_code == 0, done.output
    machines = load_folder(shell.out).virtual_machines
    assert {name: vm.spec.uuid for name, vm in machines.items()} == {"web-1": uuid_of(2)}
    assert "virsh domrename" in done.output


def test_two_names_that_are_made_alike_are_told_apart(tmp_path: Path) -> None:
    shell = ImportShell(tmp_path, one_site(web(name="WEB_1")), Kvm("10.0.1.11", "kvm2", [
        web(2, name="web 1")]))
    machines = imported(shell).virtual_machines
    assert {name: vm.spec.domain for name, vm in machines.items()} == {
        "web-1": "WEB_1", "web-1-kvm2": "web 1"}


def test_a_mac_that_two_vms_have_is_declared_once_and_told(tmp_path: Path) -> None:
    double = web(2, devices=web(2).devices.replace("00:02", "00:01"))
    shell = ImportShell(tmp_path, one_site(web()), Kvm("10.0.1.11", "kvm2", [double]))
    done = shell()
    assert done.exit_code == 0, done.output
    machines = load_folder(shell.out).virtual_machines
    assert [len(vm.spec.nics) for vm in machines.values()] == [1, 0]
    assert "is the MAC of web-1 on kvm1, too" in done.output


def test_a_disk_that_two_vms_write_is_declared_once_and_told(tmp_path: Path) -> None:
    double = web(2, devices=web(1).devices.replace("00:01", "00:02"), sizes=web(1).sizes)
    shell = ImportShell(tmp_path, one_site(web(), double))
    done = shell()
    assert done.exit_code == 0, done.output
    assert [len(vm.spec.disks) for vm in load_folder(shell.out).virtual_machines.values()] == [1, 0]
    assert "writes to the same" in done.output


# --- the folder


@pytest.mark.parametrize("where", ["observe", "declare"])
def test_an_import_that_is_cut_in_the_middle_leaves_nothing(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def is_written() -> bool:
        return bool(list(tmp_path.glob(".estate.import-*/vms/kvm1.yaml")))

    async def cut(self: FixedEstate, what: object) -> None:
        assert is_written(), "all of it is written by now"
        raise KeyboardInterrupt

    shell = ImportShell(tmp_path, one_site(web()))
    with monkeypatch.context() as patch:
        patch.setattr(FixedEstate, where, cut)
        assert shell().exit_code != 0
    assert [path.name for path in tmp_path.iterdir() if "estate" in path.name] == []
    imported(shell)


def test_a_plan_that_is_not_empty_is_a_failure_that_names_its_step(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def managed(request: Request) -> dict[str, Any]:
        document = estate_document(request)
        document["spec"]["manage"] = "full"
        return document

    estate_document = propose.estate_document
    monkeypatch.setattr(propose, "estate_document", managed)
    shell = ImportShell(tmp_path, one_site(web()))
    done = shell()
    assert done.exit_code in {2, 3}
    assert "Step `plan` failed" in done.output
    assert "VirtualMachine/web-1" in done.output
    assert not shell.out.exists()


def test_a_spec_that_is_not_valid_is_a_failure_that_names_its_step(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(propose, "POLICY", {"kind": "ProtectionPolicy", "spec": {}})
    shell = ImportShell(tmp_path, one_site(web()))
    done = shell()
    assert done.exit_code == 4
    assert "Step `validate` failed" in done.output
    assert not shell.out.exists()


def test_what_an_import_that_was_killed_left_is_cleared_and_never_counts(tmp_path: Path) -> None:
    shell = ImportShell(tmp_path, one_site(web()))
    left = tmp_path / ".estate.import-999999999"
    left.mkdir()
    (left / "estate.yaml").write_text("half")
    imported(shell)
    assert [path.name for path in tmp_path.glob(".estate*")] == []


def test_specs_that_are_wrong_are_named_and_left(tmp_path: Path) -> None:
    shell = ImportShell(tmp_path, one_site(web()))
    shell.out.mkdir()
    (shell.out / "mine.yaml").write_text("kind: Estate\nmetadata: {name: x}\nspec: {nonsense: 1}\n")
    done = shell()
    assert done.exit_code == 4
    assert "nonsense" in done.output
    assert [path.name for path in shell.out.iterdir()] == ["mine.yaml"]


def test_a_word_that_is_no_host_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    shell = ImportShell(tmp_path, one_site())
    for words in (("a b",), ("10.0.0.11", "10.0.0.11"), ("10.0.0.11", "--fingerprint=MD5:x")):
        assert shell(*words, trusted=False).exit_code == 4
