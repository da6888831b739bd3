"""The one line that lets a transfer in, and the mover that answers several requests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mover import authorize
from mover.errors import Refused

from tests.remote.disks import archive

__all__ = ["archive"]
MARK = "hotsite-transfer-0123456789abcdef"
REQUEST = {"key": "ssh-ed25519 AAAA", "from": "10.78.0.11", "mark": MARK, "lasts_s": 60,
           "command": 'python3 m.pyz receive "/a b"'}


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An account's file of keys, with one key of somebody else."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(authorize, "FOLDER", str(tmp_path / "run"))
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
    assert authorize.remove_key(MARK) == 1
    assert authorize.remove_key(MARK) == 0
    assert keys.read_text() == "ssh-rsa CCCC mine\n"
    assert keys.stat().st_mode & 0o777 == 0o640


def test_a_new_line_takes_the_place_of_an_older_one_for_the_same_replica(
        keys: Path, archive: Path) -> None:
    later, other = "hotsite-transfer-aaaaaaaaaaaaaaaa", "hotsite-transfer-bbbbbbbbbbbbbbbb"
    asked(keys.parent.parent, archive,
          {"verb": "authorize", "request": REQUEST},
          {"verb": "authorize",
           "request": {**REQUEST, "mark": other, "command": "m.pyz receive /c"}},
          {"verb": "authorize", "request": {**REQUEST, "mark": later, "from": "10.78.0.12"}})
    marks = [line.split()[-1] for line in keys.read_text().splitlines()]
    assert marks == ["mine", other, later]


def test_a_failure_ends_no_attendance(keys: Path, archive: Path, tmp_path: Path) -> None:
    root = str(tmp_path / "replica")
    answers = asked(
        tmp_path, archive, {"verb": "receive", "request": {}},
        {"verb": "pin", "request": {"replica": root, "holder": "x", "sequence": 1}},
        {"verb": "replica-make", "request": {"replica": root, "vm": "u"}})
    assert [next(iter(answer)) for answer in answers] == ["ready", "failed", "failed", "answer"]
    assert "is no replica" in json.dumps(answers[2])
