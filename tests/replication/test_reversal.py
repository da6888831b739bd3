"""The hands of the way back: former disks are taken back, and their tail is let go."""

import asyncio
from typing import Any

import pytest

from controller.errors import OutcomeUnknown, Refused
from controller.plan.actions.promotion import AdoptDisks, ReleaseTail
from tests.replication.movers import ORIGIN, PATH, UUID, Broken, Hosts, hands

THERE = "/milan/hotsite-replicas/x"
BROUGHT = f"/var/lib/hotsite/known/known-{UUID}-vda.man"


def adopted(**changes: Any) -> dict[str, Any]:
    """Return what the mover answers."""
    return {"sequence": 1, "disks": ["vda"], "left_out": {}, "read_bytes": 3 << 20,
            "by": {"vda": "hashes"}, **changes}


def made() -> dict[str, Any]:
    """Return what the mover of the promoted replica answers."""
    point = {"sequence": 4, "checkpoint": "hotsite-000004-0a", "files": {"vda": "rp", "vdb": "x"},
             "facts": {"origins": {"vda": ORIGIN}}}
    return {"algorithm": "xxh3-128", "secret": "aa", "replica": {"points": [point]}}


def action(**changes: Any) -> AdoptDisks:
    """Return the action that takes back what sql had at Paris."""
    return AdoptDisks(**{"target": "Replica/sql", "node": "paris-1", "reason": "it is back",
                         "uuid": UUID, "path": PATH, "epoch": 7, "estate": "lab", "by": "jo",
                         "until": 9000.0, **changes})


def test_all_of_them_is_read_where_nothing_is_known() -> None:
    hosts = Hosts(adopt=lambda request: adopted())
    assert asyncio.run(hands(hosts).apply(action())) == (
        "vda of sql on paris-1 are the base of its replica there; restore point 1 keeps what they"
        " hold; 3MiB read")
    assert hosts.request("adopt") == {
        "replica": PATH, "vm": UUID, "epoch": 7, "by": "jo", "at": 1000.0, "until": 9000.0,
        "facts": {"machine": "sql", "estate": "lab"}}


def test_the_hashes_of_the_promoted_point_are_brought_first() -> None:
    hosts = Hosts(adopt=lambda request: adopted(by={"vda": "bitmap"}),
                  replica_make=lambda request: made())
    said = asyncio.run(hands(hosts).apply(
        action(promoted_on="milan-1", promoted_path=THERE, promoted_point=4)))
    assert said.endswith("3MiB read, of vda only what its bitmap names")
    assert [(node, verb) for node, verb, _ in hosts.asked] == [
        ("milan-1", "replica-make"), ("milan-1", "manifest-out"), ("paris-1", "manifest-in"),
        ("paris-1", "adopt")]
    assert hosts.request("manifest-out") == {"replica": THERE, "disk": "vda", "point": 4}
    asked = hosts.request("adopt")
    assert (asked["algorithm"], asked["secret"]) == ("xxh3-128", "aa")
    assert asked["known"] == {"vda": {
        "checkpoint": "hotsite-000004-0a", "origin": ORIGIN, "manifest": BROUGHT}}


@pytest.mark.parametrize("point", [4, 5])
def test_without_them_it_goes_on_and_says_so(point: int) -> None:
    def silent(request: dict[str, Any]) -> dict[str, Any]:
        raise Broken(2, "the host is busy")

    answer = silent if point == 4 else lambda request: made()
    hosts = Hosts(adopt=lambda request: adopted(), replica_make=answer)
    said = asyncio.run(hands(hosts).apply(
        action(promoted_on="milan-1", promoted_path=THERE, promoted_point=point)))
    assert "; all of them was read, since the promoted point was not (" in said
    assert "known" not in hosts.request("adopt")


def test_a_disk_that_cannot_be_taken_back_is_named() -> None:
    hosts = Hosts(adopt=lambda request: adopted(left_out={"vdb": "it is compressed"}))
    assert "; vdb is not among them: it is compressed" in asyncio.run(
        hands(hosts).apply(action()))


def test_where_none_can_be_all_is_seeded() -> None:
    hosts = Hosts(adopt=lambda request: adopted(sequence=None, disks=[], by={},
                                                left_out={"vda": "it is compressed"}))
    assert asyncio.run(hands(hosts).apply(action())) == (
        "no former disk of sql on paris-1 can be the base of its replica there, so that is seeded;"
        " vda is not among them: it is compressed")


def test_a_refusal_and_an_answer_that_says_nothing_are_told() -> None:
    def refused(request: dict[str, Any]) -> dict[str, Any]:
        raise Broken(1, "sql is running here")

    with pytest.raises(Refused, match="were not taken back: sql is running here"):
        asyncio.run(hands(Hosts(adopt=refused)).apply(action()))
    with pytest.raises(OutcomeUnknown, match="is not understood"):
        asyncio.run(hands(Hosts(adopt=lambda request: {"sequence": 1})).apply(action()))


def test_a_tail_is_released() -> None:
    hosts = Hosts(release=lambda request: {"released": [3], "pins": {}})
    assert asyncio.run(hands(hosts).apply(ReleaseTail(
        target="Replica/sql", node="paris-1", reason="jo wants it", path=PATH, sequence=3,
        epoch=7))) == ("released restore point 3 of sql on paris-1: from now on it is retired like"
                       " any other")
    assert hosts.request("release") == {"replica": PATH, "sequence": 3, "epoch": 7}
