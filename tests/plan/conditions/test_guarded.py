"""Guarded: of each host, with why not."""

from dataclasses import replace

import pytest

from controller.model.condition import ConditionType, Status
from controller.model.desired import Desired
from controller.model.facts import Known, Observed, Unknown
from controller.model.failover.guard import Tombstone
from controller.plan.compute import compute
from tests.plan import builders as b
from tests.plan.guarded import guarded, seen, with_guard

LAB = guarded(b.vm("sql", protection="cut", placement={"site": "paris"}))
GOOD = seen(LAB, {"sql": "paris-1"})


def answer(observed: Observed, desired: Desired = LAB,
           host: str = "paris-1") -> tuple[Status, str, str]:
    """The condition of one host."""
    plan = compute(desired, observed, b.APPLIED, b.NOW_S)
    (found,) = [one for one in plan.conditions
                if one.target == f"Host/{host}" and one.type is ConditionType.GUARDED]
    return found.status, found.reason, found.message


def test_a_host_that_is_granted_and_holds_its_guests_is_guarded() -> None:
    assert answer(GOOD) == (Status.TRUE, "Granted",
                            "its guard runs and is granted by hq and milan-1 and milan-2")


def test_without_guards_nothing_is_said() -> None:
    desired = b.small()
    plan = compute(desired, b.as_declared(desired), b.APPLIED, b.NOW_S)
    assert not [one for one in plan.conditions if one.type is ConditionType.GUARDED]


def test_some_grantors_are_enough_and_the_others_are_named() -> None:
    status, _, message = answer(with_guard(GOOD, "paris-1", granted_by=("hq",)))
    assert status is Status.TRUE
    assert message == "its guard runs and is granted by hq; not by milan-1 and milan-2"


@pytest.mark.parametrize(("changed", "reason", "message"), [
    ({"running": False}, "NoGuard",
     "no guard runs on it: cut off from all others, its VMs go on"),
    ({"granted": False, "content": False, "granted_by": ()}, "NeverGranted",
     "nobody has granted it since it was booted, so its guard ends nothing; it asks hq, milan-1,"
     " milan-2: see that their UDP port lets its datagrams pass, both ways"),
    ({"content": False, "refused_by": ("hq",), "tombstones": (
        Tombstone("u", "sql", 0.0, "why"),)}, "CutOff",
     "nobody has granted it for 30 s; refused by hq; it asks hq, milan-1, milan-2; it has ended"
     " sql"),
    ({"held": ()}, "NotHeld",
     "its guard does not hold the processes of sql, and could not end them"),
])
def test_a_host_is_not_guarded_and_says_why(
        changed: dict[str, object], reason: str, message: str) -> None:
    assert answer(with_guard(GOOD, "paris-1", **changed)) == (Status.FALSE, reason, message)


@pytest.mark.parametrize(("changed", "reason", "message"), [
    ({"watchdog": "missing", "identity": "No such file or directory"}, "WatchdogMissing",
     "/dev/watchdog0 is declared as its watchdog and is not fed (No such file or directory)"),
    ({"watchdog": "hardware", "identity": "iTCO_wdt", "watchdog_timeout_s": 30.0,
      "watchdog_s": 8.0}, "WatchdogTooSlow",
     "its watchdog iTCO_wdt fires after 30 s, and 8 s are promised: set"
     " `failover.guard.watchdog` to that"),
])
def test_a_watchdog_that_does_not_do_as_declared(
        changed: dict[str, object], reason: str, message: str) -> None:
    desired = guarded(hosts={"paris-1": {"watchdog": "/dev/watchdog0"}})
    assert answer(with_guard(seen(desired), "paris-1", **changed), desired) == (
        Status.FALSE, reason, message)


def test_what_is_not_seen_is_unknown() -> None:
    assert answer(b.silenced(GOOD, "paris-1"))[:2] == (Status.UNKNOWN, "Silent")
    fact = GOOD.nodes["paris-1"]
    assert isinstance(fact, Known)
    hidden = b.with_node(GOOD, "paris-1", replace(fact, value=replace(
        fact.value, guard=Unknown("its folder hangs", b.NOW_S))))
    assert answer(hidden) == (Status.UNKNOWN, "GuardNotSeen",
                              "its guard could not be seen: its folder hangs")


def test_a_name_as_an_address_cannot_be_guarded() -> None:
    desired = guarded(b.document("Host", "milan-3", site="milan", address="milan-3.lan"))
    assert answer(seen(desired), desired, "milan-3")[1] == "AddressIsAName"
