"""Values with several spellings are compared as one, or only one spelling is accepted."""

from pathlib import Path

import pytest

from controller.source.check.hosts import spelled_once
from tests.source.check.sound import SOUND
from tests.source.check.test_check import problems_of

EDITS = {
    "an address twice, spelled in another way": (
        "10.77.1.11", "'::ffff:10.77.0.11'",
        "::ffff:10.77.0.11 is the address of `paris-1` (a.yaml:24) already"),
    "a pool by a path that has another one": (
        "path: /fast", "path: /var/lib/../fast",
        "/var/lib/../fast has more than one name: write it without `.` and `..`"),
    "a bridge in itself": (
        "  capacity: {memory: 16GiB, cpus: 8}",
        "  uplinks: [br0]\n  capacity: {memory: 16GiB, cpus: 8}",
        "`br0` is the bridge itself: name the device that is plugged into it"),
    "a card without an address": (
        "52:54:00:12:34:56", "00:00:00:00:00:00",
        "00:00:00:00:00:00 is no card's address: give it one of its own"),
    "facts that are too old at once": (
        "knownHosts: /h}}", "knownHosts: /h}, limits: {factAge: 1ms}}",
        "`factAge` is out of range: write at least 2s"),
}


@pytest.mark.parametrize("what", EDITS)
def test_it_is_told(tmp_path: Path, what: str) -> None:
    old, new, expected = EDITS[what]
    assert old in SOUND
    assert any(expected in one for one in problems_of(tmp_path, SOUND.replace(old, new, 1)))


@pytest.mark.parametrize(("one", "other"), [
    ("fe80::1", "FE80:0::1"), ("h1.example", "H1.example."), ("10.0.0.1", "::ffff:10.0.0.1")])
def test_one_address_is_one_however_it_is_spelled(one: str, other: str) -> None:
    assert spelled_once(one) == spelled_once(other)
    assert spelled_once("10.0.0.1") != spelled_once("10.0.0.10")
