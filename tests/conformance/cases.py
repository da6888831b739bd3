"""The cases: each a sentence that is true of every provider."""

import asyncio
from dataclasses import replace

from controller.model.facts import Absent, DomainState, Known, Unknown
from controller.plan.actions.desired import PortVlans, SetMemory
from controller.plan.actions.machine import (
    DefineDomain,
    MigrateDomain,
    ReconfigureDomain,
    ResumeDomain,
    ShutDownDomain,
    StartDomain,
    UndefineDomain,
)
from controller.plan.actions.network import NarrowTrunk, SetPortVlan, WidenTrunk
from controller.plan.actions.storage import CreateDisk
from controller.plan.machine.domain import desired_disk, desired_domain
from controller.plan.network.port_vlans import port_vlans_of
from controller.plan.survey.context import Context
from controller.plan.survey.survey import take_survey
from tests.conformance.removal_cases import REMOVAL_CASES
from tests.conformance.replica_cases import REPLICA_CASES
from tests.conformance.stage import (
    Stage,
    common,
    domain,
    heal,
    known,
    observed,
    plan,
    port,
    refusal,
    until,
    where,
)

VM = "web"
VLAN = 30


async def a_converged_estate_plans_nothing(stage: Stage) -> None:
    """Nothing is left to do, and nothing is unknown."""
    found = await plan(stage)
    assert [step.action.id for step in found.steps] == []
    assert [remark.sentence for remark in found.remarks if remark.unknown] == []


async def a_switch_has_no_domains_and_no_pools(stage: Stage) -> None:
    """They are absent, which is not the same as empty or unknown."""
    facts = await known(stage, "paris-sw")
    assert isinstance(facts.domains, Absent)
    assert isinstance(facts.pools, Absent)
    assert isinstance(facts.bridges, Known)


async def a_running_guest_has_a_port_with_its_mac_and_vlan(stage: Stage) -> None:
    """The live XML names the device; the bridge has it, tagged."""
    host = await where(stage, VM)
    seen = await domain(stage, host, VM)
    assert seen is not None
    assert seen.live is not None
    nic = seen.live.nics[0]
    assert nic.device is not None
    plugged = await port(stage, host, nic.device)
    assert plugged is not None
    assert (plugged.tag, plugged.attached_mac) == (VLAN, nic.mac)
    assert nic.mac == stage.desired.virtual_machines[VM].spec.nics[0].mac


async def a_killed_guest_is_crashed_and_its_port_is_gone(stage: Stage) -> None:
    """The definition stays, and it can be started again."""
    host = await where(stage, VM)
    before = await domain(stage, host, VM)
    assert before is not None
    assert before.live is not None
    stage.strike(f"kill {host} {VM}")

    async def off() -> bool:
        now = await domain(stage, host, VM)
        return now is not None and now.state is DomainState.SHUT_OFF

    await until("it is seen to be off", off)
    after = await domain(stage, host, VM)
    assert after is not None
    assert (after.state_reason, after.live, after.persistent) == ("crashed", None, True)
    assert await port(stage, host, str(before.live.nics[0].device)) is None
    await stage.provider.apply(StartDomain(**common(VM, host), domain=VM))
    assert await where(stage, VM) == host


async def starting_what_runs_is_done_already(stage: Stage) -> None:
    """It is no error, and nothing happens."""
    host = await where(stage, VM)
    assert await refusal(stage, StartDomain(**common(VM, host), domain=VM)) == "done"


async def starting_what_is_not_there_is_refused(stage: Stage) -> None:
    """Asking again would not help."""
    start = StartDomain(**common("nobody", "paris-1"), domain="nobody")
    assert await refusal(stage, start) == "Refused"


async def resuming_what_runs_is_done_already(stage: Stage) -> None:
    """It is no error, and nothing happens."""
    host = await where(stage, VM)
    assert await refusal(stage, ResumeDomain(**common(VM, host), domain=VM)) == "done"


async def what_runs_cannot_be_undefined(stage: Stage) -> None:
    """Only what is off is forgotten."""
    host = await where(stage, VM)
    assert await refusal(stage, UndefineDomain(**common(VM, host), domain=VM)) == "Refused"


async def a_changed_tag_is_seen_and_put_back(stage: Stage) -> None:
    """The port's tag is what Open vSwitch says."""
    host = await where(stage, VM)
    seen = await domain(stage, host, VM)
    assert seen is not None
    assert seen.live is not None
    nic = seen.live.nics[0]
    stage.strike(f"tag {host} {VM} 99")
    changed = await port(stage, host, str(nic.device))
    assert changed is not None
    assert changed.tag == 99
    await heal(stage)
    mended = await port(stage, host, str(nic.device))
    assert mended is not None
    assert mended.tag == VLAN


async def a_port_that_is_anothers_is_not_touched(stage: Stage) -> None:
    """Ports are numbered as they come; the MAC decides."""
    host = await where(stage, VM)
    seen = await domain(stage, host, VM)
    assert seen is not None
    assert seen.live is not None
    wrong = SetPortVlan(**common(VM, host), bridge="br0", port=str(seen.live.nics[0].device),
                        mac="52:54:00:ff:ff:ff", vlan=99, was=VLAN)
    assert await refusal(stage, wrong) == "Refused"


async def a_trunk_changed_by_hand_is_seen_and_put_back(stage: Stage) -> None:
    """Exactly the declared VLANs pass, and doing it twice changes nothing."""
    before = await port(stage, "paris-sw", "tr1")
    assert before is not None
    stage.strike("trunk paris-sw tr1 drop 30")
    changed = await port(stage, "paris-sw", "tr1")
    assert changed is not None
    assert changed.trunks == tuple(vlan for vlan in before.trunks if vlan != 30)
    again = WidenTrunk(target="Switch/paris-sw", node="paris-sw", reason="a test asks for it",
                       bridge="br0", port="tr1", wanted=before.trunks,
                       will_be=port_vlans_of(before), was=port_vlans_of(changed))
    await stage.provider.apply(again)
    assert await port(stage, "paris-sw", "tr1") == before
    assert await refusal(stage, again) == "done"
    stage.strike("trunk paris-sw tr1 drop 40")
    less = NarrowTrunk(target="Switch/paris-sw", node="paris-sw", reason="a test asks for it",
                       bridge="br0", port="tr1", wanted=(),
                       will_be=PortVlans((200,), None, "trunk"), was=port_vlans_of(before),
                       lost=(30, 40))
    assert await refusal(stage, less) == "Refused"  # it has changed since it was looked at


async def a_disk_that_is_there_is_never_made_again(stage: Stage) -> None:
    """The same is left as it is; another size is refused."""
    host = await where(stage, VM)
    vm, spec = stage.desired.virtual_machines[VM], stage.desired.hosts[host]
    wanted = desired_disk(vm, vm.spec.disks[0], spec)
    assert await refusal(stage, CreateDisk(**common(VM, host), disk=wanted)) == "done"
    larger = replace(wanted, size_bytes=wanted.size_bytes * 2)
    assert await refusal(stage, CreateDisk(**common(VM, host), disk=larger)) == "Refused"


async def defining_what_is_defined_is_done_already(stage: Stage) -> None:
    """An existing definition is not replaced."""
    host = await where(stage, VM)
    before = await domain(stage, host, VM)
    vm, spec = stage.desired.virtual_machines[VM], stage.desired.hosts[host]
    survey = take_survey(stage.desired, await observed(stage), Context(), stage.clock())
    assert before is not None
    wanted = desired_domain(vm, spec, before, survey)
    assert await refusal(stage, DefineDomain(**common(VM, host), desired=wanted)) == "done"
    after = await domain(stage, host, VM)
    assert after is not None
    assert after.config == before.config


async def a_guest_is_shut_down_and_started(stage: Stage) -> None:
    """Off means off, with libvirt's reason; shutting down what is off is done already."""
    host = await where(stage, VM)
    down = ShutDownDomain(**common(VM, host), domain=VM, limit_s=15.0)
    await stage.provider.apply(down)
    seen = await domain(stage, host, VM)
    assert seen is not None
    assert seen.state is DomainState.SHUT_OFF
    assert seen.state_reason in {"shutdown", "destroyed"}
    assert await refusal(stage, down) == "done"
    await stage.provider.apply(StartDomain(**common(VM, host), domain=VM))
    assert await where(stage, VM) == host


async def memory_beyond_the_ceiling_is_refused_live(stage: Stage) -> None:
    """A running guest keeps what it was started with as its limit."""
    host = await where(stage, VM)
    much = ReconfigureDomain(**common(VM, host), domain=VM, live=True,
                             changes=(SetMemory(1 << 40),))
    assert await refusal(stage, much) == "Refused"


async def a_guest_moves_with_its_disk_and_comes_back(stage: Stage) -> None:
    """The source forgets it; the destination has all of it; its files at the source stay."""
    source = await where(stage, VM)
    target = next(h for h in sorted(stage.desired.hosts) if h != source
                  and stage.desired.hosts[h].spec.site == stage.desired.hosts[source].spec.site)
    for here, there in ((source, target), (target, source)):
        await stage.provider.apply(move(stage, here, there))
        assert await where(stage, VM) == there
        assert await domain(stage, here, VM) is None
        arrived = await domain(stage, there, VM)
        assert arrived is not None
        assert (arrived.state_reason, arrived.persistent) == ("migrated", True)
    again = await refusal(stage, move(stage, target, source))
    assert again == "done"


def move(stage: Stage, here: str, there: str) -> MigrateDomain:
    """The action that moves the VM with its storage."""
    vm, host = stage.desired.virtual_machines[VM], stage.desired.hosts[there]
    return MigrateDomain(
        **common(VM, here), domain=VM, to=there, to_address=host.spec.address,
        to_replication_address=host.spec.replication_address or host.spec.address,
        with_storage=True, disks=tuple(desired_disk(vm, disk, host) for disk in vm.spec.disks))


async def a_silent_host_is_unknown_and_remembered(stage: Stage) -> None:
    """Silence is not absence: what was seen last is kept with the sentence."""
    host = await where(stage, VM)
    stage.strike(f"ssh {host} pause")
    fact = await stage.provider.observe(host)
    assert isinstance(fact, Unknown)
    assert fact.reason
    assert fact.last is not None
    assert isinstance(fact.last.domains, Known)
    assert VM in fact.last.domains.value
    stage.mend(f"ssh {host} pause")

    async def back() -> bool:
        return isinstance(await stage.provider.observe(host), Known)

    await until("it answers again", back)


async def without_libvirtd_domains_are_unknown_and_ports_are_not(stage: Stage) -> None:
    """A part of a host may be unknown while the rest is known."""
    host = await where(stage, VM)
    stage.strike(f"libvirtd {host} kill")

    async def lost() -> bool:
        return isinstance((await known(stage, host)).domains, Unknown)

    await until("its domains are unknown", lost)
    facts = await known(stage, host)
    assert isinstance(facts.domains, Unknown)
    assert facts.domains.last is not None
    assert VM in facts.domains.last
    assert isinstance(facts.bridges, Known)
    start = StartDomain(**common(VM, host), domain=VM)
    assert await refusal(stage, start) == "Unavailable"
    stage.mend(f"libvirtd {host} kill")

    async def back() -> bool:
        return isinstance((await known(stage, host)).domains, Known)

    await until("its domains are known again", back)


async def an_event_names_the_host_on_which_a_guest_died(stage: Stage) -> None:
    """Push events come without being asked for."""
    host = await where(stage, VM)
    heard: set[str] = set()

    async def listen() -> None:
        async for node in stage.provider.watch():
            heard.add(node)

    async def is_told() -> bool:
        """The lines over which events come may not stand yet when the first guest dies."""
        stage.strike(f"kill {host} {VM}")
        for _ in range(10):
            if host in heard:
                return True
            await asyncio.sleep(0.5)
        await heal(stage)
        return False

    listening = asyncio.ensure_future(listen())
    await until("a death is told", is_told)
    listening.cancel()
    await asyncio.wait([listening])
    await heal(stage)


CASES = (
    a_converged_estate_plans_nothing, a_switch_has_no_domains_and_no_pools,
    a_running_guest_has_a_port_with_its_mac_and_vlan,
    a_killed_guest_is_crashed_and_its_port_is_gone, starting_what_runs_is_done_already,
    starting_what_is_not_there_is_refused, resuming_what_runs_is_done_already,
    what_runs_cannot_be_undefined, a_changed_tag_is_seen_and_put_back,
    a_port_that_is_anothers_is_not_touched, a_trunk_changed_by_hand_is_seen_and_put_back,
    a_disk_that_is_there_is_never_made_again, defining_what_is_defined_is_done_already,
    a_guest_is_shut_down_and_started, memory_beyond_the_ceiling_is_refused_live,
    a_guest_moves_with_its_disk_and_comes_back, a_silent_host_is_unknown_and_remembered,
    without_libvirtd_domains_are_unknown_and_ports_are_not,
    an_event_names_the_host_on_which_a_guest_died, *REMOVAL_CASES, *REPLICA_CASES,
)
