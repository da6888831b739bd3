"""Whether a VM serves, by what its policy wants to see and what hosts found out."""

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from controller.failover.situation import Progress
from controller.failover.waves import OVER
from controller.model.facts import DomainState, InterfaceFacts, Known, NodeFacts
from controller.model.failover.serving import Answer, Probe, ServingFacts, Word
from controller.model.protection_policy import HealthSpec
from controller.plan.failover.health import Health, Told, health_of
from controller.plan.failover.probing import probes_of
from tests.plan import builders as b

LAB = b.small(b.vm("sql"))
YES, CLOSED = Answer(Word.ANSWERS), Answer(Word.DENIES, "the connection is refused")
NOTHING = Answer(Word.SILENT, "no answer within 1 s")
WAYS: dict[str, dict[str, Any]] = {"agent": {"agent": True}, "tcp": {"tcp": 5432},
                                   "ping": {"ping": True}}


def told(way: str, **answers: Answer) -> Told:
    """What hosts (`milan_1`) found out by one way of asking."""
    return tuple((host.replace("_", "-"), replace(ServingFacts(), **{way: answer}))
                 for host, answer in answers.items())


def judged(health: dict[str, Any], ran_s: float = 1.0, heard: Told = (),
           state: DomainState = DomainState.RUNNING) -> Health:
    """Return what is said of sql, which has run so long."""
    domain = replace(b.domain("sql", "milan-1", LAB), state=state, state_reason="I/O error")
    return health_of(domain, HealthSpec.model_validate(health), ran_s, heard)


def test_where_nothing_is_declared_a_vm_that_runs_is_healthy() -> None:
    assert judged({}) == (Progress.HEALTHY, "it runs")


@pytest.mark.parametrize("way", WAYS)
def test_what_was_seen_is_told_with_from_where(way: str) -> None:
    found = judged(WAYS[way], 1.0, told(way, milan_1=NOTHING, milan_2=YES))
    assert found.progress is Progress.HEALTHY
    assert "asked from milan-2" in found.sentence


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("answer", "late"), [
    (NOTHING, Progress.UNPROVEN), (Answer(Word.UNTRIED, "not permitted"), Progress.UNPROVEN),
    (CLOSED, Progress.UNHEALTHY)])
def test_what_does_not_come_is_waited_for_and_then_named(way: str, answer: Answer,
                                                         late: Progress) -> None:
    heard = told(way, milan_1=answer)
    assert judged(WAYS[way], 119.0, heard).progress is Progress.STARTING
    found = judged(WAYS[way], 120.0, heard)
    assert found.progress is late
    assert f"from milan-1: {answer.sentence}" in found.sentence
    assert "waited for 2m" in found.sentence


@pytest.mark.parametrize("way", WAYS)
def test_what_nobody_has_asked_yet_is_never_called_healthy(way: str) -> None:
    assert judged(WAYS[way]).progress is Progress.STARTING
    found = judged(WAYS[way], 500.0)
    assert found.progress is Progress.UNPROVEN
    assert "nobody has asked it yet" in found.sentence


def test_another_cards_answer_outweighs_any_proof() -> None:
    other = Answer(Word.DENIES, "10.2.0.21 is in use by another card, 52:54:00:00:00:01")
    found = judged(WAYS["ping"], 500.0, told("ping", milan_1=YES, milan_2=other))
    assert found.progress is Progress.UNHEALTHY
    assert "another card" in found.sentence


def test_all_that_is_declared_must_be_seen() -> None:
    heard = ((("milan-1", ServingFacts(agent=YES, tcp=NOTHING))),)
    found = judged({"agent": True, "tcp": 5432}, 500.0, heard)
    assert found.progress is Progress.UNPROVEN
    assert "agent" not in found.sentence


@pytest.mark.parametrize("state", [DomainState.PAUSED, DomainState.SUSPENDED])
def test_a_vm_that_stands_still_does_not_serve_whatever_answered(state: DomainState) -> None:
    heard = told("tcp", milan_1=YES)
    assert judged(WAYS["tcp"], 5.0, heard, state).progress is Progress.STARTING
    assert judged(WAYS["tcp"], 500.0, heard, state).progress is Progress.UNHEALTHY
    assert judged({}, 500.0, (), state).progress is Progress.UNHEALTHY


def test_one_that_has_to_boot_must_have_run_for_a_while_and_read_of_its_disks() -> None:
    boots = {"boots": "10s"}
    read, blind = (((("milan-1", ServingFacts(reads=one))),) for one in (True, False))
    assert judged(boots, 9.0, read).progress is Progress.STARTING
    assert judged(boots, 10.0, read).progress is Progress.HEALTHY
    assert judged(boots, 10.0, blind).progress is Progress.STARTING
    assert judged(boots, 500.0, blind).progress is Progress.UNPROVEN
    assert judged(boots, 10.0).progress is Progress.HEALTHY     # libvirt does not count there
    longer = {"boots": "300s", "within": "60s"}
    assert judged(longer, 299.0, read).progress is Progress.STARTING


def test_a_vm_that_is_not_healthy_in_time_holds_up_no_wave() -> None:
    late = {judged(WAYS["tcp"], 500.0, told("tcp", milan_1=answer)).progress
            for answer in (YES, NOTHING, CLOSED)}
    assert len(late) == 3
    assert late <= OVER


def asked(interfaces: dict[str, str], node: str) -> tuple[Probe, ...]:
    """Return what a host is to ask while sql runs on paris-1; addresses by host."""
    card = LAB.virtual_machines["sql"].spec.nics[0]
    vm = LAB.virtual_machines["sql"]
    spec = vm.spec.model_copy(update={"nics": (card.model_copy(
        update={"address": ip_address("10.2.0.21")}),)})
    lab = replace(LAB, virtual_machines={"sql": vm.model_copy(update={"spec": spec})})
    nodes: dict[str, NodeFacts] = {}
    for name in lab.hosts:
        domains = {"sql": b.domain("sql", name, lab)} if name == "paris-1" else {}
        own = (interfaces[name],) if name in interfaces else ()
        nodes[name] = replace(b.node(name, lab, domains).value, interfaces=Known(
            {"eth0": InterfaceFacts("eth0", own)}, 0.0))
    return probes_of(node, {"sql": HealthSpec(tcp=22, agent=True)}, lab, nodes)


def test_a_guest_is_asked_where_it_runs() -> None:
    (own,) = asked({}, "paris-1")
    assert (own.name, own.agent, own.tcp, own.address) == ("sql", True, 22, "10.2.0.21")
    assert asked({}, "paris-2") == asked({}, "milan-1") == ()


def test_the_first_host_of_its_site_that_shares_its_wire_asks_too() -> None:
    near = {"paris-2": "10.2.0.3/24", "milan-1": "10.2.0.4/24"}
    (other,) = asked(near, "paris-2")
    assert (other.name, other.agent, other.tcp) == ("", False, 22)
    assert len(asked(near, "paris-1")) == 1
    assert asked(near, "milan-1") == ()
    assert asked(near | {"paris-1": "10.2.0.2/24"}, "paris-2") == ()
