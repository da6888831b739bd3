"""1,000 storms keep every law; for each law, planted mistakes that the storms find.

`SOAK=1` plays 10,000, `HOTSITE_FAILOVER_STORMS=200` fewer;
`python -m tests.simulation.failover.storm SEED` tells one whole story.
"""

from collections.abc import Callable

import pytest

from tests.simulation.failover import plants
from tests.simulation.failover.background import STORMS, FailoverStorms
from tests.simulation.failover.estate import TALK
from tests.simulation.failover.storm import blow
from tests.simulation.failover.world import Mistakes

ENOUGH = 300
"""So many storms must find a planted mistake."""


def test_every_law_of_failover_is_kept_in_every_storm(storms: FailoverStorms) -> None:
    broken, promoted, _ = storms.results()
    assert promoted > STORMS // 10, "storms in which nothing is promoted prove nothing"
    assert not broken, "replay: `python -m tests.simulation.failover.storm SEED`\n" + "\n".join(
        f"seed {seed}: {law}" for seed, law in broken)


def test_a_seed_tells_the_same_story_twice() -> None:
    assert blow(7).story == blow(7).story


@pytest.mark.parametrize("seed", range(8))
def test_the_estate_of_the_talk_keeps_the_laws_too(seed: int) -> None:
    assert blow(seed, shape=TALK).broken == []


def found(law: str, mistakes: Mistakes = Mistakes()) -> bool:  # noqa: B008 -- frozen
    """Whether some storm notices that a law was broken."""
    return any(law in sentence for seed in range(ENOUGH)
               for sentence in blow(seed, mistakes, edge=seed % 3 == 0).broken)


@pytest.mark.parametrize(("plant", "law"), [
    (plants.silence_agrees, "given up without two places"),
    (plants.silent_grantors_refuse, "two running copies"),
    (plants.deadline_is_enough, "two running copies"),
    (plants.no_proof_is_needed, "promotion without a proof"),
    (plants.no_proof_is_needed, "two running copies"),
    (plants.read_off_once, "two running copies")],
    ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_storms_find_a_mistake_in_what_decides(
        plant: Callable[[pytest.MonkeyPatch], None], law: str,
        monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert found(law)


@pytest.mark.parametrize(("mistakes", "law"), [
    (Mistakes(skip_grantor=True), "two running copies"),
    (Mistakes(answers_first=True), "two running copies"),
    (Mistakes(no_restart_rule=True), "two running copies"),
    (Mistakes(drift=0.4), "two running copies"),
    (Mistakes(forgets_epoch=True), "older epoch"),
    (Mistakes(ignores_leases=True), "two running copies"),
], ids=str)
def test_storms_find_a_mistake_around_it(mistakes: Mistakes, law: str) -> None:
    assert found(law, mistakes)
