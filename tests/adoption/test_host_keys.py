"""Host keys: shown by a real sshd, known by files as ssh writes them, believed by nothing else."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from controller.adoption.host_keys import Belief, HostKey, KnownKey, judge_key
from controller.errors import Unavailable
from controller.transport.host_keys import host_key, known_keys, matches, remember, shown_key
from tests.transport.conftest import sshd, sshd_of_session  # noqa: F401  # fixtures
from tests.transport.sshd import Sshd, free_port, make_key, public

ONE, TWO = HostKey("ssh-ed25519", "AAAA", "SHA256:one"), HostKey("ssh-ed25519", "BBBB",
                                                                 "SHA256:two")


def known(key: HostKey, *, here: bool, marker: str = "") -> KnownKey:
    """A line of a file of known hosts."""
    return KnownKey(key, "known_hosts:1", ("kvm1",), here, marker)


def test_a_key_that_a_file_has_for_that_address_is_believed() -> None:
    assert judge_key("kvm1", ONE, [known(ONE, here=True)], ()).belief is Belief.BELIEVED


def test_a_key_that_changed_is_refused_with_both_fingerprints_even_if_one_was_given() -> None:
    verdict = judge_key("kvm1", TWO, [known(ONE, here=True)], {TWO.fingerprint})
    assert verdict.belief is Belief.REFUSED
    assert "SHA256:one" in verdict.sentence
    assert "SHA256:two" in verdict.sentence


def test_a_key_under_another_name_is_recognised_and_asked_about() -> None:
    verdict = judge_key("10.0.0.1", ONE, [known(ONE, here=False), known(TWO, here=False)], ())
    assert verdict.belief is Belief.ASK
    assert "known as kvm1 (known_hosts:1)" in verdict.sentence


def test_a_key_that_nobody_knows_is_asked_about_until_its_fingerprint_is_given() -> None:
    assert judge_key("kvm1", ONE, [], ()).belief is Belief.ASK
    assert judge_key("kvm1", ONE, [], {"SHA256:two"}).belief is Belief.ASK
    assert judge_key("kvm1", ONE, [], {"SHA256:one"}).belief is Belief.BELIEVED


def test_a_revoked_key_is_refused_whatever_else_says() -> None:
    lines = [known(ONE, here=True), known(ONE, here=False, marker="revoked")]
    assert judge_key("kvm1", ONE, lines, {"SHA256:one"}).belief is Belief.REFUSED


@pytest.mark.parametrize(("names", "address", "port", "fit"), [
    ("kvm1,10.0.0.1", "10.0.0.1", 22, True),
    ("10.0.0.1", "10.0.0.1", 2222, False),
    ("[10.0.0.1]:2222", "10.0.0.1", 2222, True),
    ("*.example.net,!bad.example.net", "a.example.net", 22, True),
    ("*.example.net,!bad.example.net", "bad.example.net", 22, False),
    ("10.0.0.?", "10.0.0.1", 22, True), ("KVM1", "kvm1", 22, True),
])
def test_names_mean_what_they_mean_to_ssh(names: str, address: str, port: int,
                                          fit: bool) -> None:
    assert matches(names.split(","), address, port) is fit


def test_a_file_that_ssh_keygen_hashed_is_understood(tmp_path: Path) -> None:
    key, file = make_key(tmp_path / "key"), tmp_path / "known_hosts"
    file.write_text(f"kvm1 {public(key)}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    file.write_text(f"\nnonsense\n# kvm1 x y\nkvm1 ssh-ed25519 !!!\n{file.read_text()}")
    found = [one for one in known_keys([file, tmp_path / "none"], "kvm1", 22) if one.matches]
    assert [one.key for one in found] == [host_key(public(key))]
    assert not any(one.matches for one in known_keys([file], "kvm2", 22))


def test_fingerprints_are_those_of_ssh_keygen(tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    said = subprocess.run(["ssh-keygen", "-lf", str(key)], check=True, capture_output=True,
                          text=True).stdout
    assert host_key(public(key)).fingerprint in said


def test_lines_are_added_and_those_that_were_there_stay(tmp_path: Path) -> None:
    file = tmp_path / "new" / "known_hosts"
    remember(file, [("10.0.0.1", 22, ONE)])
    file.write_text(file.read_text() + "# mine, without a newline")
    remember(file, [("10.0.0.2", 2222, TWO)])
    assert file.read_text() == ("10.0.0.1 ssh-ed25519 AAAA\n# mine, without a newline\n"
                                "[10.0.0.2]:2222 ssh-ed25519 BBBB\n")


def test_a_real_sshd_shows_its_key_without_a_login(sshd_of_session: Sshd) -> None:  # noqa: F811
    key = asyncio.run(shown_key(sshd_of_session.address, sshd_of_session.port))
    assert key == host_key(public(sshd_of_session.folder / "host_key"))
    (found,) = known_keys([sshd_of_session.known_hosts], sshd_of_session.address,
                          sshd_of_session.port)
    assert (found.key, found.matches) == (key, True)


def test_a_host_that_does_not_answer_is_told_as_such() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        asyncio.run(shown_key("127.0.0.1", free_port()))
