"""What a switch says of its keepalived, and how it finds a rival before it holds an address."""

import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
    try:
        keepalived.find_rival(FRESH, {"10.2.0.253"})
        told = ""
    except keepalived.Failed as failed:
        told = str(failed)
    assert words in told
    assert bool(words) == bool(told)


FRESH = {"network": "office", "port": "gw200", "vrid": 20, "address": "10.2.0.254/32",
         "own": "10.2.0.252/24"}


def test_many_ports_are_listened_to_at_once_and_a_rival_on_any_is_found(monkeypatch: Any) -> None:
    from network import keepalived

    def listen(port: str, *_: str) -> tuple[set[Any], set[Any]]:
        time.sleep(0.2)
        return ({("10.2.0.1", "02:02", 20)} if port == "gw239" else set()), set()

    monkeypatch.setattr(keepalived, "listen", listen)
    fresh = [FRESH | {"port": f"gw{200 + one}"} for one in range(40)]
    began = time.monotonic()
    keepalived.find_rivals(fresh[:39], set())
    with pytest.raises(keepalived.Failed, match=r"10\.2\.0\.1 speaks VRRP"):
        keepalived.find_rivals(fresh, set())
    keepalived.find_rivals([], set())
    assert time.monotonic() - began < 4     # 79 times 0.2 s one after the other


@contextmanager
def started(*words: str) -> Iterator[int]:
    """Run something with these arguments, as a keepalived would have them."""
    with subprocess.Popen([sys.executable, "-c", "input()", *words],
                          stdin=subprocess.PIPE) as process:
        while not Path(f"/proc/{process.pid}/cmdline").read_bytes():
            time.sleep(0.01)
        yield process.pid
        assert process.poll() is None
        process.kill()


@pytest.mark.parametrize(("words", "ours"), [
    ((), True), (("--dont-fork", "-D"), True), (("-f", "{}"), True), (("--use-file={}",), True),
    (("-f", "/etc/other.conf"), False), (("-Df", "/etc/other.conf"), False),
    (("-f/etc/other.conf",), False), (("--use-file", "/etc/other.conf"), False),
    (("--use-file=/etc/other.conf", "-D"), False)])
def test_a_keepalived_is_ours_if_it_goes_by_our_file(
        tmp_path: Path, monkeypatch: Any, words: tuple[str, ...], ours: bool) -> None:
    from network import keepalived
    config = str(tmp_path / "keepalived.conf")
    monkeypatch.setattr(keepalived, "CONFIG", config)
    with started(*(one.format(config) for one in words)) as process:
        assert keepalived.goes_by_ours(process) == ours
        monkeypatch.setattr(keepalived, "CONFIG", "/nowhere/keepalived.conf")
        assert not keepalived.goes_by_ours(process)


@pytest.mark.parametrize("config", [None, "# hotsite {}\n"])
def test_a_keepalived_of_somebody_else_is_neither_stopped_nor_told_to_read_our_file(
        tmp_path: Path, monkeypatch: Any, config: str | None) -> None:
    from network import keepalived
    path = tmp_path / "keepalived.conf"
    path.write_text("# hotsite {}\n")
    monkeypatch.setattr(keepalived, "CONFIG", str(path))
    monkeypatch.setattr(keepalived, "ADDRESSES", str(tmp_path / "hotsite.ip"))
    monkeypatch.setattr(keepalived.shutil, "which", lambda _: "/bin/true")
    monkeypatch.setattr(keepalived, "systemd", lambda: False)
    with started("-f", "/etc/other.conf") as process:
        monkeypatch.setattr(keepalived, "first_processes", lambda: [process])
        with pytest.raises(keepalived.Failed, match=f"process {process} is a keepalived that does"):
            keepalived.stop("# hotsite ") if config is None else keepalived.change(
                {"config": config, "mark": "# hotsite ", "addresses": "", "fresh": [],
                 "switches": []})
    assert [one.name for one in tmp_path.iterdir()] == ["keepalived.conf"]


def test_a_file_that_somebody_has_just_written_is_not_removed(tmp_path: Path,
                                                              monkeypatch: Any) -> None:
    from network import keepalived
    path = tmp_path / "keepalived.conf"
    path.write_text("global_defs {\n}\n")
    monkeypatch.setattr(keepalived, "CONFIG", str(path))
    monkeypatch.setattr(keepalived, "first_processes", list)
    monkeypatch.setattr(keepalived, "systemd", lambda: False)
    with pytest.raises(keepalived.Failed, match="somebody has just written"):
        keepalived.stop("# hotsite ")
    assert path.exists()


def test_a_full_disk_is_told_as_such(monkeypatch: Any, capsys: Any) -> None:
    from network import keepalived

    def change(_: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keepalived, "change", change)
    monkeypatch.setattr(keepalived.sys, "stdin", io.StringIO('{"config": ""}'))
    assert keepalived.main() == 1
    assert capsys.readouterr().err == "keepalived: No space left on device\n"


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


def test_who_speaks_under_very_many_addresses_does_not_fill_what_a_switch_tells(
        monkeypatch: Any) -> None:
    from network import gateways

    class Flooded:
        index = 7

        def __init__(self, port: str) -> None:
            self.port = port

        def drain(self) -> set[tuple[int, str]]:
            count = 2000 if self.port == "gw200" else 1
            return {(20, f"10.2.{one >> 8}.{one & 255}") for one in range(count)}

    monkeypatch.setattr(gateways, "Ear", Flooded)
    monkeypatch.setattr(gateways.socket, "if_nameindex", lambda: [(7, "gw200"), (7, "gw201")])
    section = gateways.Gateways()
    section.listen()
    first = dict(section.heard)
    section.listen()
    assert set(section.heard) == set(first)
    assert len(first) == gateways.SPEAKERS + 1
    assert ("gw201", 20, "10.2.0.0") in first
    assert min(section.heard.values()) > max(first.values())


def test_a_switch_without_keepalived_says_so(monkeypatch: Any) -> None:
    from network import gateways
    monkeypatch.setattr(gateways.shutil, "which", lambda _: None)
    monkeypatch.setattr(gateways, "found_process", lambda _: 0)
    monkeypatch.setattr(gateways, "config_of", lambda: None)
    found = json.loads(gateways.Gateways().text())
    assert (found["version"], found["running"], found["config"]) == ("", False, None)
