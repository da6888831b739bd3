"""Of how many VMs a link carries the copies, before a copy is late."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.units import MIB
from controller.plan.compute import compute
from controller.plan.prediction.sentence import render_window
from controller.plan.prediction.window import need_bps
from controller.plan.steps.prediction import Prediction
from tests.plan import builders as b
from tests.plan import replicas as r


def points(size_bytes: int, count: int = 3) -> Any:
    """Points a minute apart, each increment of so many bytes."""
    return tuple(replace(one, stored_bytes=size_bytes)
                 for one in r.series(12, 30, count=count, every_s=60))


def paris(sizes: dict[str, int], rate: str | None, count: int = 3) -> Prediction:
    vms = [b.vm(name, protection="gold", placement={"site": "paris"}) for name in sizes]
    more = {} if rate is None else {"replicationBandwidth": rate}
    survey = [one for one in b.survey() if type(one).__name__ != "InterSiteLink"]
    desired = b.desired_of(b.estate(), *survey, b.document(
        "InterSiteLink", "metro", between=["paris", "milan"], members=2, **more), *vms)
    observed = r.asked(b.as_declared(desired, dict.fromkeys(sizes, "paris-1")), desired)
    for name, size_bytes in sizes.items():
        observed = r.with_replica(observed, "milan-1", r.replica(name, points(size_bytes, count)))
    plan = compute(desired, observed, b.APPLIED, b.NOW_S)
    return next(one for one in plan.predictions if one.site == "paris")


def test_a_vm_needs_what_its_increments_held_over_the_time_between_them() -> None:
    assert need_bps(r.replica("sql", points(MIB))) == pytest.approx(8 * MIB / 60)
    assert need_bps(r.replica("sql", points(MIB, 1))) is None
    assert need_bps(r.replica("sql", ())) is None


@pytest.mark.parametrize(("rate", "carried"), [
    ("1Gbit/s", 3), ("10Mbit/s", 2), ("1Mbit/s", 1), ("1kbit/s", 0)])
def test_a_narrower_link_carries_fewer(rate: str, carried: int) -> None:
    sizes = {"small": MIB, "middle": 30 * MIB, "large": 200 * MIB}
    window = paris(sizes, rate).window
    assert window is not None
    assert (window.known, window.carried, window.links) == (3, carried, ("metro",))


def test_it_is_said_in_one_sentence_and_of_whom_nobody_knows() -> None:
    sizes = {"small": MIB, "large": 200 * MIB}
    assert render_window(paris(sizes, "20Mbit/s")) == (
        "at 20 Mbit/s metro carries the copies of 1 of 2 VMs of paris within their RPO: they write"
        " 28.1 Mbit/s")
    assert render_window(paris(sizes, "20Mbit/s", count=1)) == ""


def test_without_a_declared_rate_nothing_is_claimed() -> None:
    assert paris({"small": MIB}, None).window is None
