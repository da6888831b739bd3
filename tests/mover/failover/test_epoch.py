"""A replica follows the newest copy of its VM: nothing of an older one is received or done."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mover.errors import Refused
from mover.replica import publish, settle
from mover.replica.replica import Replica, locked
from mover.replica.state import epoch_of

from tests.mover.transfers import (
    ATTEMPT,
    Machine,
    ask,
    assert_every_point_reads_as_its_disk,
    feed,
    write_stream,
)

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")
OLDER = "follows epoch 7 of its VM, and this was asked for epoch 6, an older copy of it"


@pytest.fixture(name="machine")
def machine_fixture(tmp_path: Path) -> Machine:
    """A machine with three points."""
    machine = Machine(tmp_path, {"vda": 2 << 20})
    for _ in range(3):
        machine.cycle()
    return machine


def open_incoming(machine: Machine, epoch: int, attempt: str = ATTEMPT) -> tuple[int, str]:
    """Open the next point as the controller does."""
    status, told = ask("incoming-open", {
        "replica": str(machine.root), "attempt": attempt, "epoch": epoch,
        "disks": {"vda": {"kind": "overlay", "size_bytes": 2 << 20}}}, machine.folder)
    return status, str(told.get("sentence", ""))


def become(machine: Machine, **facts: object) -> None:
    """Have a replica follow, or be, a newer copy of its VM."""
    with locked(str(machine.root)) as replica:
        replica.commit(replica.state._replace(facts={**replica.state.facts, **facts}))


def request(machine: Machine, epoch: int) -> publish.Request:
    """Return the request that publishes point 4 for an epoch."""
    return publish.Request(str(machine.root), 4, {"vda": {"transfers": ["t"]}}, reread="memory",
                           attempt=ATTEMPT, epoch=epoch)


def test_the_first_copy_of_a_newer_epoch_shuts_the_older_ones_out(machine: Machine) -> None:
    assert open_incoming(machine, 6)[0] == 0
    machine.send("vda", machine.change("vda", 3))
    assert open_incoming(machine, 7, "another")[0] == 0
    assert epoch_of(Replica(str(machine.root)).state) == 7
    assert OLDER in open_incoming(machine, 6)[1]
    with pytest.raises(Refused, match=OLDER):
        publish.publish(request(machine, 6))
    assert_every_point_reads_as_its_disk(machine)


def test_what_was_opened_before_is_not_received_any_more(machine: Machine) -> None:
    assert open_incoming(machine, 6)[0] == 0
    stream = write_stream(machine.folder / "late", "vda", 2 << 20, machine.change("vda", 3))
    become(machine, epoch=7)
    with pytest.raises(Refused, match=OLDER):
        feed(machine.root, stream)


def test_nor_what_is_being_received_meanwhile(
        machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_incoming(machine, 6)[0] == 0
    stream = write_stream(machine.folder / "late", "vda", 2 << 20, machine.change("vda", 3))
    monkeypatch.setattr("mover.replica.receive._put_data", becoming(machine))
    with pytest.raises(Refused, match=OLDER):
        feed(machine.root, stream)
    assert not (machine.root / "vda/incoming.ends").exists()


def becoming(machine: Machine) -> Callable[..., None]:
    """Return what, instead of writing clusters, has the replica follow a newer epoch."""
    def put(*_: object) -> None:
        become(machine, epoch=7)
    return put


def test_points_carry_the_epoch_of_their_vm(machine: Machine) -> None:
    assert open_incoming(machine, 7)[0] == 0
    machine.send("vda", machine.change("vda", 3))
    publish.publish(request(machine, 7))
    state = Replica(str(machine.root)).state
    assert [point.facts.get("epoch", 0) for point in state.points] == [0, 0, 0, 7]
    assert epoch_of(state) == 7


@pytest.mark.parametrize("verb", ["retire", "verify", "remove", "incoming-open", "publish"])
def test_every_verb_that_changes_a_replica_is_refused_for_an_older_copy(
        machine: Machine, verb: str) -> None:
    become(machine, epoch=7)
    before = Replica(str(machine.root)).state
    asked = {"verify": {}, "retire": {"sequences": [1]},
             "remove": {"store": machine.root.parent.name, "uuid": machine.root.name},
             "incoming-open": {"attempt": "a", "disks": {}},
             "publish": {"sequence": 4, "disks": {"vda": {"unchanged": True}}}}[verb]
    for epoch in (6, None):
        status, told = ask(verb, {"replica": str(machine.root), **asked,
                                  **({"epoch": epoch} if epoch else {})}, machine.folder)
        assert (status, "follows epoch 7" in str(told["sentence"])) == (1, True)
    assert Replica(str(machine.root)).state == before
    if verb in {"retire", "verify"}:
        assert ask(verb, {"replica": str(machine.root), **asked, "epoch": 7},
                   machine.folder)[0] == 0


def test_a_replica_that_became_the_vm_receives_nothing(machine: Machine) -> None:
    assert open_incoming(machine, 8)[0] == 0
    machine.send("vda", machine.change("vda", 3))
    become(machine, epoch=7, promoted={"epoch": 7, "sequence": 3})
    for epoch in (7, 8):
        assert "the VM runs over restore point 3 of its replica here since epoch 7" in (
            open_incoming(machine, epoch)[1])
        with pytest.raises(Refused, match="the VM runs over restore point 3"):
            publish.publish(request(machine, epoch))
    with pytest.raises(Refused, match="the VM runs over"):
        feed(machine.root, write_stream(machine.folder / "late", "vda", 2 << 20, []))


def test_what_was_received_for_an_older_epoch_is_not_settled(
        machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_incoming(machine, 6)[0] == 0
    machine.send("vda", machine.change("vda", 3))
    become(machine, epoch=7)
    order = type("Order", (), {"request": {"replica": str(machine.root), "disks": ["vda"],
                                           "attempt": ATTEMPT, "reread": "memory"}})
    monkeypatch.setattr(settle, "Requests", order)
    with pytest.raises(Refused, match=OLDER):
        settle.run([])
