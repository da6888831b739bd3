"""Storms keep every law; for each law, a planted violation that they find.

`SOAK=1` plays 2,000 instead of 250, `HOTSITE_STORMS=50` as many as it says;
`python -m tests.simulation.storm SEED` tells one whole story.
"""

from collections.abc import Callable

import pytest

from controller.model.facts import DomainFacts
from controller.plan import compute as planner
from controller.plan.gates import gates, laws
from controller.plan.machine import creation, state
from controller.plan.steps.plan import Plan
from controller.plan.survey import identity
from controller.plan.survey.identity import Names
from controller.plan.survey.survey import Survey
from controller.providers.base import Provider
from controller.reconcile.decide import planner as decide_planner
from controller.store.store import Store
from tests.simulation import plants
from tests.simulation.background import Background, Lawless
from tests.simulation.crash import Fuse, fragile_store
from tests.simulation.seeds import luckiest_first, replay
from tests.simulation.storm import blow

ENOUGH = 120
"""So many storms must find a planted violation."""


def test_every_law_is_kept_in_every_storm(
        storms: Background[Lawless]) -> None:
    broken = [found for chunk in storms.results() for found in chunk]
    assert not broken, "\n".join(
        f"{replay('tests.simulation.storm', seed)}: {law}" for seed, law in broken)


def test_a_seed_tells_the_same_story_twice() -> None:
    assert blow(7).story == blow(7).story


def found(law: str, lucky: int, plant: Callable[[Provider], Provider] = lambda provider: provider,
          store: Callable[[Fuse], Store] = fragile_store) -> bool:
    """Whether some storm notices that `law` was broken."""
    return any(law in sentence for seed in luckiest_first(lucky, ENOUGH)
               for sentence in blow(seed, plant, store).broken)


@pytest.mark.parametrize(("plant", "law", "lucky"), [
    (plants.MovedIsForgotten, "two running copies", 2),
    (plants.UndefineDeletes, "is gone", 2),
    (plants.RepeatsBlindly, "was looked at again", 14),
    (plants.ClaimsTrunks, "not healed", 2),
    (plants.OverlooksStrangers, "takes VLAN {99}", 65),
    (plants.WritesInPlace, "was changed after it was complete", 6),
    (plants.DropsTheOldFirst, "was removed before there was a newer good one", 6),
    (plants.TornPoints, "is of no one instant", 9),
    (plants.CopiesOntoTheDisk, "would write to a disk that a VM uses", 6),
], ids=lambda value: value.__name__ if isinstance(value, type) else str(value))
def test_storms_find_hands_that_break_a_law(plant: Callable[[Provider], Provider], law: str,
                                            lucky: int) -> None:
    assert found(law, lucky, plant)


def test_storms_find_silence_taken_for_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked before a VM is made anew that stood, which else holds the fault back."""
    monkeypatch.setattr(creation, "anew", lambda *_: None)
    assert found("two running copies", 2, plants.SilenceIsAbsence)


class Forgetful(Store):
    """A journal that hands out numbers and writes intents nowhere."""

    def open_intents(self) -> tuple[()]:
        """There are none."""
        return ()


def test_storms_find_acts_without_an_intent() -> None:
    def forgetful(fuse: Fuse) -> Store:
        store = fragile_store(fuse)
        return Forgetful(store._database, None, None)

    assert found("without an intent", 2, store=forgetful)


def test_storms_find_a_planner_that_starts_what_may_run_elsewhere(
        monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(steps: object, *_: object) -> object:
        """Let every step pass."""
        return steps

    monkeypatch.setattr(planner, "strike", careless)
    monkeypatch.setattr(decide_planner, "EVERYWHERE", ())
    monkeypatch.setattr(planner, "locate", _blind_to_last_seen)
    assert found("has been silent for", 41)


def _blind_to_last_seen(name: str, survey: Survey) -> state.Location:
    """A VM that was last seen on a silent host is taken for one that exists nowhere."""
    location = state.locate(name, survey)
    if location.state is state.MachineState.UNKNOWN:
        return state.Location(state.MachineState.ABSENT)
    return location


def test_storms_find_names_taken_for_identities(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_name(domain: DomainFacts, names: Names) -> str:
        """The VM that a domain is called after."""
        return names.present.get(domain.name, domain.name)

    monkeypatch.setattr(identity, "owner_of", by_name)
    monkeypatch.setattr(identity.Identities, "_rivals", lambda _: {})
    monkeypatch.setattr(identity.Identities, "awaiting", lambda *_: ())
    monkeypatch.setattr(gates, "identity_taken", lambda *_: None)
    monkeypatch.setattr(laws, "breaches_of_identity", lambda *_: ())
    assert found("two running copies", 23)


def test_storms_find_a_loop_that_heals_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = decide_planner.compute

    def lazy(*given: object) -> Plan:
        """Plan as ever, and leave the steps out."""
        plan = whole(*given)
        return Plan(plan.revision, (), plan.remarks, plan.conditions)

    monkeypatch.setattr(decide_planner, "compute", lazy)
    assert found("not healed", 1)
