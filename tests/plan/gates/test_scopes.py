"""Scopes: the lowest grant and any pause of all that an action touches apply."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.document import Document
from controller.model.facts import Observed, PortFacts
from controller.plan.compute import compute
from controller.plan.steps.plan import Ruling, Verdict
from controller.plan.survey.context import Suspension
from tests.plan import builders as b
from tests.plan import replicas as r

PAUSE = {"until": "2030-01-01T00:00:00Z", "by": "bo", "why": "tests"}


def estate_with(*changed: Document, autonomy: str = "delete") -> Any:
    """The lab with a protected VM at Paris that belongs at Milan, and these documents in it."""
    names = {(type(one).__name__, one.name) for one in changed}
    rest = [one for one in (*b.survey(), b.vm("sql", placement={"site": "milan"},
                                              protection="gold"))
            if (type(one).__name__, one.name) not in names]
    return b.desired_of(b.estate(autonomy=autonomy), *rest, *changed)


def bent(desired: Any) -> Observed:
    """A VM to move, whose replica is due, on the wrong VLAN, and a link that lets none pass."""
    seen = r.asked(b.as_declared(desired, {"sql": "paris-1"}), desired)
    seen = r.with_replica(seen, "milan-1", r.replica("sql", r.series(3, 4000)))
    mac = desired.virtual_machines["sql"].spec.nics[0].mac
    seen = b.with_port(seen, "paris-1", PortFacts("vnet-sql", 7, (), None, True, mac), "vnet-sql")
    return b.with_port(seen, "paris-sw", PortFacts("tr0", None, (200,), "trunk", True), "tr0")


def rulings(desired: Any, policy: Any = b.APPLIED) -> dict[str, Ruling]:
    return {step.action.verb: step.ruling
            for step in compute(desired, bent(desired), policy, b.NOW_S).steps}


def host(name: str, **spec: Any) -> Document:
    return b.document("Host", name, site=name.partition("-")[0], address=name, **spec)


@pytest.mark.parametrize(("changed", "says"), [
    (b.document("Site", "milan", twin="paris", autonomy="report"), "Site/milan"),
    (host("milan-1", autonomy="network"), "Host/milan-1"),
    (host("paris-1", autonomy="network"), "Host/paris-1"),
    (b.document("InterSiteLink", "metro", between=["paris", "milan"], autonomy="start"),
     "InterSiteLink/metro")])
def test_a_move_goes_as_far_as_the_one_who_grants_least(changed: Document, says: str) -> None:
    desired = estate_with(changed, host("milan-2", maintenance=True))
    ruling = rulings(desired)["migrate"]
    assert ruling.verdict is Verdict.NEEDS_APPROVAL
    assert ruling.sentence.endswith(f"which {says} grants")


def test_what_the_source_grants_is_not_what_the_destination_grants() -> None:
    desired = estate_with(host("paris-1", autonomy="delete"), autonomy="report")
    sentence = rulings(desired)["migrate"].sentence
    assert sentence == "migrate is beyond report, which Estate/lab grants"


def test_a_vm_that_speaks_for_itself_is_heard_before_its_host_and_the_estate() -> None:
    vm = b.vm("sql", placement={"site": "milan"}, protection="gold", autonomy="migrate")
    low = estate_with(vm, host("paris-1", autonomy="report"), autonomy="report")
    assert rulings(low)["migrate"].rule == "in-flight"  # allowed, once its copy has ended
    shut = estate_with(vm, b.document("Site", "milan", twin="paris", autonomy="report"))
    assert "which Site/milan grants" in rulings(shut)["migrate"].sentence


ABOUT = [("Network", "office", {"vlan": 100, "sites": ["paris", "milan"]}, "set-port-vlan"),
         ("InterSiteLink", "metro", {"between": ["paris", "milan"]}, "replicate"),
         ("ProtectionPolicy", "gold", {"rpo": "5m"}, "replicate")]


@pytest.mark.parametrize(("kind", "name", "spec", "verb"), ABOUT)
def test_a_network_a_link_and_a_policy_lower_what_may_be_done_about_them(
        kind: str, name: str, spec: dict[str, Any], verb: str) -> None:
    assert rulings(estate_with())[verb].verdict is not Verdict.NEEDS_APPROVAL
    low = rulings(estate_with(b.document(kind, name, autonomy="report", **spec)))[verb]
    assert low.verdict is Verdict.NEEDS_APPROVAL
    assert low.sentence.endswith(f"is beyond report, which {kind}/{name} grants")


@pytest.mark.parametrize(("kind", "name", "spec", "verb"), ABOUT)
def test_a_paused_network_link_or_policy_holds_back_what_is_done_about_it(
        kind: str, name: str, spec: dict[str, Any], verb: str) -> None:
    by_hand = replace(b.APPLIED, suspensions=(
        Suspension(f"{kind}/{name}", "ada", "works", b.NOW_S + 60),))
    written = estate_with(b.document(kind, name, suspend=PAUSE, **spec))
    for ruling in (rulings(estate_with(), by_hand)[verb], rulings(written)[verb]):
        assert (ruling.verdict, ruling.rule) == (Verdict.REFUSED, "suspended")
        assert ruling.sentence.startswith(f"{kind}/{name} is suspended by ")
    shown = compute(written, bent(written), b.APPLIED, b.NOW_S).conditions
    assert [one.target for one in shown if one.type == "Suspended"] == [f"{kind}/{name}"]


def test_the_trunk_of_a_paused_link_is_left_as_it_is() -> None:
    desired = estate_with(b.document("InterSiteLink", "metro", between=["paris", "milan"],
                                     suspend=PAUSE))
    found = [step.ruling.rule for step in compute(
        desired, bent(desired), b.APPLIED, b.NOW_S).steps if step.action.node == "paris-sw"]
    assert found
    assert set(found) == {"suspended"}
