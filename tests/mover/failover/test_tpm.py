"""The state of a VM's TPM travels with a restore point, or the point says what it lacks."""

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from mover.backup import tpm as reading
from mover.failover import tpm as putting
from mover.image.packed_file import unpack_line

UUID = "11111111-2222-3333-4444-555555555555"
EMULATED = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'>{}</backend></tpm>"


@pytest.fixture(name="swtpm")
def swtpm_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which libvirt keeps the states of TPMs."""
    for module in (reading, putting):
        monkeypatch.setattr(module, "SWTPM", str(tmp_path / "swtpm"))
    monkeypatch.setattr(putting, "USERS", ())
    monkeypatch.setattr(putting, "SETTINGS", str(tmp_path / "qemu.conf"))
    return tmp_path / "swtpm"


def domain(tpm: str = EMULATED.format("")) -> ET.Element:
    return ET.fromstring(f"<domain><uuid>{UUID}</uuid><devices>{tpm}</devices></domain>")


def state(swtpm: Path, folder: str = "tpm2", name: str = "tpm2-00.permall") -> Path:
    return swtpm / UUID / folder / name


def keep(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def put(content: bytes | None = b"of the point", epoch: int = 7, why: str = "") -> list[str]:
    return putting.put_tpm(domain(), UUID, epoch, content, why)


@pytest.mark.parametrize(("version", "folder", "name"), [
    ("version='2.0'", "tpm2", "tpm2-00.permall"), ("version='1.2'", "tpm1.2", "tpm-00.permall"),
    ("", "tpm2", "tpm2-00.permall"), ("", "tpm1.2", "tpm-00.permall")])
def test_its_state_is_in_the_point_whichever_version_it_is(swtpm: Path, version: str, folder: str,
                                                           name: str) -> None:
    keep(state(swtpm, folder, name), b"keys")
    told = reading.read_tpm(domain(f"<tpm><backend type='emulator' {version}/></tpm>"))
    assert unpack_line(told["tpm"]) == b"keys"


def test_a_state_in_a_folder_of_its_own_is_found_there(swtpm: Path, tmp_path: Path) -> None:
    keep(tmp_path / "own/tpm2-00.permall", b"keys")
    told = reading.read_tpm(domain(EMULATED.format(f"<source type='dir' path='{tmp_path}/own'/>")))
    assert unpack_line(told["tpm"]) == b"keys"


@pytest.mark.parametrize(("tpm", "why"), [
    (EMULATED.format(""), "is not there: it has never been started here"),
    ("<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>",
     "it is passthrough, not one that libvirt emulates"),
    ("<tpm><backend type='external'/></tpm>", "it is external"), ("<tpm/>", "it is not known"),
    (EMULATED.format("<encryption secret='6f6c'/>"), "only libvirt on its host has the key"),
    (EMULATED.format("<source type='file' path='/srv/tpm'/>"), "is written in place"),
    ("<tpm><backend type='emulator'/></tpm>", "does not say of which version it is")])
def test_a_state_that_is_not_in_the_point_is_told(swtpm: Path, tpm: str, why: str) -> None:
    told = reading.read_tpm(domain(tpm))
    assert list(told) == ["tpm_missing"]
    assert why in told["tpm_missing"]


def test_a_state_that_is_no_file_is_told_and_holds_nothing_up(swtpm: Path) -> None:
    state(swtpm).mkdir(parents=True)
    assert "cannot be read" in reading.read_tpm(domain())["tpm_missing"] or (
        "is no file" in reading.read_tpm(domain())["tpm_missing"])


def test_a_vm_without_one_lacks_none(swtpm: Path) -> None:
    assert reading.read_tpm(domain("")) == {}
    assert putting.put_tpm(domain(""), UUID, 7, b"x", "") == []


def test_a_promoted_vm_begins_with_the_state_of_its_point(swtpm: Path) -> None:
    assert put() == []
    assert state(swtpm).read_bytes() == b"of the point"


def test_whoever_runs_it_may_pass_through_to_it_and_nobody_else_may_look(swtpm: Path) -> None:
    """libvirt makes these folders when it first starts a TPM, which it may never have done here."""
    put()
    modes = [path.stat().st_mode & 0o777 for path in (swtpm, swtpm / UUID, state(swtpm).parent)]
    assert modes == [0o711, 0o711, 0o700]


def test_states_in_one_folder_are_told_apart(swtpm: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        own = domain(EMULATED.format(f"<source type='dir' path='{tmp_path}/own/{name}'/>"))
        assert putting.put_tpm(own, UUID, 7, name.encode(), "") == []
    assert [(tmp_path / "own" / name / "tpm2-00.permall").read_text() for name in "ab"] == [
        "a", "b"]


def test_what_the_guest_wrote_since_stays_when_it_is_asked_for_again(swtpm: Path) -> None:
    put()
    state(swtpm).write_bytes(b"the guest's")
    assert put() == []
    assert state(swtpm).read_bytes() == b"the guest's"


def test_what_an_older_copy_left_is_kept_beside_it(swtpm: Path) -> None:
    keep(state(swtpm), b"of an older copy")
    put()
    assert state(swtpm).read_bytes() == b"of the point"
    assert state(swtpm, "tpm2.before-7").read_bytes() == b"of an older copy"
    state(swtpm).write_bytes(b"the guest's")
    put(b"of a later point", 9)
    assert state(swtpm).read_bytes() == b"of a later point"
    assert state(swtpm, "tpm2.before-9").read_bytes() == b"the guest's"


@pytest.mark.parametrize("cut_off_at", ["_make_way", "_write", "write_whole"])
def test_cut_off_anywhere_it_goes_on_and_loses_nothing(
        swtpm: Path, monkeypatch: pytest.MonkeyPatch, cut_off_at: str) -> None:
    """The step is done, and then the mover is gone."""
    keep(state(swtpm), b"of an older copy")
    step = getattr(putting, cut_off_at)

    def cut_off(*words: object) -> None:
        step(*words)
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(putting, cut_off_at, cut_off)
        with pytest.raises(InterruptedError):
            put()
    assert put() == []
    assert state(swtpm).read_bytes() == b"of the point"
    assert state(swtpm, "tpm2.before-7").read_bytes() == b"of an older copy"


def test_a_point_without_it_leaves_what_is_there_and_says_so(swtpm: Path) -> None:
    keep(state(swtpm), b"of an older copy")
    [told] = put(None, why="it is encrypted")
    assert "is not in the point (it is encrypted)" in told
    assert state(swtpm).read_bytes() == b"of an older copy"
    shutil.rmtree(swtpm)
    assert "it was made without" in put(None)[0]


def test_it_belongs_to_whom_libvirt_starts_it_as(swtpm: Path, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, int]] = []
    monkeypatch.setattr("os.chown", lambda path, uid, gid: given.append((str(path), uid)))
    (tmp_path / "qemu.conf").write_text('#swtpm_user = "nobody"\nswtpm_user = "daemon"\n')
    put()
    assert [uid for _, uid in given] == [1, 1]
