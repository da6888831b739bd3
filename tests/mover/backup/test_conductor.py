"""The conductor of a VM's copies: its requests and how it ends backup jobs; libvirt is played."""

import os
import sys
from pathlib import Path

import pytest
from mover.backup import backup_job, conductor, virsh
from mover.backup.definition import epoch_of, read_definition
from mover.errors import Refused
from mover.replica import publish

from tests.mover.transfers import ATTEMPT, Machine

UUID = "ac919846-041c-5282-aa02-f968f5a26f2d"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host whose virsh does nothing but tell what it was asked for."""
    (tmp_path / "virsh").write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n'
                                    'echo "$*" | grep -oE "@@[0-9a-f]+@@"\n')
    (tmp_path / "virsh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(conductor, "FOLDER", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", [
    "x; undefine sql --remove-all-storage", "hotsite-000001 --children", "hotsite-000001\n",
    "hotsite-000001;destroy sql", "</name>", "mine", 7])
@pytest.mark.parametrize("place", ["checkpoint", "since"])
def test_a_checkpoint_that_is_none_of_ours_is_refused(place: str, name: object) -> None:
    with pytest.raises(Refused, match="not the name of a checkpoint"):
        conductor._parse_begin({"modes": {"vda": "increment"}, place: name})


@pytest.mark.parametrize("name", ["", "hotsite-000001", "hotsite-000001.12", "hotsite-1000000"])
def test_a_checkpoint_of_ours_is_taken(name: str) -> None:
    assert conductor._parse_begin({"modes": {"vda": "increment"}, "since": name}).since == name


@pytest.mark.parametrize("uuid", ["", "x; undefine sql", f"{UUID};destroy sql", f"../{UUID}"])
def test_what_is_no_uuid_is_refused(uuid: str, folder: Path) -> None:
    with pytest.raises(Refused, match="not the UUID of a VM"):
        conductor.lock(uuid)
    assert {path.name for path in folder.iterdir()} == {"virsh"}


SPEAKING = """#!{python}
import re, sys
said = {said!r}
asked = re.split("; echo (@@[0-9a-f]+@@)(?:; )?", sys.argv[-1])
for question, mark in zip(asked[::2], asked[1::2]):
    sys.stdout.write(said.get(question.split()[0], "") + "\\n" + mark + "\\n")
if not asked[1:]:
    sys.stdout.write(said.get(sys.argv[4], "") + "\\n")
"""


def speak(folder: Path, **said: str) -> None:
    """Let virsh say this to each command."""
    (folder / "virsh").write_text(SPEAKING.format(
        python=sys.executable, said={name.replace("_", "-"): text for name, text in said.items()}))


@pytest.mark.parametrize("words", ["hotsite-next-answer", "@@0123456789abcdef@@", "; echo", "@@"])
def test_no_word_in_an_answer_is_taken_for_its_end(folder: Path, words: str) -> None:
    title = f"<domain><title>{words}</title>\n{words}\n</domain>"
    speak(folder, dumpxml=title, domid="-")
    (told, number), _ = virsh.answers("dumpxml x", "domid x")
    assert told.strip() == title
    assert number.strip() == "-"


@pytest.mark.parametrize(("number", "deleted"), [("4", ["hotsite-000001"]), ("-", [])])
def test_checkpoints_go_wherever_a_process_has_the_disks(
        folder: Path, number: str, deleted: list[str]) -> None:
    speak(folder, domid=number, domstate="crashed", checkpoint_list="hotsite-000001")
    assert conductor._drop(UUID, []) == deleted


def test_nobody_is_off_of_whom_libvirt_does_not_say_so(folder: Path) -> None:
    speak(folder, checkpoint_list="hotsite-000001")
    with pytest.raises(virsh.VirshError):
        conductor._drop(UUID, [])
    with pytest.raises(virsh.VirshError, match="does not say"):
        virsh.has_process(UUID)


@pytest.mark.parametrize("state", ["crashed", "paused", "pmsuspended"])
def test_a_guest_that_does_not_run_is_not_asked_to_hold_still(state: str) -> None:
    assert state in conductor._unfreezable(seen("", state, agent=True))
    assert not conductor._unfreezable(seen("", agent=True))
    assert conductor._unfreezable(seen("")) == "no guest agent answers"


def test_only_checkpoints_of_ours_are_deleted(folder: Path) -> None:
    names = ["hotsite-000001", "hotsite-000002.3", "hotsite-000003;destroy", "hotsite-mine"]
    assert backup_job.clear(UUID, names, {"hotsite-000001"}) == ["hotsite-000002.3"]
    assert (folder / "asked").read_text().count("checkpoint-delete") == 1


def seen(nvram: object, state: str = "running", *, process: bool = True,
         agent: bool = False) -> virsh.DomainStatus:
    """Return a look at a domain whose NVRAM is there."""
    domain = virsh.Domain(UUID, "sql", "4" if process and state != "shut off" else "", {},
                          str(nvram), agent)
    return virsh.DomainStatus(state, domain, "<domain/>", True, [], set(), "panicked")


@pytest.mark.parametrize("content", [
    os.urandom(540_672), b"_FVH" + bytes((64 << 20) - 4), bytes(64 << 20)])
def test_the_nvram_is_in_the_point_as_it_was_however_its_firmware_pads_it(
        tmp_path: Path, content: bytes) -> None:
    (tmp_path / "VARS.fd").write_bytes(content)
    told = read_definition(seen(tmp_path / "VARS.fd"))
    assert "nvram_missing" not in told
    assert len(told["nvram"]) < 1 << 20
    machine = Machine(tmp_path, {"vda": 1 << 20})
    machine.open("vda", "base")
    machine.send("vda", machine.everything("vda"))
    publish.publish(publish.Request(str(machine.root), 1, {"vda": {"transfers": ["t"]}},
                                    attempt=ATTEMPT, meta={"nvram": {"zlib": told["nvram"]}}))
    kept = machine.root / "meta/000001/nvram"
    assert kept.read_bytes() == content
    assert kept.stat().st_blocks * 512 <= len(content.rstrip(b"\0")) + 65536


@pytest.mark.parametrize(("size_bytes", "state", "why"), [
    (None, "running", "cannot be read: No such file"),
    (None, "crashed", "cannot be read: No such file"),
    ((64 << 20) + 1, "shut off", "larger than 64 MiB"),
])
def test_an_nvram_that_is_not_in_the_point_is_told(
        tmp_path: Path, size_bytes: int | None, state: str, why: str) -> None:
    path = tmp_path / "VARS.fd"
    if size_bytes is not None:
        path.touch()
        os.truncate(path, size_bytes)
    told = read_definition(seen(path, state))
    assert "nvram" not in told
    assert told["nvram_missing"].startswith(str(path))
    assert why in told["nvram_missing"]


def test_an_nvram_that_cannot_be_compressed_is_reported(tmp_path: Path) -> None:
    (tmp_path / "VARS.fd").write_bytes(os.urandom(9 << 20))
    told = read_definition(seen(tmp_path / "VARS.fd"))
    assert "compressed" in told["nvram_missing"]
    assert "nvram" not in told


def test_an_nvram_that_is_elsewhere_is_told(tmp_path: Path) -> None:
    assert "is no file" in read_definition(seen("pool/sql-vars", "shut off"))["nvram_missing"]


def test_a_vm_that_has_none_or_never_started_misses_none(tmp_path: Path) -> None:
    for nvram in ("", tmp_path / "VARS.fd"):
        assert read_definition(seen(nvram, "shut off")) == {"xml": "<domain/>", "epoch": 0}
    crashed = seen(tmp_path / "VARS.fd", "crashed", process=False)
    assert read_definition(crashed) == {"xml": "<domain/>", "epoch": 0}


MARK = ("<domain><uuid>{uuid}</uuid><metadata><h:vm xmlns:h='https://hotsite.invalid/domain/1'"
        " {words}/></metadata></domain>")


@pytest.mark.parametrize(("words", "epoch"), [
    (f"epoch='7' uuid='{UUID}'", 7), ("epoch='7'", 7), ("role='production'", 0),
    ("epoch='many'", 0), ("epoch='7' uuid='00000000-0000-4000-8000-000000000000'", 0)])
def test_a_domain_is_the_copy_that_its_own_mark_says(words: str, epoch: int) -> None:
    assert epoch_of(MARK.format(uuid=UUID, words=words)) == epoch


@pytest.mark.parametrize(("xml", "path"), [
    ("<nvram template='/t'>/v/VARS.fd</nvram>", "/v/VARS.fd"), ("", ""),
    ("<nvram type='file'>\n<source file='/v/VARS.fd'/>\n</nvram>", "/v/VARS.fd"),
    ("<nvram type='block'><source dev='/dev/v/vars'/></nvram>", "/dev/v/vars"),
    ("<nvram type='network'><source protocol='rbd' name='pool/sql-vars'/></nvram>",
     "pool/sql-vars")])
def test_the_place_of_the_nvram_is_read_however_it_is_written(xml: str, path: str) -> None:
    assert virsh.domain_of(UUID, f"<domain><os>{xml}</os></domain>").nvram == path
