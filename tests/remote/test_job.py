"""What the conductor of a VM's copies takes from afar, and how it ends them; libvirt is played."""

import os
from pathlib import Path

import pytest
from mover import begin, job
from mover.errors import Refused

UUID = "ac919846-041c-5282-aa02-f968f5a26f2d"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host whose virsh does nothing but tell what it was asked for."""
    (tmp_path / "virsh").write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n'
                                    'echo "$*" | grep -o hotsite-next-answer\n')
    (tmp_path / "virsh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(job, "FOLDER", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", [
    "x; undefine sql --remove-all-storage", "hotsite-000001 --children", "hotsite-000001\n",
    "hotsite-000001;destroy sql", "</name>", "mine", 7])
@pytest.mark.parametrize("place", ["checkpoint", "since"])
def test_a_checkpoint_that_is_none_of_ours_is_refused(place: str, name: object) -> None:
    with pytest.raises(Refused, match="not the name of a checkpoint"):
        job._parse_begin({"modes": {"vda": "increment"}, place: name})


@pytest.mark.parametrize("name", ["", "hotsite-000001", "hotsite-000001.12", "hotsite-1000000"])
def test_a_checkpoint_of_ours_is_taken(name: str) -> None:
    assert job._parse_begin({"modes": {"vda": "increment"}, "since": name}).since == name


@pytest.mark.parametrize("uuid", ["", "x; undefine sql", f"{UUID};destroy sql", f"../{UUID}"])
def test_what_is_no_uuid_is_refused(uuid: str, folder: Path) -> None:
    with pytest.raises(Refused, match="not the UUID of a VM"):
        job.lock(uuid)
    assert {path.name for path in folder.iterdir()} == {"virsh"}


def test_only_checkpoints_of_ours_are_deleted(folder: Path) -> None:
    names = ["hotsite-000001", "hotsite-000002.3", "hotsite-000003;destroy", "hotsite-mine"]
    assert begin.clear(UUID, names, {"hotsite-000001"}) == ["hotsite-000002.3"]
    assert (folder / "asked").read_text().count("checkpoint-delete") == 1
