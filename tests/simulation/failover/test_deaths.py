"""A controller dies in every phase, between any two of its orders, and the standby goes on.

The laws are asked of the whole storm, and after it nobody may wait for ever. `SOAK=1` tries every
number of orders in many storms. Planned moves are not in these storms, and no sound one has ever
come to `split`: a frozen host that thaws in a wave is a scenario.
"""

import os

import pytest

from controller.failover.states import Phase
from tests.simulation.failover.controller import Doom
from tests.simulation.failover.storm import Storm, command
from tests.simulation.seeds import luckiest_first

LUCKY = {
    Phase.CALM: 5, Phase.SUSPECTED: 2, Phase.LINK_SUSPECTED: 2, Phase.AGREED: 18,
    Phase.AWAITING_HUMAN: 6, Phase.REVOKING: 4, Phase.FENCING: 9, Phase.GATING: 12,
    Phase.PROMOTING: 15, Phase.LED_ELSEWHERE: 16, Phase.RETURNING: 19, Phase.REVERSING: 21,
    Phase.PROTECTED_REVERSED: 22}
"""A storm in which a controller comes to each phase."""
SOAK = bool(os.environ.get("SOAK"))
AFTER = range(12) if SOAK else (0, 1, 3)
"""How many orders it carries out in that phase before it dies."""
DEATHS, STORMS = (30, 400) if SOAK else (1, 60)


def death(seed: int, phase: Phase, after: int) -> tuple[bool, list[str]]:
    """Play one storm; return whether a controller died in that phase, and what was broken."""
    storm = Storm(seed)
    if storm.register is None:
        return False, []    # one controller alone has no successor
    doom = Doom(phase, after)
    for one in storm.controllers:
        one.doom = doom
    world = storm.blow()
    died = bool(doom.met) and any(line.endswith(f"{doom.met} dies") for line in world.story)
    return died, world.broken


@pytest.mark.parametrize("phase", LUCKY, ids=str)
@pytest.mark.parametrize("after", AFTER)
def test_a_successor_goes_on_whatever_phase_its_predecessor_died_in(
        phase: Phase, after: int) -> None:
    died = 0
    for seed in luckiest_first(LUCKY[phase], STORMS):
        dead, broken = death(seed, phase, after)
        assert not broken, f"{command(seed)}, dead in {phase} after {after}: {broken[0]}"
        died += dead
        if died == DEATHS:
            return
    assert died, f"no controller ever came to die in {phase}"
