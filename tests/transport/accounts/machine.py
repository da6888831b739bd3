"""A machine of its own for accounts: this one's programs, with other accounts, sudoers and logs.

A private mount namespace: /etc is this machine's under a layer that is thrown away, /home and /run
are empty, /run and /tmp run no programs, /dev/log is ours. An sshd runs in it as distributions
start it: PAM, no root, ten sessions a connection. Nothing outside of it is changed.

Programs that this machine lacks (sudo, other shells) lie unpacked where examples/lab/install puts
them, and are laid over /usr.
"""

import os
import re
import shlex
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Final

from controller.transport.base import Endpoint, Hop
from controller.transport.sudoers import render_sudoers
from tests.ending import kill_all
from tests.transport.sshd import PROGRAM, free_port, make_key, public

UNPACKED: Final = Path(os.environ.get("HOTSITE_LAB_CACHE", "/var/lib/hotsite-lab/cache"),
                       "accounts")
DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm")
NOTICE: Final = "Authorised use only. All is logged.\n"
AUTH: Final = frozenset({4, 10})
"""Syslog's facilities auth and authpriv: what lands in auth.log."""
CONFIG: Final = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
PidFile none
UsePAM yes
PermitRootLogin no
PasswordAuthentication no
KbdInteractiveAuthentication no
Banner {folder}/banner
AcceptEnv LANG LC_*
"""
PAM: Final = "".join(f"{kind} required pam_unix.so\n" for kind in ("auth", "account", "session"))
SUDOERS: Final = """\
Defaults env_reset, mail_badpass, use_pty
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
root ALL=(ALL:ALL) ALL
@includedir /etc/sudoers.d
"""
SET_UP: Final = """
set -eu
cd {folder}
if [ -d {unpacked}/usr ]; then
  layers={unpacked}/usr:/usr
  ! [ -d {unpacked}/bin ] || {{ mkdir -p bin-layer/bin; cp -p {unpacked}/bin/* bin-layer/bin/;
    layers={folder}/bin-layer:$layers; }}
  mount -t overlay -o "lowerdir=$layers" overlay /usr
fi
mkdir upper work dev
mount -t overlay -o lowerdir=/etc,upperdir=upper,workdir=work overlay /etc
for one in {devices}; do
  [ -e "/dev/$one" ] || continue
  if [ -d "/dev/$one" ]; then mkdir "dev/$one"; else : >"dev/$one"; fi
  mount --rbind "/dev/$one" "dev/$one"
done
ln -s /proc/self/fd dev/fd
ln -s {folder}/log dev/log
mount --rbind dev /dev
mount -t tmpfs -o mode=0755 tmpfs /home
mount -t tmpfs -o mode=0755,noexec,nosuid tmpfs /run
mkdir -m 0755 /run/sshd
mount --bind /tmp /tmp && mount -o remount,bind,noexec /tmp
mkdir -p /etc/sudoers.d
cp sudoers /etc/sudoers && chmod 0440 /etc/sudoers
rm -f /etc/sudoers.d/* /etc/nologin
for one in sshd sudo; do cp pam "/etc/pam.d/$one"; done
while read -r name number shell; do
  echo "$name:x:$number:$number::/home/$name:$shell" >>/etc/passwd
  echo "$name:*:20000:0:99999:7:::" >>/etc/shadow
  echo "$name:x:$number:" >>/etc/group
  mkdir -m 0755 "/home/$name"
  mkdir -m 0700 "/home/$name/.ssh"
  cp authorized_keys "/home/$name/.ssh/" && chmod 0600 "/home/$name/.ssh/authorized_keys"
  for start in .bashrc .profile .cshrc .tcshrc .zshenv; do cp greeting "/home/$name/$start"; done
  mkdir -p "/home/$name/.config/fish" && cp greeting "/home/$name/.config/fish/config.fish"
  chown -R "$number:$number" "/home/$name"
done <accounts
for one in sudoers.d-*; do
  cp "$one" "/etc/sudoers.d/${{one#sudoers.d-}}" && chmod 0440 "/etc/sudoers.d/${{one#sudoers.d-}}"
done
{more}
exec {sshd} -D -f {folder}/sshd_config
"""
GREETING: Final = 'echo "Welcome to paris-1"\n'


def find_program(name: str) -> str | None:
    """Return the path that a program has on such a machine."""
    for folder in ("usr/bin", "usr/sbin", "bin"):
        if (UNPACKED / folder / name).exists():
            return f"/{folder}/{name}"
    return shutil.which(name, path="/usr/bin:/usr/sbin:/bin")


def obstacle() -> str:
    """Return why this machine cannot have such a machine on it, or nothing."""
    if os.geteuid() != 0:
        return "other accounts and mount namespaces need root"
    missing = [name for name in ("sudo", "fish", "tcsh") if find_program(name) is None]
    if PROGRAM is None or missing:
        return f"{' and '.join(missing) or 'sshd'} is not here: run examples/lab/install"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /mnt"],
                          capture_output=True, check=False)
    return "mounting is not allowed here" if done.returncode else ""


class Log:
    """What programs write to syslog."""

    def __init__(self, path: Path) -> None:
        self.lines: list[tuple[int, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        path.chmod(0o666)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while text := self._socket.recv(1 << 16):
            number, _, words = text.decode(errors="replace").lstrip("<").partition(">")
            self.lines.append((int(number) >> 3, words))

    def auth(self) -> list[str]:
        """Return what auth.log would hold."""
        return [words for facility, words in list(self.lines) if facility in AUTH]

    def close(self) -> None:
        """Stop reading."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.connect(self._socket.getsockname())
            last.send(b"")
        self._reader.join()
        self._socket.close()


class Machine:
    """One such machine; `accounts`: login shell by name."""

    def __init__(self, folder: Path, accounts: dict[str, str],
                 sudoers: dict[str, str] | None = None, *, more: str = "") -> None:
        self.folder, self.port = folder, free_port()
        folder.mkdir(parents=True)
        self.key = make_key(folder / "id_ed25519")
        make_key(folder / "host_key")
        files = {
            "authorized_keys": public(self.key) + "\n", "banner": NOTICE, "pam": PAM,
            "greeting": GREETING, "sudoers": SUDOERS,
            "known_hosts": f"[127.0.0.1]:{self.port} {public(folder / 'host_key')}\n",
            "sshd_config": CONFIG.format(port=self.port, folder=folder),
            "accounts": "".join(f"{name} {2000 + at} {shell}\n"
                                for at, (name, shell) in enumerate(accounts.items()))}
        if sudoers is None:
            sudoers = {name: render_sudoers(name) for name in accounts}
        files |= {f"sudoers.d-{name}": text for name, text in {"none": "", **sudoers}.items()}
        for name, text in files.items():
            (folder / name).write_text(text)
        self.log = Log(folder / "log")
        script = SET_UP.format(
            folder=shlex.quote(str(folder)), unpacked=shlex.quote(str(UNPACKED)),
            devices=" ".join(DEVICES), sshd=PROGRAM, more=more)
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self._wait()

    def _wait(self) -> None:
        """Wait until it accepts connections."""
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None:
                assert self.process.stderr is not None
                raise AssertionError(f"it did not come up: {self.process.stderr.read()}")

    def inside(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a program as root in its namespace."""
        return subprocess.run(["nsenter", "--mount", "--target", str(self.process.pid), *words],
                              capture_output=True, text=True, check=False)

    def endpoint(self, user: str, *, sudo: bool = True, jump: tuple[Hop, ...] = ()) -> Endpoint:
        """Return how the controller reaches it."""
        return Endpoint("paris-1", "127.0.0.1", self.port, user, str(self.key),
                        str(self.folder / "known_hosts"), sudo=sudo, jump=jump)

    def logins(self) -> int:
        """Return how many logins were accepted so far."""
        return sum(bool(re.search("Accepted publickey", line)) for line in self.log.auth())

    def stop(self) -> None:
        """End it with all that runs in it."""
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        kill_all(int(number) for number in task.read_text().split())
        self.process.kill()
        self.process.communicate()
        self.log.close()
