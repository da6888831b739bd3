"""Storms over two sites keep every law, and find what would break one.

`HOTSITE_SITE_STORMS=500` blows more; `python -m tests.simulation.sites.storm SEED` tells one.
"""

import os

import pytest

from controller.failover import decide, waves
from controller.failover.fencing import Fencing
from controller.model.failover.record import Proof
from tests.simulation.sites.storm import blow

STORMS = int(os.environ.get("HOTSITE_SITE_STORMS", "6"))
ENOUGH = 40


@pytest.mark.parametrize("seed", range(STORMS))
def test_every_law_is_kept(seed: int) -> None:
    assert blow(seed).broken == []


def found(law: str) -> bool:
    """Whether some storm notices that a law was broken."""
    return any(law in sentence for seed in range(ENOUGH) for sentence in blow(seed).broken)


def test_storms_find_a_promotion_without_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    proof = Proof("human", "nobody looked", 0.0)
    monkeypatch.setattr("controller.failover.case.judge_host",
                        lambda *_: Fencing(proof, (), (), cut_power=False))
    monkeypatch.setattr(waves, "unproven", lambda *_: None)
    monkeypatch.setattr(decide, "_proof_is_held", lambda *_: True)
    assert found("is begun while")
