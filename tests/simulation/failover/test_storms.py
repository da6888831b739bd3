"""1,000 storms keep every law; for each law, planted mistakes that the storms find.

`SOAK=1` plays 10,000, `HOTSITE_FAILOVER_STORMS=200` as many as it says;
`python -m tests.simulation.failover.storm SEED` tells one whole story.
"""

from collections.abc import Callable

import pytest

from tests.simulation.background import Background
from tests.simulation.failover import plants
from tests.simulation.failover.background import STORMS, Passed
from tests.simulation.failover.estate import SMALL, TALK
from tests.simulation.failover.storm import SOUND, blow, command, endure
from tests.simulation.failover.world import Mistakes
from tests.simulation.seeds import luckiest_first

ENOUGH = 1000
"""So many storms must find a planted mistake."""


def test_every_law_of_failover_is_kept_in_every_storm(storms: Background[Passed]) -> None:
    chunks = storms.results()
    promoted = sum(number for _, number in chunks)
    broken = [found for chunk, _ in chunks for found in chunk]
    assert promoted > STORMS // 10, "storms in which nothing is promoted prove nothing"
    assert not broken, "\n".join(f"{command(seed)}: {law}" for seed, law in broken)


def test_a_seed_tells_the_same_story_twice() -> None:
    assert blow(7).story == blow(7).story


@pytest.mark.parametrize("seed", range(8))
def test_the_estate_of_the_talk_keeps_the_laws_too(seed: int) -> None:
    broken = blow(seed, shape=TALK).broken
    assert not broken, f"{command(seed, 'talk')}: {broken[0]}"


@pytest.mark.parametrize("seed", range(9))
@pytest.mark.parametrize("mistakes", [SOUND, Mistakes(drift=0.4), Mistakes(no_restart_rule=True)],
                         ids=("sound", "drift", "no restart rule"))
def test_what_is_looked_up_is_what_would_have_been_played(seed: int, mistakes: Mistakes) -> None:
    shape, edge = TALK if seed % 8 == 0 else SMALL, seed % 3 == 0
    played = blow(seed, mistakes, shape, edge=edge, exact=True)
    found = blow(seed, mistakes, shape, edge=edge)
    assert found.story == played.story
    assert (found.broken, found.breaches) == (played.broken, played.breaches)


def test_peace_is_left_out_as_if_it_had_been_played() -> None:
    played, left_out = (endure(6, 2, 1800.0, SMALL, exact=exact) for exact in (True, False))
    assert left_out.story == played.story
    assert played.promotions > 0
    assert left_out.broken == []


def found(law: str, lucky: int, mistakes: Mistakes = SOUND) -> bool:
    """Whether some storm notices that a law was broken."""
    return any(law in sentence for seed in luckiest_first(lucky, ENOUGH)
               for sentence in blow(seed, mistakes, edge=seed % 3 == 0).broken)


@pytest.mark.parametrize(("plant", "law", "lucky"), [
    (plants.silence_agrees, "given up without two places", 2),
    (plants.silent_grantors_refuse, "two running copies", 62),
    (plants.deadline_is_enough, "two running copies", 9),
    (plants.no_proof_is_needed, "promotion without a proof", 3),
    (plants.no_proof_is_needed, "two running copies", 3),
    (plants.read_off_once, "two running copies", 15)],
    ids=lambda value: value.__name__ if callable(value) else str(value))
def test_storms_find_a_mistake_in_what_decides(
        plant: Callable[[pytest.MonkeyPatch], None], law: str, lucky: int,
        monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert found(law, lucky)


@pytest.mark.parametrize(("mistakes", "law", "lucky"), [
    (Mistakes(skip_grantor=True), "two running copies", 45),
    (Mistakes(answers_first=True), "two running copies", 3),
    (Mistakes(no_restart_rule=True), "two running copies", 3),
    (Mistakes(drift=0.4), "two running copies", 6),
    (Mistakes(forgets_epoch=True), "older epoch", 3),
    (Mistakes(ignores_leases=True), "two running copies", 136),
], ids=str)
def test_storms_find_a_mistake_around_it(mistakes: Mistakes, law: str, lucky: int) -> None:
    assert found(law, lucky, mistakes)
