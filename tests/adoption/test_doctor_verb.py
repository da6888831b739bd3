"""The verb `doctor`, and the program that it sends to hosts, as they are run."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from controller.errors import Refused
from controller.providers.linux.program import load_program
from tests.adoption.estates import FixedReader, ImportShell, Kvm
from tests.transport.sshd import free_port

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def shell(tmp_path: Path) -> ImportShell:
    """Two hosts at two sites, as they were imported."""
    found = ImportShell(tmp_path, Kvm("10.0.0.11", "kvm1"), Kvm("10.0.1.11", "kvm2"))
    assert found().exit_code == 0
    return found


def probed(monkeypatch: pytest.MonkeyPatch, **probes: Any) -> None:
    """Let every host's probes find this, and nothing else."""
    async def probe(self: FixedReader, name: str, program: str, question: str,
                    timeout_s: float) -> str:
        asked = json.loads(question)
        assert {peer["name"] for peer in asked["peers"]} == {"kvm1", "kvm2"} - {name}
        return json.dumps({"python": [3, 11, 2], "hostname": name, "probes": probes})

    monkeypatch.setattr(FixedReader, "probe", probe)


def test_what_could_not_be_checked_is_told_as_that(shell: ImportShell) -> None:
    done = shell.run("doctor", "--specs", str(shell.out), "--format", "json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["exit"]) == (5, 5)
    assert {one["level"] for one in told["findings"]} == {"not known"}


def test_the_worst_finding_is_the_exit_status_and_comes_first(
        shell: ImportShell, monkeypatch: pytest.MonkeyPatch) -> None:
    probed(monkeypatch, sshd={"maxsessions": "1"})
    assert shell.run("doctor", "--specs", str(shell.out)).exit_code == 2
    probed(monkeypatch, libvirt={"answers": False, "sockets": [], "status": 1, "error": ""})
    done = shell.run("doctor", "--specs", str(shell.out))
    assert done.exit_code == 3
    first = done.stdout.splitlines()
    assert first[0].startswith("stops you  Host/kvm1  libvirt:")
    assert first[1].strip().startswith("so: ")
    assert first[2].strip().startswith("mend on kvm1: systemctl enable --now libvirtd.socket")


def test_a_host_that_lets_nobody_in_is_told_alone(shell: ImportShell,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    shell.hosts["10.0.1.11"].silent = "kvm2 refused the login"

    async def refuse(self: FixedReader, *words: object) -> str:
        raise Refused("kvm2 refused the login")

    monkeypatch.setattr(FixedReader, "probe", refuse)
    done = shell.run("doctor", "kvm2", "--specs", str(shell.out), "--json")
    found = json.loads(done.stdout)["findings"]
    assert [(one["about"], one["check"]) for one in found] == [("Host/kvm2", "login")]
    assert found[0]["mend"].startswith("ssh-copy-id -i /")
    assert found[0]["mend"].endswith(" -p 22 root@10.0.1.11")


def test_a_host_that_nobody_declares_is_refused_with_those_there_are(shell: ImportShell) -> None:
    done = shell.run("doctor", "kvm9", "--specs", str(shell.out))
    assert done.exit_code == 4
    assert "there are kvm1, kvm2" in done.output


@contextmanager
def listening() -> Iterator[int]:
    """Listen on a port of loopback."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        yield door.getsockname()[1]


def test_the_program_answers_one_line_whatever_this_machine_has(tmp_path: Path) -> None:
    with listening() as port:
        peers = [{"name": "open", "admin": "127.0.0.1", "replication": "127.0.0.1", "port": port},
                 {"name": "shut", "admin": "127.0.0.1", "replication": "127.0.0.1",
                  "port": free_port()}]
        question = {"folders": [str(tmp_path), "/no/such"], "peers": peers,
                    "names": ["localhost", "no-such-host.invalid"]}
        done = subprocess.run([sys.executable, "-I", "-S", "-c", load_program("doctor/probe.py")],
                              input=json.dumps(question) + "\n", capture_output=True, text=True,
                              timeout=60, check=True, env={**os.environ, "HOME": str(tmp_path)})
    answer = json.loads(done.stdout)
    probes = answer["probes"]
    assert tuple(answer["python"][:2]) == sys.version_info[:2]
    assert probes["account"]["uid"] == os.geteuid()
    assert probes[f"room {tmp_path}"]["total_bytes"] > 0
    assert "unknown" in probes["room /no/such"]
    assert probes["path open"] == {"result": "open"}
    assert probes["path shut"] == {"result": "refused"}
    assert probes["ssh shut"]["status"] != 0
    assert probes["dns localhost"]["addresses"]
    assert probes["dns no-such-host.invalid"]["addresses"] == []
