"""A host whose virsh and ovs-vsctl are played from files, and the facts script at work on it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.providers.linux.program import PARTS, join_program, module_of
from controller.transport import resident

ROOT = Path(__file__).parent.parent.parent.parent
REMOTE = ROOT / "controller/remote"
sys.path.insert(0, str(REMOTE))  # the mover makes the replicas that are looked at
TRANSCRIPTS = ROOT / "tests/transcripts"
FAKE_VIRSH = Path(__file__).with_name("fake_virsh.py").read_text()
EVERYTHING = "domains pools bridges interfaces replicas leftovers"
FAKE_VSCTL = """#!/bin/sh
case "$*" in --version) echo "ovs-vsctl (Open vSwitch) 3.1.0";; *) cat {folder}/tables; esac
"""

SLOW = """
import os, time
for name in ("open", "stat", "lstat", "statvfs", "scandir"):
    def look(path, *more, real=getattr(os, name), **words):
        while str(path).startswith({place!r}):
            time.sleep(60)
        return real(path, *more, **words)
    setattr(os, name, look)
"""


class PlayedHost:
    """One played host and one facts script that runs there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        recorded = json.loads((TRANSCRIPTS / "libvirt/host.json").read_text())
        self.domains: list[dict[str, Any]] = json.loads(recorded["domains"])
        for domain in self.domains:
            domain.setdefault("checkpoints", [])    # recorded before they were asked for
        self.pools = [{"name": "default", "path": str(folder / "pool"), "active": True}]
        (folder / "pool").mkdir()
        self.install("virsh", f"#!{sys.executable} -S\n{FAKE_VIRSH}")
        self.install("ovs-vsctl", FAKE_VSCTL.format(folder=folder))
        self.install("ip", f"#!/bin/sh\ncat {folder}/interfaces\n")
        (folder / "interfaces").write_text((TRANSCRIPTS / "linux/interfaces.json").read_text())
        tables = json.loads(json.loads(
            (TRANSCRIPTS / "openvswitch/host.json").read_text())["bridges"])
        self.set_tables("\n".join(json.dumps(table) for table in tables.values()))
        self.set_libvirt()
        for name in ("cat", "sh"):
            (self.bin / name).symlink_to(f"/bin/{name}")
        self.limit_s, self.still_s, self.limit_mib = 1.5, 1.0, 1
        self.slow = "/no/such/place"    # whoever looks there is held for ever
        self._process: subprocess.Popen[str] | None = None

    def install(self, program: str, text: str) -> None:
        """Put a program on the host."""
        (self.bin / program).write_text(text)
        (self.bin / program).chmod(0o755)

    def set_tables(self, text: str) -> None:
        """Say what ovs-vsctl says."""
        (self.folder / "tables").write_text(text + "\n")

    def set_libvirt(self, trouble: str = "") -> None:
        """Say what libvirt knows, and what is wrong with it."""
        state = {"domains": self.domains, "pools": self.pools, "trouble": trouble}
        (self.bin / "libvirt.json").write_text(json.dumps(state))

    def readings(self) -> int:
        """Return how often virsh was run since the last call."""
        calls = self.bin / "calls"
        number = len(calls.read_text().split()) if calls.exists() else 0
        calls.unlink(missing_ok=True)
        return number

    def program(self) -> str:
        """Return the facts script, impatient, for a host whose folders are below `folder`."""
        places = {"LIMIT_S = 5.0": f"LIMIT_S = {self.limit_s}",
                  "24 << 20": f"{self.limit_mib} << 20",
                  "STILL_S = 2.0": f"STILL_S = {self.still_s}", "RETRY_S = (5.0": "RETRY_S = (0.0",
                  '"/etc/libvirt/qemu"': f'"{self.folder}/etc"',
                  '"/run/hotsite"': f'"{self.folder}/run"',
                  '"/var/lib/libvirt/qemu"': f'"{self.folder}/qemu"',
                  '"/var/lib/libvirt/images"': f'"{self.folder}/images"'}
        sources = {}
        for name in ("facts.py", *PARTS["facts.py"]):
            source = (REMOTE / name).read_text()
            for here, there in places.items():
                source = source.replace(here, there)
            sources[module_of(name)] = source
        return SLOW.format(place=self.slow) + join_program(sources.pop("facts"), sources)

    def ask(self, known: dict[str, str] | None = None, want: str = EVERYTHING,
            **more: Any) -> Any:
        """Ask the facts script and return its answer."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, *resident.ARGV[1:]],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                env={**os.environ, "PATH": str(self.bin), "HOME": str(self.folder / "home")})
            assert self._process.stdin is not None
            self._process.stdin.write(resident.render_program(self.program()))
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        question = {"want": want.split(), "known": known or {}, **more}
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def text(self, section: str) -> str:
        """Ask for one section and return its text."""
        told = self.ask(want=section)["sections"][section]
        assert "text" in told, told
        return str(told["text"])

    def texts(self, want: str) -> dict[str, str]:
        """Ask for sections and return their texts."""
        return {name: told["text"] for name, told in self.ask(want=want)["sections"].items()}

    def error(self, section: str) -> str:
        """Ask for one section and return why nobody knows it."""
        return str(self.ask(want=section)["sections"][section]["error"])

    def end(self) -> None:
        """End the facts script by closing its input."""
        if self._process is not None:
            self._process.communicate(timeout=60)
            assert self._process.returncode == 0
        self._process = None


@pytest.fixture
def host(tmp_path: Path) -> Iterator[PlayedHost]:
    """A host on which all is well."""
    host = PlayedHost(tmp_path)
    yield host
    host.end()
