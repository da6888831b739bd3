"""Somebody at a machine on which nothing of hotsite is yet: an account, a home, and a terminal.

Every command runs in a mount namespace of its own, in which the account, its home and the names of
the hosts are there; this machine's own files stay as they are.
"""

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from places import KEY, KNOWN_HOSTS, Stock, StockError, run

NAME, UID = "ann", 4001
HOME = Path("/home", NAME)
PASSWORD: Final = "stock"  # noqa: S105  # what `ops` on the hosts types at sudo
ASKED: Final = "[sudo] password for ops: "
COLUMNS, ROWS = 100, 40
LENT: Final = re.compile(r"(PIP|UV|SSL)_.*|.*_proxy|.*_PROXY")  # how packages are got here
ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\r(?=\r*\n)")
ENTER: Final = """
set -eu
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
mount --bind "$1/hosts" /etc/hosts
mount --bind "$1/home" /home
shift
exec setpriv --reuid "$1" --regid "$1" --clear-groups --inh-caps=-all "${@:2}"
"""


class Person:
    """One person, from an empty home on; `names` are what the hosts are called there."""

    def __init__(self, folder: Path, names: dict[str, Stock]) -> None:
        self._folder = folder
        home = folder / "home" / NAME
        home.mkdir(parents=True)
        line = f"{NAME}:x:{UID}:{UID}:{NAME}:{HOME}:/bin/bash\n"
        (folder / "passwd").write_text(Path("/etc/passwd").read_text() + line)
        (folder / "group").write_text(f"{Path('/etc/group').read_text()}{NAME}:x:{UID}:\n")
        (folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(
            f"{host.address} {name}\n" for name, host in names.items()))
        ssh = home / ".ssh"
        ssh.mkdir(mode=0o700)
        shutil.copy(KEY, ssh / KEY.name)
        shutil.copy(KEY.with_suffix(".pub"), ssh)
        keys = {line.split()[0].split(",")[0]: line.split(maxsplit=1)[1]
                for line in KNOWN_HOSTS.read_text().splitlines()}
        (ssh / "known_hosts").write_text("".join(
            f"{name} {keys[host.name]}\n" for name, host in names.items()))
        self._at = HOME
        self.own()

    def own(self) -> None:
        """Have everything in the home belong to the person."""
        run("chown", "-R", f"{UID}:{UID}", str(self._folder / "home" / NAME))

    def here(self, path: str) -> Path:
        """Return where a file of theirs is on this machine."""
        inside = (self._at / path).relative_to("/home")
        return self._folder / "home" / inside

    def types(self, command: str, answer: Callable[[str], str | None],
              limit_s: float) -> tuple[int, list[str]]:
        """Type one command; return its exit status and the lines that were seen.

        `answer` is asked what to type whenever the last line waits.
        """
        main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        after = self._folder / "home" / NAME / ".after"
        script = f'cd "{self._at}"\n{command}\nstatus=$?\npwd >~/.after\nexit $status'
        process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", "unshare", "--mount", "--propagation", "private", "bash",
             "-c", ENTER, "bash", str(self._folder), str(UID), "env", "-i", *self._settings(),
             "bash", "-c", script], stdin=side, stdout=side, stderr=side)
        os.close(side)
        try:
            text = listen(main, answer, time.monotonic() + limit_s)
            status = process.wait(max(1.0, limit_s))
        except TimeoutError:
            process.terminate()
            raise StockError(f"{command} did not end within {limit_s:g} s") from None
        finally:
            os.close(main)
        if after.exists():
            self._at = Path(after.read_text().strip())
        # what a carriage return has overwritten, as a progress bar does, is not seen any more
        return status, [line.rpartition("\r")[2] for line in text.split("\n")]

    def _settings(self) -> list[str]:
        """Return the environment of a login."""
        lent = {name: value for name, value in os.environ.items() if LENT.fullmatch(name)}
        own = {"HOME": str(HOME), "USER": NAME, "LOGNAME": NAME, "SHELL": "/bin/bash",
               "LANG": "C.UTF-8", "TERM": "dumb", "COLUMNS": str(COLUMNS), "LINES": str(ROWS),
               "PATH": f"{HOME}/.local/bin:/usr/local/bin:/usr/bin:/bin"}
        return [f"{name}={value}" for name, value in {**lent, **own}.items()]


def listen(terminal: int, answer: Callable[[str], str | None], deadline: float) -> str:
    """Return all that comes over a terminal, up to its end; type answers where they are asked.

    Errors: TimeoutError at the deadline.
    """
    raw = b""
    told = 0
    while True:
        if not select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError
        try:
            more = os.read(terminal, 65536)
        except OSError:  # Linux says EIO where the other side is closed
            more = b""
        if not more:
            return ESCAPES.sub("", raw.decode(errors="replace"))
        raw += more
        last = ESCAPES.sub("", raw[told:].decode(errors="replace")).rpartition("\n")[2]
        said = PASSWORD if last == ASKED else answer(last) if last else None
        if said is not None:
            os.write(terminal, said.encode() + b"\n")
            told = len(raw)
