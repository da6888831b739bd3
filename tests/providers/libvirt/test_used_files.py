"""Which files domains use, on a host whose virsh is played and whose qemu-img is the real one."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from controller.errors import Refused, Unavailable
from controller.plan.actions.machine import RemoveDomain
from controller.providers.libvirt.definition import refuse_paths_in_use
from controller.providers.libvirt.used_files import UsedFile, find_used_files
from controller.providers.node import Node
from tests.providers.fakes import Local

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="no qemu-img")
PLAYED = f"""#!{sys.executable} -S
import json, sys
from pathlib import Path
played = json.loads((Path(__file__).parent / "played.json").read_text())
words = sys.argv[4:]
say = lambda text: sys.stdout.write(text + "\\n")
if words[0] == "list":
    if played["list"]:
        sys.exit("error: " + played["list"])
    say("\\n".join(played["domains"]))
elif words[0] == "vol-path":
    path = played["volumes"].get(words[2] + "/" + words[4])
    if path is None:
        sys.exit("error: failed to get pool '%s'" % words[2])
    say(path)
else:
    sys.stderr.write("2026-11-28: 1: warning : something is odd\\n")
    text = played["domains"][words[-1]]
    if text.startswith("error"):
        sys.exit(text)
    say(text)
"""


class Stage:
    """A folder of images, and the domains that stand on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "virsh").write_text(PLAYED)
        (folder / "virsh").chmod(0o755)
        self.played: dict[str, Any] = {"domains": {}, "volumes": {}, "list": ""}
        self.node = Node(Local({"PATH": f"{folder}:{os.environ['PATH']}"}), "h")

    def image(self, name: str, below: str | None = None) -> str:
        """Make an image, over another one or by itself."""
        over = () if below is None else ("-b", f"{self.folder}/{below}", "-F", "qcow2")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *over, self.folder / name,
                        "1M"], check=True)
        return f"{self.folder}/{name}"

    def domain(self, name: str, source: str, more: str = "", form: str = "qcow2") -> None:
        """Define a domain with one disk."""
        self.played["domains"][f"uuid-{name}"] = (
            f"<domain><name>{name}</name>{more}<devices><disk type='file'>"
            f"<driver name='qemu' type='{form}'/><source {source}/>"
            "</disk></devices></domain>")

    def uses(self) -> tuple[UsedFile, ...]:
        """Return what is used."""
        (self.folder / "played.json").write_text(json.dumps(self.played))
        return asyncio.run(find_used_files(self.node))

    def users(self, path: str) -> list[str]:
        """Return who uses, or may use, a file."""
        return [str(use) for use in self.uses() if use.concerns(path)]

    def remove(self, *paths: str) -> None:
        """Refuse to remove domain `old` with these files, or not."""
        (self.folder / "played.json").write_text(json.dumps(self.played))
        asyncio.run(refuse_paths_in_use(self.node, RemoveDomain(
            target="VirtualMachine/old", node="h", reason="r", domain="old", limit_s=5.0,
            disk_paths=paths, suffix=".x")))


@pytest.fixture(name="stage")
def stage_fixture(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_all_layers_of_a_disk_are_used(stage: Stage) -> None:
    base, middle, top = (stage.image("base"), stage.image("middle", "base"),
                         stage.image("top", "middle"))
    stage.domain("web", f"file='{top}'")
    for path in (base, middle, top):
        assert stage.users(path) == ["web"]
    assert stage.users(f"{stage.folder}/other") == []


def test_a_volume_of_a_pool_is_used(stage: Stage) -> None:
    base, top = stage.image("base"), stage.image("top", "base")
    stage.domain("web", "pool='default' volume='top'")
    stage.played["volumes"]["default/top"] = top
    assert stage.users(top) == stage.users(base) == ["web"]


def test_a_volume_that_libvirt_does_not_find_may_be_any_file_of_its_name(stage: Stage) -> None:
    stage.domain("web", "pool='gone' volume='disk.qcow2'")
    with pytest.raises(Refused, match="may be used by web, whose volume disk.qcow2 of pool gone"):
        stage.remove("/p/disk.qcow2")
    stage.remove("/p/other.qcow2")


def test_an_overlay_whose_base_is_missing_is_that_ones_trouble_alone(stage: Stage) -> None:
    stage.image("base")
    middle, top = stage.image("middle", "base"), stage.image("top", "middle")
    (stage.folder / "base").unlink()
    stage.domain("web", f"file='{top}'")
    stage.domain("sql", f"file='{stage.image('sql')}'")
    for path in (top, middle, f"{stage.folder}/base"):
        assert stage.users(path) == ["web"]
    stage.remove(f"{stage.folder}/old.qcow2")
    with pytest.raises(Refused, match=r"middle is also used by web"):
        stage.remove(f"{stage.folder}/old.qcow2", middle)


def test_what_an_image_that_cannot_be_read_stands_on_is_not_known(stage: Stage) -> None:
    torn = stage.folder / "torn"
    torn.write_bytes(b"QFI\xfb" + bytes([0, 0, 0, 99]) + bytes(200))
    stage.domain("web", f"file='{torn}'")
    with pytest.raises(Refused, match=f"may be used by web, whose disk {torn} could not be read"):
        stage.remove("/p/old.qcow2")


def test_nothing_goes_that_a_domain_may_use_whose_definition_cannot_be_read(stage: Stage) -> None:
    stage.played["domains"]["uuid-odd"] = "error: Timed out: cannot acquire state change lock"
    with pytest.raises(Refused, match="may be used by uuid-odd, whose definition could not be"):
        stage.remove("/p/old.qcow2")


def test_a_domain_that_went_meanwhile_uses_nothing(stage: Stage) -> None:
    stage.played["domains"]["uuid-gone"] = "error: failed to get domain 'uuid-gone'"
    stage.domain("web", "file='/p/web.qcow2'")
    assert stage.uses() == (UsedFile("/p/web.qcow2", "web", format="qcow2"),)


def test_firmware_variables_and_kernels_are_used_too(stage: Stage) -> None:
    stage.domain("web", "dev='/dev/vg0/web'", "<os><kernel>/boot/k</kernel>"
                 "<nvram template='/usr/share/t.fd'>/var/nvram/web.fd</nvram></os>")
    assert {use.path for use in stage.uses()} == {"/dev/vg0/web", "/boot/k", "/var/nvram/web.fd"}


def test_more_files_than_a_command_line_can_name(stage: Stage) -> None:
    folder = stage.folder / ("long-" * 40)
    disks = "".join(f"<disk><driver type='qcow2'/><source file='{folder}/{number}.qcow2'/></disk>"
                    for number in range(1200))
    stage.domain("web", "dev='/dev/null'", f"<more>{disks}</more>", form="raw")
    assert len(stage.uses()) == 1201


def test_without_a_list_nothing_is_concluded(stage: Stage) -> None:
    stage.played["list"] = "failed to connect to the hypervisor"
    with pytest.raises(Unavailable, match="could not be listed"):
        stage.uses()


@pytest.mark.parametrize("more", ["", "<disk type='file'><driver name='qemu'/><source {}/></disk>"])
def test_what_a_guest_wrote_into_its_raw_disk_names_no_file(stage: Stage, more: str) -> None:
    stage.image("secret")
    forged = stage.image("forged", "secret")    # as a guest may write it
    source = f"file='{forged}'"
    stage.domain("web", "dev='/dev/null'" if more else source,
                 f"<more>{more.format(source)}</more>", form="raw")
    assert stage.users(forged) == ["web"]
    assert stage.users(f"{stage.folder}/secret") == []
    stage.domain("sql", "pool='default' volume='forged'", form="raw")
    stage.played["volumes"]["default/forged"] = forged
    assert stage.users(f"{stage.folder}/secret") == []


def test_a_layer_that_one_domain_takes_for_raw_counts_as_what_it_is_to_another(
        stage: Stage) -> None:
    stage.image("base")
    middle, top = stage.image("middle", "base"), stage.image("top", "middle")
    (stage.folder / "base").unlink()    # so that they are asked about one by one
    stage.domain("odd", f"file='{middle}'", form="raw")
    stage.domain("web", f"file='{top}'")
    assert "web" in stage.users(f"{stage.folder}/base")
