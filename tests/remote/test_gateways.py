"""What a switch says of its keepalived, and how it finds a rival before it holds an address."""

import json
import os
import signal
import socket
import struct
from pathlib import Path
from typing import Any

import pytest


def advert(source: str, vrid: int, kind: int = 1) -> bytes:
    """An IP packet of VRRPv3."""
    head = bytes([0x45, 0, 0, 28, 0, 0, 0, 0, 255, 112, 0, 0])
    return (head + socket.inet_aton(source) + socket.inet_aton("224.0.0.18")
            + bytes([0x30 | kind, vrid, 100, 1, 0, 20, 0, 0]))


def frame(kind: int, card: str, packet: bytes) -> bytes:
    return bytes.fromhex("01005e000012" + card) + struct.pack("!H", kind) + packet


def answer(card: str, address: str, operation: int = 2) -> bytes:
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + bytes.fromhex(card) + (
        socket.inet_aton(address) + bytes(10))


def test_who_speaks_and_who_answers_is_noted_and_nothing_else() -> None:
    from network.keepalived import note
    speakers: set[Any] = set()
    answers: set[Any] = set()
    for one in (frame(0x0800, "020000000001", advert("10.2.0.1", 20)),
                frame(0x0800, "020000000002", advert("10.2.0.2", 21, kind=2)),
                frame(0x0800, "020000000003", advert("10.2.0.3", 22)[:27]),
                frame(0x0806, "020000000004", answer("020000000004", "10.2.0.254")),
                frame(0x0806, "020000000005", answer("020000000005", "10.2.0.254", 1)),
                frame(0x0806, "020000000006", answer("020000000006", "10.2.0.9")), b"", b"\1" * 14):
        note(one, "10.2.0.254", speakers, answers)
    assert speakers == {("10.2.0.1", "02:00:00:00:00:01", 20)}
    assert answers == {"02:00:00:00:00:04"}


@pytest.mark.parametrize(("speakers", "answers", "words"), [
    (set(), set(), ""),
    ({("10.2.0.253", "02:01", 20)}, {"02:01"}, ""),
    ({("10.2.0.1", "02:02", 21)}, set(), ""),
    ({("10.2.0.1", "02:02", 20)}, set(), "10.2.0.1 speaks VRRP with number 20"),
    (set(), {"02:03"}, "is answered for by 02:03"),
    ({("10.2.0.1", "02:02", 21)}, {"02:02"}, "is answered for by 02:02")])
def test_a_rival_is_whoever_is_no_switch_of_ours(monkeypatch: Any, speakers: set[Any],
                                                 answers: set[Any], words: str) -> None:
    from network import keepalived
    monkeypatch.setattr(keepalived, "listen", lambda *_: (speakers, answers))
    fresh = {"network": "office", "port": "gw200", "vrid": 20, "address": "10.2.0.254/32",
             "own": "10.2.0.252/24"}
    try:
        keepalived.find_rival(fresh, {"10.2.0.253"})
        told = ""
    except keepalived.Failed as failed:
        told = str(failed)
    assert words in told
    assert bool(words) == bool(told)


def test_no_signal_is_sent_to_a_process_that_would_end_by_it() -> None:
    from network import gateways
    assert not gateways.waits_for(os.getpid(), signal.SIGRTMIN + 2)
    assert gateways.waits_for(os.getpid(), signal.SIGINT)
    assert not gateways.waits_for(1 << 22, signal.SIGINT)


@pytest.mark.parametrize(("text", "states"), [
    ('[{"data": {"iname": "office", "state": 2}}, {"data": {"iname": "dmz", "state": 1}}]',
     {"office": "master", "dmz": "backup"}),
    ('{"vrrp": [{"data": {"iname": "office", "state": 9}}]}', {"office": "unknown"}),
    ('[{"data": {"iname"', None), ("[]", {}), ("[1]", None), ('{"bfd": []}', None)])
def test_its_word_is_read_once_it_is_whole(tmp_path: Path, text: str,
                                           states: dict[str, str] | None) -> None:
    from network import gateways
    path = tmp_path / "keepalived.json"
    path.write_text(text)
    assert gateways.word_in(str(path)) == states
    link = tmp_path / "link"
    link.symlink_to(path)
    assert gateways.word_in(str(link)) is None


def test_a_switch_without_keepalived_says_so(monkeypatch: Any) -> None:
    from network import gateways
    monkeypatch.setattr(gateways.shutil, "which", lambda _: None)
    monkeypatch.setattr(gateways, "found_process", lambda _: 0)
    monkeypatch.setattr(gateways, "config_of", lambda: None)
    found = json.loads(gateways.Gateways().text())
    assert (found["version"], found["running"], found["config"]) == ("", False, None)
