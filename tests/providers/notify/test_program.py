"""Programs of the admin's: what they are given, and what becomes of those that misbehave."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from controller.errors import OutcomeUnknown, Refused, Unavailable
from controller.model.notify.spec import ReceiverSpec
from controller.providers.notify.send import send
from tests.providers.notify.test_webhook import MESSAGE
from tests.waiting import wait_until


def told(*command: str, **more: Any) -> str:
    """Give a message to a program."""
    spec = ReceiverSpec.model_validate({"name": "ops", "exec": {"command": command, **more}})
    return asyncio.run(send(spec, MESSAGE))


def python(code: str, *words: str, **more: Any) -> str:
    """Give a message to some Python."""
    return told(sys.executable, "-c", code, *words, **more)


def test_a_program_reads_json_and_no_shell_reads_its_arguments(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMC_PASSWORD", "hunter2")
    out = tmp_path / "out"
    code = ("import sys, os, json; json.dump([sys.argv[2:], json.load(sys.stdin),"
            " dict(os.environ)], open(sys.argv[1], 'w'))")
    assert python(code, str(out), "$(touch /tmp/x); `id` > *") == ""
    words, content, environment = json.loads(out.read_text())
    assert words == ["$(touch /tmp/x); `id` > *"]
    assert content == {**MESSAGE.as_json(), "alerts": [{"key": "k"}]}
    assert "hunter2" not in str(environment)


def test_a_program_need_not_read_and_may_say_much() -> None:
    assert told("/bin/true") == ""
    assert python("import sys; sys.stderr.write('x' * 10_000_000)") == ""


@pytest.mark.parametrize(("code", "kind", "words"), [
    ("import sys; sys.exit('no \\x1b[31m<route>')", Refused, "ended with 1: no .*route"),
    ("import sys; sys.exit(75)", Unavailable, "ended with 75"),
    ("import os; os.kill(os.getpid(), 9)", Refused, "ended with -9")])
def test_how_a_program_ends_counts(code: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        python(code)


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(Refused, match="/nowhere/tell of ops cannot be started: No such file"):
        told("/nowhere/tell")


def test_a_program_that_goes_on_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = (f"import subprocess, sys, time; p = subprocess.Popen(['sleep', '600']);"
            f" open({str(pid)!r}, 'w').write(str(p.pid)); time.sleep(600)")
    with pytest.raises(OutcomeUnknown, match="had not ended after 5 s"):
        python(code, timeout="5s")
    of_it = Path(f"/proc/{pid.read_text()}/stat")
    wait_until(lambda: not of_it.exists() or "(sleep) Z" in of_it.read_text())


def test_what_a_program_leaves_behind_holds_nobody_up() -> None:
    code = "import subprocess; subprocess.Popen(['sleep', '600'])"
    assert python(code) == ""
