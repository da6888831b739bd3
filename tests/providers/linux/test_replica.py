"""Facts parsed from what the facts script says of replicas."""

import json

import pytest

from controller.model.replica import ReplicaFacts
from controller.providers.linux.replica import parse_leftovers, parse_replicas

UUID = "fa4e398e-3f94-51e5-b7d7-6dbad2f2dab3"
POINT = {"sequence": 1, "checkpoint": "hotsite-000001", "started_at": 1.0, "committed_at": 2.0,
         "quiesced": False, "stored_bytes": 3}


def row(path: str, **more: object) -> dict[str, object]:
    """Return a row as the script tells it."""
    return {"uuid": UUID, "machine": "mail", "path": path, **more}


def parsed(*rows: dict[str, object]) -> ReplicaFacts:
    """Return what rows about one VM come to."""
    return parse_replicas(json.dumps(rows))[UUID]


def test_a_replica_of_which_little_is_known_is_one_all_the_same() -> None:
    assert parsed(row("/a", unreadable="torn")) == ReplicaFacts(
        UUID, "mail", "/a", unreadable="torn")


@pytest.mark.parametrize("others", [
    [row("/z", unreadable="torn")], [row("/z")], [row("/z", points=[POINT])],
    [row("/z", unreadable="torn"), row("/y", points=[POINT])],
])
def test_of_two_replicas_of_one_vm_the_one_that_is_further_on_counts(
        others: list[dict[str, object]]) -> None:
    best = row("/m", points=[POINT, {**POINT, "sequence": 2}])
    assert parsed(*others, best).path == parsed(best, *others).path == "/m"


@pytest.mark.parametrize("text", ["", "3", "{}", '[{"uuid": "x"}]', '[{"path": 3}]'])
def test_a_list_of_replicas_that_is_not_one_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"^the list of replicas is not understood: "):
        parse_replicas(text)


@pytest.mark.parametrize("text", ["", "3", "{}", '[{"kind": "job"}]', '[{"kind": "x"}]'])
def test_a_list_of_leftovers_that_is_not_one_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"^the list of leftovers is not understood: "):
        parse_leftovers(text)
