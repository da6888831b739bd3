"""The real shell and the real qemu-img delete our checkpoints, whatever libvirt can do."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from controller.providers.libvirt.checkpoint import DROP

NAME = "hotsite-000005-9fe2"
VIRSH = """#!/bin/sh
echo "$@" >>{folder}/asked
case "$*" in
    *checkpoint-list*) cat {folder}/checkpoints; exit 0;;
    *--metadata*) :> {folder}/checkpoints; exit {metadata};;
    *checkpoint-delete*) exit {whole};;
esac
"""


@pytest.fixture(name="image")
def image_fixture(tmp_path: Path) -> Path:
    image = tmp_path / "sql-vda.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"], check=True)
    for name in (NAME, "by-hand"):
        subprocess.run(["qemu-img", "bitmap", "--add", "-f", "qcow2", image, name], check=True)
    (tmp_path / "checkpoints").write_text(f"{NAME}\nby-hand\n")
    return image


def drop(image: Path, whole: int, metadata: int = 0) -> tuple[int, list[str]]:
    """Let it go with a virsh that can do so much, and return what is left in the image."""
    folder = image.parent
    (folder / "virsh").write_text(VIRSH.format(folder=folder, whole=whole, metadata=metadata))
    (folder / "virsh").chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", DROP, "sh", "qemu:///system", "a-uuid", "1", NAME, image, folder / "none"],
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}, check=False)
    info = subprocess.run(["qemu-img", "info", "--output=json", image], check=True,
                          capture_output=True)
    data = json.loads(info.stdout)["format-specific"]["data"]
    return done.returncode, [one["name"] for one in data.get("bitmaps", ())]


def test_a_running_guests_checkpoint_goes_with_all_that_libvirt_takes_along(image: Path) -> None:
    assert drop(image, whole=0) == (0, [NAME, "by-hand"])
    assert "--metadata" not in (image.parent / "asked").read_text()


def test_at_rest_the_note_goes_and_then_the_record_in_the_image(image: Path) -> None:
    assert drop(image, whole=1) == (0, ["by-hand"])


def test_one_that_is_gone_is_done_and_one_that_stays_is_a_failure(image: Path) -> None:
    assert drop(image, whole=1, metadata=1)[0] == 1
    (image.parent / "checkpoints").write_text("by-hand\n")
    assert drop(image, whole=1, metadata=1) == (0, [NAME, "by-hand"])
