"""Real disks behind real QEMU exports, the mover as it runs on hosts, and a plain receiver."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mover.image.hashing import Hasher
from mover.transfer.frames import Data, Zero, placed
from mover.transfer.wire import Reader

from controller.providers.linux.archive import pack

MOVER = Path(__file__).parents[2] / "controller" / "remote" / "mover"
MIB = 1 << 20
SECRET = "5ec2e7"
PROGRAMS = ("qemu-img", "qemu-io", "qemu-nbd")
needs_qemu = pytest.mark.skipif(
    any(shutil.which(name) is None for name in PROGRAMS),
    reason="qemu-utils is not installed: disks behind real exports cannot be tested")


def tool(*argv: str | Path) -> str:
    """Return what a program prints; anything but success is an error of the test."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def image(path: Path, size: int | str, *writes: str) -> Path:
    """Make a qcow2 disk and write to it with qemu-io commands."""
    tool("qemu-img", "create", "-q", "-f", "qcow2", path, str(size))
    return written(path, *writes)


def written(path: Path, *writes: str) -> Path:
    """Write to a qcow2 disk with qemu-io commands."""
    commands = [word for write in writes for word in ("-c", write)]
    if commands:
        said = tool("qemu-io", "-f", "qcow2", *commands, path)
        assert "failed" not in said.lower(), said
    return path


def filled(path: Path, data: bytes) -> Path:
    """Make a qcow2 disk that holds `data`."""
    raw = path.with_suffix(".raw")
    raw.write_bytes(data)
    tool("qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", raw, path)
    raw.unlink()
    return path


@contextmanager
def exported(path: Path, socket: Path, *options: str, form: str = "qcow2") -> Iterator[str]:
    """Export a disk read-only over NBD, as `vda`, while the block lasts."""
    pid_file = socket.with_suffix(".pid")
    tool("qemu-nbd", "--read-only", "--persistent", "--shared=8", "--fork",
         f"--pid-file={pid_file}", f"--format={form}", f"--socket={socket}",
         "--export-name=vda", *options, path)
    server = int(pid_file.read_text())
    try:
        yield str(socket)
    finally:
        os.kill(server, 15)
        while Path(f"/proc/{server}").exists() and "(zombie)" not in _state(server):
            os.sched_yield()


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return "(zombie)"


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mover as one file, the way a host gets it."""
    path = tmp_path_factory.mktemp("archive") / "mover.zip"
    path.write_bytes(pack("mover"))
    return path


class Sent(NamedTuple):
    """How a run of the mover ended."""

    status: int
    result: dict[str, Any]
    error: dict[str, Any]
    lines: tuple[dict[str, Any], ...]


class Running:
    """A mover that was given its request and whose stdin is still open."""

    def __init__(self, archive: Path, request: dict[str, Any], fds: Sequence[int] = ()) -> None:
        self.process = subprocess.Popen(
            [sys.executable, archive, "send"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, pass_fds=fds, text=True)
        self.tell(request)

    def tell(self, order: dict[str, Any]) -> None:
        """Give it one more line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def ended(self) -> Sent:
        """Wait for its end and return what it said."""
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        out = process.stdout.read()
        error_text = process.stderr.read()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
        lines = tuple(json.loads(line) for line in out.splitlines())
        result = next((line["result"] for line in lines if "result" in line), {})
        errors = [line for line in error_text.splitlines() if line.startswith("{")]
        return Sent(process.returncode, result, json.loads(errors[-1]) if errors else {},
                    lines)


def send(archive: Path, wires: Sequence[Path], **request: Any) -> Sent:
    """Run the mover to its end, each stream into a file."""
    fds = [os.open(wire, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600) for wire in wires]
    try:
        to = {"to": {"fds": fds}} if fds else {"to": {}}
        asked = {"export": "vda", "disk": "vda", "transfer": "t1", "secret": SECRET}
        return Running(archive, asked | to | request, fds).ended()
    finally:
        for fd in fds:
            os.close(fd)


def received(wires: Sequence[Path], target: Path) -> int:
    """Write what files of streams carry into a raw disk and return the bytes of data."""
    carried = 0
    fd = os.open(target, os.O_RDWR | os.O_CREAT, 0o600)
    for wire in wires:
        with wire.open("rb") as source:
            reader = Reader(source.fileno(), bytes.fromhex(SECRET))
            hello = reader.hello()
            assert hello is not None
            os.ftruncate(fd, hello.size_bytes)
            hasher = Hasher(hello.algorithm, bytes.fromhex(SECRET))
            for frame in reader.frames():
                if isinstance(frame, Data):
                    raw = memoryview(frame.expand(hasher))
                    for offset, done, length in placed(frame.extents):
                        os.pwrite(fd, raw[done:done + length], offset)
                    carried += frame.length
                elif isinstance(frame, Zero):
                    _zero(fd, frame)
    os.close(fd)
    return carried


def _zero(fd: int, frame: Zero) -> None:
    for at in range(frame.offset, frame.offset + frame.length, MIB):
        os.pwrite(fd, bytes(min(MIB, frame.offset + frame.length - at)), at)


def same(raw: Path, disk: Path) -> None:
    """Hold a raw disk and a qcow2 disk equal, in the eyes of QEMU."""
    said = tool("qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, disk)
    assert "identical" in said, said
