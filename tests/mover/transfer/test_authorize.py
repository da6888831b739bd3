"""The one key line that lets a transfer in, and the session that answers several requests."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mover.errors import Refused
from mover.transfer import authorize, keys_file, shared_lines

from tests.mover.disks import archive
from tests.transport.sshd import Sshd, make_key, public

__all__ = ["archive"]
MARK = "hotsite-transfer-0123456789abcdef"
REQUEST = {"key": "ssh-ed25519 AAAA", "from": "10.78.0.11", "mark": MARK, "lasts_s": 60,
           "command": 'python3 m.pyz receive "/a b"'}


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An account's file of keys, with one key of somebody else."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for module in (authorize, keys_file):
        monkeypatch.setattr(module, "FOLDER", str(tmp_path / "run"))
    (tmp_path / ".ssh").mkdir()
    path = tmp_path / ".ssh" / "authorized_keys"
    path.write_text("ssh-rsa CCCC mine")
    path.chmod(0o640)
    return path


def asked(tmp_path: Path, archive: Path, *lines: object) -> list[dict[str, object]]:
    """Return what a mover that attends answers to these lines."""
    done = subprocess.run(
        [sys.executable, archive, "attend"], capture_output=True, text=True, check=True,
        input="".join(json.dumps(line) + "\n" for line in lines),
        env={**os.environ, "HOME": str(tmp_path), "HOTSITE_RUN": str(tmp_path / "run")})
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_line_allows_one_command_from_one_address_for_a_while() -> None:
    line = authorize.render_line(REQUEST, 0.0)
    assert line.startswith('restrict,from="10.78.0.11",expiry-time="')
    assert 'command="python3 m.pyz receive \\"/a b\\""' in line
    assert line.endswith(f" ssh-ed25519 AAAA {MARK}")


def test_a_file_that_cannot_be_written_to_is_told(keys: Path, archive: Path) -> None:
    keys.unlink()
    keys.mkdir()
    told, = asked(keys.parent.parent, archive,
                  {"number": 1, "verb": "authorize", "request": REQUEST})[1:]
    assert "cannot be written to: Is a directory" in json.dumps(told)


@pytest.mark.parametrize(("said", "expected"), [
    ("authorizedkeysfile .ssh/authorized_keys .ssh/keys2", "{home}/.ssh/authorized_keys"),
    ("authorizedkeysfile /etc/ssh/keys_%u", "/etc/ssh/keys_root"),
    ("authorizedkeysfile /etc/ssh/keys_%u %h/%U/100%%", "{home}/0/100%"),
    ("nothing that is understood", "{home}/.ssh/authorized_keys"),
])
def test_the_file_is_the_one_that_sshd_reads(keys: Path, monkeypatch: pytest.MonkeyPatch,
                                             said: str, expected: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("the account is root in what is expected")
    monkeypatch.setattr(keys_file, "_program", lambda: "/bin/true")
    monkeypatch.setattr(keys_file, "_output", lambda argv: f"port 22\n{said}\nx y\n")
    assert keys_file.keys_path(REQUEST["from"]) == expected.format(home=keys.parent.parent)


@pytest.fixture
def configured(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An sshd that is asked by a configuration of its own."""
    config = tmp_path / "sshd" / "sshd_config"
    config.parent.mkdir()
    host_key = make_key(tmp_path / "sshd" / "host")
    config.write_text(f"HostKey {host_key}\nInclude parts/*.conf\n")
    (config.parent / "parts").mkdir()
    (config.parent / "parts/one.conf").write_text("AuthorizedKeysFile .ssh/first\n")
    sshd = keys_file._program()
    asks = keys_file._output
    monkeypatch.setattr(keys_file, "CONFIG", (str(config), "/nowhere/*"))
    monkeypatch.setattr(keys_file, "_output", lambda argv: asks(
        [argv[0], "-f", str(config), *argv[1:]] if argv[0] == sshd else argv))
    config.write_text(config.read_text().replace("parts", str(config.parent / "parts")))
    return config


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may ask sshd")
def test_sshd_is_asked_for_who_comes_from_that_address_and_anew_when_a_part_of_it_changes(
        configured: Path, tmp_path: Path) -> None:
    first, second = tmp_path / ".ssh/first", tmp_path / ".ssh/second"
    assert keys_file.keys_path("10.78.0.11") == str(first)
    part = configured.parent / "parts/two.conf"
    part.write_text("Match Address 10.78.0.0/24\n  AuthorizedKeysFile .ssh/second\n")
    assert keys_file.keys_path("10.78.0.11") == str(second)
    assert keys_file.keys_path("10.77.0.11") == str(first)
    part.write_text("Match Address 10.77.0.0/24\n  AuthorizedKeysFile .ssh/second\n\n")
    assert keys_file.keys_path("10.78.0.11") == str(first)
    assert keys_file.keys_path("10.77.0.11") == str(second)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may ask sshd")
def test_a_key_is_taken_out_of_whichever_file_it_was_put_into(
        configured: Path, keys: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (configured.parent / "parts/two.conf").write_text(
        "Match Address 10.78.0.0/24\n  AuthorizedKeysFile .ssh/second\n")
    second = keys.with_name("second")
    for address in ("10.78.0.11", "10.77.0.11"):
        line = authorize.render_line({**REQUEST, "from": address}, time.time())
        with authorize._locked(keys_file.keys_path(address)) as path:
            shared_lines.add(path, line)
    assert [len(in_force(path)) for path in (second, keys.with_name("first"))] == [1, 1]
    assert authorize.remove_key(MARK) == 2
    assert [len(in_force(path)) for path in (second, keys.with_name("first"))] == [0, 0]


def test_where_sshd_reads_no_file_nothing_is_written(keys: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_file, "_program", lambda: "/bin/true")
    monkeypatch.setattr(keys_file, "_output", lambda argv: "authorizedkeysfile none\n")
    with pytest.raises(Refused, match="reads no file of keys"):
        authorize.remove_key(MARK)


@pytest.mark.parametrize(("zone", "session"), [
    ("UTC", "UTC"), ("Australia/Sydney", "Australia/Sydney"), ("America/New_York", "Asia/Kolkata")])
@pytest.mark.parametrize(("lasts_s", "let_in"), [(-60, False), (-3500, False), (60, True)])
def test_a_key_ends_when_it_should_whatever_the_zones(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str, session: str, lasts_s: float,
        let_in: bool) -> None:
    monkeypatch.setattr(keys_file, "FOLDER", str(tmp_path / "run"))
    server = Sshd(tmp_path / "sshd")
    server.prepare()
    key = make_key(tmp_path / "one-time")
    monkeypatch.setenv("TZ", session)
    line = authorize.render_line({**REQUEST, "key": public(key), "from": "127.0.0.1",
                                  "command": "echo let in", "lasts_s": lasts_s}, time.time())
    assert os.environ["TZ"] == session
    (server.folder / "authorized_keys").write_text(line + "\n")
    monkeypatch.setenv("TZ", zone)
    server.start()
    try:
        done = subprocess.run(
            ["ssh", "-F", "none", "-i", str(key), "-p", str(server.port), "-o", "BatchMode=yes",
             "-o", f"UserKnownHostsFile={server.known_hosts}", "-o", "IdentitiesOnly=yes",
             "127.0.0.1"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    finally:
        server.stop()
    assert (done.stdout == "let in\n") is let_in, done.stderr


@pytest.mark.parametrize("wrong", [{"from": '10.0.0.1",command="x'}, {"key": "a b\nc"},
                                   {"command": "a\nb"}, {"mark": "somebody"}])
def test_what_would_break_out_of_the_line_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(Refused):
        authorize.render_line({**REQUEST, **wrong}, 0.0)


def test_the_line_goes_again_and_nothing_else_does(keys: Path, archive: Path) -> None:
    home = keys.parent.parent
    answers = asked(home, archive, {"number": 1, "verb": "authorize", "request": REQUEST})
    assert answers == [{"ready": True}, {"number": 1, "answer": {"authorized": MARK}}]
    assert keys.read_text().count("\n") == 2
    identity = keys.stat().st_ino
    assert authorize.remove_key(MARK) == 1
    assert authorize.remove_key(MARK) == 0
    assert in_force(keys) == ["ssh-rsa CCCC mine"]
    assert (keys.stat().st_mode & 0o777, keys.stat().st_ino) == (0o640, identity)


def in_force(keys: Path) -> list[str]:
    """The lines that sshd would take for keys."""
    lines = keys.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    return [line.rstrip(" ") for line in lines if line.strip() and not line.startswith("#")]


def test_a_place_is_used_again(keys: Path, archive: Path) -> None:
    for number in range(30):
        authorize.remove_key(MARK)
        mark = f"hotsite-transfer-{number:016x}"
        asked(keys.parent.parent, archive,
              {"number": 1, "verb": "authorize", "request": {**REQUEST, "mark": mark}})
        assert in_force(keys)[1].endswith(mark)
        assert authorize.remove_key(mark) == 1
    assert keys.stat().st_size < 1024


WRITERS = {
    "appends": "with open(path, 'ab') as file: file.write(line)",
    "renames": """
with lock:
    old = open(path, 'rb').read()
    open(path + '.theirs', 'wb').write(old + line)
    os.rename(path + '.theirs', path)""",
}


@pytest.mark.parametrize("how", WRITERS)
def test_what_others_write_meanwhile_stays(keys: Path, how: str) -> None:
    """Their writes and ours have no lock in common; those that rename have one among them."""
    keys.write_text("ssh-rsa CCCC mine\n")
    script = ("import contextlib, os, sys, time\n"
              "lock, path = contextlib.nullcontext(), sys.argv[1]\n"
              "for number in range(200):\n    line = b'ssh-ed25519 BBBB colleague-%d\\n' % number\n"
              + "".join(f"    {line}\n" for line in WRITERS[how].strip().split("\n"))
              + "    time.sleep(0.001)\n")
    other = subprocess.Popen([sys.executable, "-c", script, str(keys)])
    number = 0
    while other.poll() is None:
        mark, number = f"hotsite-transfer-{number:016x}", number + 1
        shared_lines.add(str(keys), authorize.render_line({**REQUEST, "mark": mark}, 0.0))
        authorize.remove_key(mark)
    assert other.returncode == 0
    assert sum("colleague" in line for line in in_force(keys)) == 200
    assert "ssh-rsa CCCC mine" in in_force(keys)


def test_no_line_of_others_becomes_two(keys: Path) -> None:
    """A carriage return, a form feed or a line separator ends no line of sshd's."""
    theirs = b"ssh-ed25519 AAAA a\rssh-rsa EVIL b\x0cssh-rsa EVIL c\xe2\x80\xa8ssh-rsa EVIL \xff\n"
    ours = authorize.render_line(REQUEST, 0.0).encode()
    keys.write_bytes(theirs + ours + b"\n" + theirs)
    assert authorize.remove_key(MARK) == 1
    assert keys.read_bytes().startswith(theirs + shared_lines.FREE)
    assert keys.read_bytes().endswith(b" \n" + theirs)


def test_a_new_line_takes_the_place_of_an_older_one_for_the_same_replica(
        keys: Path, archive: Path) -> None:
    later, other = "hotsite-transfer-aaaaaaaaaaaaaaaa", "hotsite-transfer-bbbbbbbbbbbbbbbb"
    asked(keys.parent.parent, archive,
          {"verb": "authorize", "request": REQUEST},
          {"verb": "authorize",
           "request": {**REQUEST, "mark": other, "command": "m.pyz receive /c"}},
          {"verb": "authorize", "request": {**REQUEST, "mark": later, "from": "10.78.0.12"}})
    assert {line.split()[-1] for line in in_force(keys)} == {"mine", other, later}


def test_a_failure_ends_no_attendance(keys: Path, archive: Path, tmp_path: Path) -> None:
    root = str(tmp_path / "replica")
    answers = asked(
        tmp_path, archive, {"verb": "receive", "request": {}},
        {"verb": "pin", "request": {"replica": root, "holder": "x", "sequence": 1}},
        {"verb": "replica-make", "request": {"replica": root, "vm": "u"}})
    assert [next(iter(answer)) for answer in answers] == ["ready", "failed", "failed", "answer"]
    assert "is no replica" in json.dumps(answers[2])
