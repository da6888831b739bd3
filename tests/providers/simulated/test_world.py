"""The simulated estate: what breaks is seen as real hosts show it, and mends."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from controller.errors import OutcomeUnknown, Refused, Unavailable, Undone
from controller.model.facts import Absent, DomainState, Known, NodeFacts, Unknown
from controller.plan.actions.action import Action
from controller.plan.actions.desired import DesiredDisk, PortVlans
from controller.plan.actions.fencing import FenceHost
from controller.plan.actions.machine import MigrateDomain, RestartDomain, StartDomain
from controller.plan.actions.network import AddUplink, NarrowTrunk
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.faults import FAULTS
from controller.providers.simulated.hands.perform import HANDS
from controller.providers.simulated.virtual_time import run_virtual
from tests.mending import mending
from tests.simulation.estates import storm_estate

Story = Callable[[SimulatedEstate], Awaitable[Any]]


def told(story: Story, *, converged: bool = True) -> Any:
    """Play `story` on the small estate."""
    async def whole() -> Any:
        estate = SimulatedEstate(storm_estate(), converged=converged)
        result = await story(estate)
        await estate.close()
        return result

    return run_virtual(whole())


async def seen(estate: SimulatedEstate, node: str) -> NodeFacts:
    """What `node` says."""
    fact = await estate.observe(node)
    assert isinstance(fact, Known)
    return fact.value


def start(vm: str, host: str) -> StartDomain:
    """Start `vm` on `host`."""
    return StartDomain(target=f"VirtualMachine/{vm}", node=host, reason="", domain=vm)


def test_a_bare_host_has_neither_bridge_nor_pool_nor_domain() -> None:
    async def story(estate: SimulatedEstate) -> None:
        facts = await seen(estate, "paris-1")
        assert isinstance(facts.domains, Known)
        assert isinstance(facts.pools, Known)
        assert isinstance(facts.bridges, Known)
        assert not facts.domains.value
        assert not facts.pools.value
        assert not facts.bridges.value
        assert isinstance((await seen(estate, "paris-sw")).domains, Absent)

    told(story, converged=False)


def test_guests_of_one_vlan_reach_each_other_across_sites_and_others_do_not() -> None:
    async def story(estate: SimulatedEstate) -> list[bool]:
        return [estate.ping("sql", "files"), estate.ping("web", "proxy"),
                estate.ping("sql", "web")]

    assert told(story) == [True, True, False]


@pytest.mark.parametrize("fault", [
    "trunk paris-1 up0 drop 200", "trunk paris-sw h1 drop 200", "trunk milan-sw h1 drop 200",
    "trunk paris-sw tr0 drop 200", "tag paris-1 sql 40", "unplug milan-1 up0",
    "power milan-sw off", "link paris-1/up0 down", "pause paris-1 sql", "hang milan-1",
])
def test_a_path_is_cut_at_any_of_its_ports(fault: str) -> None:
    async def story(estate: SimulatedEstate) -> bool:
        estate.command(fault)
        return estate.ping("sql", "files")

    assert told(story) is False


def test_a_lost_trunk_member_is_replaced_after_a_gap_and_losing_both_cuts() -> None:
    async def story(estate: SimulatedEstate) -> list[bool]:
        estate.command("link metro/1 down")
        found = [estate.ping("sql", "files")]
        await asyncio.sleep(3)
        found.append(estate.ping("sql", "files"))
        estate.command("link metro/2 down")
        await asyncio.sleep(3)
        return [*found, estate.ping("sql", "files")]

    assert told(story) == [False, True, False]


def test_a_host_without_power_forgets_its_guests_and_says_so_only_when_it_is_back() -> None:
    async def story(estate: SimulatedEstate) -> None:
        before = await seen(estate, "paris-1")
        estate.command("power paris-1 off")
        silent = await estate.observe("paris-1")
        assert isinstance(silent, Unknown)
        assert silent.last == before
        estate.command("power paris-1 on")
        assert isinstance(await estate.observe("paris-1"), Unknown)
        await asyncio.sleep(50)
        after = await seen(estate, "paris-1")
        assert after.boot_id != before.boot_id
        assert isinstance(after.domains, Known)
        sql = after.domains.value["sql"]
        assert (sql.state, sql.state_reason, sql.live) == (DomainState.SHUT_OFF, "unknown", None)

    told(story)


def test_a_request_to_a_silent_host_was_never_sent() -> None:
    async def story(estate: SimulatedEstate) -> None:
        estate.command("ssh paris-1 pause")
        with pytest.raises(Unavailable):
            await estate.apply(start("sql", "paris-1"))

    told(story)


def test_a_lost_reply_leaves_the_effect_and_a_lost_request_does_not() -> None:
    async def story(estate: SimulatedEstate) -> list[tuple[str, ...]]:
        found = []
        for fault in ("lose-request next", "lose-reply next"):
            estate.command("kill any sql")
            estate.command(fault)
            with pytest.raises(OutcomeUnknown):
                await estate.apply(start("sql", "paris-1"))
            found.append(estate.world.copies("sql"))
        return found

    assert told(story) == [(), ("paris-1",)]


def test_power_lost_in_the_middle_of_a_restart_leaves_the_outcome_unknown() -> None:
    async def story(estate: SimulatedEstate) -> None:
        restart = RestartDomain(target="VirtualMachine/sql", node="paris-1", reason="",
                                domain="sql", limit_s=30)
        running = asyncio.create_task(estate.apply(restart))
        await asyncio.sleep(2)
        estate.command("power paris-1 off")
        with pytest.raises(OutcomeUnknown):
            await running

    told(story)


def test_a_restart_does_not_start_what_moved_away_meanwhile() -> None:
    async def story(estate: SimulatedEstate) -> tuple[str, ...]:
        restart = RestartDomain(target="VirtualMachine/sql", node="paris-1", reason="",
                                domain="sql", limit_s=30)
        running = asyncio.create_task(estate.apply(restart))
        await asyncio.sleep(2)
        estate.command("hand-migrate sql milan-1")
        with pytest.raises(Refused, match="migrated away"):
            await running
        return estate.world.copies("sql")

    assert told(story) == ("milan-1",)


def trunk(vlans: tuple[int, ...]) -> NarrowTrunk:
    """Let `vlans` pass on the port of paris-1's uplink."""
    return NarrowTrunk(target="Host/paris-1", node="paris-1", reason="", bridge="br0", port="up0",
                       will_be=PortVlans(vlans, None, "trunk"), wanted=vlans, lost=(200,),
                       was=PortVlans((30, 40, 200), None, "trunk"))


def test_a_trunk_change_is_undone_when_the_controller_does_not_come_back() -> None:
    async def story(estate: SimulatedEstate) -> list[tuple[int, ...]]:
        port = estate.world.node("paris-1").bridges["br0"].ports["up0"]
        found = [port.trunks]
        running = asyncio.create_task(estate.apply(trunk((30,))))
        await asyncio.sleep(0.25)
        estate.command("ssh paris-1 pause")
        found.append(estate.world.node("paris-1").bridges["br0"].ports["up0"].trunks)
        with pytest.raises(Undone, match="undid it by itself"):
            await running
        await asyncio.sleep(40)
        found.append(estate.world.node("paris-1").bridges["br0"].ports["up0"].trunks)
        return found

    before, during, after = told(story)
    assert (before, during, after) == ((30, 40, 200), (30,), (30, 40, 200))


def test_no_vlan_at_all_is_written_as_vlan_0() -> None:
    async def story(estate: SimulatedEstate) -> tuple[int, ...]:
        node = estate.world.node("paris-1")
        del node.bridges["br0"].ports["up0"]
        await estate.apply(AddUplink(target="Host/paris-1", node="paris-1", reason="",
                                     bridge="br0", port="up0", vlans=()))
        return estate.world.node("paris-1").bridges["br0"].ports["up0"].trunks

    assert told(story) == (0,)


def move(estate: SimulatedEstate, vm: str, here: str, there: str) -> MigrateDomain:
    """Move `vm` with its disk."""
    file = estate.world.node(here).domains[vm].config
    assert file is not None
    disks = tuple(DesiredDisk(d.target, "default", d.source, d.format, d.size_bytes or 0)
                  for d in file.disks)
    return MigrateDomain(target=f"VirtualMachine/{vm}", node=here, reason="", domain=vm, to=there,
                         to_address=there, to_replication_address=there, with_storage=True,
                         disks=disks)


def test_a_host_without_the_memory_does_not_receive_a_guest() -> None:
    async def story(estate: SimulatedEstate) -> None:
        estate.world.node("milan-2").memory_bytes = 1 << 30
        with pytest.raises(Refused, match="cannot set up guest memory"):
            await estate.apply(move(estate, "sql", "paris-1", "milan-2"))
        assert estate.world.copies("sql") == ("paris-1",)

    told(story)


def test_a_guest_with_a_disk_that_nobody_moves_stays() -> None:
    async def story(estate: SimulatedEstate) -> None:
        wanted = move(estate, "sql", "paris-1", "milan-2")
        domain = estate.world.node("paris-1").domains["sql"]
        assert domain.live is not None
        [disk] = domain.live.disks
        domain.live = replace(domain.live, disks=(replace(disk, readonly=True),))
        with pytest.raises(Refused, match="is not moved: disk vda .*: it is read-only"):
            await estate.apply(wanted)
        assert estate.world.copies("sql") == ("paris-1",)

    told(story)


def test_a_migration_whose_far_end_dies_leaves_the_guest_running() -> None:
    async def story(estate: SimulatedEstate) -> None:
        running = asyncio.create_task(estate.apply(move(estate, "sql", "paris-1", "milan-2")))
        await asyncio.sleep(1)
        assert estate.world.node("milan-2").domains["sql"].state is DomainState.INCOMING
        assert estate.world.copies("sql") == ("paris-1",)
        estate.command("power milan-2 off")
        with pytest.raises(OutcomeUnknown):
            await running
        assert estate.world.node("paris-1").domains["sql"].job is None
        assert "sql" not in estate.world.node("milan-2").domains

    told(story)


def test_a_stale_file_is_put_aside_and_not_overwritten() -> None:
    async def story(estate: SimulatedEstate) -> list[str]:
        await estate.apply(move(estate, "sql", "paris-1", "milan-2"))
        await estate.apply(move(estate, "sql", "milan-2", "paris-1"))
        return sorted(path for path in estate.world.node("paris-1").files if "/sql" in path)

    assert told(story) == ["/var/lib/libvirt/images/sql-vda.qcow2",
                           "/var/lib/libvirt/images/sql-vda.qcow2.stale-1"]


def test_unknown_words_and_things_are_said_to_be_so() -> None:
    async def story(estate: SimulatedEstate) -> None:
        with pytest.raises(ValueError, match="unknown fault"):
            estate.command("explode paris-1")
        with pytest.raises(ValueError, match="cannot do"):
            estate.command("kill paris-1 nobody")

    told(story)


def test_every_mending_is_itself_a_fault_word() -> None:
    lines = ["power paris-1 off", "hang paris-1", "ssh paris-1 pause", "libvirtd paris-1 kill",
             "site paris cut", "link metro/1 down", "fill paris-1", "slow paris-1 3",
             "clock paris-1 5", "babble paris-1", "muffle paris-1 sql", "dim paris-1 default"]
    mends = [mending(line) for line in lines]
    assert all(mend is not None and mend.split()[0] in FAULTS for mend in mends)
    assert mending("kill paris-1 sql") is None


def test_every_fault_says_in_its_docstring_how_it_is_written() -> None:
    assert [word for word, fault in FAULTS.items()
            if not (fault.__doc__ or "").startswith(f"`{word} ")] == []


def test_every_action_has_a_hand() -> None:
    of_bmcs = {FenceHost.verb}      # the host itself does nothing
    assert {kind.verb for kind in HANDS} | of_bmcs == {
        kind.verb for kind in Action.__subclasses__()}
