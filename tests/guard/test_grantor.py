"""A grantor: it notes before it answers, refuses durably, and is silent to strangers."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.guard.rig import HOST, Failed, Rig, boottime, key_of
from tests.waiting import wait_until

ORDER = {"term": 1, "by": "tests", "why": "a test"}


def grantor(folder: Path, hosts: tuple[str, ...] = (HOST,)) -> Any:
    """Return a grantor without a process."""
    from guard.config import parse_grantor
    from guard.granting.grantor import Grantor
    from guard.granting.revocations import Revocations

    told = {"digest": "d", "name": "witness", "address": "127.0.0.1", "port": 9,
            "keys": {host: key_of(host) for host in hosts}}
    return Grantor(parse_grantor(told), Revocations(str(folder)))


def ask(host: str = HOST, at_ns: int = 1, boot: str = "boot-1", to: str = "witness",
        key: str = "") -> bytes:
    """Return a sealed ask."""
    from guard.message import Ask, seal_ask

    return seal_ask(bytes.fromhex(key or key_of(host)), Ask(host, to, boot, at_ns))


def answered(made: Any, data: bytes) -> bool | None:
    """Return whether an ask was granted, None for silence."""
    from guard.message import is_sealed, parse_answer, words_in

    answer = made.answer(data)
    if answer is None:
        return None
    found = parse_answer(words_in(answer) or ())
    assert found is not None
    assert is_sealed(bytes.fromhex(key_of(found.ask.host)), answer)
    return bool(found.granted)


def test_a_known_host_is_granted_once_for_each_nonce(tmp_path: Path) -> None:
    made = grantor(tmp_path)
    assert answered(made, ask(at_ns=5)) is True
    assert answered(made, ask(at_ns=5)) is None
    assert answered(made, ask(at_ns=4)) is None
    assert answered(made, ask(at_ns=6)) is True


def test_an_ask_of_an_earlier_boot_is_answered_by_silence(tmp_path: Path) -> None:
    made = grantor(tmp_path)
    assert answered(made, ask(boot="one", at_ns=10**9)) is True
    assert answered(made, ask(boot="two", at_ns=1)) is True
    assert answered(made, ask(boot="one", at_ns=10**10)) is None


@pytest.mark.parametrize("data", [
    b"", b"x" * 32, b"x" * 600, b"\xff" * 100, b"x" * 32 + b"hotsite-1 ask paris-1",
    b"x" * 32 + b"hotsite-1 ask paris-1 witness boot-1 1",
    b"x" * 32 + b"hotsite-1 ask paris-1 witness boot-1 " + b"9" * 400,
    b"x" * 32 + b"hotsite-2 ask paris-1 witness boot-1 1",
])
def test_whatever_is_not_sealed_is_answered_by_silence(tmp_path: Path, data: bytes) -> None:
    assert answered(grantor(tmp_path), data) is None


def test_unknown_hosts_wrong_keys_and_other_grantors_asks_are_answered_by_silence(
        tmp_path: Path) -> None:
    made = grantor(tmp_path)
    assert answered(made, ask("paris-9")) is None
    assert answered(made, ask(key=key_of("paris-2"))) is None
    assert answered(made, ask(to="milan-1")) is None


def test_an_answer_cannot_be_sent_back_as_an_ask(tmp_path: Path) -> None:
    from guard.message import Answer, Ask, seal_answer

    answer = seal_answer(bytes.fromhex(key_of(HOST)),
                         Answer(Ask(HOST, "witness", "boot-1", 1), granted=True, armed=True))
    assert answered(grantor(tmp_path), answer) is None


def test_silence_and_refusals_are_not_noted_as_grants(tmp_path: Path) -> None:
    made = grantor(tmp_path)
    assert made.respond({"verb": "ages", "hosts": [HOST]})["ages"][HOST]["since"] == "start"
    made.respond({"verb": "revoke", "epoch": 7, "hosts": [HOST], "order": ORDER})
    assert answered(made, ask()) is False
    assert made.respond({"verb": "ages", "hosts": [HOST]})["ages"][HOST]["since"] == "start"


def test_a_host_that_was_forgotten_counts_as_granted_until_then(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from guard import clock

    now = {"s": 1000.0}
    monkeypatch.setattr(clock, "now", lambda: now["s"])
    made, both = grantor(tmp_path, (HOST, "paris-2")), grantor(tmp_path, (HOST, "paris-2")).told
    assert answered(made, ask("paris-2")) is True
    now["s"] += 100
    assert answered(made, ask()) is True
    now["s"] += 100
    made.take(grantor(tmp_path, ("paris-2",)).told)
    now["s"] += 7
    made.take(both)
    made.respond({"verb": "revoke", "epoch": 7, "hosts": [HOST], "order": ORDER})
    ages = made.respond({"verb": "ages", "hosts": [HOST, "paris-2"]})["ages"]
    assert (ages[HOST]["age_s"], ages[HOST]["since"]) == (7.0, "start")
    assert (ages["paris-2"]["age_s"], ages["paris-2"]["since"]) == (207.0, "grant")
    assert made.state()["listening_s"] <= 7


def test_orders_that_name_the_same_hosts_forget_nothing(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from guard import clock

    now = {"s": 1000.0}
    monkeypatch.setattr(clock, "now", lambda: now["s"])
    made = grantor(tmp_path)
    assert answered(made, ask()) is True
    now["s"] += 50
    made.take(grantor(tmp_path, (HOST, "paris-2")).told)
    ages = made.respond({"verb": "ages", "hosts": [HOST, "paris-2"]})["ages"]
    assert {one["age_s"] for one in ages.values()} == {50.0}


def test_a_revocation_is_on_the_disk_before_it_is_confirmed(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = grantor(tmp_path)
    done: list[str] = []
    fsync, rename = os.fsync, os.rename

    def noted_fsync(fd: int) -> None:
        folder = Path(f"/proc/self/fd/{fd}").is_dir()
        done.append("fsync of the folder" if folder else "fsync")
        fsync(fd)

    def noted_rename(source: str, target: str) -> None:
        done.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    said = made.respond({"verb": "revoke", "epoch": 7, "hosts": [HOST], "order": ORDER})
    assert done == ["fsync", "rename", "fsync of the folder"]
    assert said["ages"][HOST]["epoch"] == 7
    assert json.loads((tmp_path / "revoked.json").read_text())["hosts"][HOST]["epoch"] == 7


def test_a_disk_that_does_not_take_it_changes_nothing(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from guard.errors import TryAgain

    made = grantor(tmp_path)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TryAgain, match="No space left on device; nothing was changed"):
        made.respond({"verb": "revoke", "epoch": 7, "hosts": [HOST], "order": ORDER})
    assert answered(made, ask()) is True
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_revocations_that_makes_no_sense_is_no_empty_list(tmp_path: Path) -> None:
    from guard.errors import TryAgain

    (tmp_path / "revoked.json").write_text("{}")
    with pytest.raises(TryAgain, match="nothing is granted by this machine"):
        grantor(tmp_path)


def test_a_lower_epoch_neither_undoes_nor_lowers_a_revocation(tmp_path: Path) -> None:
    made = grantor(tmp_path)
    made.respond({"verb": "revoke", "epoch": 7, "hosts": [HOST], "order": ORDER})
    made.respond({"verb": "revoke", "epoch": 5, "hosts": [HOST], "order": ORDER})
    said = made.respond({"verb": "restore", "epoch": 6, "hosts": [HOST], "order": ORDER})
    assert said == {"kept": [HOST]}
    assert answered(made, ask(at_ns=1)) is False
    assert made.respond({"verb": "restore", "epoch": 7, "hosts": [HOST], "order": ORDER}) == {
        "kept": []}
    assert answered(made, ask(at_ns=2)) is True


@pytest.mark.parametrize("verb", ["revoke", "restore", "disarm", "arm"])
def test_a_lower_term_is_refused_and_the_term_is_remembered(tmp_path: Path, verb: str) -> None:
    from guard.errors import Superseded

    grantor(tmp_path).respond({"verb": "revoke", "epoch": 7, "hosts": [HOST],
                               "order": {**ORDER, "term": 4}})
    with pytest.raises(Superseded, match="term 4 has been here"):
        grantor(tmp_path).respond({"verb": verb, "epoch": 9, "hosts": [HOST],
                                   "order": {**ORDER, "term": 3}})


def test_what_the_state_says_changes_each_second_for_revoked_hosts_alone(tmp_path: Path) -> None:
    made = grantor(tmp_path, (HOST, "paris-2", "paris-3"))
    answered(made, ask())
    answered(made, ask("paris-2"))
    made.respond({"verb": "revoke", "epoch": 7, "hosts": ["paris-2"], "order": ORDER})
    state = made.respond({"verb": "state"})
    assert state["hears"] == [HOST, "paris-2"]
    assert state["never"] == ["paris-3"]
    assert state["silent"] == {}
    assert state["revoked"]["paris-2"] == {
        "epoch": 7, "term": 1, "by": "tests", "why": "a test", "age_s": 0, "since_start": False}


@pytest.mark.parametrize(("duration_s", "shown"), [
    (0.0, 0), (0.9, 0), (1.5, 1), (15.9, 8), (16.0, 16), (3600.0, 2048)])
def test_for_how_long_it_listens_changes_less_and_less_often(
        duration_s: float, shown: int) -> None:
    from guard.granting.grantor import rarely

    assert rarely(duration_s) == shown


# with real processes

def test_revoked_at_every_grantor_the_guests_end_and_at_one_alone_they_run(rig: Rig) -> None:
    rig.grantor("witness", "milan-1")
    rig.guest("sql")
    rig.guard()
    rig.granted()
    assert rig.order("revoke", "witness")["ages"][HOST]["age_s"] < 2
    last = rig.page("granted_at")
    wait_until(lambda: rig.page("granted_at") > last + 3, 20)
    assert rig.alive() == ["sql"]

    before = rig.order("revoke", "milan-1")["ages"][HOST]
    assert before["since"] == "grant"
    gone = rig.gone()
    after = rig.verb("ages", "milan-1", told={"hosts": [HOST]})["ages"][HOST]
    assert after["age_s"] >= gone - rig.page("granted_at") - 0.5
    assert rig.tombstones().keys() == {"sql"}


def test_a_restarted_grantor_still_refuses_and_says_at_my_start(rig: Rig) -> None:
    rig.grantor("witness")
    rig.guest("sql")
    rig.guard(deadline_s=60.0)
    rig.granted()
    assert rig.verb("ages", "witness", told={"hosts": [HOST]})["ages"][HOST]["since"] == "grant"
    rig.order("revoke", "witness")
    rig.silence("witness")
    rig.grantor("witness")
    started = boottime()
    said = rig.verb("ages", "witness", told={"hosts": [HOST]})["ages"][HOST]
    assert (said["since"], said["epoch"]) == ("start", 7)
    assert said["age_s"] <= boottime() - started + 2
    refused = rig.page("grantor")["refused_at"][0]
    wait_until(lambda: rig.page("grantor")["refused_at"][0] > max(refused, started), 20)


def test_a_lower_term_ends_with_the_status_of_one_who_conducts_no_more(rig: Rig) -> None:
    rig.grantor("witness")
    rig.order("revoke", "witness", term=3)
    with pytest.raises(Failed) as failed:
        rig.order("restore", "witness", term=2)
    assert failed.value.args[0] == 76


def test_it_listens_on_its_own_address_alone(rig: Rig) -> None:
    rig.grantor("witness")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as box:
        box.bind(("127.0.0.2", rig.ports["witness"]))      # free: it did not take all addresses
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as box, pytest.raises(
            OSError, match="in use"):
        box.bind(("127.0.0.1", rig.ports["witness"]))


def test_new_hosts_are_taken_while_it_runs_and_those_that_are_gone_are_forgotten(rig: Rig) -> None:
    rig.grantor("witness", hosts=("paris-2",))
    pid = rig.grantor_pid("witness")
    rig.grantor("witness", hosts=("paris-2",))
    assert rig.grantor_pid("witness") == pid
    rig.verb("grantor", "witness", str(rig.durable("witness")), told={
        "digest": "d2", "name": "witness", "address": "127.0.0.1", "port": rig.ports["witness"],
        "keys": {HOST: key_of(HOST)}})
    assert rig.grantor_pid("witness") == pid
    assert rig.verb("state", "witness")["never"] == [HOST]


def test_on_another_port_it_is_another_grantor(rig: Rig) -> None:
    rig.grantor("witness")
    before, rig.ports["witness"] = rig.grantor_pid("witness"), 0
    del rig.ports["witness"]
    rig.verb("grantor", "witness", str(rig.durable("witness")), told={
        "digest": "d3", "name": "witness", "address": "127.0.0.1", "port": 1024 + 47000 % 60000,
        "keys": {HOST: key_of(HOST)}})
    assert rig.grantor_pid("witness") != before
    assert rig.verb("state", "witness")["digest"] == "d3"


def test_a_newer_program_takes_the_place_of_the_old_one(rig: Rig) -> None:
    rig.grantor("witness")
    rig.order("revoke", "witness")
    before = rig.grantor_pid("witness")
    rig.program = rig.program.rename(rig.folder / "guard-newer.pyz")
    rig.grantor("witness")
    assert rig.grantor_pid("witness") != before
    state = rig.verb("state", "witness")
    assert (state["program"], list(state["revoked"])) == ("newer", [HOST])


def test_whom_nobody_serves_is_told_so(rig: Rig) -> None:
    with pytest.raises(Failed, match="no grantor runs here"):
        rig.order("revoke", "witness")
    with pytest.raises(Failed, match="no guard runs here"):
        rig.verb("leave", HOST)
