"""Restore points in the simulated estate: how they are made, and what survives each fault."""

import asyncio

import pytest

from controller.errors import OutcomeUnknown, Refused, Unavailable
from controller.model.facts import Absent, Known
from controller.model.replica import LeftoverKind
from controller.plan.actions.desired import DesiredDisk
from controller.plan.actions.machine import MigrateDomain
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.replicas import Version
from tests.providers.simulated import replica_stage as stage
from tests.providers.simulated.replica_stage import told


def test_a_converged_estate_has_a_verified_replica_at_the_other_site_and_its_checkpoint() -> None:
    async def story(estate: SimulatedEstate) -> None:
        facts = await stage.replica_seen(estate)
        assert stage.replica(estate)[0] == stage.OTHER
        assert (facts.machine, len(facts.points), facts.unreadable) == ("sql", 1, "")
        assert facts.points[0].verified_at == facts.points[0].started_at
        here = (await stage.seen(estate, stage.HOST)).domains
        assert isinstance(here, Known)
        assert here.value["sql"].checkpoints == ("hotsite-000001",)
        assert isinstance((await stage.seen(estate, "paris-sw")).replicas, Absent)

    told(story)


def test_an_increment_holds_what_the_guest_had_written_when_it_began() -> None:
    async def story(estate: SimulatedEstate) -> None:
        stage.write(estate)
        slow = stage.copy(estate, 2, limits=stage.at_most(1000))
        running = asyncio.create_task(estate.apply(slow))
        await asyncio.sleep(3)
        assert stage.domain(estate)[1].job == "backup"
        stage.write(estate)
        assert "vda by increment" in await running
        assert stage.point(estate).versions == {"vda": Version("sql-vda", 1)}
        assert sorted(stage.domain(estate)[1].checkpoints) == ["hotsite-000002"]
        assert stage.domain(estate)[1].job is None
        assert not (await stage.sweep_of(estate, stage.HOST)).leftovers

    told(story)


def test_a_copy_takes_as_long_as_its_bytes_and_the_bandwidth_say() -> None:
    async def story(estate: SimulatedEstate) -> list[float]:
        took = []
        for sequence, rate in ((2, None), (3, 100e3)):
            for _ in range(100):
                stage.write(estate)
            began = asyncio.get_running_loop().time()
            await estate.apply(stage.copy(estate, sequence, limits=stage.at_most(rate)))
            took.append(asyncio.get_running_loop().time() - began)
        return took

    fast, slow = told(story)
    assert fast < 3
    assert 55 < slow < 90


@pytest.mark.parametrize(("faults", "how", "why"), [
    (("kill paris-1 sql", "start paris-1 sql"), "scan", "inconsistent after a crash"),
    (("lose-bitmap paris-1 sql",), "scan", "inconsistent after a crash"),
    (("lose-checkpoints paris-1 sql",), "scan", "hotsite-000001 is gone"),
    (("lose-replica any sql",), "seed", "nothing of it yet"),
    (("lose-overlay any sql",), "seed", "base of its replica is gone"),
    (("shutoff paris-1 sql", "start paris-1 sql"), "increment", ""),
])
def test_the_least_transfer_that_can_work_is_made_and_named(
        faults: tuple[str, ...], how: str, why: str) -> None:
    async def story(estate: SimulatedEstate) -> str:
        for fault in faults:
            estate.command(fault)
        return await estate.apply(stage.copy(estate, 2, to=stage.OTHER))

    sentence = told(story)
    assert f"vda by {how}" in sentence
    assert why in sentence


def test_disks_put_back_to_before_they_were_copied_are_compared() -> None:
    async def story(estate: SimulatedEstate) -> tuple[str, str]:
        estate.command("shutoff paris-1 sql")
        stage.write(estate, "sql")
        first = await estate.apply(stage.copy(estate, 2))
        estate.command("put-back paris-1 sql")
        return first, await estate.apply(stage.copy(estate, 3))

    first, second = told(story)
    assert "vda by increment" in first
    assert "vda by scan" in second
    assert "knows less than was sent since" in second


def test_a_host_that_lost_its_power_has_lost_track_of_the_changes() -> None:
    async def story(estate: SimulatedEstate) -> str:
        estate.command("power paris-1 off")
        estate.command("power paris-1 on")
        await asyncio.sleep(60)
        estate.command("start paris-1 sql")
        return await estate.apply(stage.copy(estate, 2))

    assert "inconsistent after a crash" in told(story)


def test_a_vm_that_is_off_costs_nothing_while_unchanged_and_may_start_meanwhile() -> None:
    async def story(estate: SimulatedEstate) -> None:
        assert "unchanged" in await estate.apply(stage.copy(estate, 2, "cold"))
        stage.write(estate, "cold")
        slow = stage.copy(estate, 3, "cold", limits=stage.at_most(1000))
        ended = await stage.cut_short(estate, slow, "start any cold")
        assert isinstance(ended, Unavailable)
        assert "cold was started" in str(ended)
        assert estate.world.copies("cold")

    told(story)


CUTS = [
    (("site milan cut",), Unavailable), (("power milan-1 off",), OutcomeUnknown),
    (("power paris-1 off",), OutcomeUnknown), (("libvirtd paris-1 kill",), OutcomeUnknown),
    (("kill paris-1 sql",), Unavailable), (("shutoff paris-1 sql",), Unavailable),
    (("fill milan-1",), Unavailable), (("fill paris-1",), Unavailable),
    (("link metro/1 down", "link metro/2 down"), Unavailable),
    (("ssh milan-1 pause",), Unavailable), (("ssh paris-1 pause",), OutcomeUnknown),
    (("site paris cut",), OutcomeUnknown),
]


@pytest.mark.parametrize(("faults", "error"), CUTS, ids=str)
def test_a_copy_that_is_cut_leaves_the_last_point_as_it_was(
        faults: tuple[str, ...], error: type[Exception]) -> None:
    async def story(estate: SimulatedEstate) -> None:
        before = stage.point(estate)
        stage.write(estate)
        cut = stage.copy(estate, 2, limits=stage.at_most(3000))
        ended = await stage.cut_short(estate, cut, *faults)
        assert isinstance(ended, error), ended
        await asyncio.sleep(30)
        assert stage.replica(estate)[1].points == [before]
        assert (stage.replica(estate)[1].received != {}) == ("fill milan-1" not in faults)

    told(story)


def test_what_has_come_need_not_come_again() -> None:
    async def story(estate: SimulatedEstate) -> str:
        for _ in range(160):
            stage.write(estate)
        cut = stage.copy(estate, 2, limits=stage.at_most(1 << 20))
        await stage.cut_short(estate, cut, "site milan cut", after_s=8)
        facts = stage.replica(estate)[1]
        assert facts.received["vda"] > 4 << 20
        estate.command("site milan join")
        return await estate.apply(stage.copy(estate, 2))

    sentence = told(story)
    assert sentence.startswith("restore point 2 of sql is complete on milan-1: ")
    assert float(sentence.split(": ")[1].split("MiB")[0]) < 7


def test_a_controller_that_vanishes_leaves_things_that_are_seen_and_swept() -> None:
    async def story(estate: SimulatedEstate) -> None:
        for _ in range(160):
            stage.write(estate)
        slow = stage.copy(estate, 2, limits=stage.at_most(100e3), budget_s=20.0)
        running = asyncio.create_task(estate.apply(slow))
        await asyncio.sleep(5)
        running.cancel()
        await asyncio.sleep(10)
        sweep = await stage.sweep_of(estate, stage.HOST)
        assert [one.kind for one in sweep.leftovers] == [LeftoverKind.JOB]
        with pytest.raises(Unavailable, match="swept first"):
            await estate.apply(stage.copy(estate, 2))
        await estate.apply(sweep)
        assert stage.domain(estate)[1].job is None
        await asyncio.sleep(90)
        keys = await stage.sweep_of(estate, stage.OTHER)
        assert [one.kind for one in keys.leftovers] == [LeftoverKind.KEY]
        await estate.apply(keys)
        assert not (await stage.sweep_of(estate, stage.OTHER)).leftovers
        await estate.apply(stage.copy(estate, 2))
        assert sorted(stage.domain(estate)[1].checkpoints) == ["hotsite-000002"]

    told(story)


def test_what_has_an_owner_again_is_not_swept() -> None:
    async def story(estate: SimulatedEstate) -> str:
        stage.domain(estate)[1].job, stage.domain(estate)[1].job_is_ours = "backup", True
        sweep = await stage.sweep_of(estate, stage.HOST)
        stage.domain(estate)[1].job, stage.domain(estate)[1].job_is_ours = None, False
        running = asyncio.create_task(estate.apply(stage.copy(estate, 2, limits=stage.at_most(10))))
        await asyncio.sleep(2)
        said = await estate.apply(sweep)
        assert stage.domain(estate)[1].job == "backup"
        running.cancel()
        return said

    assert "1 had gone or had an owner again" in told(story)


def test_a_crash_of_the_host_leaves_its_scratch_files() -> None:
    async def story(estate: SimulatedEstate) -> None:
        stage.write(estate)
        slow = stage.copy(estate, 2, limits=stage.at_most(10))
        await stage.cut_short(estate, slow, "power paris-1 off")
        estate.command("power paris-1 on")
        await asyncio.sleep(60)
        sweep = await stage.sweep_of(estate, stage.HOST)
        assert [one.kind for one in sweep.leftovers] == [LeftoverKind.SCRATCH]
        await estate.apply(sweep)
        assert not (await stage.sweep_of(estate, stage.HOST)).leftovers

    told(story)


def test_a_reply_that_is_lost_leaves_the_point_complete() -> None:
    async def story(estate: SimulatedEstate) -> None:
        estate.command("lose-reply next")
        with pytest.raises(OutcomeUnknown):
            await estate.apply(stage.copy(estate, 2))
        assert stage.point(estate).sequence == 2
        assert "is on milan-1 already" in await estate.apply(stage.copy(estate, 2))
        assert stage.point(estate).sequence == 2

    told(story)


def test_a_backup_of_others_is_left_alone_and_a_vm_being_copied_is_not_moved() -> None:
    async def story(estate: SimulatedEstate) -> None:
        estate.command("foreign-backup any sql")
        with pytest.raises(Unavailable, match="not ours"):
            await estate.apply(stage.copy(estate, 2))
        assert stage.domain(estate)[1].job == "backup"
        assert not (await stage.sweep_of(estate, stage.HOST)).leftovers
        estate.command("end-backup any sql")
        stage.write(estate)
        slow = stage.copy(estate, 2, limits=stage.at_most(1000))
        running = asyncio.create_task(estate.apply(slow))
        await asyncio.sleep(2)
        disk = DesiredDisk("vda", "default", "/var/lib/libvirt/images/sql-vda.qcow2", "qcow2", 1)
        with pytest.raises(Unavailable, match="busy: backup"):
            await estate.apply(MigrateDomain(
                target="VirtualMachine/sql", node="paris-1", reason="", domain="sql", to="paris-2",
                to_address="", to_replication_address="", with_storage=True, disks=(disk,)))
        await running

    told(story)


def test_damage_is_found_by_reading_and_mended_by_the_next_point() -> None:
    async def story(estate: SimulatedEstate) -> None:
        estate.command("damage-replica any sql 3")
        assert (await stage.replica_seen(estate)).damaged_clusters == 0
        assert "3 clusters" in await estate.apply(stage.verify(estate))
        assert (await stage.replica_seen(estate)).points[-1].damaged_clusters == 3
        await estate.apply(stage.copy(estate, 2))
        assert (await stage.replica_seen(estate)).points[-1].damaged_clusters == 3
        await estate.apply(stage.copy(estate, 3, repair=True))
        assert (await stage.replica_seen(estate)).damaged_clusters == 0

    told(story)


def test_a_lost_overlay_is_seen_and_healed_by_a_scan() -> None:
    async def story(estate: SimulatedEstate) -> str:
        await estate.apply(stage.copy(estate, 2))
        estate.command("lose-overlay any sql")
        assert (await stage.replica_seen(estate)).lost_files == ("vda/rp-000002.qcow2",)
        said = await estate.apply(stage.copy(estate, 3))
        facts = await stage.replica_seen(estate)
        assert facts.lost_files == ()
        assert [bool(one.damaged_clusters) for one in facts.points] == [False, True, False]
        return said

    assert "by scan, because a file of its replica is lost" in told(story)


def test_a_drill_leaves_nothing_but_its_result_and_holds_its_point_meanwhile() -> None:
    async def story(estate: SimulatedEstate) -> None:
        await estate.apply(stage.copy(estate, 2))
        held = stage.replica(estate)[1]
        drilling = asyncio.create_task(estate.apply(stage.drill(estate, 2)))
        await asyncio.sleep(5)
        assert held.pins == {"drill": 2}
        with pytest.raises(Unavailable, match="goes on already"):
            await estate.apply(stage.drill(estate, 2))
        await estate.apply(stage.copy(estate, 3))
        assert "is proven" in await drilling
        held.unbootable = "its guest agent does not answer"
        assert "is unproven" in await estate.apply(stage.drill(estate, 3))
        assert held.pins == {}
        assert [(one.sequence, one.outcome.value) for one in (
            await stage.replica_seen(estate)).drills] == [(2, "proven"), (3, "unproven")]
        with pytest.raises(Refused, match="is not there, or reads wrong"):
            await estate.apply(stage.drill(estate, 9))

    told(story)


def test_points_retire_by_merging_and_the_newest_and_the_pinned_stay() -> None:
    async def story(estate: SimulatedEstate) -> None:
        for sequence in (2, 3):
            await estate.apply(stage.copy(estate, sequence))
        before = stage.replica(estate)[1].stored_bytes
        await estate.apply(stage.retire(estate, 1))
        assert [one.sequence for one in stage.replica(estate)[1].points] == [2, 3]
        assert stage.replica(estate)[1].stored_bytes <= before
        with pytest.raises(Refused, match="newest"):
            await estate.apply(stage.retire(estate, 3))
        stage.replica(estate)[1].pins["a drill"] = 2
        with pytest.raises(Refused, match="held by a drill"):
            await estate.apply(stage.retire(estate, 2))

    told(story)


def test_a_scrub_goes_on_where_its_budget_ended() -> None:
    async def story(estate: SimulatedEstate) -> list[str]:
        stage.point(estate).stored_bytes = 1 << 30
        return [await estate.apply(stage.verify(estate, budget_s=2.0)) for _ in range(2)]

    first, second = told(story)
    assert "the rest comes next" in first
    assert second.startswith("all of the replica of sql on milan-1")


def test_a_replica_whose_state_cannot_be_read_is_seen_and_never_written() -> None:
    async def story(estate: SimulatedEstate) -> None:
        estate.command("corrupt-state any sql")
        facts = await stage.replica_seen(estate)
        assert "state.json" in facts.unreadable
        for action in (stage.copy(estate, 2), stage.verify(estate), stage.retire(estate, 1)):
            with pytest.raises(Refused, match="state.json"):
                await estate.apply(action)
        estate.command("restore-state any sql")
        await estate.apply(stage.copy(estate, 2))

    told(story)


def test_a_replica_is_removed_where_it_is_and_nowhere_else() -> None:
    async def story(estate: SimulatedEstate) -> None:
        action = stage.remove(estate)
        await estate.apply(action)
        assert not estate.world.node(stage.OTHER).replicas.get(action.uuid)
        assert "was not on" in await estate.apply(action)

    told(story)


def test_the_garbage_of_a_crash_is_all_ours_and_all_swept() -> None:
    async def story(estate: SimulatedEstate) -> None:
        estate.command("garbage paris-1")
        sweep = await stage.sweep_of(estate, stage.HOST)
        assert {one.kind for one in sweep.leftovers} == set(LeftoverKind)
        await estate.apply(sweep)
        assert not (await stage.sweep_of(estate, stage.HOST)).leftovers

    told(story)


def test_a_base_cut_short_is_seen_and_healed_by_a_scan() -> None:
    async def story(estate: SimulatedEstate) -> str:
        await estate.apply(stage.copy(estate, 2))
        estate.command("truncate-base any sql")
        facts = await stage.replica_seen(estate)
        assert facts.lost_files == ("vda/base-000001.raw",)
        assert all(one.damaged_clusters for one in facts.points)
        said = await estate.apply(stage.copy(estate, 3))
        facts = await stage.replica_seen(estate)
        assert (facts.lost_files, facts.points[-1].damaged_clusters) == ((), 0)
        return said

    assert "by scan, because a file of its replica is lost" in told(story)


def test_what_breaks_while_a_point_retires_keeps_it() -> None:
    async def story(estate: SimulatedEstate) -> None:
        await estate.apply(stage.copy(estate, 2))
        running = asyncio.create_task(estate.apply(stage.retire(estate, 1)))
        await asyncio.sleep(1)
        estate.command("lose-overlay any sql")
        with pytest.raises(Refused, match="repair it before anything is merged"):
            await running
        assert [one.sequence for one in stage.replica(estate)[1].points] == [1, 2]

    told(story)
