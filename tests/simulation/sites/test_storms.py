"""Storms over two sites keep every law, and find what would break one.

`SOAK=1` blows 200 instead of 6, `HOTSITE_SITE_STORMS=500` as many as it says;
`python -m tests.simulation.sites.storm SEED` tells one.
"""

import pytest

from controller.failover import decide, waves
from controller.failover.fencing import Fencing
from controller.model.failover.record import Proof
from tests.simulation.seeds import how_many, luckiest_first, replay
from tests.simulation.sites.storm import blow

STORMS = how_many("HOTSITE_SITE_STORMS", test=6, soak=200)
ENOUGH = 40


@pytest.mark.parametrize("seed", range(STORMS))
def test_every_law_is_kept(seed: int) -> None:
    broken = blow(seed).broken
    assert not broken, f"{replay('tests.simulation.sites.storm', seed)}: {broken[0]}"


def found(law: str, lucky: int) -> bool:
    """Whether some storm notices that a law was broken."""
    return any(law in sentence for seed in luckiest_first(lucky, ENOUGH)
               for sentence in blow(seed).broken)


def test_storms_find_a_promotion_without_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    proof = Proof("human", "nobody looked", 0.0)
    monkeypatch.setattr("controller.failover.case.judge_host",
                        lambda *_: Fencing(proof, (), (), cut_power=False))
    monkeypatch.setattr(waves, "unproven", lambda *_: None)
    monkeypatch.setattr(decide, "_proof_is_held", lambda *_: True)
    assert found("is begun while", 1)
