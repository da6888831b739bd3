"""The mover's archive, the commands around it, and the key line that lets a transfer in."""

import subprocess
import sys
from pathlib import Path

from controller.errors import OutcomeUnknown, Refused, Unavailable
from controller.providers.linux.archive import pack
from controller.replication.mover import archive_path, digest, failure, verb_command
from controller.replication.ssh_route import Addresses, receive_command, render_known, ssh_argv
from controller.transport.base import Endpoint, Reply

TARGET = Endpoint("milan-1", "10.77.0.21", 2222, "root", "", "")


def test_the_archive_runs_and_is_the_same_whenever_it_is_packed(tmp_path: Path) -> None:
    first = pack("mover")
    pack.cache_clear()
    assert pack("mover") == first
    (tmp_path / "mover.pyz").write_bytes(first)
    done = subprocess.run([sys.executable, "-I", "-S", tmp_path / "mover.pyz", "probe"],
                          input="{}\n", capture_output=True, text=True, check=True)
    assert '"codecs"' in done.stdout


def test_an_archive_that_is_not_there_or_not_the_same_does_not_run(tmp_path: Path) -> None:
    script = verb_command("probe").argv[4]
    path = tmp_path / "mover.pyz"
    for content, status in ((None, 126), (b"other", 126), (pack("mover"), 0)):
        if content is not None:
            path.write_bytes(content)
        done = subprocess.run(["sh", "-c", script, "sh", path, digest(), "probe"], input="{}\n",
                              capture_output=True, text=True, check=False)
        assert done.returncode == status


def test_no_request_is_in_argv() -> None:
    command = verb_command("send", text='{"secret": "x"}')
    assert "secret" not in " ".join(command.argv)


def test_how_a_mover_ends_says_what_is_true() -> None:
    told = '{"sentence": "why"}'
    assert isinstance(failure(Reply(1, "", told), "not done"), Refused)
    assert isinstance(failure(Reply(2, "", told), "not done"), Unavailable)
    assert isinstance(failure(Reply(3, "", told), "not done"), OutcomeUnknown)
    assert isinstance(failure(Reply(137, "", ""), "not done"), OutcomeUnknown)
    assert str(failure(Reply(1, "", told), "not done")) == "not done: why"


def test_the_way_is_pinned_at_both_ends_and_uses_the_replication_network() -> None:
    argv = ssh_argv(TARGET, Addresses("10.78.0.11", "10.78.0.21"))
    words = " ".join(argv)
    assert "-c aes128-gcm@openssh.com" in words
    assert "-F none" in words
    for option in ("BatchMode=yes", "Compression=no", "StrictHostKeyChecking=yes",
                   "HostKeyAlias=10.77.0.21", "UserKnownHostsFile={known}",
                   "IdentityFile={key}", "BindAddress=10.78.0.11"):
        assert f"-o {option}" in words
    assert argv[-2:] == ["10.78.0.21", "receive"]
    assert render_known("10.77.0.21", ("ssh-ed25519 AAAA", "@cert-authority ssh-rsa BBBB")) == (
        "10.77.0.21 ssh-ed25519 AAAA\n@cert-authority 10.77.0.21 ssh-rsa BBBB\n")


def test_the_one_command_of_a_key_is_safe_for_any_path() -> None:
    assert receive_command("/a b/c") == (
        f"python3 -X utf8 -I -S {archive_path()} receive '/a b/c'")
