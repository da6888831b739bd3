"""What `replica show` says of a replica that has to do with a failover."""

from typing import Any

import pytest

from controller.cli.replica.show import describe_epoch
from controller.plan.replication.former import TAIL_S

NOW_S = 1000.0


def row(number: int, **tail: Any) -> dict[str, Any]:
    """Return one restore point as it is shown."""
    return {"point": number, **({"tail": tail} if tail else {})}


def replica(*points: dict[str, Any], epoch: int = 7, promoted: int | None = None
            ) -> dict[str, Any]:
    """Return one replica as it is shown."""
    return {"name": "sql", "epoch": epoch, "promoted_point": promoted, "points": list(points)}


@pytest.mark.parametrize(("one", "said"), [
    (replica(row(1), epoch=0), []),
    (replica(row(1)), ["of the VM with epoch 7"]),
    (replica(row(4), promoted=4), ["point 4 is the VM since it failed over, epoch 7"])])
def test_it_says_of_which_copy_it_is(one: dict[str, Any], said: list[str]) -> None:
    assert describe_epoch(one, NOW_S) == said


@pytest.mark.parametrize(("until_s", "words"), [
    (NOW_S + TAIL_S, "kept for jo, 30d more"), (NOW_S - 60, "kept for jo, which ended 1m ago"),
    (None, "kept for jo, never taken for a failover")])
def test_a_tail_is_told_with_its_owner_and_how_to_let_it_go(until_s: float | None,
                                                            words: str) -> None:
    [_, said] = describe_epoch(replica(row(1, kept_by="jo", kept_until=until_s), row(2)), NOW_S)
    assert words in said
    assert said.endswith("`hotsite replica release sql SPECS --point 1` lets it go")
