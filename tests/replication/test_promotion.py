"""The hands of a promotion: the mover's part for all VMs of a host at once, then libvirt's."""

import asyncio
from typing import Any

import pytest

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.plan.actions.desired import DesiredNic
from controller.plan.actions.promotion import PromoteReplica
from tests.replication.movers import PATH, UUID, Broken, Hosts, hands

XML = ("<domain><name>sql</name><devices><interface type='bridge'>"
       "<mac address='52:54:00:0a:02:15'/><source bridge='br-paris'/></interface></devices>"
       "</domain>")


def promoted(**changes: Any) -> dict[str, Any]:
    """Return what the mover answers for one VM."""
    return {"promoted": {"xml": XML, "runs": False, "remarks": [], "ejected": [], **changes}}


class Survivors(Hosts):
    """Hosts whose libvirt is played, too; `defined` is each definition with whether it starts."""

    def __init__(self, *answers: dict[str, Any], failure: dict[str, Any] | None = None,
                 **others: Any) -> None:
        super().__init__(promote=self.promote, launch=self.launch, **others)
        self._answers, self._failure = answers or (promoted(),), failure or {}
        self.defined: list[tuple[str, bool, str]] = []

    def promote(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer for as many VMs as were asked for."""
        count = len(request["machines"])
        return {"machines": list(self._answers * count)[:count]}

    def launch(self, request: dict[str, Any]) -> dict[str, Any]:
        """Define and start what was asked for."""
        machines = request["machines"]
        self.defined += [(one["uuid"], one["start"], one["xml"]) for one in machines]
        return {"machines": [self._failure for _ in machines]}


def action(name: str = "sql", **changes: Any) -> PromoteReplica:
    """Return the action that makes point 4 the VM."""
    return PromoteReplica(**{
        "target": f"VirtualMachine/{name}", "node": "milan-1", "reason": "paris is lost",
        "uuid": UUID, "path": PATH, "sequence": 4, "epoch": 7, "estate": "lab", **changes})


def test_a_vm_is_defined_as_the_mover_says_and_started() -> None:
    hosts = Survivors()
    assert asyncio.run(hands(hosts).apply(action())) == (
        "sql was promoted on milan-1 and started: restore point 4 is the VM, epoch 7")
    assert hosts.request("promote") == {"machines": [{
        "replica": PATH, "sequence": 4, "epoch": 7, "uuid": UUID, "machine": "sql",
        "without": [], "mark": {"estate": "lab"}}]}
    assert hosts.defined == [(UUID, True, XML)]


def test_it_may_wait_for_its_wave() -> None:
    hosts = Survivors()
    asyncio.run(hands(hosts).apply(action(start=False)))
    assert [start for _, start, _ in hosts.defined] == [False]


def test_a_card_is_plugged_in_as_this_host_has_it() -> None:
    hosts = Survivors()
    nic = DesiredNic("52:54:00:0a:02:15", "br-milan", 20, "virtio")
    asyncio.run(hands(hosts).apply(action(nics=(nic,))))
    assert 'bridge="br-milan"' in hosts.defined[0][2]
    assert "br-paris" not in hosts.defined[0][2]


def test_one_that_runs_already_is_left_alone() -> None:
    hosts = Survivors(promoted(runs=True))
    assert "sql runs on milan-1 already" in asyncio.run(hands(hosts).apply(action()))
    assert hosts.defined == []


def test_what_it_lacks_is_told() -> None:
    hosts = Survivors(promoted(ejected=["/iso/x.iso"], remarks=["its NVRAM is not in the point"]))
    assert asyncio.run(hands(hosts).apply(action())).endswith(
        "; its NVRAM is not in the point; /iso/x.iso is not on milan-1, its drive is empty")


def test_the_vms_of_a_host_share_their_requests() -> None:
    hosts = Survivors()
    promoting = hands(hosts)

    async def six() -> list[str]:
        return await asyncio.gather(*(promoting.apply(action(f"vm{number}", node=node))
                                      for number, node in enumerate(3 * ["milan-1", "milan-2"])))

    said = asyncio.run(six())
    for kind in ("promote", "launch"):
        assert [len(request["machines"]) for _, verb, request in hosts.asked
                if verb == kind] == [3, 3]
    assert [line.partition(" ")[0] for line in said] == [f"vm{number}" for number in range(6)]
    assert len(hosts.defined) == 6


def test_one_that_is_refused_holds_up_no_other() -> None:
    hosts = Survivors({"failed": {"status": 1, "sentence": "restore point 4 is damaged"}},
                      promoted())
    promoting = hands(hosts)

    async def two() -> list[str | BaseException]:
        return await asyncio.gather(*(promoting.apply(action(name)) for name in ("sql", "web")),
                                    return_exceptions=True)

    refused, done = asyncio.run(two())
    assert isinstance(refused, Refused)
    assert str(refused) == "sql was not promoted on milan-1: restore point 4 is damaged"
    assert "web was promoted" in str(done)


def test_a_cancelled_one_leaves_the_others_to_ask_again() -> None:
    hosts = Survivors()
    promoting = hands(hosts)

    async def second_of_two() -> str:
        first = asyncio.create_task(promoting.apply(action("sql")))
        second = asyncio.create_task(promoting.apply(action("web")))
        for _ in range(3):
            await asyncio.sleep(0)
        first.cancel()
        return await second

    assert "web was promoted" in asyncio.run(second_of_two())


@pytest.mark.parametrize(("status", "error"), [(1, Refused), (3, OutcomeUnknown)])
def test_a_mover_that_fails_is_told(status: int, error: type[ActionError]) -> None:
    def broken(request: dict[str, Any]) -> dict[str, Any]:
        raise Broken(status, "no room is left on its disk")

    hosts = Survivors()
    hosts.answers["promote"] = broken
    with pytest.raises(error, match="sql was not promoted on milan-1.*no room is left"):
        asyncio.run(hands(hosts).apply(action()))


@pytest.mark.parametrize(("failure", "error", "sentence"), [
    ({"status": 1, "stderr": "error: Failed to start domain\nerror: unsupported machine type"},
     Refused, "sql was promoted on milan-1, and not started there: unsupported machine type"),
    ({"status": 1, "stderr": "error: failed to connect to the hypervisor"}, Unavailable,
     "it is tried again"),
    ({"status": 137, "stderr": "error: libvirt did not answer within 60 s"}, OutcomeUnknown,
     "as far as is known"),
    ({"status": 2, "sentence": "the starts before it took longer than 150 s"}, Unavailable,
     "the starts before it"),
    ({"status": "?", "stderr": ""}, OutcomeUnknown, "not understood"),
    ({"sentence": "?"}, OutcomeUnknown, "not understood")])
def test_a_start_that_fails_is_told_as_such(failure: dict[str, Any], error: type[ActionError],
                                            sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        asyncio.run(hands(Survivors(failure=failure)).apply(action()))
