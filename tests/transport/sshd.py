"""A real sshd on loopback, with keys of its own, for as long as a test needs it."""

import getpass
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from controller.transport.base import Endpoint
from tests.ending import kill_all

PROGRAM = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CONFIG = """
ListenAddress {address}:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 500
MaxSessions 100
LogLevel ERROR
"""


def make_key(path: Path) -> Path:
    """Make a key pair without a passphrase."""
    path.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def public(path: Path) -> str:
    """Return the public half of a key."""
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        number: int = probe.getsockname()[1]
        return number


@dataclass
class Sshd:
    """One sshd; `process` is None while it is stopped."""

    folder: Path
    address: str = "127.0.0.1"
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None

    def prepare(self) -> None:
        """Make its key, the controller's, and the two files that hold their public halves."""
        self.folder.mkdir(parents=True, exist_ok=True)
        make_key(self.folder / "host_key")
        if not self.key_file.exists():
            make_key(self.key_file)
        (self.folder / "authorized_keys").write_text(public(self.key_file) + "\n")
        self.trust(self.folder / "host_key")
        config = CONFIG.format(address=self.address, port=self.port, folder=self.folder)
        (self.folder / "sshd_config").write_text(config)

    @property
    def key_file(self) -> Path:
        """Return the controller's key."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Return the file of host keys."""
        return self.folder / "known_hosts"

    def trust(self, key: Path) -> None:
        """Write the file of host keys: `key` and no other is this sshd's."""
        self.known_hosts.write_text(f"[{self.address}]:{self.port} {public(key)}\n")

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        assert PROGRAM is not None
        self.process = subprocess.Popen(
            [PROGRAM, "-D", "-e", "-f", str(self.folder / "sshd_config")],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while True:
            with socket.socket() as probe:
                if probe.connect_ex((self.address, self.port)) == 0:
                    return
            if self.process.poll() is not None:
                assert self.process.stderr is not None
                raise AssertionError(f"sshd ended: {self.process.stderr.read()}")

    def children(self) -> list[int]:
        """Return the processes that serve connections."""
        assert self.process is not None
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(number) for number in task.read_text().split()]

    def break_connections(self) -> None:
        """Kill whatever serves a connection now."""
        kill_all(self.children())

    def stop(self) -> None:
        """Stop it and every connection it serves."""
        if self.process is None:
            return
        self.break_connections()
        self.process.kill()
        self.process.communicate()
        self.process = None

    def endpoint(self, name: str = "paris-1") -> Endpoint:
        """Return how the controller reaches it."""
        return Endpoint(name, self.address, self.port, getpass.getuser(), str(self.key_file),
                        str(self.known_hosts))
