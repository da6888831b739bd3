"""A simulated estate with disks outside its pools converges to nothing to do, as a real one does.
"""

from typing import Any

import pytest

from controller.model.desired import Desired
from controller.model.facts import Known, Observed
from controller.plan.compute import compute
from controller.plan.survey.context import Context
from controller.providers.simulated.build import add_nodes, converge
from controller.providers.simulated.view import node_facts
from controller.providers.simulated.world import World
from tests.plan import builders as b

NOW_S = 1_800_000_000.0
DISKS: dict[str, list[dict[str, Any]]] = {
    "block alone": [{"name": "vda", "source": {"block": "/dev/vg0/web"}}],
    "beside a pool's": [{"name": "vda", "size": "10GiB"},
                        {"name": "vdb", "size": "4GiB", "source": {"file": "/srv/odd/web.img"}}],
    "observed": [{"name": "vda", "size": "10GiB"},
                 {"name": "vdb", "replicate": False, "source": {"observed": "rbd pool/web"}}],
}


def desired_with(disks: list[dict[str, Any]]) -> Desired:
    capacity = {"memory": "64GiB", "cpus": 16}
    return b.desired_of(b.estate(), *b.survey(1, capacity=capacity), b.vm(
        "web", protection="gold", placement={"site": "paris"}, disks=disks))


@pytest.mark.parametrize("disks", DISKS.values(), ids=DISKS)
def test_what_lies_where_it_is_declared_needs_nothing(disks: list[dict[str, Any]]) -> None:
    desired = desired_with(disks)
    world = World(epoch=lambda: NOW_S)
    add_nodes(world, desired)
    converge(world, desired)
    observed = Observed({name: Known(node_facts(world, node, NOW_S, None), NOW_S)
                         for name, node in world.nodes.items()})
    plan = compute(desired, observed, Context(applied_revision="r1"), NOW_S)
    assert [step.action.id for step in plan.steps] == []
