"""Specs from git over a real sshd on loopback, with strict host keys."""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from controller.source.git import program
from tests.source.git.repository import ESTATE, Repository, open_git, refused, repository

__all__ = ["repository"]


@dataclass(frozen=True)
class Forge:
    """A real sshd on loopback that serves the repository."""

    address: str
    known_hosts: Path


@pytest.fixture
def forge(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
          ) -> Iterator[Forge]:
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    if sshd is None or os.getuid() != 0:
        pytest.skip("needs root and openssh-server")
    folder = tmp_path / "forge"
    folder.mkdir(mode=0o700)
    for name in ("host", "user", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name],
                       check=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nPidFile none\n"
        "PasswordAuthentication no\nPermitRootLogin yes\n")
    Path("/run/sshd").mkdir(exist_ok=True)
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", folder / "agent"],
                             stdout=subprocess.DEVNULL)
    server = subprocess.Popen([sshd, "-D", "-e", "-f", folder / "config"],
                              stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    assert "listening" in server.stderr.readline()
    while not (folder / "agent").exists():
        assert agent.poll() is None
    monkeypatch.setenv("SSH_AUTH_SOCK", str(folder / "agent"))
    subprocess.run(["ssh-add", "-q", folder / "user"], check=True)
    yield Forge(f"git+ssh://root@127.0.0.1:{port}{repository.bare}#main", known)
    for process in (server, agent):
        process.terminate()
        process.wait()
    server.stderr.close()


def test_a_branch_is_loaded_over_ssh(
        forge: Forge, repository: Repository, tmp_path: Path) -> None:
    commit = repository.commit(estate=ESTATE)
    source = open_git(forge.address, tmp_path, str(forge.known_hosts))
    assert asyncio.run(source.load()).revision == commit[:12]


def test_an_unknown_host_key_is_refused(
        forge: Forge, repository: Repository, tmp_path: Path) -> None:
    repository.commit(estate=ESTATE)
    (tmp_path / "none").touch()
    source = open_git(forge.address, tmp_path, str(tmp_path / "none"))
    assert "Host key verification failed" in refused(source)


def test_a_changed_host_key_is_refused(
        forge: Forge, repository: Repository, tmp_path: Path) -> None:
    repository.commit(estate=ESTATE)
    other = (forge.known_hosts.parent / "other.pub").read_text()
    forge.known_hosts.write_text(forge.known_hosts.read_text().split()[0] + " " + other)
    source = open_git(forge.address, tmp_path, str(forge.known_hosts))
    assert "Host key verification failed" in refused(source)


def test_a_refused_login_is_said_and_nobody_is_asked(
        forge: Forge, repository: Repository, tmp_path: Path) -> None:
    repository.commit(estate=ESTATE)
    (forge.known_hosts.parent / "authorized").write_text("")
    source = open_git(forge.address, tmp_path, str(forge.known_hosts))
    assert "Permission denied" in refused(source)


def test_a_far_end_that_never_answers_is_given_up_and_nothing_is_left_running(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "ANSWER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        source = open_git(f"git+ssh://root@127.0.0.1:{port}/estate.git#main", tmp_path)
        assert "no answer within 0.5 s" in refused(source)
        commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")
                    if path.exists()]
    assert not [command for command in commands if str(port).encode() in command]
