"""What a guard has ended is not started again, and nothing is started where grants are refused."""

from dataclasses import replace

from controller.model.facts import Observed, Role
from controller.model.failover.guard import Tombstone
from controller.plan.actions.machine import StartDomain
from controller.plan.compute import compute
from tests.plan import builders as b
from tests.plan.guarded import guarded, refusing, seen, with_guard

LAB = guarded(b.vm("sql", protection="cut", placement={"site": "paris"}))
GOOD = seen(LAB, {"sql": "paris-1"})
ENDED = b.with_domain(GOOD, "paris-1", "sql", b.off("sql", "paris-1", LAB))
TOMB = Tombstone(b.domain_uuid("lab", "sql"), "sql", b.NOW_S, "nobody has granted paris-1 for 30 s")


def starts(observed: Observed) -> tuple[list[str], list[str]]:
    """Where sql would be started, and what is said of it."""
    plan = compute(LAB, observed, b.APPLIED, b.NOW_S)
    return ([step.action.node for step in plan.steps if isinstance(step.action, StartDomain)],
            [one.sentence for one in plan.remarks if one.target == "VirtualMachine/sql"])


def test_a_vm_that_shut_itself_down_is_started_again() -> None:
    assert starts(ENDED) == (["paris-1"], [])


def test_one_that_a_guard_has_ended_waits_until_its_host_is_granted_again() -> None:
    cut_off = with_guard(ENDED, "paris-1", content=False, tombstones=(TOMB,))
    where, said = starts(cut_off)
    assert where == []
    assert said == ["sql is not started on paris-1: the guard of paris-1 has ended it (nobody has"
                    " granted paris-1 for 30 s), and it may have been started elsewhere since; it"
                    " is started once paris-1 is granted again"]
    assert starts(with_guard(cut_off, "paris-1", content=True)) == (["paris-1"], [])


def test_the_tombstone_of_another_vm_holds_nothing_up() -> None:
    other = Tombstone("another", "web", b.NOW_S, "nobody")
    assert starts(with_guard(ENDED, "paris-1", content=False, tombstones=(other,))) == (
        ["paris-1"], [])


def test_the_tombstone_beside_an_older_copy_holds_nothing_up() -> None:
    off = b.off("sql", "milan-1", LAB)
    assert off.ownership is not None
    newer = replace(off, ownership=replace(off.ownership, epoch=2, role=Role.PROMOTED))
    promoted = b.with_domain(ENDED, "milan-1", "sql", newer)
    where, _ = starts(with_guard(promoted, "paris-1", content=False, tombstones=(TOMB,)))
    assert where == ["milan-1"]
    where, said = starts(with_guard(promoted, "milan-1", content=False, tombstones=(TOMB,)))
    assert where == []
    assert "the guard of milan-1 has ended it" in said[0]


def test_nothing_is_started_on_a_host_that_any_grantor_refuses() -> None:
    refused = refusing(refusing(ENDED, "hq", "paris-1"), "milan-2", "paris-1", epoch=8)
    where, said = starts(refused)
    assert where == []
    assert said == ["sql is not started on paris-1: hq and milan-2 refuse paris-1 its grants for"
                    " the failover with epoch 8, which may start its VMs elsewhere; it is started"
                    " once the grants are restored"]


def test_a_silent_grantor_that_refused_when_last_seen_still_counts() -> None:
    assert starts(b.silenced(refusing(ENDED, "hq", "paris-1"), "hq"))[0] == []


def test_a_refusal_of_another_host_holds_nothing_up() -> None:
    assert starts(refusing(ENDED, "hq", "milan-1"))[0] == ["paris-1"]
