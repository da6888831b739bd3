"""Replication of a running guest from host to host, and what can get in its way."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.errors import Unavailable
from tests.lab.lab import STATE, Lab, wait_until
from tests.lab.replica.replication import MIB, Replication, tool, without_gap
from tests.lab.witness import last_number

FOREIGN = """<domainbackup mode='pull'>
<server transport='unix' socket='/var/lib/libvirt/images/foreign.sock'/>
<disks><disk name='vda' backup='yes' type='file'>
<scratch file='/var/lib/libvirt/images/foreign.qcow2'/></disk></disks></domainbackup>"""


@pytest.fixture(scope="module")
def sql(converged: Lab) -> Iterator[Replication]:
    """A guest of 256 MiB in Paris that has been replicated to Milan once."""
    replication = Replication(converged, "sql", "paris-1", "milan-1", 256 * MIB)
    converged.exec("milan-1", "rm", "-rf", replication.path)
    said = replication.cycle()
    assert "the replica has nothing of it yet" in said
    yield replication
    converged.exec("milan-1", "rm", "-rf", replication.path)


def test_an_increment_under_writes_is_one_point_in_time(sql: Replication, tmp_path: Path) -> None:
    sql.write(64, 2)
    before = last_number("paris-1", "sql")
    said = sql.cycle()
    assert "changed" in said
    numbers = sql.point_numbers(tmp_path)
    assert without_gap(numbers)
    assert before <= numbers[-1] <= last_number("paris-1", "sql")
    assert sql.has_only_its_last_checkpoint()
    sql.leaves_nothing_behind()


def test_a_cut_transfer_leaves_the_last_point_and_the_next_converges(
        sql: Replication, tmp_path: Path) -> None:
    sql.write(64, 4)
    before = sql.contents()
    with sql.cycling(rate_bytes=MIB / 4) as outcome:
        wait_until("some of it there", lambda: any(sql.folder.glob("vda/*.part")))
        for pid in sql.movers("send"):
            sql.lab.exec("paris-1", "kill", "-9", str(pid))
    assert isinstance(outcome[0], Unavailable)
    assert sql.contents() == before
    wait_until("the end of the job", lambda: not sql.has_job())
    assert "changed" in sql.cycle()
    assert without_gap(sql.point_numbers(tmp_path))
    sql.leaves_nothing_behind()


def test_the_host_ends_a_job_that_nobody_conducts_any_more(sql: Replication) -> None:
    sql.write(64, 2)
    before = sql.contents()
    with sql.cycling(rate_bytes=MIB) as outcome:
        front = min(sql.movers("job"))
        sql.lab.exec("paris-1", "kill", "-9", str(front))
    assert isinstance(outcome[0], Unavailable)
    wait_until("the end of the job", lambda: not sql.has_job())
    assert sql.contents() == before
    sql.cycle()
    sql.leaves_nothing_behind()


def test_a_job_of_somebody_else_is_let_be(sql: Replication) -> None:
    sql.lab.exec("paris-1", "sh", "-c", "cat >/tmp/foreign.xml", text=FOREIGN)
    sql.lab.virsh("paris-1", "backup-begin", "sql", "/tmp/foreign.xml")
    with pytest.raises(Unavailable, match="a backup that is not ours"):
        sql.cycle()
    assert "foreign.sock" in sql.lab.virsh("paris-1", "backup-dumpxml", "sql")
    sql.lab.virsh("paris-1", "domjobabort", "sql")
    wait_until("the end of the foreign job", lambda: not sql.has_job())
    assert "changed" in sql.cycle()


def test_a_scratch_that_fills_up_ends_the_job_and_not_the_guest(sql: Replication) -> None:
    sql.write(64, 48)
    with sql.reading(rate_bytes=MIB / 8, scratch_bytes=2 * MIB) as outcome:
        sql.write(64, 4, "-P 0")
    assert isinstance(outcome[0], Unavailable)
    assert "the scratch holds" in str(outcome[0])
    assert "running" in sql.lab.virsh("paris-1", "domstate", "sql")
    assert "changed" in sql.cycle()
    sql.leaves_nothing_behind()


def test_hosts_that_do_not_reach_each_other_are_served_through_the_controller(
        sql: Replication, tmp_path: Path) -> None:
    sql.write(80, 1)
    said = sql.cycle(to_address="10.78.0.99")
    assert "it went through the controller because paris-1 cannot reach milan-1" in said
    assert without_gap(sql.point_numbers(tmp_path))


def test_a_lost_bitmap_costs_a_look_at_the_disk_and_sends_what_differs(
        sql: Replication, tmp_path: Path) -> None:
    sql.lab.break_("vm", "paris-1", "sql")
    sql.boot()
    said = sql.cycle()
    assert "its change tracking is" in said
    assert "that differed" in said
    assert "KiB that differed" in said
    assert without_gap(sql.point_numbers(tmp_path))
    assert sql.has_only_its_last_checkpoint()


def test_a_flipped_bit_is_found_and_the_next_increment_mends_it(sql: Replication) -> None:
    sql.write(200, 1)
    sql.cycle()
    with sql.newest().open("r+b") as file:
        file.seek(file.seek(0, os.SEEK_END) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    assert "1 clusters were damaged" in sql.verify()
    sql.cycle(repair=True)
    sql.verify()
    assert "all as it was sent" in sql.verify()


def test_what_change_tracking_missed_is_found_by_a_comparison_and_sent(sql: Replication) -> None:
    sql.write(220, 1)
    sql.cycle()
    disk = STATE / f"nodes/paris-1/disk/images/{Path(sql.disks['vda'].source).name}"
    extents = json.loads(tool("qemu-img", "map", "-U", "--output=json", disk))
    place = next(one["offset"] for one in extents if one.get("offset") and one["data"]
                 and one["start"] <= 220 * MIB < one["start"] + one["length"])
    with disk.open("r+b") as file:      # behind QEMU's back: no bitmap hears of it
        file.seek(place + 65536)
        file.write(os.urandom(65536))
    assert "missed" not in sql.cycle()
    said = sql.cycle(compare="compared as a whole, as asked")
    assert "change tracking had missed at least" in said, said
    assert "missed" not in sql.cycle(compare="compared as a whole, as asked")


def test_after_a_clean_stop_source_and_replica_are_identical(sql: Replication) -> None:
    sql.lab.virsh("paris-1", "shutdown", "sql")
    wait_until("the guest's end",
               lambda: "shut off" in sql.lab.virsh("paris-1", "domstate", "sql"))
    assert "at rest" in sql.cycle()
    assert sql.identical()
    # what was written a moment ago may be written to again under the same stamp
    wait_until("a look at stamps alone", lambda: "nothing had changed" in sql.cycle())
    sql.boot()
    assert "changed" in sql.cycle()
    sql.retire(*range(1, sql.sequence))
    assert "all as it was sent" in sql.verify()
    sql.leaves_nothing_behind()
