"""The mover's requests that keep a replica up: scrub it, finish an interrupted merge."""

import asyncio
from typing import Any

import pytest

from controller.errors import ActionError
from controller.plan.actions.replica import VerifyReplica
from tests.replication.movers import PATH, Broken, Hosts, hands

ACTION = VerifyReplica(target="Replica/sql", node="milan-1", reason="due", path=PATH, budget_s=60)


def verified(*merging: str) -> dict[str, Any]:
    """Return what the mover says of a sound replica."""
    return {"read_bytes": 5 << 20, "complete": True, "found_clusters": 0, "repaired_clusters": 0,
            "points": {"1": 0}, "repair": {}, "scan": [], "merging": list(merging)}


def test_a_sound_replica_is_only_verified() -> None:
    hosts = Hosts(verify=lambda request: verified())
    assert asyncio.run(hands(hosts).apply(ACTION)) == (
        "verified 5 MiB of sql on milan-1: all as it was sent")
    assert hosts.verbs() == ["verify"]


def test_a_merge_that_was_cut_off_is_finished() -> None:
    hosts = Hosts(verify=lambda request: verified("vda"), retire=lambda request: {
        "points": [1], "given_up": [], "waiting": []})
    assert "cut off was finished, so all of it is read again" in asyncio.run(
        hands(hosts).apply(ACTION))
    assert hosts.request("retire") == {"replica": PATH, "sequences": [], "epoch": 0}


def test_a_merge_that_waits_for_a_pin_is_told() -> None:
    hosts = Hosts(verify=lambda request: verified("vda"), retire=lambda request: {
        "points": [1], "given_up": [], "waiting": ["drill", "failover-7"]})
    assert asyncio.run(hands(hosts).apply(ACTION)).endswith(
        "; a merge that had been cut off waits until drill, failover-7 unpins its restore point")


def test_a_merge_that_cannot_be_finished_is_told() -> None:
    def cut_short(request: dict[str, Any]) -> dict[str, Any]:
        raise Broken(1, "rp-000002.qcow2 is cut short")

    hosts = Hosts(verify=lambda request: verified("vda"), retire=cut_short)
    with pytest.raises(ActionError, match=r"was not finished.*rp-000002.qcow2 is cut short"):
        asyncio.run(hands(hosts).apply(ACTION))
