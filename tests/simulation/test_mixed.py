"""Storms over hosts with Linux bridges beside hosts with Open vSwitch keep every law, too."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.desired import Desired
from tests.simulation import storm
from tests.simulation.estates import document, storm_estate

LINUX = ("milan-2", "paris-1")
SEEDS = (3, 10, 19, 23)


def mixed(*, strict: bool = False) -> Desired:
    """The estate of the storms, one host of each site with Linux bridges."""
    desired = storm_estate(strict=strict)
    return replace(desired, hosts=dict(desired.hosts) | {name: document(
        "Host", name, site=name.partition("-")[0], address=name, driver="linuxbridge",
        uplinks=["up0"], capacity={"memory": "8GiB", "cpus": 8}) for name in LINUX})


@pytest.mark.parametrize("seed", SEEDS)
def test_every_law_is_kept_where_drivers_are_mixed(seed: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(storm, "storm_estate", mixed)
    assert storm.blow(seed).broken == []
