"""What every kind of action says of itself."""

import pytest

from controller.model.document import Rung
from controller.plan.actions import replica, storage
from controller.plan.actions.action import Action

for module in (replica, storage):
    assert module, "its actions are among the kinds"
KINDS = sorted(Action.__subclasses__(), key=lambda kind: kind.verb)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.verb for kind in KINDS])
def test_every_kind_of_action_says_itself_how_high_it_stands_and_whether_it_takes(
        kind: type[Action]) -> None:
    assert {"verb", "rung", "takes"} <= set(vars(kind))


def test_what_takes_stands_higher_than_all_that_adds_or_restarts() -> None:
    assert [rung.value for rung in Rung] == [
        "report", "network", "replicate", "start", "migrate", "restart", "prune", "failover",
        "delete"]
