"""The estate of the talk: either site may be lost, and all of its VMs come back in order."""

from pathlib import Path

import pytest

from controller.model.facts import Known, Observed
from controller.plan.compute import compute
from controller.plan.output.runbook import render_runbook
from controller.plan.steps.takeover import Outcome
from controller.plan.survey.context import Context
from controller.providers.simulated.build import add_nodes, converge
from controller.providers.simulated.view import node_facts
from controller.providers.simulated.world import World
from controller.source.load import load_folder

TALK = Path(__file__).parents[3] / "examples/talk-2007"
NOW_S = 1_800_000_000.0


@pytest.mark.parametrize(("site", "twin", "machines"), [("milan", "paris", 17),
                                                        ("paris", "milan", 18)])
def test_either_site_may_be_lost(site: str, twin: str, machines: int) -> None:
    desired = load_folder(TALK)
    world = World(epoch=lambda: NOW_S)
    add_nodes(world, desired)
    converge(world, desired)
    observed = Observed({name: Known(node_facts(world, node, NOW_S, None), NOW_S)
                         for name, node in world.nodes.items()})
    context = Context(applied_revision=desired.revision)
    told = {one.target: one.status.value for one in
            compute(desired, observed, context, NOW_S).conditions if one.type == "Survivable"}
    assert told == {"Site/milan": "true", "Site/paris": "true"}
    lost = Context(applied_revision=desired.revision, assumed_down=frozenset({f"Site/{site}"}))
    (takeover,) = compute(desired, observed, lost, NOW_S).takeovers
    assert takeover.site == twin
    assert len(takeover.of(Outcome.RETURNS)) == machines
    waves = [one.wave for one in takeover.promotions]
    assert waves == sorted(waves)
    assert render_runbook(takeover)[:2] == (
        f"if {site} is lost now, at {twin}", "  wave 1 (start order 10)")
