"""A disk is identified by its files, and the data sent before by its clusters."""

import random
from pathlib import Path

import pytest
from mover.backup import conductor
from mover.backup.origins import Layer, Origin, guest_run_of, is_same_origin, origin_of
from mover.backup.reading import PUT_BACK, measured
from mover.backup.virsh import Disk, Domain
from mover.copy_mode import INCREMENT, SCAN
from mover.image.hashing import CLUSTER_BYTES
from mover.image.qcow2 import DATA, Run
from mover.image.sent_since import covers, of_ranges, with_runs, without

from tests.mover.disks import exported, image, needs_qemu, tool, written


def origin(*names: str, apart: bool = False, stamp: int = 1) -> Origin:
    """Return a disk made of these files."""
    return Origin([Layer(f"/d/{name}", name, [stamp, 2, 3]) for name in names], True, apart)


def test_a_layer_whose_name_no_path_can_be_is_not_there(tmp_path: Path) -> None:
    odd = tmp_path / "q.qcow2"
    tool("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "ba\1se", "-F", "raw", odd, "1M")
    odd.write_bytes(odd.read_bytes().replace(b"ba\1se", b"ba\0se"))
    assert not origin_of(Disk(str(odd), "qcow2", "file")).whole


@pytest.mark.parametrize(("then", "now", "same_run", "known"), [
    (origin("a"), origin("a", stamp=9), False, True),       # its guest has written to it
    (origin("a"), origin("b"), False, False), (origin("a"), origin("b"), True, False),
    (origin("a"), origin("s", "a"), True, True),            # a snapshot, by QEMU's hands
    (origin("s", "a"), origin("a"), True, True),            # and its commit
    (origin("a"), origin("s", "a"), False, False), (origin("s", "a"), origin("a"), False, False),
    (origin("a", "t"), origin("b", "t"), True, False),      # two disks on one template
    (origin("a", "t"), origin("a", "t", stamp=9), False, False),
    (origin("a", apart=True), origin("a", apart=True), False, False),
    (origin("a", apart=True), origin("a", apart=True), True, True),
    (origin("a")._replace(whole=False), origin("a"), True, False),
    (origin("a"), origin("a")._replace(whole=False), True, False)])
def test_a_record_is_trusted_only_on_the_files_it_was_begun_on(
        then: Origin, now: Origin, *, same_run: bool, known: bool) -> None:
    assert is_same_origin(then.record(), now, same_run=same_run) is known


@pytest.mark.parametrize("then", [None, {}, "a", {"layers": [], "whole": True, "apart": False}])
def test_of_what_nothing_was_noted_nothing_is_trusted(then: object) -> None:
    assert not is_same_origin(then, origin("a"), same_run=True)


def test_a_guest_that_is_off_or_whose_process_is_not_found_runs_under_no_name() -> None:
    for number in ("", "7"):
        assert guest_run_of(Domain("u", "no-such-guest", number, {}, "", agent=False)) == ""


@needs_qemu
def test_a_chain_is_followed_and_what_cannot_be_is_told(tmp_path: Path) -> None:
    image(tmp_path / "base.qcow2", "1M")
    for name, below, form in (("over", "base.qcow2", "qcow2"), ("wild", "nbd:unix:/s", "raw"),
                              ("gone", "nothing.qcow2", "qcow2")):
        tool("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", form, "-b", below,
             tmp_path / f"{name}.qcow2", "1M")
    found = {name: origin_of(Disk(str(tmp_path / f"{name}.qcow2"), "qcow2", "file"))
             for name in ("over", "wild", "gone")}
    assert [Path(layer.path).name for layer in found["over"].layers] == [
        "over.qcow2", "base.qcow2"]
    assert {name: one.whole for name, one in found.items()} == {
        "over": True, "wild": False, "gone": False}
    raw = origin_of(Disk(str(tmp_path / "over.qcow2"), "raw", "file"))
    assert len(raw.layers) == 1, "a guest may write into a raw disk whatever it likes"


@pytest.mark.parametrize("seed", range(5))
def test_a_set_of_clusters_is_told_exactly(seed: int) -> None:
    dice = random.Random(seed)
    chosen = sorted(dice.sample(range(500), 60))
    told = with_runs("", (Run(DATA, cluster, 1, 0) for cluster in chosen))
    ranges = [(cluster * CLUSTER_BYTES, CLUSTER_BYTES) for cluster in chosen]
    assert told == of_ranges(ranges)
    assert covers(ranges, told)
    assert covers([(0, 500 * CLUSTER_BYTES)], told)
    assert not covers(ranges[:-1], told)
    assert not covers(ranges[1:], told)
    missed = dice.randrange(60)
    assert not covers(ranges[:missed] + ranges[missed + 1:], told)
    assert covers(ranges[:missed] + ranges[missed + 1:], without(told, [ranges[missed]]))
    assert without(told, ranges) == ""
    assert covers([], "")
    assert not covers([(0, 500 * CLUSTER_BYTES)], None), "nobody knows what it was"


@needs_qemu
def test_a_record_that_knows_less_than_was_sent_is_not_read_by(tmp_path: Path) -> None:
    disk = image(tmp_path / "d.qcow2", "8M", "write 0 8M")
    tool("qemu-img", "bitmap", "--add", disk, "cp")
    written(disk, "write 1M 128k")
    sent = of_ranges([(17 * CLUSTER_BYTES, CLUSTER_BYTES)])
    more = of_ranges([(16 * CLUSTER_BYTES, 3 * CLUSTER_BYTES)])
    with exported(disk, tmp_path / "s", "--bitmap=cp") as socket:
        assert measured(socket, "vda", "cp", sent, "")["tracked"]
        assert measured(socket, "vda", "cp", sent, "")["holes"]
        assert not measured(socket, "vda", "cp", sent, "", guarded=True)["holes"]
        for unknown in (more, None):
            told = measured(socket, "vda", "cp", unknown, "")
            assert (told["tracked"], told["bitmap"], told["why"]) == (False, "", PUT_BACK)


@pytest.mark.parametrize(("now", "run", "unbroken", "mode"), [
    (origin("a"), "r1", False, INCREMENT), (origin("a"), "r2", False, INCREMENT),
    (origin("b"), "r1", False, SCAN), (origin("b"), "r2", False, SCAN),
    (origin("s", "a"), "r1", False, INCREMENT), (origin("s", "a"), "r2", False, SCAN),
    (origin("a"), "r1", True, INCREMENT),
    (origin("a"), "r2", True, SCAN), (origin("a"), "", True, SCAN)])
def test_a_running_guest_is_read_whole_where_its_disk_may_be_another(
        monkeypatch: pytest.MonkeyPatch, now: Origin, run: str, mode: str, *,
        unbroken: bool) -> None:
    monkeypatch.setattr(conductor, "guest_run_of", lambda domain: run)
    copy = conductor.LiveCopy.__new__(conductor.LiveCopy)
    copy._domain = Domain("u", "sql", "7", {}, "", agent=False)
    copy._origins = {"vda": now, "vdb": origin("z")}
    wanted, why = copy._trusted(conductor.CopyRequest(
        {"vda": INCREMENT, "vdb": SCAN}, since="hotsite-000001-0c5a", unbroken=unbroken,
        origins={"vda": origin("a").record()}, run="r1"))
    assert wanted.modes == {"vda": mode, "vdb": SCAN}
    assert sorted(why) == (["vda"] if mode == SCAN else [])
    assert copy._is_same_run(conductor.CopyRequest({}, run="r1")) is (run == "r1")
