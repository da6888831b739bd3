"""A host whose libvirt and bridges are played, and the drills that it holds."""

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from mover.drill.remains import drill_uuid
from mover.processes import started_with
from mover.replica.replica import Replica, locked

from tests.mover.failover.promoting import UUID, Pool
from tests.mover.transfers import REMOTE, Machine

DRILL = drill_uuid(UUID)
OTHER = "5a5a1234-0000-4000-8000-000000000001"
AGENT = ("<channel type='unix'><source mode='bind' path='/paris/agent'/>"
         "<target type='virtio' name='org.qemu.guest_agent.0'/></channel>")
VIRSH = """#!{python}
import json, subprocess, sys, xml.etree.ElementTree as ET
from pathlib import Path
host = Path({folder!r})
plays = json.loads((host / "plays.json").read_text())
words = sys.argv[4:]


def file_of(uuid):
    return host / ("domain.xml" if uuid == {drill!r} else "domain-%s.xml" % uuid)


def say(line):
    sys.stdout.write(line + chr(10))


def fail(why):
    sys.exit("error: " + why)


def disks(running):
    for disk in ET.parse(running).iterfind("devices/disk"):
        if disk.get("device", "disk") == "disk":
            assert disk.find("backingStore/source/host").get("socket")
            yield disk.find("source").get("file")


def io(image, *commands):
    done = subprocess.run(["qemu-io", "-f", "qcow2", image, *(word for one in commands
                          for word in ("-c", one))], capture_output=True, text=True)
    if done.returncode or "rror" in done.stdout + done.stderr:
        fail("qemu-io: " + done.stdout + done.stderr)


with (host / "asked").open("a") as asked:
    asked.write(" ".join(words) + chr(10))
if words[0] == "capabilities":
    say("<secmodel><model>none</model></secmodel><secmodel><model>dac</model>"
          "<baselabel type='kvm'>+{uid}:+{gid}</baselabel></secmodel>")
elif words[0] == "create":
    if plays.get("create"):
        fail(plays["create"])
    text = Path(words[1]).read_text()
    running = file_of(ET.fromstring(text).findtext("uuid"))
    running.write_text(text)
    for number, image in enumerate(disks(running)):
        copy = host / ("seen-%d.raw" % number)
        done = subprocess.run(["qemu-img", "convert", "-O", "raw", image, str(copy)])
        io(image, "write -P 7 0 64k", "read -P 7 0 64k")
elif words[0] == "qemu-agent-command":
    say("{{}}") if plays.get("agent") else fail("Guest agent is not responding")
elif not file_of(words[1] if words[0] == "screenshot" else words[-1]).exists():
    fail("failed to get domain '%s'" % words[-1])
elif words[0] == "domname":
    say(ET.parse(file_of(words[-1])).findtext("name"))
elif words[0] == "destroy":
    file_of(words[-1]).unlink()
elif words[0] == "domstate":
    say(plays.get("state", "running"))
elif words[0] == "screenshot":
    if plays.get("screen") is None:
        fail("no screen")
    Path(words[2]).write_bytes(plays["screen"].encode("latin-1"))
elif words[0] == "domstats":
    say("  block.0.rd.reqs=%d" % plays.get("reads", 5))
else:
    fail("unknown command " + words[0])
"""
NOTHING = '#!/bin/sh\necho "$0 $*" >> {asked}\n'


class Host:
    """A host that holds a replica, and the virsh that is played on it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.run = folder, folder / "run"
        self.begun: list[subprocess.Popen[bytes]] = []
        monkeypatch.setenv("HOTSITE_RUN", str(self.run))
        monkeypatch.setenv("HOTSITE_LIBVIRT_RUN", str(self.run))
        self.pool = Pool(folder, monkeypatch)
        self.machine: Machine = self.pool.machine
        self.run.mkdir()
        self.root = self.machine.root
        self.plays()
        for name, text in (("virsh", VIRSH.format(python=sys.executable, folder=str(folder),
                                                  drill=DRILL, uid=os.getuid(), gid=os.getgid())),
                           *((name, NOTHING.format(asked=folder / "network"))
                             for name in ("ip", "ovs-vsctl"))):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)

    def plays(self, **words: Any) -> None:
        """Let libvirt play this from now on."""
        (self.folder / "plays.part").write_text(json.dumps(words))
        (self.folder / "plays.part").rename(self.folder / "plays.json")

    def another(self, xml: str) -> dict[str, str]:
        """Put a second VM's replica into the pool, with such a definition; return how it is named.
        """
        root = shutil.copytree(self.root, self.root.with_name(OTHER))
        with locked(str(root)) as replica:
            replica.commit(replica.state._replace(vm=OTHER))
        (root / "meta/000003/domain.xml").write_text(xml)
        return {"machine": "web", "uuid": OTHER, "replica": str(root)}

    def request(self, others: Sequence[dict[str, Any]] = (), **more: Any) -> dict[str, Any]:
        """Return the request of a drill; `more` of its machine, or of itself."""
        own = {"limit_s": 20, "grow_bytes": 1 << 30, "by": "ann", "absent": "", "gateways": []}
        machine = {"machine": "sql", "uuid": UUID, "replica": str(self.root), "sequence": 3,
                   "memory_bytes": 1 << 20, "health": {"boots_s": 0.2}, "without": [],
                   "content": "c0", "estate": "lab", "address": "", "mac": "", "vlans": {}}
        return {**own, **{name: value for name, value in more.items() if name in own},
                "machines": [{**machine, **{name: value for name, value in more.items()
                                            if name not in own}, **other}
                             for other in ({}, *others)]}

    def begin(self, **more: Any) -> "subprocess.Popen[bytes]":
        """Begin a drill; its standard input stays open, as that of a controller that lives."""
        process = subprocess.Popen([sys.executable, "-m", "mover", "drill"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env={**os.environ, "PYTHONPATH": str(REMOTE)})
        assert process.stdin is not None
        process.stdin.write(json.dumps(self.request(**more)).encode() + b"\n")
        process.stdin.flush()
        self.begun.append(process)
        return process

    def drill(self, **more: Any) -> dict[str, Any]:
        """Hold a whole drill of one VM and return what came of it, or the error."""
        told = self.drill_all(**more)
        return dict(told["drilled"][0]) if "drilled" in told else told

    def drill_all(self, **more: Any) -> dict[str, Any]:
        """Hold a whole drill and return its last line, or the error."""
        process = self.begin(**more)
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [json.loads(line) for line in process.stdout]
        if process.wait():
            return dict(json.loads(process.stderr.read().splitlines()[-1]))
        return dict(lines[-1])

    def started(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait until a drill has started its guest."""
        assert process.stdout is not None
        for line in process.stdout:
            if b"started" in line:
                return
        raise AssertionError("it never started")

    def definition(self, uuid: str = DRILL) -> ET.Element:
        """Return the definition of a guest that runs now."""
        name = "domain.xml" if uuid == DRILL else f"domain-{uuid}.xml"
        return ET.parse(self.folder / name).getroot()

    def files(self) -> dict[str, tuple[str, int, int]]:
        """Return the hash, mtime and ctime of every file of the replica that a point reads."""
        return {str(path): (sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns,
                            path.stat().st_ctime_ns)
                for disk in ("vda", "vdb", "meta") for path in sorted((self.root / disk).rglob("*"))
                if path.is_file()}

    def left(self) -> list[str]:
        """Return what is left of a drill on this host."""
        sockets = self.run / "hotsite-drill"
        found = [*map(str, sockets.iterdir() if sockets.exists() else ())]
        found += [one.name for one in self.root.parent.glob("*/drill")]
        found += [one.name for one in self.folder.glob("domain*.xml")]
        found += [f"pin {who}" for root in self.root.parent.iterdir()
                  for who in Replica(str(root)).state.pins]
        return found + [f"server {pid}" for pid, words in started_with().items()
                        if words[:1] == ["qemu-nbd"] and str(self.folder) in " ".join(words)]


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a drill, if it has not ended, as a controller that goes away does."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.read()
    process.wait(60)
    process.stdout.close()
    process.stderr.close()
