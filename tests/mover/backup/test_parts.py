"""The host leaves out the disks that cannot be copied, as the plan does, and copies the rest.

The host reads newer facts than the plan's, so it has the last word; both have one table.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from mover.backup import backup_job, conductor, offline, virsh
from mover.errors import Refused, TryAgain
from mover.image.header import traits_of

from controller.plan.machine import device_support
from controller.providers.libvirt.facts import parse_config
from controller.providers.libvirt.xml.xml import parse_xml
from tests.mover.replicas import qemu_img

UUID = "ac919846-041c-5282-aa02-f968f5a26f2d"
DOMAIN = ("<domain><name>sql</name><memory>1</memory><vcpu>1</vcpu><devices>{}</devices>"
          "</domain>")
DISK = ("<disk type='{type}' device='{device}'><driver name='qemu' type='{form}'/>"
        "<source {source}>{inside}</source>{flags}<target dev='{target}' bus='virtio'/></disk>")
KINDS: dict[str, dict[str, str]] = {
    "plain": {}, "raw": {"form": "raw"}, "vmdk": {"form": "vmdk"}, "dmg": {"form": "dmg"},
    "block": {"type": "block", "source": "dev='/dev/vg/x'", "form": "raw"},
    "lun": {"type": "block", "device": "lun", "source": "dev='/dev/x'", "form": "raw"},
    "network": {"type": "network", "source": "protocol='rbd' name='p/x'", "form": "raw"},
    "nvme": {"type": "nvme", "source": "type='pci' namespace='1'", "form": "raw"},
    "dir": {"type": "dir", "source": "dir='/srv'", "form": "fat"},
    "vhostuser": {"type": "vhostuser", "source": "type='unix' path='/s'", "form": "raw"},
    "vhostvdpa": {"type": "vhostvdpa", "source": "dev='/dev/vhost-vdpa-0'", "form": "raw"},
    "of tomorrow": {"type": "holographic"},
    "readonly": {"flags": "<readonly/>"}, "transient": {"flags": "<transient/>"},
    "shareable": {"flags": "<shareable/>", "form": "raw"},
    "mirrored": {"flags": "<mirror type='file' job='copy'><source file='/m'/></mirror>"},
    "layered": {"flags": "<backingStore type='file'><source file='/b'/></backingStore>"},
    "luks": {"form": "raw", "inside": "<encryption format='luks'/>"},
    "old luks": {"flags": "<encryption format='luks'/>"},
    "luks below": {"flags": "<backingStore type='file'><source file='/b'><encryption"
                            " format='luks'/></source></backingStore>"},
}


def disk(target: str = "vda", **words: str) -> str:
    return DISK.format(**({"type": "file", "device": "disk", "form": "qcow2", "flags": "",
                           "inside": "", "source": "file='/d/a.qcow2'", "target": target} | words))


@pytest.mark.parametrize("kind", KINDS)
def test_plan_and_host_leave_out_the_same_disks_for_the_same_reasons(kind: str) -> None:
    text = DOMAIN.format(disk(**KINDS[kind]))
    [planned] = parse_config(parse_xml(text), {}).disks
    assert virsh.domain_of(UUID, text).disks["vda"].why_not == device_support.copy_blocker(planned)


def encrypt(path: Path) -> None:
    """Say in an image's header that it is encrypted with LUKS."""
    with path.open("r+b") as file:
        file.seek(32)
        file.write(b"\0\0\0\2")


@pytest.mark.parametrize("make", ["compat=0.10", "compat=1.1", "encrypted", "below"])
def test_plan_and_host_read_the_same_in_a_header(tmp_path: Path, make: str) -> None:
    path, below = tmp_path / "a.qcow2", tmp_path / "b.qcow2"
    for one in (below, path):
        qemu_img("create", "-q", "-f", "qcow2", *(["-o", make] if "=" in make else []), one, "1M")
    if make == "below":
        qemu_img("rebase", "-u", "-f", "qcow2", "-b", below, "-F", "qcow2", path)
    if make in {"encrypted", "below"}:
        encrypt(below if make == "below" else path)
    text = DOMAIN.format(disk(source=f"file='{path}'"))
    [planned] = parse_config(parse_xml(text), {}, {str(path): traits_of(str(path))}).disks
    seen = virsh._inspected(virsh.domain_of(UUID, text).disks["vda"])
    assert seen.why_not == device_support.copy_blocker(planned)
    assert seen.trackable is (device_support.tracking_gap(planned) == "")
    assert bool(seen.why_not) is (make in {"encrypted", "below"})


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A host whose libvirt has one domain, off, of which `xml` is told."""
    (tmp_path / "virsh").write_text(f"""#!/bin/sh
next=$(echo "$*" | grep -oE "@@[0-9a-f]+@@" | head -1)
case "$*" in
*"; echo"*) printf 'shut off (shutdown)\\n%s\\n' $next; cat {tmp_path}/xml; echo $next
    cat {tmp_path}/xml; echo "$*" | grep -o $next | tail -n +3;;
*vol-path*) echo {tmp_path}/pool/"$(echo "$*" | sed 's/.* -- //')";;
*domstate*) echo 'shut off (shutdown)';;
esac
""")
    (tmp_path / "virsh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "pool").mkdir()
    with TemporaryDirectory(prefix="h") as run:     # a socket's path is short
        monkeypatch.setattr(conductor, "FOLDER", run)
        monkeypatch.setattr(offline, "FOLDER", run)
        yield tmp_path


def opened(host: Path, *disks: str) -> Any:
    """Open a copy of all of a domain's disks; return what is told."""
    (host / "xml").write_text(DOMAIN.format("".join(disks)) + "\n")
    targets = virsh.domain_of(UUID, DOMAIN.format("".join(disks))).disks
    copy = conductor.open_copy(UUID, conductor.CopyRequest(dict.fromkeys(targets, "scan")))
    try:
        return copy.begun
    finally:
        copy.end()


def image(path: Path) -> str:
    qemu_img("create", "-q", "-f", "qcow2", path, "1M")
    return f"file='{path}'"


needs_nbd = pytest.mark.skipif(not shutil.which("qemu-nbd"), reason="needs qemu-nbd")


@needs_nbd
@pytest.mark.parametrize("kind", [
    kind for kind in KINDS if kind not in {"plain", "raw", "vmdk", "block", "mirrored", "layered"}])
def test_one_disk_that_cannot_be_copied_stops_no_other(played: Path, kind: str) -> None:
    told = opened(played, disk(source=image(played / "a.qcow2")), disk("vdb", **KINDS[kind]))
    assert set(told["disks"]) == {"vda"}
    assert told["left_out"]["vdb"]


@needs_nbd
@pytest.mark.parametrize("forged", [True, False])
def test_a_layer_of_unsaid_format_that_a_guest_may_have_forged_is_not_followed(
        played: Path, *, forged: bool) -> None:
    (played / "secret").write_bytes(b"S" * 1024)
    base = played / "base.raw"
    base.write_bytes(bytes(1 << 20))
    if forged:      # while it was its guest's own disk
        qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", played / "secret", base, "1M")
    top = image(played / "a.qcow2")
    qemu_img("rebase", "-u", "-f", "qcow2", "-b", base, "-F", "raw", played / "a.qcow2")
    with (played / "a.qcow2").open("r+b") as file:
        data = bytearray(file.read(4096))
        at = data.index(b"\xe2\x79\x2a\xca")     # the extension that says the format
        data[at:at + 4] = b"\x12\x34\x56\x78"
        file.seek(0)
        file.write(data)
    told = opened(played, disk(source=top), disk("vdb", source=image(played / "b.qcow2")))
    assert set(told["disks"]) == ({"vdb"} if forged else {"vda", "vdb"})
    assert forged == ("does not say of what format" in told["left_out"].get("vda", ""))


@needs_nbd
def test_an_encrypted_image_is_never_opened(played: Path) -> None:
    source = image(played / "a.qcow2")
    encrypt(played / "a.qcow2")
    told = opened(played, disk(source=source), disk("vdb", source=image(played / "b.qcow2")))
    assert set(told["disks"]) == {"vdb"}
    assert "encrypted" in told["left_out"]["vda"]


def spoil(path: Path, how: str) -> None:
    """Make a disk that QEMU cannot open."""
    if how == "gone":
        path.unlink()
    elif how == "no base":
        path.unlink()
        qemu_img("create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", "/no/base", path, "1M")
    else:
        with path.open("r+b") as file:
            file.write({"torn": b"no header", "newer": b"QFI\xfb\0\0\0\x63"}[how])


@needs_nbd
@pytest.mark.parametrize("how", ["gone", "no base", "torn", "newer"])
def test_one_disk_that_cannot_be_opened_at_rest_stops_no_other(played: Path, how: str) -> None:
    disks = [disk(name, source=image(played / f"{name}.qcow2")) for name in ("vda", "vdb")]
    spoil(played / "vdb.qcow2", how)
    told = opened(played, *disks)
    assert set(told["disks"]) == set(told["origins"]) == {"vda"}
    assert "it cannot be opened: " in told["left_out"]["vdb"]
    assert "driver=" not in told["left_out"]["vdb"]
    spoil(played / "vda.qcow2", "torn")
    with pytest.raises(TryAgain, match="no disk of sql can be read: vda: it cannot be opened"):
        opened(played, *disks)


@pytest.mark.parametrize("said", [
    "qemu-nbd: Failed to bind socket to /run/s: No such file or directory",
    "qemu-nbd: Failed to blk_new_open 'driver=raw': Could not open '/a': Cannot allocate memory"])
def test_what_ails_the_host_for_a_moment_leaves_no_disk_out(said: str) -> None:
    assert isinstance(offline._failure(virsh.Disk("/a", "raw", "file"), said), TryAgain)


def test_a_vm_of_which_nothing_can_be_copied_is_refused_by_name(played: Path) -> None:
    with pytest.raises(Refused, match=r"no disk of sql can be copied: vda \(it is encrypted"):
        opened(played, disk(**KINDS["luks"]))


@needs_nbd
def test_a_volume_is_read_as_the_file_that_it_is(played: Path) -> None:
    image(played / "pool/a,b.qcow2")
    told = opened(played, disk(type="volume", source="pool='default' volume='a,b.qcow2'"))
    assert told["disks"]["vda"]["size_bytes"] == 1 << 20


@needs_nbd
def test_what_others_write_to_a_disk_that_is_left_out_spoils_no_copy(played: Path) -> None:
    (played / "shared").write_bytes(b"\0" * 512)
    (played / "xml").write_text(DOMAIN.format(
        disk(source=image(played / "a.qcow2"))
        + disk("vdb", source=f"file='{played}/shared'", **KINDS["shareable"])) + "\n")
    copy = conductor.open_copy(UUID, conductor.CopyRequest({"vda": "scan", "vdb": "scan"}))
    (played / "shared").write_bytes(b"1" * 1024)
    assert copy.end()["was"] == "ended"


def test_no_checkpoint_is_asked_of_an_image_that_can_keep_none() -> None:
    disks = {"vda": virsh.Disk("/a", "qcow2", "file"), "vdc": virsh.Disk("/c", "raw", "file"),
             "vdb": virsh.Disk("/b", "qcow2", "file", version=2)}
    domain = virsh.Domain(UUID, "sql", "1", disks, "", agent=False)
    text = backup_job.checkpoint_xml(domain, "hotsite-000001", disks)
    assert "'vda'" in text.replace('"', "'")
    assert "vdb" not in text
    assert "vdc" not in text


PICKY = """#!/bin/sh
[ "$4" = backup-begin ] || exit 0
cat "$6" >{folder}/job; rm -f {folder}/checkpoint; [ -z "$7" ] || cat "$7" >{folder}/checkpoint
for odd in {odd}; do
    grep -q "name=.$odd. " {folder}/job || continue
    echo "error: {says}" | sed "s/DISK/$odd/" >&2
    exit 1
done
"""
SAYINGS = ["unsupported configuration: disk 'DISK' is empty or readonly",
           "Operation not supported: block jobs are not supported on transient disk 'DISK'",
           "Operation not supported: backups of tomorrow's kind of disk 'DISK' are not supported"]


@pytest.mark.parametrize("says", SAYINGS)
def test_a_disk_that_libvirt_alone_refuses_is_left_out_in_its_words(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(backup_job, "QEMU", str(tmp_path))
    (tmp_path / "domain-4-sql").mkdir()
    disks = {name: virsh.Disk(f"/d/{name}", "raw" if name == "vda" else "qcow2", "file")
             for name in ("vda", "vdb", "vdc")}
    domain = virsh.Domain(UUID, "sql", "4", disks, "", agent=False)
    seen = virsh.DomainStatus("running", domain, "<domain/>", True, [], set())
    wanted = backup_job.JobRequest("hotsite-000001", "", (), dict.fromkeys(disks, "scan"))
    for odd, left in (("vdb", {"vda", "vdc"}), ("vdb vdc", {"vda"})):
        (tmp_path / "virsh").write_text(PICKY.format(folder=tmp_path, odd=odd, says=says))
        (tmp_path / "virsh").chmod(0o755)
        begun = backup_job.begin(seen, wanted)
        assert set(begun.modes) == left
        assert set(begun.left_out) == set(odd.split())
        assert says.replace("DISK", "vdb") in begun.left_out["vdb"]
        assert begun.tracked is ("vdc" in left) is (tmp_path / "checkpoint").exists()
    (tmp_path / "virsh").write_text(PICKY.format(folder=tmp_path, odd="vda vdb vdc", says=says))
    with pytest.raises((Refused, TryAgain), match="was not begun"):
        backup_job.begin(seen, wanted)
