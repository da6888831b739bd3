"""A malformed replica is unreadable by itself: the other facts of its host are read."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mover.replica.replica import create
from mover.replica.state import render_state

from controller.providers.linux.replica import parse_replicas
from tests.mover.replicas import HASHER
from tests.mover.transfers import SECRET
from tests.providers.linux.conftest import PlayedHost
from tests.providers.linux.test_replicas_script import UUID, Protected, rewritten

OTHER = "0c0ffee0-3f94-51e5-b7d7-6dbad2f2dab3"
DEEP = "[" * 100_000


@pytest.fixture
def machine(host: PlayedHost) -> Protected:
    """A VM with a replica of two points, beside the replica of another."""
    machine = Protected(host, {"vda": 1 << 20})
    machine.cycle(3)
    machine.cycle(3)
    create(str(machine.root.with_name(OTHER)), OTHER, HASHER.algorithm, SECRET, {})
    return machine


def complaint(host: PlayedHost) -> str:
    """Return why the one replica cannot be read; the other can."""
    found = parse_replicas(host.text("replicas"))
    assert not found[OTHER].unreadable
    return found[UUID].unreadable


def point(machine: Protected, **changes: object) -> list[Any]:
    """Return the points as state.json has them, the newest changed."""
    told: list[Any] = json.loads(render_state(machine.state()))["state"]["points"]
    return [*told[:-1], {**told[-1], **changes}]


@pytest.mark.parametrize("changes", [
    {"generation": float("inf")},
    {"facts": {"scrubbed_at": "yesterday"}},
    {"facts": {"seeded_at": [1]}},
    {"facts": {"compared_at": float("nan")}},
    {"facts": []},
    {"pins": {"\ud800": 1}},
    {"points": 3},
], ids=repr)
def test_what_a_state_cannot_say(host: PlayedHost, machine: Protected,
                                 changes: dict[str, object]) -> None:
    rewritten(machine, **changes)
    assert "state.json is not understood" in complaint(host)


@pytest.mark.parametrize("changes", [
    {"started_at": float("inf")},
    {"sequence": -1},
    {"sequence": 0},
    {"sequence": 1},
    {"sequence": 10 ** 40},
    {"sequence": float("inf")},
    {"checkpoint": "\ud800"},
    {"damaged": -5},
    {"files": {"vda": {"name": "base-000001.raw", "kind": "base", "size_bytes": -1,
                       "stored_bytes": 0}}},
    {"files": {"../../../etc": {"name": "shadow", "kind": "base", "size_bytes": 1,
                                "stored_bytes": 0}}},
    {"files": {"vda": {"name": "../../other", "kind": "base", "size_bytes": 1,
                       "stored_bytes": 0}}},
    {"files": {"vda": {"name": "a\0b", "kind": "base", "size_bytes": 1, "stored_bytes": 0}}},
], ids=repr)
def test_what_a_point_cannot_be(host: PlayedHost, machine: Protected,
                                changes: dict[str, object]) -> None:
    rewritten(machine, points=point(machine, **changes))
    assert "state.json is not understood" in complaint(host)


@pytest.mark.parametrize("text", [DEEP, '{"check": "x", "state": ' + DEEP, '{"state": [],'
                                  ' "check": "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f'
                                  '11161202b945"}'], ids=["deep", "deeper", "no object"])
def test_a_state_that_is_no_json_of_ours_is_read_from_its_copy(
        host: PlayedHost, machine: Protected, text: str) -> None:
    (machine.root / "state.json").write_text(text)
    assert not complaint(host)
    for copy in machine.root.glob("state.json.*"):
        copy.write_text(text)
    assert "is not the state of a replica" in complaint(host)


@pytest.mark.parametrize(("name", "text"), [
    ("vda/incoming.json", DEEP), ("vda/incoming.json", '{"plan": {"size_bytes": Infinity}}'),
    ("scrub.json", DEEP)], ids=["deep", "endless", "deep bookmark"])
def test_what_is_beside_it_cannot_spoil_it(host: PlayedHost, machine: Protected, name: str,
                                           text: str) -> None:
    (machine.root / name).write_text(text)
    assert not complaint(host)


def pipe(path: Path) -> None:
    """Put a pipe, which never answers, in a file's place."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def loop(path: Path) -> None:
    """Put a link that leads to itself in a file's place."""
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)


@pytest.mark.parametrize("put", [pipe, loop])
@pytest.mark.parametrize("name", ["state.json", "vda/incoming.json"])
def test_what_is_no_file(host: PlayedHost, machine: Protected, name: str,
                         put: Callable[[Path], None]) -> None:
    put(machine.root / name)
    assert name in complaint(host)
